//! The command over a real vault: what is printed, asked, refused and brought back.

use std::os::fd::AsFd;

use agentbox_vault::{Begin, Hands, Loss, Subject};
use clap::Parser;

use super::*;

/// The arguments alone, as a command line of their own.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: UndoArguments,
}

/// A workspace, and a state folder with a vault.
struct Scene {
    _owner: tempfile::TempDir,
    top: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let owner = tempfile::tempdir().unwrap();
        let top = owner.path().canonicalize().unwrap();
        for folder in ["work/src", "state"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        Self { _owner: owner, top }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.join("work").join(name)
    }

    /// A session that removes `gone`, rewrites `changed` and makes `new`.
    fn session(&self, name: &str) {
        for (file, content) in [("src/gone", "1\n"), ("changed", "a\nb\n")] {
            std::fs::write(self.path(file), content).unwrap();
        }
        let vault = Vault::open(&self.top.join("state/vault"), Settings::default()).unwrap();
        std::thread::sleep(Duration::from_millis(12));
        let begin = Begin { name, roots: &[self.top.join("work")], about: "rm \u{1b}[2J", undoes: None };
        let session = vault.begin(&begin, Hands::here(read_lease).unwrap()).unwrap();
        std::thread::sleep(Duration::from_millis(12));
        for (file, loss) in [("src/gone", Loss::Name), ("changed", Loss::Content)] {
            let path = self.path(file);
            let (object, folder) = (opened(&path), opened(path.parent().unwrap()));
            let kept = session.keep(&Subject { object: object.as_fd(), folder: Some(folder.as_fd()), path: &path, loss }).unwrap();
            match loss {
                Loss::Name => std::fs::remove_file(&path).unwrap(),
                Loss::Content => std::fs::write(&path, "a\nX\n").unwrap(),
            }
            drop(kept);
        }
        std::fs::write(self.path("new"), "new").unwrap();
        drop(session);
        vault.finish(name, Duration::from_secs(5)).unwrap();
    }

    fn undo(&self, line: &[&str]) -> Result<(String, bool), String> {
        let arguments = Line::try_parse_from(std::iter::once("undo").chain(line.iter().copied())).map_err(|error| error.to_string())?.arguments;
        let mut out = Vec::new();
        let vaults = Vaults::at(&self.top.join("state")).map_err(words)?;
        let code = undo_in(&vaults, &arguments, &mut out).map_err(words)?;
        let text = String::from_utf8(out).unwrap().replace(&format!("{}/", self.top.join("work").display()), "");
        Ok((text, format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)))
    }
}

fn words(fault: Fault) -> String {
    match fault {
        Fault::No(why) | Fault::Failed(why) => why,
    }
}

fn opened(path: &Path) -> std::os::fd::OwnedFd {
    use nix::{fcntl::OFlag, sys::stat::Mode};
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn a_session_is_listed_planned_shown_and_undone() {
    let scene = Scene::new();
    assert_eq!(scene.undo(&["--list"]).unwrap().0, "The vault is empty: no session has destroyed anything yet.\n");
    assert!(scene.undo(&[]).unwrap_err().starts_with("The vault is empty"));
    scene.session("k7m2qp");
    let (list, _) = scene.undo(&["--list"]).unwrap();
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], &row[3..]), ("k7m2qp", &["ended", "2", "6", "B", "rm", "\\u{1b}[2J"][..]));

    let (plan, well) = scene.undo(&["--dry-run"]).unwrap();
    let body: Vec<&str> = plan.lines().skip(1).collect();
    assert_eq!(body, ["  put back   changed  (4 B, its content)", "  restore    src/gone  (2 B)", "2 to do, 0 in conflict, 0 lost. Nothing was changed."]);
    assert!(well && !scene.path("src/gone").exists());

    let (lines, _) = scene.undo(&["--diff"]).unwrap();
    assert!(lines.ends_with("--- changed\n+++ changed\n@@ -1,2 +1,2 @@\n a\n-X\n+b\n"), "{lines}");

    let (said, well) = scene.undo(&[]).unwrap();
    assert!(well && said.contains("2 back. What was overwritten is kept: agentbox undo undo-"), "{said}");
    assert_eq!(std::fs::read(scene.path("changed")).unwrap(), b"a\nb\n");
    assert_eq!(std::fs::read(scene.path("src/gone")).unwrap(), b"1\n");
    assert!(scene.path("new").exists());
    assert!(scene.undo(&[]).unwrap().0.ends_with("Nothing to bring back: all is as it was.\n"));
    assert!(scene.undo(&["--list"]).unwrap().0.contains("undone"));
    scene.undo(&["--made"]).unwrap();
    assert!(!scene.path("new").exists());
}

#[test]
fn what_was_changed_since_is_refused_without_a_terminal() {
    let scene = Scene::new();
    scene.session("k7m2qp");
    std::thread::sleep(Duration::from_millis(12));
    std::fs::write(scene.path("changed"), "mine").unwrap();
    let (plan, _) = scene.undo(&["--dry-run"]).unwrap();
    assert!(plan.contains("CONFLICT   changed"), "{plan}");
    // `--json` never asks, so that this test does not hang in a terminal.
    let (said, well) = scene.undo(&["--json"]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["done"].as_array().unwrap().len(), said["refused"].as_array().unwrap().len(), well), (1, 1, false));
    assert_eq!(std::fs::read(scene.path("changed")).unwrap(), b"mine");
    assert!(scene.undo(&["--overwrite"]).unwrap().1);
    assert_eq!(std::fs::read(scene.path("changed")).unwrap(), b"a\nb\n");
}

#[test]
fn sessions_and_paths_are_told_apart() {
    let scene = Scene::new();
    scene.session("first");
    scene.session("second");
    let gone = scene.path("src/gone");
    let text = gone.to_str().unwrap();
    let (plan, _) = scene.undo(&["--dry-run", "first", scene.path("src").to_str().unwrap()]).unwrap();
    assert!(plan.starts_with("session first") && plan.contains("src/gone") && !plan.contains("changed "), "{plan}");
    let (plan, _) = scene.undo(&["--dry-run", text]).unwrap();
    assert!(plan.starts_with("session second"), "{plan}");
    assert!(scene.undo(&["--dry-run", "third"]).unwrap_err().contains("neither a session nor a path"));
    let (both, _) = scene.undo(&["--dry-run", "--since", "1h", text]).unwrap();
    assert_eq!(both.matches("session ").count(), 2, "{both}");
    assert!(scene.undo(&["--since", "tomorrow"]).is_err());
    assert!(scene.undo(&["--list", "--dry-run"]).is_err());
}

#[test]
fn times_are_read() {
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let read = |text: &str| moment(text, now).ok();
    assert_eq!(read("10m"), Some(999_400_000));
    assert_eq!(read("2h"), Some(992_800_000));
    assert_eq!(read("30s"), Some(999_970_000));
    assert_eq!(read("3d"), Some(740_800_000));
    assert_eq!(read("9999999d"), Some(0));
    assert_eq!(read("1970-01-02"), Some(86_400_000));
    assert_eq!(read("1970-01-02 00:01"), Some(86_460_000));
    assert_eq!(read("1970-01-02T00:01:02Z"), Some(86_462_000));
    for wrong in ["", "m", "10", "10x", "yesterday", "1970-13-01", "1970-01-02 25:00", "é"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn sizes_are_short() {
    let all = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1999, "1.9 kB"), (12_345_678, "12.3 MB"), (u64::MAX, "18446.7 PB")];
    for (bytes, text) in all {
        assert_eq!(size(bytes), text);
    }
}

#[test]
fn paths_lose_their_dots_and_links() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().canonicalize().unwrap();
    std::fs::create_dir(top.join("real")).unwrap();
    std::os::unix::fs::symlink("real", top.join("link")).unwrap();
    assert_eq!(absolute(&top.join("link/gone/../f")).ok(), Some(top.join("real/f")));
    assert_eq!(absolute(&top.join("link/gone/f")).ok(), Some(top.join("real/gone/f")));
    assert_eq!(absolute(&top.join("link")).ok(), Some(top.join("link")));
}
