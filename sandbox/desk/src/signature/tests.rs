//! Tests of signed rulings, with OpenSSH's own program as the other end, and as the referee.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use agentbox_core::ruling::Whose;
use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};

use super::*;
use crate::{
    Card, WaitingRoom,
    card::About,
    example,
    room::{Asker, Bounds, Deed},
};

/// Whether the program is here. CI has it.
fn keygen() -> bool {
    let there = Command::new("ssh-keygen").arg("-?").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "in CI nothing is skipped: no ssh-keygen");
    if !there {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no ssh-keygen, which comes with openssh-client");
    }
    there
}

fn run(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("ssh-keygen")
        .args(arguments)
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// A key of this type; the path of its private half.
fn make(folder: &Path, name: &str, kind: &[&str]) -> String {
    let path = folder.join(name).display().to_string();
    let (made, _) = run(&[&["-q", "-N", "", "-C", name, "-f", &path, "-t"], kind].concat(), "");
    assert!(made);
    path
}

fn public(path: &str) -> KeyText {
    let file = format!("{path}.pub");
    KeyText { text: std::fs::read_to_string(&file).unwrap(), file: Some(file.into()) }
}

fn signed(path: &str, namespace: &str, text: &str) -> String {
    let (signed, signature) = run(&["-Y", "sign", "-n", namespace, "-f", path], text);
    assert!(signed);
    signature
}

const TEXT: &str = "agentbox approval 1: let this happen, once\nbox: b1\n";

#[test]
fn keys_of_every_kind_that_openssh_makes() {
    if !keygen() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, kind) in [("ed", &["ed25519"][..]), ("p256", &["ecdsa", "-b", "256"]), ("p384", &["ecdsa", "-b", "384"]), ("rsa", &["rsa", "-b", "2048"])] {
        let path = make(folder.path(), name, kind);
        let approvers = Approvers::read(&[public(&path)], &[]).unwrap();
        let signature = signed(&path, NAMESPACE, TEXT);
        let by = approvers.verify(TEXT, &signature).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((by.signer.name.as_str(), by.whose), (name, Whose::Untold));
        let (_, told) = run(&["-l", "-f", &path], "");
        assert!(told.contains(&by.signer.fingerprint), "{told}");
        assert_eq!(approvers.verify(&format!("{TEXT} "), &signature), Err(Unfit::Wrong), "{name}");
        assert_eq!(approvers.verify(TEXT, &signed(&path, "file", TEXT)), Err(Unfit::Namespace("file".to_owned())), "{name}");
        let sha256 = run(&["-Y", "sign", "-O", "hashalg=sha256", "-n", NAMESPACE, "-f", &path], TEXT);
        if sha256.0 {
            assert!(approvers.verify(TEXT, &sha256.1).is_ok(), "{name}");
        }
    }
}

#[test]
fn another_key_and_another_keys_name_do_not_count() {
    if !keygen() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mine, theirs) = (make(folder.path(), "mine", &["ed25519"]), make(folder.path(), "theirs", &["ed25519"]));
    let approvers = Approvers::read(&[public(&mine)], &[]).unwrap();
    let signature = signed(&theirs, NAMESPACE, TEXT);
    assert!(matches!(approvers.verify(TEXT, &signature), Err(Unfit::Stranger(_))));
    // The other's signature under the approver's name: the key in the blob is exchanged, bytes for bytes.
    let (mine_blob, theirs_blob) = (blob_of(&mine), blob_of(&theirs));
    let mut blob = unarmour(&signature).unwrap();
    let at = blob.windows(theirs_blob.len()).position(|window| window == theirs_blob).unwrap();
    blob[at..at + mine_blob.len()].copy_from_slice(&mine_blob);
    assert_eq!(approvers.verify(TEXT, &armour(&blob)), Err(Unfit::Wrong));
}

fn blob_of(path: &str) -> Vec<u8> {
    PublicKey::parse(&public(path).text).unwrap().0.blob().to_vec()
}

fn armour(blob: &[u8]) -> String {
    let base64 = STANDARD.encode(blob);
    let lines: Vec<&str> = base64.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

#[test]
fn whose_a_key_is() {
    if !keygen() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mine, theirs) = (make(folder.path(), "mine", &["ed25519"]), make(folder.path(), "theirs", &["ed25519"]));
    let both = [public(&mine), public(&theirs), public(&mine)];
    let approvers = Approvers::read(&both, &[public(&mine)]).unwrap();
    assert_eq!(approvers.signers().count(), 2, "one key is one person");
    assert_eq!(approvers.verify(TEXT, &signed(&mine, NAMESPACE, TEXT)).unwrap().whose, Whose::Starter);
    assert_eq!(approvers.verify(TEXT, &signed(&theirs, NAMESPACE, TEXT)).unwrap().whose, Whose::SomebodyElse);
}

/// A security key, made of arithmetic: its public line, and what it signs.
enum Token {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Token {
    fn new(kind: &str) -> Self {
        let random = SystemRandom::new();
        match kind {
            "ed25519" => Self::Ed25519(Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap()),
            _ => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                Self::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Self::P256(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put(&mut blob, self.name().as_bytes());
        match self {
            Self::Ed25519(pair) => put(&mut blob, pair.public_key().as_ref()),
            Self::P256(pair) => {
                put(&mut blob, b"nistp256");
                put(&mut blob, pair.public_key().as_ref());
            }
        }
        put(&mut blob, b"ssh:");
        blob
    }

    fn sign(&self, text: &str, flags: u8) -> String {
        let sha256 = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes).as_ref().to_vec();
        let mut message = MAGIC.to_vec();
        for part in [NAMESPACE.as_bytes(), b"", b"sha512", digest::digest(&digest::SHA512, text.as_bytes()).as_ref()] {
            put(&mut message, part);
        }
        let deed = [sha256(b"ssh:"), vec![flags], 7_u32.to_be_bytes().to_vec(), sha256(&message)].concat();
        let mut inner = Vec::new();
        put(&mut inner, self.name().as_bytes());
        match self {
            Self::Ed25519(pair) => put(&mut inner, pair.sign(&deed).as_ref()),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), &deed).unwrap();
                let mut numbers = Vec::new();
                for number in signature.as_ref().chunks(32) {
                    let bare: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
                    let zero = if bare.first().is_some_and(|first| first & 0x80 != 0) { vec![0] } else { Vec::new() };
                    put(&mut numbers, &[zero, bare].concat());
                }
                put(&mut inner, &numbers);
            }
        }
        inner.push(flags);
        inner.extend_from_slice(&7_u32.to_be_bytes());
        let mut blob = [MAGIC, &1_u32.to_be_bytes()].concat();
        for part in [&self.blob()[..], NAMESPACE.as_bytes(), b"", b"sha512", &inner] {
            put(&mut blob, part);
        }
        armour(&blob)
    }
}

#[test]
fn a_security_key_counts_where_it_was_touched() {
    for kind in ["ed25519", "p256"] {
        let token = Token::new(kind);
        let line = format!("{} {} on a stick", token.name(), STANDARD.encode(token.blob()));
        let approvers = Approvers::read(&[KeyText { file: None, text: line.clone() }], &[]).unwrap();
        let signature = token.sign(TEXT, TOUCHED_AND_KNOWN);
        assert_eq!(approvers.verify(TEXT, &signature).unwrap().signer.name, "on a stick");
        assert_eq!(approvers.verify("else", &signature), Err(Unfit::Wrong));
        assert_eq!(approvers.verify(TEXT, &token.sign(TEXT, 0)), Err(Unfit::NotTouched));
        if keygen() {
            // OpenSSH agrees that this is what a security key signs.
            let folder = tempfile::tempdir().unwrap();
            let (allowed, file) = (folder.path().join("allowed"), folder.path().join("signature"));
            std::fs::write(&allowed, format!("person {line}\n")).unwrap();
            std::fs::write(&file, &signature).unwrap();
            let arguments = ["-Y", "verify", "-n", NAMESPACE, "-I", "person", "-f", allowed.to_str().unwrap(), "-s", file.to_str().unwrap()];
            assert!(run(&arguments, TEXT).0, "ssh-keygen does not take it");
        }
    }
}

const TOUCHED_AND_KNOWN: u8 = 0x05;

#[test]
fn what_is_no_key_is_said() {
    let read = |text: &str| Approvers::read(&[KeyText { file: Some("/k.pub".into()), text: text.to_owned() }], &[]).unwrap_err().to_string();
    for (text, says) in [
        ("", "/k.pub: there is no key in it"),
        ("# nothing\n\n", "there is no key in it"),
        ("hello world", "no line of a public key"),
        ("ssh-ed25519 !!!", "damaged"),
        ("ssh-ed25519 AAAA", "damaged"),
        ("command=\"x\" ssh-ed25519 AAAA", "options"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "type ssh-dss"),
        ("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t", "type ssh-ed25519-cert"),
    ] {
        assert!(read(text).contains(says), "{text:?}: {}", read(text));
    }
}

fn card() -> Card {
    let mut room = WaitingRoom::new(Bounds::default(), Box::new(|| Some(12_345_678)));
    let now = Instant::now();
    let deeds = room.arrive(example::hold(1), Asker(1), now);
    let [Deed::Opened(id)] = &deeds[..] else { panic!("{deeds:?}") };
    Card::of(&room.one(id, now).unwrap(), &About { session: "b1".to_owned(), approvers: Approvers::default(), clocks: (now, 1_764_000_000) })
}

#[test]
fn the_statement_names_one_operation_and_all_that_was_shown() {
    let card = card();
    let text = statement(&card, Some("pg\ndata"), None).unwrap();
    let expected = format!(
        "agentbox approval 1: let this happen, once\nbox: b1\nhold: earrb0\nnonce: 00bc614e00bc614e00bc614e00bc614e\nuntil: 1764000900\n\
         operation: destroy railway.volumeDelete railway:volume/3d2c9a\nplace: production\ntyped: pg\\u{{a}}data\nrequest: {}\nshown: {}\n",
        card.digest.unwrap().to_hex(),
        card.shown().to_hex()
    );
    assert_eq!(text, expected);
    // The same after a way over a wire.
    let far: Card = serde_json::from_str(&serde_json::to_string(&card).unwrap()).unwrap();
    assert_eq!(statement(&far, Some("pg\ndata"), None).unwrap(), text);
    // What changes while it waits is left out, all else is in it.
    let mut later = card.clone();
    (later.waited, later.left, later.askers) = (9, 9, 9);
    later.wants.have.push("uid:1".to_owned());
    assert_eq!(later.shown(), card.shown());
    for change in [
        (|card: &mut Card| card.session = "b2".to_owned()) as fn(&mut Card),
        |card| card.id = crate::HoldId::spell(1),
        |card| card.nonce = "00".to_owned(),
        |card| card.until += 1,
        |card| card.place = "staging".to_owned(),
        |card| card.operations[0].resource = "railway:volume/other".to_owned(),
        |card| card.who.clear(),
        |card| card.excerpt.clear(),
        |card| card.reason.clear(),
        |card| card.credentials.clear(),
        |card| card.undo = agentbox_core::look::Undo::Yes("easily".to_owned()),
        |card| card.wants.typed = Some("x".to_owned()),
        |card| card.wants.approvers = 2,
    ] {
        let mut other = card.clone();
        change(&mut other);
        assert_ne!(statement(&other, Some("pg\ndata"), None).unwrap(), text);
    }
    assert_ne!(statement(&card, None, None).unwrap(), text);
    let mut ruled = card;
    ruled.digest = None;
    assert_eq!(statement(&ruled, None, None), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_but_the_signature_itself_are_taken(place in 0_usize..400, mask in 1_u8.., cut in 0_usize..400, way in 0..3) {
        let token = Token::new("ed25519");
        let line = format!("{} {}", token.name(), STANDARD.encode(token.blob()));
        let approvers = Approvers::read(&[KeyText { file: None, text: line }], &[]).unwrap();
        let mut blob = unarmour(&token.sign(TEXT, TOUCHED_AND_KNOWN)).unwrap();
        match way {
            0 => { let at = place % blob.len(); blob[at] ^= mask; }
            1 => blob.truncate(cut % blob.len()),
            _ => blob.push(mask),
        }
        prop_assert!(approvers.verify(TEXT, &armour(&blob)).is_err());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let approvers = Approvers::default();
        prop_assert!(approvers.verify(TEXT, &text).is_err());
        prop_assert!(approvers.verify(TEXT, &armour(&bytes)).is_err());
        let _ = PublicKey::parse(&text);
        let _ = PublicKey::parse(&format!("ssh-ed25519 {}", STANDARD.encode(&bytes)));
        let _ = PublicKey::of_blob(&bytes);
    }
}
