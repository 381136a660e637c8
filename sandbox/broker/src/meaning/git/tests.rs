//! Fetching, pushing, deleting, as git itself sends it.

use agentbox_core::HostName;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::meaning::{Scheme, understand, wants};

fn told(method: &str, target: &str, content_type: &str, body: Body<'_>) -> (Vec<String>, ReplyStyle, BodyWant) {
    let host = HostName::parse("git.example.com").unwrap();
    let method: Method = method.parse().unwrap();
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
    }
    let head = Head { method: &method, scheme: Scheme::Https, host: &host, port: 443, target, headers: &headers };
    let meaning = understand(&head, body);
    (meaning.operations.iter().map(|o| format!("{} {} {}", o.effect, o.action, o.resource.id)).collect(), meaning.reply, wants(&head))
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

const RECEIVE: &str = "application/x-git-receive-pack-request";
const A: &str = "1111111111111111111111111111111111111111";
const B: &str = "2222222222222222222222222222222222222222";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn push(body: Body<'_>) -> (Vec<String>, ReplyStyle) {
    let (operations, reply, _) = told("POST", "/team/shop.git/git-receive-pack", RECEIVE, body);
    (operations, reply)
}

#[test]
fn fetching_reads() {
    let (operations, reply, want) = told("GET", "/team/shop.git/info/refs?service=git-upload-pack", "", Body::Absent);
    assert_eq!(operations, ["read git.refs git:git.example.com/team/shop"]);
    assert_eq!((reply, want), (ReplyStyle::Git(GitAnswer::UploadPackAdvertisement), BodyWant::Nothing));
    let (operations, _, want) = told("POST", "/team/shop.git/git-upload-pack", "application/x-git-upload-pack-request", Body::Absent);
    assert_eq!((operations[0].as_str(), want), ("read git.fetch git:git.example.com/team/shop", BodyWant::UpTo(FETCH)));
    let fetch = |body: Body<'_>| told("POST", "/team/shop.git/git-upload-pack", "application/x-git-upload-pack-request", body).0[0].clone();
    let first = [line(&format!("want {A} multi_ack_detailed\n")), line(&format!("want {B}\n")), "0000".to_owned(), line("done\n")].concat();
    let second = [line("command=ls-refs\n"), line("agent=git/2.47"), "0001".to_owned(), line("peel\n"), "0000".to_owned()].concat();
    for body in [first.as_str(), &second, "0000"] {
        assert!(fetch(Body::Whole(body.as_bytes())).starts_with("read git.fetch"), "{body}");
        assert!(fetch(Body::TooLong { first: body.as_bytes() }).starts_with("read git.fetch"), "{body}");
    }
    assert!(fetch(Body::TooLong { first: &first.as_bytes()[..60] }).starts_with("read git.fetch"));
    // The shape of the address makes nothing harmless: it must be the question, too.
    for body in [r#"{"query":"mutation { volumeDelete(volumeId: 1) }"}"#, "want x", &first[..60], &line("have x"), &format!("{first}DELETE")] {
        assert!(!fetch(Body::Whole(body.as_bytes())).starts_with("read"), "{body}");
    }
}

#[test]
fn a_push_is_told_ref_by_ref() {
    let body = [
        line(&format!("{A} {B} refs/heads/main\0 report-status side-band-64k agent=git/2.47")),
        line(&format!("{ZERO} {B} refs/heads/new\n")),
        line(&format!("{A} {ZERO} refs/heads/old")),
        "0000PACK....".to_owned(),
    ]
    .concat();
    let (operations, reply) = push(Body::Whole(body.as_bytes()));
    assert_eq!(
        operations,
        [
            "write git.push git:git.example.com/team/shop/refs/heads/main",
            "write git.push git:git.example.com/team/shop/refs/heads/new",
            "destroy git.push.delete git:git.example.com/team/shop/refs/heads/old",
        ]
    );
    assert_eq!(reply, ReplyStyle::Git(GitAnswer::ReceivePackSideBand));
    assert_eq!(push(Body::TooLong { first: body.as_bytes() }).0.len(), 3);
}

#[test]
fn what_is_cut_or_odd_is_opaque() {
    let whole = line(&format!("{A} {B} refs/heads/main\0 x"));
    for body in [whole.as_str(), "", "zzzz", "0001", "fffffff", &line("push-cert\0x"), &line("A B refs/x"), "+0030"] {
        assert_eq!(push(Body::Whole(body.as_bytes())).0, ["opaque git.push git:git.example.com/team/shop"], "{body}");
    }
    assert_eq!(push(Body::Whole(b"0000")).0, ["read git.push git:git.example.com/team/shop"]);
}

#[test]
fn only_the_exact_shape_reads() {
    for (target, content_type) in [
        ("/api/delete/git-upload-pack", "application/json"),
        ("/a/../b/git-upload-pack", "application/x-git-upload-pack-request"),
        ("/a%2fgit-upload-pack", "application/x-git-upload-pack-request"),
        ("/a;x/git-upload-pack", "application/x-git-upload-pack-request"),
    ] {
        let (operations, ..) = told("POST", target, content_type, Body::Whole(b"x"));
        assert!(!operations[0].starts_with("read"), "{target}: {operations:?}");
    }
}

#[test]
fn large_files() {
    let of =
        |body: &'static str| told("POST", "/team/shop.git/info/lfs/objects/batch", "application/vnd.git-lfs+json", Body::Whole(body.as_bytes())).0.remove(0);
    assert_eq!(of(r#"{"operation":"download","objects":[]}"#), "read git.lfs.download git:git.example.com/team/shop");
    assert_eq!(of(r#"{"operation":"upload","objects":[]}"#), "write git.lfs.upload git:git.example.com/team/shop");
    assert_eq!(of(r#"{"operation":"upload","operation":"download"}"#), "opaque git.lfs git:git.example.com/team/shop");
}

proptest! {
    #[test]
    fn pushes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = commands(&bytes);
        let framed = [format!("{:04x}", bytes.len() + 4).into_bytes(), bytes].concat();
        let _ = commands(&framed);
    }
}
