//! Schema, documentation, parser and shipped profiles say the same.

use std::collections::BTreeSet;

use super::*;
use crate::policy::keys;

const PAGE: &str = include_str!("../../../../../docs/policy.md");
const SCHEMA: &str = include_str!("../../../../../docs/policy.schema.json");
const PROFILES: &[&str] = &["default", "cursor", "claude", "codex", "gemini", "aider", "opencode", "ci", "container"];

/// Every key that the parser accepts, as the page names it.
fn parser_keys() -> BTreeSet<String> {
    let named = |section: &str, keys: &[&str]| keys.iter().map(|key| format!("{section}.{key}")).collect::<Vec<_>>();
    let sections: Vec<(&str, &str, &[&str])> = vec![
        ("place", "place.NAME", keys::PLACE),
        ("credential", "credential.NAME", keys::CREDENTIAL),
        ("channel", "channel.NAME", keys::CHANNEL),
        ("rule", "rule", keys::RULE),
        ("example", "example", keys::EXAMPLE),
        ("approval", "approval", keys::APPROVAL),
        ("limits", "limits", keys::LIMITS),
        ("env", "env", keys::ENV),
    ];
    let mut all: BTreeSet<String> = keys::TOP.iter().filter(|key| !sections.iter().any(|(name, ..)| name == *key)).map(|key| (*key).to_owned()).collect();
    for (_, prefix, keys) in sections {
        all.extend(named(prefix, keys));
    }
    all
}

fn schema_keys() -> BTreeSet<String> {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let mut all = BTreeSet::new();
    for (key, value) in schema["properties"].as_object().unwrap() {
        let inner = [("", value), (".NAME", &value["additionalProperties"]), ("", &value["items"])]
            .into_iter()
            .find_map(|(suffix, value)| value["properties"].as_object().map(|keys| (suffix, keys, value)));
        match inner {
            Some((suffix, keys, value)) => {
                assert_eq!(value["additionalProperties"], false, "{key}: the schema lets unknown keys through");
                all.extend(keys.keys().map(|inner| format!("{key}{suffix}.{inner}")));
            }
            None => {
                all.insert(key.clone());
            }
        }
    }
    assert_eq!(schema["additionalProperties"], false);
    all
}

fn page_keys() -> BTreeSet<String> {
    PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).map(str::to_owned).collect()
}

#[test]
fn parser_schema_and_page_name_the_same_keys() {
    assert_eq!(parser_keys(), schema_keys(), "parser and schema");
    assert_eq!(parser_keys(), page_keys(), "parser and docs/policy.md");
}

/// The examples of the page: its key, how the block is marked, its text.
fn blocks() -> Vec<(String, String, String)> {
    let mut blocks = Vec::new();
    let mut key = String::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("### `") {
            key = heading.trim_end_matches('`').to_owned();
        } else if let Some(mark) = line.strip_prefix("```toml") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((key.clone(), mark.trim().to_owned(), text.join("\n")));
        }
    }
    blocks
}

/// Stands in for the broker's understanding: enough for the page.
fn decode(text: &str) -> Result<Request, String> {
    let url = text.strip_prefix("GET https://").ok_or("only GET is understood here")?;
    let host = url.split('/').next().unwrap_or_default();
    Ok(at_host(Effect::Read, host, 443))
}

#[test]
fn every_key_has_an_example_that_loads_and_uses_it() {
    let blocks = blocks();
    for key in page_keys() {
        let last = key.rsplit('.').next().unwrap();
        let shown = |text: &str| text.lines().any(|line| line.split('=').next().is_some_and(|left| left.trim() == last) || line.trim() == format!("[{last}]"));
        assert!(blocks.iter().any(|(of, _, text)| *of == key && shown(text)), "docs/policy.md has no example for `{key}`");
    }
    for (key, mark, text) in blocks {
        let loaded = try_load(vec![shipped("default", Path::new("/")).unwrap(), layer(LayerKind::User, &text)]);
        match (mark.as_str(), loaded) {
            ("", Ok(policy)) => {
                policy.check_examples(&decode).unwrap_or_else(|error| panic!("`{key}`: {error}"));
            }
            ("refused", Err(_)) => {}
            (_, Ok(_)) => panic!("`{key}`: this example should be refused:\n{text}"),
            (_, Err(error)) => panic!("`{key}`: {error}"),
        }
    }
}

#[test]
fn shipped_profiles_hold_their_examples() {
    for name in PROFILES {
        let policy = load(vec![shipped(name, Path::new("/")).unwrap()]);
        let reports = policy.check_examples(&decode).unwrap_or_else(|error| panic!("{error}"));
        assert!(reports.iter().filter(|report| report.holds()).count() >= 4, "{name} has too few examples");
        assert!(policy.settings().files.writable.iter().any(|path| path.pattern == Path::new("/w")), "{name}: the workspace is not writable");
        let unexpected: Vec<&String> = policy.warnings().iter().collect();
        assert!(unexpected.is_empty(), "{name}: {unexpected:#?}");
    }
}

#[test]
fn shipped_profiles_mask_secrets_and_close_the_launchpad() {
    let policy = load(vec![shipped("claude", Path::new("/")).unwrap()]);
    let files = &policy.settings().files;
    let has = |list: &[settings::FilePath], path: &str| list.iter().any(|entry| entry.pattern == Path::new(path));
    for secret in [
        "/home/u/.ssh",
        "/home/u/.aws",
        "/home/u/.config/gcloud",
        "/home/u/.netrc",
        "/home/u/.kube",
        "/home/u/.docker/config.json",
        "/home/u/.git-credentials",
        "/home/u/.npmrc",
    ] {
        assert!(has(&files.masked, secret), "{secret}");
    }
    for launchpad in ["/w/.git/hooks", "/w/.git/config", "/w/.claude", "/w/agentbox.toml", "/home/u/.claude/settings.json"] {
        assert!(has(&files.read_only, launchpad), "{launchpad}");
    }
    assert!(has(&files.writable, "/home/u/.claude"));
    let env = policy.settings().env.filter(
        [("PATH", "/bin"), ("AWS_SECRET_ACCESS_KEY", "x"), ("ANTHROPIC_API_KEY", "x"), ("LC_ALL", "C"), ("LD_PRELOAD", "x")]
            .map(|(name, value)| (name.into(), value.into())),
    );
    let names: Vec<_> = env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(names, ["PATH", "ANTHROPIC_API_KEY", "LC_ALL", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER"]);
}

#[test]
fn write_without_destroy_is_gated() {
    let policy = user(
        "[place.w]\npaths=[\".\"]\nwrite=\"allow\"\ndestroy=\"allow\"\n[place.history]\npaths=[\".git\"]\ndestroy=\"hold\"\n[place.odd]\npaths=[\"x\"]\nwrite=\"hold\"\n[place.keys]\npaths=[\"**/*.pem\"]\nread=\"hold\"",
    );
    let files = &policy.settings().files;
    let paths = |list: &[settings::FilePath]| list.iter().map(|path| path.pattern.display().to_string()).collect::<Vec<_>>();
    assert_eq!(paths(&files.writable), ["/w"]);
    assert_eq!(paths(&files.gated), ["/w/.git"]);
    assert_eq!(paths(&files.read_only), ["/w/x"]);
    assert_eq!(paths(&files.masked), ["/w/**/*.pem"]);
    let ruled = user("[place.w]\npaths=[\".\"]\nwrite=\"allow\"\ndestroy=\"allow\"\n[[rule]]\nname=\"r\"\neffect=\"destroy\"\nverdict=\"hold\"");
    assert_eq!(paths(&ruled.settings().files.gated), ["/w"], "mounts cannot hold by rule");
}

#[test]
fn an_untrusted_repository_opens_no_file() {
    let profile = layer(LayerKind::Profile, "[place.w]\npaths=[\".\"]\nwrite=\"allow\"\ndestroy=\"allow\"\n[place.s]\npaths=[\"~/.ssh\"]\nread=\"deny\"");
    let repository = layer(
        LayerKind::Repository { trusted: false },
        "[place.mine]\npaths=[\"/home/u\",\"/home/u/.ssh\",\"sub\"]\nread=\"allow\"\nwrite=\"allow\"\ndestroy=\"allow\"\n[place.no]\npaths=[\"closed\"]\nwrite=\"deny\"\ndestroy=\"deny\"",
    );
    let policy = load(vec![profile, repository]);
    let files = &policy.settings().files;
    let writable: Vec<_> = files.writable.iter().map(|path| path.pattern.to_str().unwrap()).collect();
    assert_eq!(writable, ["/w", "/w/sub"]);
    assert_eq!(files.masked.len(), 1);
    assert!(files.read_only.iter().any(|path| path.pattern == Path::new("/w/closed")));
}

#[test]
fn the_effective_table_tells_every_origin() {
    let policy = load(vec![
        shipped("default", Path::new("/")).unwrap(),
        layer(LayerKind::User, "[place.production]\nhosts=[\"a.example\"]\nprotected=true\nwrite=\"hold\""),
    ]);
    let explained = serde_json::to_value(policy.explain()).unwrap();
    let places = explained["places"].as_array().unwrap();
    let production = places.iter().find(|place| place["name"] == "production").unwrap();
    assert_eq!(production["cells"][0]["verdict"], "allow");
    assert_eq!(production["cells"][0]["from"], "internet");
    assert!(production["cells"][0]["origin"].as_str().unwrap().starts_with("profile default:"), "{production}");
    assert_eq!(production["cells"][1], serde_json::json!({"effect": "write", "verdict": "hold", "origin": "user.toml:4"}));
    assert_eq!(places.last().unwrap()["name"], "local");
}
