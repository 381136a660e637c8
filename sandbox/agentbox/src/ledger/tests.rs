//! Tests of the ledger: any change is found, any crash survived, and what is not written does not happen.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use agentbox_core::ledger::{Draft, Durability, Event, GENESIS};

use super::{read::verify, *};

/// Set for the child process of a test: the folder that it is to write to.
const CHILD: &str = "AGENTBOX_TEST_LEDGER_CHILD";

fn draft(note: &str) -> Draft {
    Draft { note: note.to_owned(), ..Draft::new(Event::Noted, "b1") }
}

fn small(entries: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("ledger");
    let ledger = Ledger::open(&folder).unwrap();
    for number in 1..=entries {
        assert_eq!(ledger.write(draft(&format!("entry {number}")), Durability::Synced).unwrap(), number as u64);
    }
    drop(ledger);
    (dir, folder)
}

fn good(folder: &Path, entries: u64) {
    let report = verify(folder).unwrap();
    assert_eq!((report.entries, report.problem.as_deref()), (entries, None), "{report:?}");
}

fn is_broken(folder: &Path) -> bool {
    verify(folder).map_or(true, |report| report.problem.is_some())
}

#[test]
fn entries_follow_each_other_and_outlive_their_writer() {
    let (_dir, folder) = small(3);
    good(&folder, 3);
    let ledger = Ledger::open(&folder).unwrap();
    assert_eq!(ledger.write(draft("4"), Durability::Grouped).unwrap(), 4);
    drop(ledger);
    let report = verify(&folder).unwrap();
    assert_eq!((report.entries, report.anchored, report.unsynced()), (4, 4, 0), "the last act of a writer is a sync");
    for file in [ENTRIES, ANCHOR] {
        assert_eq!(fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let text = fs::read_to_string(folder.join(ENTRIES)).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["previous"], GENESIS);
}

#[test]
fn a_group_is_written_in_order_and_as_one() {
    let (_dir, folder) = small(1);
    let ledger = Ledger::open(&folder).unwrap();
    let notes: Vec<String> = (0..700).map(|number| format!("of a group {number} \u{1f} \"quoted\"")).collect();
    ledger.write_group(notes.iter().map(|note| draft(note)).collect()).unwrap();
    assert_eq!(ledger.write(draft("after it"), Durability::Synced).unwrap(), 702);
    // One that is too long takes its group with it, and nobody else's.
    let long = "x".repeat(LONGEST_LINE);
    assert!(ledger.write_group(vec![draft("beside a long one"), draft(&long)]).is_err());
    assert_eq!(ledger.write(draft("and after that"), Durability::Synced).unwrap(), 703);
    ledger.write_group(Vec::new()).unwrap();
    drop(ledger);
    good(&folder, 703);
    let text = fs::read_to_string(folder.join(ENTRIES)).unwrap();
    let told: Vec<String> = text.lines().map(|line| serde_json::from_str::<agentbox_core::ledger::Entry>(line).unwrap().draft.note).collect();
    assert_eq!(told[1..701], notes);
    assert!(!text.contains("beside a long one"));
}

#[test]
fn no_ledger_is_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    good(&dir.path().join("none"), 0);
}

#[test]
fn every_changed_byte_is_found() {
    let (_dir, folder) = small(3);
    for file in [ENTRIES, ANCHOR] {
        let path = folder.join(file);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                fs::write(&path, &changed).unwrap();
                assert!(is_broken(&folder), "{file}: byte {at} ^ {flip:#x} was not found");
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    good(&folder, 3);
}

#[test]
fn every_cut_is_found_and_never_written_over() {
    let (_dir, folder) = small(3);
    for file in [ENTRIES, ANCHOR] {
        let path = folder.join(file);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(is_broken(&folder), "{file}: a cut to {length} was not found");
            assert!(Ledger::open(&folder).is_err(), "{file}: opened when cut to {length}");
        }
        fs::remove_file(&path).unwrap();
        assert!(is_broken(&folder), "{file}: its absence was not found");
        assert!(Ledger::open(&folder).is_err(), "{file}: opened when it was gone");
        fs::write(&path, &whole).unwrap();
    }
    good(&folder, 3);
}

#[test]
fn reordered_repeated_left_out_and_respelt_entries_are_found() {
    let (_dir, folder) = small(4);
    let path = folder.join(ENTRIES);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let write = |lines: &[&str]| fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
    for wrong in [
        vec![lines[0], lines[2], lines[1], lines[3]],
        vec![lines[0], lines[1], lines[1], lines[3]],
        vec![lines[0], lines[2], lines[3]],
        vec![lines[1], lines[2], lines[3]],
        vec![lines[0], "", lines[1], lines[2], lines[3]],
    ] {
        write(&wrong);
        assert!(is_broken(&folder));
    }
    // The same entry with a blank, an added key, a doubled key: a reader might take another meaning from it.
    for (from, to) in
        [("{\"sequence\"", "{ \"sequence\""), ("{\"sequence\"", "{\"extra\":1,\"sequence\""), ("\"event\":\"noted\"", "\"event\":\"held\",\"event\":\"noted\"")]
    {
        let respelt = lines[1].replacen(from, to, 1);
        assert_ne!(respelt, lines[1]);
        write(&[lines[0], &respelt, lines[2], lines[3]]);
        assert!(is_broken(&folder), "{to}");
    }
    write(&lines);
    good(&folder, 4);
}

#[test]
fn a_rewritten_end_does_not_match_the_anchor() {
    let (_dir, folder) = small(3);
    let (_other, forged) = small(2);
    let ledger = Ledger::open(&forged).unwrap();
    ledger.write(draft("another third"), Durability::Synced).unwrap();
    drop(ledger);
    fs::copy(forged.join(ENTRIES), folder.join(ENTRIES)).unwrap();
    assert!(is_broken(&folder));
}

#[test]
fn what_a_crash_left_is_named_then_set_aside() {
    let (_dir, folder) = small(2);
    let path = folder.join(ENTRIES);
    let whole = fs::read(&path).unwrap();
    for garbage in [&b"{\"sequence\":3,\"at\":1"[..], &[0; 5000], b"\n\n\n", b"not an entry\n", &[b'x'; LONGEST_LINE + 10]] {
        let anchor = fs::read(folder.join(ANCHOR)).unwrap();
        fs::write(&path, [&whole[..], garbage].concat()).unwrap();
        let problem = verify(&folder).unwrap().problem.unwrap();
        assert!(problem.contains("after the anchor"), "{problem}");
        let ledger = Ledger::open(&folder).unwrap();
        assert_eq!(ledger.write(draft("next"), Durability::Synced).unwrap(), 4, "entry 3 tells of what was set aside");
        drop(ledger);
        good(&folder, 4);
        assert!(fs::read_to_string(&path).unwrap().contains("set aside in set-aside-"));
        let aside =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).find(|p| p.file_name().unwrap().to_string_lossy().starts_with("set-aside-")).unwrap();
        assert_eq!(fs::read(&aside).unwrap(), garbage);
        fs::remove_file(aside).unwrap();
        fs::write(&path, &whole).unwrap();
        fs::write(folder.join(ANCHOR), anchor).unwrap();
    }
}

#[test]
fn whole_entries_after_the_anchor_are_the_unsynced_tail_and_are_kept() {
    let (_dir, folder) = small(2);
    let anchor = fs::read(folder.join(ANCHOR)).unwrap();
    let ledger = Ledger::open(&folder).unwrap();
    ledger.write(draft("3"), Durability::Synced).unwrap();
    drop(ledger);
    // As after a crash between the sync and the anchor.
    fs::write(folder.join(ANCHOR), anchor).unwrap();
    let report = verify(&folder).unwrap();
    assert_eq!((report.entries, report.anchored, report.unsynced(), report.problem), (3, 2, 1, None));
    let ledger = Ledger::open(&folder).unwrap();
    assert_eq!(ledger.write(draft("4"), Durability::Synced).unwrap(), 4);
    drop(ledger);
    good(&folder, 4);
}

#[test]
fn what_was_anchored_and_then_changed_stops_every_writer() {
    let (_dir, folder) = small(1);
    let one = Ledger::open(&folder).unwrap();
    one.write(draft("2"), Durability::Synced).unwrap();
    let two = Ledger::open(&folder).unwrap();
    two.write(draft("3"), Durability::Synced).unwrap();
    // `one` has not read entry 3 yet; somebody changes it.
    let file = fs::OpenOptions::new().write(true).open(folder.join(ENTRIES)).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(b"#", length - 10).unwrap();
    assert!(one.write(draft("4"), Durability::Synced).is_err());
    assert_eq!(file.metadata().unwrap().len(), length, "nothing was cut off");
    // Cut under a writer, or removed under it: the same.
    file.set_len(length - 200).unwrap();
    assert!(two.write(draft("4"), Durability::Synced).is_err());
    fs::remove_file(folder.join(ENTRIES)).unwrap();
    assert!(two.write(draft("4"), Durability::Synced).is_err());
}

#[test]
fn grouped_entries_are_anchored_soon_and_many_share_a_sync() {
    let (_dir, folder) = small(0);
    let ledger = Ledger::open(&folder).unwrap();
    ledger.write(draft("g"), Durability::Grouped).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while verify(&folder).unwrap().anchored < 1 {
        assert!(Instant::now() < deadline, "a grouped entry was never brought to disk");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..64)
            .map(|n| {
                let ledger = ledger.clone();
                scope.spawn(move || ledger.write(draft(&n.to_string()), if n % 2 == 0 { Durability::Synced } else { Durability::Grouped }).unwrap())
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=65).collect::<Vec<_>>());
    drop(ledger);
    good(&folder, 65);
}

#[test]
fn an_entry_that_is_too_long_takes_no_other_with_it() {
    let (_dir, folder) = small(0);
    let ledger = Ledger::open(&folder).unwrap();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| ledger.write(draft(&"x".repeat(LONGEST_LINE)), Durability::Synced));
        let short = scope.spawn(|| ledger.write(draft("short"), Durability::Synced));
        assert!(long.join().unwrap().is_err());
        assert_eq!(short.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_folder_that_others_can_open_is_refused() {
    let (_dir, folder) = small(1);
    for mode in [0o770, 0o701, 0o755] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Ledger::open(&folder), Err(LedgerError::Open { .. })));
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let link = folder.with_file_name("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    assert!(matches!(Ledger::open(&link), Err(LedgerError::Open { .. })));
    fs::rename(folder.join(ENTRIES), folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.join("elsewhere"), folder.join(ENTRIES)).unwrap();
    assert!(Ledger::open(&folder).is_err(), "a link in the place of the file");
}

#[test]
fn a_full_disk_is_a_no_and_leaves_no_half_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| Command::new(arguments[0]).args(&arguments[1..]).arg(dir.path()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"]) {
        println!("SKIPPED: a small tmpfs cannot be mounted here");
        return;
    }
    let folder = dir.path().join("ledger");
    let outcome = std::panic::catch_unwind(|| {
        let ledger = Ledger::open(&folder).unwrap();
        let mut written = 0;
        let refused = loop {
            match ledger.write(draft(&"x".repeat(1000)), Durability::Synced) {
                Ok(number) => written = number,
                Err(error) => break error.to_string(),
            }
            assert!(written < 1000, "the disk never filled");
        };
        assert!(refused.contains("No space left"), "{refused}");
        good(&folder, written);
        assert!(ledger.write(draft(&"x".repeat(5000)), Durability::Grouped).is_err());
        // As soon as there is room again, it goes on.
        let grow = Command::new("mount").args(["-o", "remount,size=256k"]).arg(dir.path()).status().unwrap();
        assert!(grow.success());
        assert_eq!(ledger.write(draft("again"), Durability::Synced).unwrap(), written + 1);
        drop(ledger);
        good(&folder, written + 1);
    });
    assert!(mount(&["umount", "-l"]));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Writes until it is killed, printing the number of each entry once `write` has said that it is on disk.
#[test]
fn child_that_writes() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let ledger = Ledger::open(Path::new(&folder)).unwrap();
    for round in 0..100_000 {
        let durability = if round % 3 == 0 { Durability::Synced } else { Durability::Grouped };
        let number = ledger.write(draft(&"y".repeat(round % 700)), durability).unwrap();
        println!("wrote {number}");
    }
}

fn child(folder: &Path) -> std::process::Child {
    let me = std::env::current_exe().unwrap();
    let arguments = ["--exact", "ledger::tests::child_that_writes", "--nocapture"];
    Command::new(me).args(arguments).env(CHILD, folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn processes_share_one_ledger_and_a_killed_one_takes_nothing_with_it() {
    let (_dir, folder) = small(0);
    for round in 1..=6_u64 {
        let mut children = [child(&folder), child(&folder)];
        // Killed at moments that no one chose: after some entries, and a little more each round.
        let target = round * 40;
        let deadline = Instant::now() + Duration::from_secs(60);
        while verify(&folder).unwrap().entries < target {
            assert!(Instant::now() < deadline, "the children do not write");
            std::thread::sleep(Duration::from_micros(700 * round));
        }
        let mut said = std::collections::BTreeSet::new();
        for one in &mut children {
            one.kill().unwrap();
        }
        for one in children {
            let output = one.wait_with_output().unwrap();
            for number in String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.strip_prefix("wrote ")?.parse::<u64>().ok()) {
                assert!(said.insert(number), "{number} was given twice");
            }
        }
        let report = verify(&folder).unwrap();
        // A kill, unlike a power cut, loses nothing that reached the kernel; at worst the last line is torn.
        assert!(report.problem.as_ref().is_none_or(|problem| problem.contains("after the anchor")), "{report:?}");
        assert!(said.last().is_none_or(|last| *last <= report.entries), "{last:?} was said and is not there", last = said.last());
        let ledger = Ledger::open(&folder).unwrap();
        ledger.write(draft("after the kill"), Durability::Synced).unwrap();
        drop(ledger);
        assert_eq!(verify(&folder).unwrap().problem, None);
    }
}
