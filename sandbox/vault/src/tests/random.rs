//! Random trees and random deeds: after undo, the tree is as it was.

use std::os::unix::fs::{FileExt, symlink};

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;

/// Names that the trees and the deeds use: few, so that they meet.
const NAMES: &[&str] = &["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Op {
    Write(usize, usize, u8),
    Truncate(usize, u16),
    Punch(usize),
    Remove(usize),
    RemoveAll(usize),
    Folder(usize, usize),
    Symlink(usize, usize),
    Rename(usize, usize, usize),
    Exchange(usize, usize),
    Link(usize, usize, usize),
    Mode(usize, u32),
    Times(usize, i64),
    Attribute(usize, u8),
    Failed(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..40usize;
    let name = || 0..NAMES.len();
    prop_oneof![
        4 => (at(), name(), any::<u8>()).prop_map(|(at, name, fill)| Op::Write(at, name, fill)),
        1 => (at(), any::<u16>()).prop_map(|(at, size)| Op::Truncate(at, size)),
        1 => at().prop_map(Op::Punch),
        4 => at().prop_map(Op::Remove),
        2 => at().prop_map(Op::RemoveAll),
        2 => (at(), name()).prop_map(|(at, name)| Op::Folder(at, name)),
        1 => (at(), name()).prop_map(|(at, name)| Op::Symlink(at, name)),
        6 => (at(), at(), name()).prop_map(|(from, to, name)| Op::Rename(from, to, name)),
        2 => (at(), at()).prop_map(|(one, other)| Op::Exchange(one, other)),
        2 => (at(), at(), name()).prop_map(|(from, to, name)| Op::Link(from, to, name)),
        1 => (at(), 0..0o10000u32).prop_map(|(at, mode)| Op::Mode(at, mode)),
        1 => (at(), -1000..1000i64).prop_map(|(at, time)| Op::Times(at, time)),
        1 => (at(), any::<u8>()).prop_map(|(at, value)| Op::Attribute(at, value)),
        1 => at().prop_map(Op::Failed),
    ]
}

/// Everything in the tree but its top.
fn things(scene: &Scene) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![scene.folder.join("work")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn kind(path: &Path) -> Option<Kind> {
    facts::look(object(path).ok()?.as_fd()).ok().map(|(_, facts)| facts.kind)
}

/// The path of one thing, and a name in the folder that it is or is in.
fn pick(things: &[PathBuf], at: usize) -> Option<&PathBuf> {
    (!things.is_empty()).then(|| &things[at % things.len()])
}

fn place(scene: &Scene, things: &[PathBuf], at: usize, name: usize) -> PathBuf {
    let folder = match pick(things, at) {
        Some(path) if kind(path) == Some(Kind::Folder) => path.clone(),
        Some(path) => path.parent().unwrap().to_owned(),
        None => scene.folder.join("work"),
    };
    folder.join(NAMES[name])
}

/// Does one thing; without a gate, it makes the tree that there is in the beginning.
fn act(scene: &Scene, gate: Option<&Gate>, op: &Op) {
    let things = things(scene);
    let make = |path: &Path, deed: &dyn Fn(&Path) -> Result<(), Errno>| {
        if kind(path).is_none() {
            let _ = gate.map_or_else(|| deed(path), |gate| gate.make(path, deed));
        }
    };
    let change = |path: &Path, deed: &dyn Fn(&Path) -> Result<(), Errno>| match gate {
        Some(gate) => gate.change(path, deed),
        None => drop(deed(path)),
    };
    match op {
        Op::Write(at, name, fill) => {
            let (path, content) = (place(scene, &things, *at, *name), vec![*fill; usize::from(*fill) * 40]);
            match (kind(&path), gate) {
                (None, _) => make(&path, &|path| std::fs::write(path, &content).map_err(|_| Errno::IO)),
                (Some(Kind::File), Some(gate)) => gate.overwrite(&path, &content),
                (Some(_), _) => {}
            }
        }
        Op::Truncate(at, size) => {
            if let (Some(path), Some(gate)) = (pick(&things, *at).filter(|path| kind(path) == Some(Kind::File)), gate) {
                let kept = gate.keep(path, Loss::Content).unwrap();
                std::fs::File::options().write(true).open(path).unwrap().set_len(u64::from(*size)).unwrap();
                drop(kept);
            }
        }
        Op::Punch(at) => {
            if let (Some(path), Some(gate)) = (pick(&things, *at).filter(|path| kind(path) == Some(Kind::File)), gate) {
                let kept = gate.keep(path, Loss::Content).unwrap();
                let file = std::fs::File::options().write(true).open(path).unwrap();
                let _ = fs::fallocate(&file, fs::FallocateFlags::PUNCH_HOLE | fs::FallocateFlags::KEEP_SIZE, 0, 4096);
                let _ = file.write_at(b"!", 9000);
                drop(kept);
            }
        }
        Op::Remove(at) => {
            if let (Some(path), Some(gate)) = (pick(&things, *at), gate) {
                let _ = gate.unlink(path);
            }
        }
        Op::RemoveAll(at) => {
            if let (Some(path), Some(gate)) = (pick(&things, *at), gate) {
                gate.remove_all(path);
            }
        }
        Op::Folder(at, name) => make(&place(scene, &things, *at, *name), &|path| fs::mkdir(path, Mode::from_raw_mode(0o755))),
        Op::Symlink(at, name) => make(&place(scene, &things, *at, *name), &|path| symlink("../a", path).map_err(|_| Errno::IO)),
        Op::Rename(from, to, name) => {
            let Some(from) = pick(&things, *from) else { return };
            let to = place(scene, &things, *to, *name);
            let _ = gate.map_or_else(|| fs::rename(from, &to), |gate| gate.rename(from, &to));
        }
        Op::Exchange(one, other) => {
            if let (Some(one), Some(other), Some(gate)) = (pick(&things, *one), pick(&things, *other), gate) {
                let _ = gate.exchange(one, other);
            }
        }
        Op::Link(from, to, name) => {
            let Some(from) = pick(&things, *from).filter(|path| kind(path) != Some(Kind::Folder)) else { return };
            let to = place(scene, &things, *to, *name);
            let _ = gate.map_or_else(|| fs::link(from, &to), |gate| gate.link(from, &to));
        }
        Op::Mode(at, mode) => {
            if let Some(path) = pick(&things, *at).filter(|path| kind(path) != Some(Kind::Link)) {
                // A tree that its owner cannot read is a picture that cannot be taken.
                change(path, &|path| fs::chmod(path, Mode::from_raw_mode(*mode | 0o700)));
            }
        }
        Op::Times(at, time) => {
            if let Some(path) = pick(&things, *at) {
                let time = fs::Timespec { tv_sec: *time, tv_nsec: 77 };
                let times = fs::Timestamps { last_access: time, last_modification: time };
                change(path, &|path| fs::utimensat(fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW));
            }
        }
        Op::Attribute(at, value) => {
            if let Some(path) = pick(&things, *at).filter(|path| matches!(kind(path), Some(Kind::File | Kind::Folder))) {
                change(path, &|path| fs::setxattr(path, "user.x", &[*value], fs::XattrFlags::empty()));
            }
        }
        Op::Failed(at) => {
            if let (Some(path), Some(gate)) = (pick(&things, *at), gate) {
                gate.keep(path, Loss::Name).unwrap().failed();
            }
        }
    }
}

fn comes_back(folder: &Path, seed: &[Op], ops: &[Op]) {
    let owner = tempfile::tempdir_in(folder).unwrap();
    let scene = Scene::at(&owner.path().canonicalize().unwrap(), Settings::default());
    for op in seed {
        act(&scene, None, op);
    }
    let before = scene.picture();
    let gate = scene.begin("s1");
    for op in ops {
        act(&scene, Some(&gate), op);
    }
    scene.back(gate, &before);
}

pub(super) fn many(folder: &Path, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() };
    let ops = (prop::collection::vec(op(), 0..30), prop::collection::vec(op(), 1..25));
    // One at a time: the hook is everybody's.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // A failing case is run hundreds of times until it is small; its words are in the error.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = TestRunner::new(config).run(&ops, |(seed, ops)| {
        std::panic::catch_unwind(|| comes_back(folder, &seed, &ops)).map_err(|panic| {
            let words = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            TestCaseError::fail(words)
        })
    });
    std::panic::set_hook(before);
    if let Err(error) = result {
        let words = match error {
            proptest::test_runner::TestError::Fail(why, (seed, ops)) => format!("{why}\n{seed:?}\n{ops:?}"),
            proptest::test_runner::TestError::Abort(why) => why.to_string(),
        };
        panic!("{words}");
    }
}

/// How many trees; `AGENTBOX_RANDOM_CASES` asks for more.
pub(super) fn cases() -> u32 {
    std::env::var("AGENTBOX_RANDOM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

#[test]
fn any_tree_comes_back_after_any_deeds() {
    many(&std::env::temp_dir(), cases());
}

#[test]
fn the_same_in_memory() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() || tempfile::tempdir_in(shm).is_err() {
        println!("SKIPPED: no /dev/shm to write to");
        return;
    }
    many(shm, cases());
}
