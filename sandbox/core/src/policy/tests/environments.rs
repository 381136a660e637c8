//! A box that is bound to an environment.

use super::*;
use Verdict::{Allow, Deny, Hold as Held};

const TABLE: &str = r#"
[place.production]
resources   = ["railway:environment/production"]
hosts       = ["db.prod.example.com"]
environment = "production"
read        = "allow"
write       = "allow"
destroy     = "allow"

[place.staging]
resources   = ["railway:environment/staging"]
hosts       = ["*.staging.example.com"]
environment = "staging"
read        = "allow"
write       = "allow"
destroy     = "allow"

[place.keys]
paths       = ["/w/deploy/production"]
environment = "production"
read        = "allow"

[place.workspace]
paths   = ["/w"]
read    = "allow"
write   = "allow"
destroy = "allow"

[place.internet]
hosts   = ["*"]
read    = "allow"
write   = "allow"
destroy = "allow"

[credential.theirs]
source      = "env:PRODUCTION_TOKEN"
for         = ["backboard.railway.com"]
environment = "production"

[credential.ours]
source      = "env:STAGING_TOKEN"
for         = ["backboard.railway.com"]
environment = "staging"

[credential.anybodys]
source      = "env:TOKEN"
for         = ["backboard.railway.com"]

[[rule]]
name    = "whatever else is said"
place   = "production"
verdict = "allow"
"#;

fn bound(text: &str, name: &str) -> Policy {
    let mut policy = user(text);
    policy.bind_to_environment(name).unwrap_or_else(|known| panic!("{known:?}"));
    policy
}

#[test]
fn what_belongs_to_another_is_denied() {
    let policy = bound(TABLE, "staging");
    let volume = |effect, lines: &[&[&str]]| on_thing(effect, "railway.volumeDelete", "railway:volume/3d2c", lines);
    let (ours, theirs): (&[&str], &[&str]) = (&["railway:environment/staging"], &["railway:environment/production"]);
    for effect in Effect::ALL {
        // A rule for what is opaque must say so.
        let own = if effect == Effect::Opaque { Effect::Destroy } else { effect };
        assert_eq!(verdict(&policy, volume(own, &[ours])), Allow, "{effect:?}");
        assert_eq!(verdict(&policy, volume(effect, &[theirs])), Deny, "{effect:?}");
        assert_eq!(verdict(&policy, volume(effect, &[ours, theirs])), Deny, "{effect:?}: it belongs to both");
        assert_eq!(verdict(&policy, at_host(effect, "db.prod.example.com", 5432)), Deny, "{effect:?}");
    }
    assert_eq!(verdict(&policy, at_host(Effect::Destroy, "db.staging.example.com", 5432)), Allow);
    assert_eq!(verdict(&policy, at_host(Effect::Destroy, "example.com", 443)), Allow, "what belongs to none is judged as ever");
    let because = because(&policy, volume(Effect::Read, &[theirs]));
    assert!(because.rule.starts_with("place.production environment = \"production\"") && because.reason.contains("started for another"), "{because:?}");
}

#[test]
fn what_nobody_placed_is_a_question_unless_it_reads() {
    let policy = bound(TABLE, "staging");
    let unknown = |effect| ask(effect, "railway.x", Resource::unplaced(id("railway:volume/1")), Some(to("backboard.railway.com", 443)));
    assert_eq!(verdict(&policy, unknown(Effect::Read)), Allow);
    for effect in [Effect::Write, Effect::Destroy, Effect::Opaque] {
        assert_eq!(verdict(&policy, unknown(effect)), Held, "{effect:?}");
    }
    let mut at_theirs = unknown(Effect::Read);
    at_theirs.destination = Some(to("db.prod.example.com", 443));
    assert_eq!(verdict(&policy, at_theirs), Deny, "its host is known");
    assert_eq!(verdict(&policy, delegating(Reach::Anywhere)), Held, "the other party could reach it");
    assert_eq!(verdict(&user(TABLE), delegating(Reach::Anywhere)), Allow);
}

#[test]
fn credentials_and_files_of_another_are_of_no_use() {
    let policy = bound(TABLE, "staging");
    let with = |name: &str, host: &str| {
        let mut request = at_host(Effect::Read, host, 443);
        request.evidence.credentials.push(credential(name, true));
        verdict(&policy, request)
    };
    assert_eq!(with("theirs", "backboard.railway.com"), Deny);
    assert_eq!((with("ours", "backboard.railway.com"), with("anybodys", "backboard.railway.com")), (Allow, Allow));
    // Their rules stay: it is by these that secrets are hidden from the box.
    let names: Vec<&str> = policy.credential_rules().iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["anybodys", "ours", "theirs"]);
    let masked = |policy: &Policy| policy.settings().files.masked.iter().map(|path| path.pattern.display().to_string()).collect::<Vec<_>>();
    assert_eq!(masked(&policy), ["/w/deploy/production"]);
    assert!(masked(&user(TABLE)).is_empty());
    assert_eq!(verdict(&policy, on_file(Effect::Read, "/w/deploy/production/key")), Deny);
    assert_eq!(verdict(&policy, on_file(Effect::Write, "/w/deploy/staging")), Allow);
    assert_eq!(masked(&bound(TABLE, "production")), Vec::<String>::new());
}

#[test]
fn only_a_name_that_the_policy_has_binds() {
    assert_eq!(user(TABLE).bind_to_environment("stagin"), Err(vec!["production".to_owned(), "staging".to_owned()]));
    assert_eq!(user("").bind_to_environment("staging"), Err(Vec::new()));
    for wrong in ["", "two words", "a/b", &"x".repeat(65)] {
        let text = format!("[place.p]\nhosts = [\"a.example\"]\nenvironment = \"{wrong}\"");
        assert!(try_load(vec![layer(LayerKind::User, &text)]).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_untrusted_repository_moves_nothing_out_of_its_environment() {
    let repository = layer(LayerKind::Repository { trusted: false }, "[place.production]\nenvironment = \"staging\"");
    let mut policy = load(vec![repository, layer(LayerKind::Profile, "[place.net]\nhosts=[\"*\"]\nwrite=\"allow\"")]);
    assert!(policy.bind_to_environment("staging").is_ok());
    let mut policy =
        load(vec![layer(LayerKind::Profile, TABLE), layer(LayerKind::Repository { trusted: false }, "[place.production]\nenvironment = \"staging\"")]);
    policy.bind_to_environment("staging").unwrap();
    assert_eq!(verdict(&policy, at_host(Effect::Read, "db.prod.example.com", 5432)), Deny);
}
