//! Says what a test cannot do on this machine; in CI that is a failure.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{home::Home, process::finish};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Where programs are looked for, also in the box.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a program lies.
#[must_use]
pub fn which(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// Whether all these programs are there. Where one is not, the test is skipped, and counted.
///
/// # Panics
/// In CI: there nothing is skipped.
#[must_use]
pub fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| which(program).is_none()).copied().collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("not installed: {}", missing.join(", ")));
    false
}

/// Whether the system's Python has this module. Where it has not, the test is skipped, and counted.
///
/// # Panics
/// In CI: there nothing is skipped.
#[must_use]
pub fn python_has(module: &str) -> bool {
    let found = std::process::Command::new("/usr/bin/python3").args(["-c", &format!("import {module}")]).stderr(std::process::Stdio::null()).status();
    let has = found.is_ok_and(|status| status.success());
    if !has {
        skip(&format!("not installed: python3's {module}"));
    }
    has
}

/// Whether the test runs as root; skipped elsewhere, in CI as well, which runs as an ordinary user too.
#[must_use]
pub fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        tell(&format!("{what} takes root"));
    }
    root
}

/// Skips a test for want of something that no machine can be asked for, in CI as well: files that lie outside the repository.
pub fn not_here(reason: &str) {
    tell(reason);
}

/// Skips a test for this reason.
///
/// # Panics
/// In CI.
pub fn skip(reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "in CI nothing is skipped: {reason}");
    tell(reason);
}

/// Past the capture of test output: a skipped test passes, and what passes is not shown.
fn tell(reason: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason} ({test})\nskipped {count}");
}

/// Whether `doctor` says that a box of the test's own user would have the kernel gate. Asked once, since it loads its programs to find out.
///
/// # Panics
/// It is known to be here, and is not.
#[must_use]
pub fn has_kernel_gate() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        let report = finish(&mut Home::new("").agentbox(&["doctor", "--json"])).out();
        let report: serde_json::Value = serde_json::from_str(&report).expect("doctor's report");
        let layer = report["layers"].as_array().expect("layers").iter().find(|layer| layer["layer"] == "kernel-gate").expect("it is one of them").clone();
        let is_here = layer["status"]["is"] == "enforced";
        let expected = std::env::var("AGENTBOX_EXPECTS").as_deref() == Ok("kernel-gate") && nix::unistd::geteuid().is_root();
        assert!(is_here || !expected, "{layer}");
        is_here
    })
}

/// The same, where a test is of no use without it.
#[must_use]
pub fn needs_kernel_gate() -> bool {
    let is_here = has_kernel_gate();
    if !is_here {
        not_here("this machine's kernel takes no programs for its security hooks");
    }
    is_here
}
