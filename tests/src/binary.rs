//! Finds the program under test, and builds it first where nobody says which it is.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// None where it does not build: that is found out once, not by every test.
static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();

/// The `agentbox` that is tested: `AGENTBOX_BIN`, or a fresh build of the workspace's own, in the profile of the test itself.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn agentbox() -> &'static Path {
    let found = BINARY.get_or_init(|| match env::var_os("AGENTBOX_BIN") {
        Some(path) => std::fs::canonicalize(path).ok(),
        None => build(),
    });
    found.as_deref().expect("agentbox builds, or AGENTBOX_BIN names it")
}

/// Cargo locks the target folder itself, so that several test programs at once wait for each other.
fn build() -> Option<PathBuf> {
    // …/target/PROFILE/deps/TEST
    let this = env::current_exe().expect("the test's own path");
    let profile = this.parent().and_then(Path::parent).expect("a test lies in deps/").to_owned();
    let target = profile.parent().expect("a profile lies in target/").to_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--package", "agentbox", "--bin", "agentbox"]).current_dir(root);
    command.arg("--target-dir").arg(&target);
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(other) => {
            command.args(["--profile", other]);
        }
    }
    command.status().is_ok_and(|status| status.success()).then(|| profile.join("agentbox"))
}
