//! Each published format is found, in the forms that people keep them in, and what only looks like one is not.

use proptest::prelude::*;

use super::*;

/// A value of the shortest form of a format, without a run that says that it is an example.
fn of(format: &Format) -> String {
    let good: Vec<u8> = b"aQ3eT7uJ1kM5pR9sV2wZ8bD4fH6nG0cX".iter().copied().filter(|byte| format.alphabet.has(*byte)).collect();
    let mut text = format.prefix.to_owned();
    for index in 0..format.least {
        text.push(char::from(good[index * 7 % good.len()]));
    }
    text
}

fn kinds(text: &str) -> Vec<(usize, &'static str, String)> {
    let name = |kind: Kind| match kind {
        Kind::Token(format) => format.name,
        Kind::PrivateKey => "key",
        Kind::WebToken => "jwt",
        Kind::UrlPassword => "url",
        Kind::Random => "random",
    };
    find(text).into_iter().map(|find| (find.line, name(find.kind), find.variable)).collect()
}

#[test]
fn every_format_in_every_file() {
    for format in FORMATS {
        let token = of(format);
        for line in [
            format!("MY_TOKEN={token}"),
            format!("export MY_TOKEN=\"{token}\""),
            format!("//registry.example/:_authToken={token}"),
            format!("  \"token\": \"{token}\","),
            format!("curl -H 'Authorization: Bearer {token}' https://x.example"),
            format!("token: {token}"),
        ] {
            let found = kinds(&format!("first\n{line}\n"));
            assert!(found.len() == 1 && found[0].0 == 2 && found[0].1 == format.name, "{line}: {found:?}");
        }
    }
}

#[test]
fn the_setting_names_the_variable() {
    assert_eq!(kinds("GH_PAT=ghp_aQ3eT7uJ1kM5pR9sV2wZ8bD4fH6nG0cXaQ3e")[0].2, "GH_PAT");
    assert_eq!(kinds("see ghp_aQ3eT7uJ1kM5pR9sV2wZ8bD4fH6nG0cXaQ3e")[0].2, "GITHUB_TOKEN");
}

#[test]
fn passwords_keys_and_claims() {
    let found = kinds("DATABASE_URL=postgres://app:h8fK2s@db.example:5432/shop\n-----BEGIN OPENSSH PRIVATE KEY-----\n");
    assert_eq!(found, [(1, "url", "DATABASE_URL".to_owned()), (2, "key", "PRIVATE_KEY".to_owned())]);
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEzMDA4MTkzODAsInNjb3BlIjoicmVwbyBhZG1pbiJ9.dBjftJeZ4CVPmB92K27uhbUJU1p1rwW1gFWFOEjXk";
    let found = find(&format!("JWT={token}"));
    assert_eq!(found[0].claims, Claims { expires: Some(1_300_819_380), scope: Some("repo admin".into()) });
    assert!(!format!("{found:?}").contains("dBjftJeZ4CVPmB92K27u"));
}

#[test]
fn randomness_is_a_hint_where_a_name_says_so() {
    assert_eq!(kinds("RAILWAY_TOKEN=4c1f7d2e-9a8b-47c6-b5d3-0e1f2a3b4c5d")[0].1, "random");
    assert_eq!(kinds("client_secret: Zx81kQ0pLm42NvB7tYc3")[0].1, "random");
    for plain in [
        "commit = 4c1f7d2e9a8b47c6b5d30e1f2a3b4c5d",
        "TOKEN=changeme-changeme-changeme1",
        "TOKEN=${RAILWAY_TOKEN_FROM_ELSEWHERE_1}",
        "password = process.env.PASSWORD_OF_DATABASE_1",
        "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "url = https://user:password-example@host",
        "see https://host:443/a@b",
        "tokenizer = wordpiece-uncased-large-model",
        "AKIDEXAMPLE",
        "AKIAIOSFODNN7EXAMPLE",
    ] {
        assert!(kinds(plain).is_empty(), "{plain}: {:?}", kinds(plain));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_read(text in "\\PC{0,400}") {
        prop_assert!(find(&text).len() <= MOST);
    }
}
