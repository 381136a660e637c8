//! Whole errors and whole reasons, as people and agents read them.

use super::*;

fn refused(text: &str) -> String {
    match try_load(vec![layer(LayerKind::User, text)]) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(error) => error.0,
    }
}

#[test]
fn errors_have_a_caret_and_a_hint() {
    assert_eq!(
        refused("[place.production]\nhosts = [\"a.example\"]\ndestory = \"hold\"\n"),
        r#"user.toml:3:1: unknown key `destory` in `place.production`
   |
 3 | destory = "hold"
   | ^^^^^^^

hint: did you mean "destroy"?"#
    );
    assert_eq!(
        refused("[place.a]\nwrite = \"alow\"\n"),
        r#"user.toml:2:9: `place.a.write` is one of allow, hold, deny
   |
 2 | write = "alow"
   |         ^^^^^^

hint: did you mean "allow"?"#
    );
    assert_eq!(
        refused("[place.production]\nwrite = \"hold\"\n\n[[rule]]\nname = \"x\"\nplace = \"prodution\"\nverdict = \"allow\"\n"),
        r#"user.toml:6:9: there is no place `prodution`
   |
 6 | place = "prodution"
   |         ^^^^^^^^^^^

hint: did you mean "production"?"#
    );
    assert_eq!(
        refused("[approval]\napprover = [\"~root/key.pub\"]\n"),
        r#"user.toml:2:13: `~root/key.pub`: only your own home can be named, as `~/…`
   |
 2 | approver = ["~root/key.pub"]
   |             ^^^^^^^^^^^^^^^"#
    );
    assert_eq!(
        refused("[approval]\nchannels = [\"terminal\", \"fax\"]\n"),
        r#"user.toml:2:25: there is no channel `fax`
   |
 2 | channels = ["terminal", "fax"]
   |                         ^^^^^

hint: the channels are: terminal, web, desktop, and what [channel.NAME] names"#
    );
}

#[test]
fn a_failing_example_says_what_came_out() {
    let policy = user(
        "[place.internet]\nhosts = [\"*\"]\nwrite = \"allow\"\n\n[[example]]\noperation = \"write http.post http:example.com:443/\"\nverdict = \"hold\"\n",
    );
    let error = policy.check_examples(&|_| Err("unused".into())).unwrap_err();
    assert_eq!(
        error.0,
        r#"user.toml:6:13: this example comes out as "allow", and is said to be "hold"
http.post on http:example.com:443/ is allowed: in internet, write is "allow"
   |
 6 | operation = "write http.post http:example.com:443/"
   |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

"#
        .trim_end()
    );
}

#[test]
fn the_secret_itself_is_never_shown() {
    let error = refused("[credential.x]\nfor = [\"a.b\"]\nsource = \"hunter2\"\n");
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with("user.toml:3:10: this is no source"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    for secret in ["url = \"http://hooks.example/hunter2\"", "url = \"https://u:hunter2@a.b/\"", "url = \"https://a.b/c\"\nsecret = \"hunter2\""] {
        let error = refused(&format!("[channel.x]\ntype = \"webhook\"\n{secret}\n"));
        assert!(error.contains("this is no") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn reasons_name_place_cell_and_line() {
    let policy = user("[place.production]\nresources = [\"railway:environment/production\"]\nprotected = true\ndestroy = \"hold\"\n");
    let unknown = ask(Effect::Destroy, "railway.volumeDelete", Resource::unplaced(id("railway:volume/3d2c")), Some(to("backboard.railway.com", 443)));
    let because = because(&policy, unknown);
    assert_eq!(because.place, "production");
    assert_eq!(because.rule, "place.production destroy = \"hold\" (user.toml:4)");
    assert_eq!(
        because.reason,
        "railway.volumeDelete on railway:volume/3d2c waits for a person: in production, destroy is \"hold\"; nobody could tell where it belongs, so the strictest place that it could be in decides"
    );
}

#[test]
fn a_refusal_is_kind_and_safe() {
    let policy = user("[place.internet]\nhosts = [\"*\"]\ndestroy = \"deny\"\n");
    let mut request = at_host(Effect::Destroy, "example.com", 443);
    request.evidence.credentials = vec![credential("tok\u{1b}en", false)];
    request.operations[0].reason = "SECRET".into();
    let Judgement::Deny(denied) = policy.judge_at(request, 1_000) else { panic!("not denied") };
    assert_eq!(denied.refusal.reason, "http.any on http:example.com:443 is denied: in internet, destroy is \"deny\"");
    assert_eq!(denied.refusal.guidance, "Do not look for another way to do it; go on without it, or ask the person who started this box to change the policy.");
    let text = format!("{:?}", denied.refusal);
    assert!(!text.contains("SECRET") && !text.contains('\u{1b}'));
}

#[test]
fn warnings_of_what_is_likely_not_meant() {
    let policy = user(
        "caches = [\"~/.npm\"]\n[place.production]\nhosts = [\"a.example\"]\nprotected = true\napprovers = 2\nread = \"allow\"\ndestroy = \"hold\"\n[place.internet]\nhosts = [\"*\"]\nwrite = \"allow\"\n[place.ghost]\nread = \"allow\"\n[[rule]]\nname = \"all\"\nplace = \"production\"\noperation = \"*\"\nverdict = \"allow\"\n[[rule]]\nname = \"late\"\nplace = \"production\"\noperation = \"x.y\"\nverdict = \"deny\"\n[[rule]]\nname = \"odd\"\noperation = \"x y\"\nverdict = \"deny\"\n",
    );
    for wanted in [
        "user.toml:2: place `production` wants 2 approvers, and `approval.approver` names no keys by which they could be told apart: what is held there can only be denied.",
        "user.toml:2: place `production` leaves `write` open, so it inherits \"allow\" from `internet`, which is for every host (\"*\").",
        "user.toml:11: place `ghost` names no paths, hosts or resources: nothing is ever in it.",
        "user.toml:13: rule \"all\" allows every operation in `production`, which is protected: name the operation that the reason is about.",
        "user.toml:18: rule \"late\" can never match: rule \"all\" (user.toml:13) comes before it and covers it.",
        "user.toml:23: rule \"odd\" can never match: an operation's name has letters, digits, '.', '_' and '-'.",
    ] {
        assert!(policy.warnings().iter().any(|warning| warning == wanted), "no warning {wanted:?} in {:#?}", policy.warnings());
    }
}
