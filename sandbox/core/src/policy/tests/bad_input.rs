//! Bad input of every kind: an error with line and column, never a panic.

use std::collections::BTreeMap;

use super::*;

fn error_of(bytes: Vec<u8>) -> String {
    let text = LayerText { name: "bad.toml".into(), base: "/w".into(), kind: LayerKind::User, bytes };
    match try_load(vec![text.clone()]) {
        Ok(_) => panic!("accepted: {:?}", String::from_utf8_lossy(&text.bytes).chars().take(200).collect::<String>()),
        Err(error) => error.0,
    }
}

/// `bad.toml:LINE:COLUMN: …`
fn has_position(error: &str) -> bool {
    let mut parts = error.splitn(4, ':');
    parts.next() == Some("bad.toml")
        && parts.next().is_some_and(|line| line.parse::<usize>().is_ok())
        && parts.next().is_some_and(|column| column.parse::<usize>().is_ok())
}

#[test]
fn every_kind_has_a_line_and_a_column() {
    let deep_array = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_inline = format!("x = {}", "{a=".repeat(50_000));
    let deep_header = format!("[{}]", vec!["a"; 20_000].join("."));
    let deep_key = format!("{} = 1", vec!["a"; 20_000].join("."));
    let many = format!("require = [{}]", "\"seccomp\",".repeat(10_001));
    for text in [
        "\u{0}",
        "[",
        "[place",
        "[place.a]]",
        "x",
        "x =",
        "= 1",
        "place = 1",
        "[[place]]\n",
        "[place]\na = 1",
        "[rule]\nname=\"x\"",
        "rule = [1]",
        "rule = 1",
        "extends = 1",
        "extends = \"\"",
        "extends = \"nope\"",
        "unknown = 1",
        "[place.a]\nread = \"allow\"\nread = \"deny\"",
        "[place.a]\n[place.a]",
        "[place.a]\nread = 1",
        "[place.a]\nhosts = \"*\"",
        "[place.a]\nhosts = [1]",
        "[place.a]\nhosts = [\"\"]",
        "[place.a]\nhosts = [\"https://x\"]",
        "[place.a]\nhosts = [\"10.0.0.1/8\"]",
        "[place.a]\nhosts = [\"a\\u0000b\"]",
        "[place.a]\npaths = [\"a[\"]",
        "[place.a]\npaths = [\"~root/x\"]",
        "[place.a]\npaths = [\"{a,{b\"]",
        "[place.a]\nresources = [\"x\"]",
        "[place.a]\nresources = [\"X:y\"]",
        "[place.a]\nresources = [\"x:[\"]",
        "[place.a]\nresources = [\"x:\"]",
        "[place.a]\napprovers = 0",
        "[place.a]\napprovers = 17",
        "[place.a]\napprovers = -1",
        "[place.a]\napprovers = 1.5",
        "[place.a]\napprovers = 99999999999999999999999",
        "[place.a]\nconfirm = \"yes\"",
        "[place.a]\napprovers = 2\nprotected = false",
        "[place.a]\nconfirm = \"name\"\nprotected = false",
        "[place.\"a b\"]\n",
        "[place.\"\"]\n",
        "[place.local]\nread=\"allow\"",
        "[place.a]\ncredentials = [\"nobody\"]",
        "[[rule]]\nverdict = \"allow\"",
        "[[rule]]\nname = \"x\"",
        "[[rule]]\nname=\"x\"\nverdict=\"allow\"\nplace=\"nowhere\"",
        "[[rule]]\nname=\"x\"\nverdict=\"allow\"\noperation=\"[\"",
        "[[rule]]\nname=\"x\"\nverdict=\"allow\"\nexpires=\"soon\"",
        "[[rule]]\nname=\"x\"\nverdict=\"allow\"\nexpires=\"0s\"",
        "[[rule]]\nname=\"x\"\nverdict=\"allow\"\neffect=\"harm\"",
        "[[rule]]\nname=\"x\"\nverdict=\"deny\"\nresource=\"file:/x\"",
        "[[example]]\nverdict = \"allow\"",
        "[[example]]\noperation = \"x\"",
        "[credential.x]\nsource = \"env:A\"",
        "[credential.x]\nfor = [\"a.b\"]",
        "[credential.x]\nsource = \"A\"\nfor = [\"a.b\"]",
        "[credential.x]\nsource=\"env:A\"\nfor = [\"*\"]",
        "[credential.x]\nsource=\"env:A\"\nfor = []",
        "[credential.x]\nsource=\"env:A\"\nfor=[\"a.b\"]\nallow=[\"[\"]",
        "[approval]\npatience = \"forever\"",
        "[approval]\npatience = \"99999d\"",
        "[approval]\nchannels = [\"smoke\"]",
        "[approval]\napprover = []",
        "[approval]\napprover = \"~/.ssh/id_ed25519.pub\"",
        "[approval]\nown = []",
        "[approval]\nunsigned = \"sometimes\"",
        "[place.a]\nsomebody-else = 1",
        "[place.a]\nsomebody-else = true\nprotected = false",
        "require = [\"luck\"]",
        "require = [\"landlock>=0\"]",
        "[limits]\nholds = 0",
        "[limits]\nmemory = \"lots\"",
        "[limits]\nmemory = \"99999999999TiB\"",
        "[env]\npass = [\"A=B\"]",
        "[env.set]\nA = 1",
        "[names]\n\"a.b\" = \"c\"",
        "[names]\n\"a b\" = \"127.0.0.1\"",
        "[names]\n\"a.b\" = \"127.0.0.1:0\"",
        "nested-userns = \"no\"",
        "kernel-gate = true",
        "kernel-gate = \"allow\"",
        "pass-through = [\"a/b\"]",
        "roots = [\"~x/y\"]",
        &deep_array,
        &deep_inline,
        &deep_header,
        &deep_key,
        &many,
        &format!("[place.a]\nhosts = [\"{}\"]", "a".repeat(2_000)),
        &format!("[place.{}]\n", "a".repeat(65)),
    ] {
        let error = error_of(text.into());
        assert!(has_position(&error), "no position for {:?}: {error}", text.chars().take(60).collect::<String>());
    }
}

#[test]
fn binary_and_huge_files() {
    let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    assert!(error_of(binary).starts_with("bad.toml:"));
    let mut late = b"# fine\n".to_vec();
    late.extend([0xff, 0xfe]);
    assert_eq!(error_of(late).lines().next(), Some("bad.toml:2:1: this is not text: a policy is TOML in UTF-8"));
    let error = error_of(b"# long line of nothing much, again and again\n".repeat(250_000));
    assert!(has_position(&error) && error.contains("1048576 bytes, this one has"), "{error}");
    // The bound may fall inside a character; that is no fault of the file's.
    let error = error_of("é".repeat(1 << 20).into_bytes().into_iter().chain([b'#']).collect());
    assert!(error.contains("1048576 bytes"), "{error}");
    let mut odd = b"#".to_vec();
    odd.extend("é".repeat(1 << 20).into_bytes());
    assert!(error_of(odd).contains("1048576 bytes"));
}

#[test]
fn cycles_and_endless_chains_of_extends() {
    let files: BTreeMap<&str, &str> = [("a", "extends = \"b\""), ("b", "\n extends = \"a\""), ("self", "extends = \"self\"")].into();
    let mut resolve = |name: &str, _: &Path| {
        let text = files.get(name).ok_or("no such file")?;
        Ok(LayerText { name: name.into(), base: "/w".into(), kind: LayerKind::User, bytes: (*text).into() })
    };
    let error = Policy::load(vec![layer(LayerKind::User, "extends = \"a\"")], &context(), &mut resolve).unwrap_err().0;
    assert!(error.starts_with("b:2:12: a extends itself"), "{error}");
    let error = Policy::load(vec![layer(LayerKind::User, "extends = \"self\"")], &context(), &mut resolve).unwrap_err().0;
    assert!(error.starts_with("self:1:11: self extends itself"), "{error}");
    let mut count = 0;
    let mut endless = |_: &str, _: &Path| {
        count += 1;
        Ok(LayerText { name: format!("f{count}"), base: "/w".into(), kind: LayerKind::User, bytes: b"extends = \"x\"".to_vec() })
    };
    let error = Policy::load(vec![layer(LayerKind::User, "extends = \"x\"")], &context(), &mut endless).unwrap_err().0;
    assert!(error.contains("more than 16 files extend each other"), "{error}");
    let mut missing = |_: &str, _: &Path| Err("no \u{1b}[31mfile".to_owned());
    let error = Policy::load(vec![layer(LayerKind::User, "extends = \"x\"")], &context(), &mut missing).unwrap_err().0;
    assert!(error.starts_with("user.toml:1:11: no ") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn bad_examples_are_errors_with_a_position() {
    for operation in [
        "",
        "x",
        "read",
        "read a",
        "read a b",
        "harm a b:c",
        "read a b:c d",
        "read a b:c @",
        "read a b:c @d",
        "read a http::443",
        "read a http:x:0",
        "read a file:~root/x",
        "read a b:ü",
        "GET",
    ] {
        let text = format!("[[example]]\noperation = {}\nverdict = \"allow\"", toml::Value::String(operation.into()));
        let error = match try_load(vec![layer(LayerKind::User, &text)]) {
            Ok(policy) => policy.check_examples(&|text| Err(format!("cannot read {text}"))).expect_err(operation),
            Err(error) => error,
        };
        assert!(error.0.starts_with("user.toml:2:13: "), "{operation}: {error}");
    }
}

#[test]
fn many_sections_and_paths_are_bounded() {
    let places = |count: usize| (0..count).map(|n| format!("[place.p{n}]\nhosts=[\"h{n}.example\", \"*\"]\nread=\"allow\"\n")).collect::<String>();
    assert!(error_of(places(1_001).into()).contains("1000 of `place`, this one has 1001"));
    let rules = |count: usize| (0..count).map(|n| format!("[[rule]]\nname=\"r\"\noperation=\"a{n}*\"\nverdict=\"deny\"\n")).collect::<String>();
    assert!(error_of(rules(1_001).into()).contains("1000 of `rule`"));
    let paths: Vec<String> = (0..2_001).map(|n| format!("\"f{n}\"")).collect();
    assert!(error_of(format!("[place.a]\npaths=[{}]", paths.join(",")).into()).contains("2000 paths, and this one names more"));
    // As much as is allowed ends, and does not take for ever.
    user(&format!("{}{}", places(1_000), rules(1_000)));
}

#[test]
fn a_large_policy_loads() {
    let hosts: Vec<String> = (0..9_000).map(|n| format!("\"h{n}.example.com\"")).collect();
    let policy = user(&format!("[place.a]\nwrite=\"allow\"\nhosts = [{}]", hosts.join(",")));
    assert_eq!(verdict(&policy, at_host(Effect::Write, "h8999.example.com", 443)), Verdict::Allow);
}
