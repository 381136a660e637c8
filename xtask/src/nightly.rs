//! `cargo xtask nightly`: what takes too long for every landing.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    bench, catalogue,
    commands::{cargo, find, is_root, output, succeed, tell},
    test::watch,
    test_output::Seen,
    vm,
};

/// Cases of each property, where the environment does not say; a landing runs 256.
const CASES: &str = "20000";

/// How long a test program may say nothing while it tries that many.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Nobody: an ordinary user that is on every machine, and owns nothing.
const NOBODY: &str = "65534";

pub(crate) fn run(_: &[String]) -> Result<ExitCode> {
    succeed(cargo().args(["build", "--package", "agentbox", "--locked"]))?;
    let mut failed = Vec::new();
    let mut step = |name: &'static str, code: ExitCode| {
        if code != ExitCode::SUCCESS {
            failed.push(name);
        }
    };

    tell("── long property tests, and the tests that are ignored because they take long");
    let mut seen = Seen::default();
    let cases = env::var("PROPTEST_CASES").unwrap_or_else(|_| CASES.to_owned());
    let mut command = cargo();
    command.env("PROPTEST_CASES", cases).args(["test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output", "--include-ignored"]);
    step("tests", watch(&mut command, &mut seen, PATIENCE)?);
    tell(&seen.summary());

    if is_root() && find("setpriv").is_some() {
        tell("── the same as an ordinary user");
        let mut seen = Seen::default();
        step("tests as an ordinary user", as_nobody(&mut seen)?);
        tell(&seen.summary());
    } else {
        tell("SKIPPED: the tests as another user, which takes root and setpriv");
    }

    tell("── the catalogue against the packages that it is made from");
    step("catalogue", catalogue::run(&["--check".to_owned()])?);

    tell("── on other kernels");
    step("vm", vm::run(&["--all".to_owned()])?);

    tell("── measured");
    step("bench", bench::run(&[])?);
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tell(&format!("failed: {}", failed.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// Runs every test program as nobody, from its crate's folder as cargo does, with folders of its own to write to.
fn as_nobody(seen: &mut Seen) -> Result<ExitCode> {
    let built = output(cargo().args(["test", "--workspace", "--locked", "--no-run", "--message-format=json"]).stderr(Stdio::inherit()))?;
    let home = tempfile::tempdir()?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    let mut code = ExitCode::SUCCESS;
    for (program, folder) in built.lines().filter_map(test_program) {
        let own = home.path().join(program.file_name().context("a program without a name")?);
        fs::create_dir(&own)?;
        std::os::unix::fs::chown(&own, NOBODY.parse().ok(), NOBODY.parse().ok())?;
        tell(&format!("{}", program.display()));
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all", "--"]).arg(&program).arg("--show-output");
        command.current_dir(folder).env("HOME", &own).env("TMPDIR", &own);
        for variable in ["XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env_remove(variable);
        }
        if watch(&mut command, seen, PATIENCE)? != ExitCode::SUCCESS {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// A test program that cargo built, and its crate's folder.
fn test_program(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" || !message.get("profile")?.get("test")?.as_bool()? {
        return None;
    }
    let program = PathBuf::from(message.get("executable")?.as_str()?);
    let manifest = PathBuf::from(message.get("manifest_path")?.as_str()?);
    Some((program, manifest.parent()?.to_owned()))
}
