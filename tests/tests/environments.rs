//! `agentbox run --env`: staging stays staging, whatever the agent finds.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{Home, Origin, process::finish};

/// `web.example` is production's, `tls.example` staging's; each has a credential and a file of its own.
fn policy(origin: &Origin, home: &Home) -> String {
    let names = origin.names();
    format!(
        "extends = \"default\"\n{names}[place.production]\nhosts = [\"web.example\"]\npaths = [\"{keys}\"]\nenvironment = \"production\"\nread = \"allow\"\nwrite = \"allow\"\n\
         [place.staging]\nhosts = [\"tls.example\"]\nenvironment = \"staging\"\nread = \"allow\"\nwrite = \"allow\"\n\
         [credential.theirs]\nsource = \"env:PRODUCTION_TOKEN\"\nfor = [\"web.example\"]\nenvironment = \"production\"\nfiles = [\"{rc}\"]\n\
         [credential.filed]\nsource = \"file:{rest}\"\nfor = [\"web.example\"]\nenvironment = \"production\"\nenv = [\"FILED\"]\n\
         [credential.ours]\nsource = \"env:STAGING_TOKEN\"\nfor = [\"tls.example\"]\nenvironment = \"staging\"\n\
         [[rule]]\nname = \"whatever else is said\"\nplace = \"production\"\nverdict = \"allow\"\n",
        keys = home.path("work/production-keys").display(),
        rc = home.path("work/prodrc").display(),
        rest = home.path("work/production-token").display()
    )
}

#[test]
fn another_environment_is_out_of_reach() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new("");
    home.write("policy.toml", &policy(&origin, &home));
    home.write("work/production-keys/token", "key-of-production");
    home.write("work/prodrc", "token = secret-of-production\n");
    home.write("work/production-token", "filed-of-production\n");
    let script = "curl -sS -o /dev/null -w 'staging %{http_code}\\n' https://tls.example/a; \
                  curl -sS -w '\\nproduction %{http_code}\\n' http://web.example/a -H \"authorization: Bearer key-of-production\"; \
                  cat production-keys/token prodrc production-token; cp production-token copy; cat copy; env; \
                  curl -sS -w '\\nused %{http_code}\\n' http://web.example/b -H \"authorization: Bearer $PRODUCTION_TOKEN\"; \
                  curl -sS -w '\\nfiled %{http_code}\\n' http://web.example/c -H \"authorization: Bearer $FILED\"; echo \"ours ${STAGING_TOKEN:+some}\"";
    let run = |options: &[&str]| {
        let mut command = home.script(options, script);
        command.env("PRODUCTION_TOKEN", "secret-of-production").env("STAGING_TOKEN", "secret-of-staging");
        finish(&mut command)
    };
    let bound = run(&["--env", "staging"]);
    let (out, told) = (bound.out(), format!("{}\n{}", bound.out(), bound.err()));
    assert!(out.contains("staging 200") && out.contains("production 403"), "{told}");
    assert!(out.contains("belongs to the environment production, and this box was started for another one"), "{told}");
    assert!(out.contains("token = ") && out.contains("used 403") && out.contains("filed 403") && out.contains("ours some"), "{told}");
    for secret in ["key-of-production", "secret-of-production", "filed-of-production", "secret-of-staging"] {
        assert!(!out.contains(secret), "{secret}: {told}");
    }
    assert_eq!(origin.count("GET /a"), 1, "only staging's was reached: {told}");
    // Without it the word changes nothing.
    let free = run(&[]);
    assert!(free.out().contains("production 200") && free.out().contains("key-of-production"), "{}\n{}", free.out(), free.err());
    // And then the far side has the secret of the file, which the box has not.
    assert!(free.out().contains("filed 200") && !free.out().contains("filed-of-production"), "{}\n{}", free.out(), free.err());
    assert_eq!(origin.heads().matches("Bearer filed-of-production").count(), 1, "{}", origin.heads());
}

#[test]
fn a_name_that_the_policy_does_not_have_starts_nothing() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new("");
    home.write("policy.toml", &policy(&origin, &home));
    let ended = finish(&mut home.boxed(&["--env", "stagin"], &["true"])).ended(125).err();
    assert!(ended.contains("no environment of this name; it has production, staging"), "{ended}");
}

#[test]
fn explain_shows_what_is_whose() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new("");
    home.write("policy.toml", &policy(&origin, &home));
    let file = home.path("policy.toml").display().to_string();
    let explain = |more: &[&str]| home.outside(&[&["policy", "explain", "--policy", &file], more].concat()).ended(0).out();
    let free = explain(&[]);
    assert!(free.contains("production, of the environment production") && free.contains("  theirs from env:PRODUCTION_TOKEN for web.example"), "{free}");
    assert!(free.contains("of the environment staging: *") && !free.contains("denied everywhere"), "{free}");
    let bound: serde_json::Value = serde_json::from_str(&explain(&["--env", "staging", "--json"])).expect("JSON");
    let cells = |name: &str| {
        let place = bound["places"].as_array().expect("places").iter().find(|place| place["name"] == name).expect("the place");
        place["cells"].as_array().expect("cells").iter().map(|cell| cell["verdict"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cells("production"), ["deny", "deny", "deny"]);
    assert_eq!(cells("staging")[..2], ["allow", "allow"]);
    let denied: Vec<_> = bound["credentials"].as_array().expect("credentials").iter().map(|one| (one["name"].as_str(), one["denied"].as_bool())).collect();
    assert_eq!(denied, [(Some("filed"), Some(true)), (Some("ours"), None), (Some("theirs"), Some(true))]);
    let wrong = home.outside(&["policy", "explain", "--policy", &file, "--env", "stagin"]).ended(1).err();
    assert!(wrong.contains("it has production, staging"), "{wrong}");
}
