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
         [credential.ours]\nsource = \"env:STAGING_TOKEN\"\nfor = [\"tls.example\"]\nenvironment = \"staging\"\n\
         [[rule]]\nname = \"whatever else is said\"\nplace = \"production\"\nverdict = \"allow\"\n",
        keys = home.path("work/production-keys").display(),
        rc = home.path("work/prodrc").display()
    )
}

#[test]
fn another_environment_is_out_of_reach() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new("");
    home.write("policy.toml", &policy(&origin, &home));
    home.write("work/production-keys/token", "key-of-production");
    home.write("work/prodrc", "token = secret-of-production\n");
    let script = "curl -sS -o /dev/null -w 'staging %{http_code}\\n' https://tls.example/a; \
                  curl -sS -w '\\nproduction %{http_code}\\n' http://web.example/a -H \"authorization: Bearer key-of-production\"; \
                  cat production-keys/token prodrc; env; \
                  curl -sS -w '\\nused %{http_code}\\n' http://web.example/b -H \"authorization: Bearer $PRODUCTION_TOKEN\"; echo \"ours ${STAGING_TOKEN:+some}\"";
    let run = |options: &[&str]| {
        let mut command = home.script(options, script);
        command.env("PRODUCTION_TOKEN", "secret-of-production").env("STAGING_TOKEN", "secret-of-staging");
        finish(&mut command)
    };
    let bound = run(&["--env", "staging"]);
    let (out, told) = (bound.out(), format!("{}\n{}", bound.out(), bound.err()));
    assert!(out.contains("staging 200") && out.contains("production 403"), "{told}");
    assert!(out.contains("belongs to the environment production, and this box was started for another one"), "{told}");
    assert!(out.contains("token = ") && out.contains("used 403") && out.contains("ours some"), "{told}");
    for secret in ["key-of-production", "secret-of-production", "secret-of-staging"] {
        assert!(!out.contains(secret), "{secret}: {told}");
    }
    assert_eq!(origin.count("GET /a"), 1, "only staging's was reached: {told}");
    // Without it the word changes nothing.
    let free = run(&[]);
    assert!(free.out().contains("production 200") && free.out().contains("key-of-production"), "{}\n{}", free.out(), free.err());
}

#[test]
fn a_name_that_the_policy_does_not_have_starts_nothing() {
    let Some(origin) = Origin::start() else { return };
    let home = Home::new("");
    home.write("policy.toml", &policy(&origin, &home));
    let ended = finish(&mut home.boxed(&["--env", "stagin"], &["true"])).ended(125).err();
    assert!(ended.contains("no environment of this name; it has production, staging"), "{ended}");
}
