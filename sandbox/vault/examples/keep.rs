//! How long keeping takes: so many small files are kept and removed, against a bare removal, and then brought back.
//!
//! `cargo run --profile fast -p agentbox-vault --example keep -- FOLDER [FILES]`

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measurement for a terminal, that stops where it fails")]

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use agentbox_vault::{
    Begin, Hands, Loss, Settings, Subject, Vault,
    undo::{Choice, Ruling, Undo},
};
use rustix::fs::{Mode, OFlags, open, unlink};

fn lease(file: BorrowedFd<'_>) -> io::Result<()> {
    agentbox_kernel::lease::read_lease(file)
}

fn plant(work: &Path, files: usize) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for number in 0..files {
        let folder = work.join(format!("d{}", number / 100));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("f{number}"));
        fs::write(&path, format!("{number}\n").repeat(200)).expect("a file");
        paths.push(path);
    }
    paths
}

fn a_file(took: Duration, files: usize) -> f64 {
    took.as_secs_f64() * 1e6 / files.max(1) as f64
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let files = arguments.next().and_then(|files| files.to_str().and_then(|files| files.parse().ok())).unwrap_or(20_000);
    fs::create_dir_all(&folder).expect("the folder");
    let folder = folder.canonicalize().expect("the folder");
    let work = folder.join("work");
    let paths = plant(&work, files);
    let began = Instant::now();
    for path in &paths {
        unlink(path).expect("removing");
    }
    println!("bare removal     {:6.2} µs a file", a_file(began.elapsed(), files));
    let paths = plant(&work, files);
    std::thread::sleep(Duration::from_millis(20));
    let vault = Vault::open(&folder.join("vault"), Settings::default()).expect("a vault");
    let name = format!("s{}", std::process::id());
    let began = Instant::now();
    let session = vault.begin(&Begin { name: &name, roots: std::slice::from_ref(&work), about: "measuring", undoes: None }, Hands::here(lease).expect("hands"));
    let session = session.expect("a session");
    println!("begin            {:6.0} µs", began.elapsed().as_secs_f64() * 1e6);
    let (mut keeping, began) = (Duration::ZERO, Instant::now());
    for path in &paths {
        let object = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).expect("the file");
        let parent = open(path.parent().expect("a folder"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the folder");
        let before = Instant::now();
        let kept = session.keep(&Subject { object: object.as_fd(), folder: Some(parent.as_fd()), path, loss: Loss::Name }).expect("kept");
        keeping += before.elapsed();
        unlink(path).expect("removing");
        drop(kept);
    }
    println!("kept and removed {:6.2} µs a file, keeping alone {:.2}", a_file(began.elapsed(), files), a_file(keeping, files));
    let began = Instant::now();
    session.sync().expect("synced");
    println!("sync             {:6.1} ms", began.elapsed().as_secs_f64() * 1e3);
    drop(session);
    let began = Instant::now();
    vault.finish(&name, Duration::from_secs(600)).expect("finished");
    println!("finish           {:6.2} µs a file", a_file(began.elapsed(), files));
    let began = Instant::now();
    let undo = Undo::of(&vault, &name, Choice::default()).expect("an undo");
    let plan = undo.plan();
    println!("plan             {:6.2} µs a file", a_file(began.elapsed(), files));
    let began = Instant::now();
    let report = undo.apply(&plan, lease, &mut |_| Ruling::Leave).expect("applied");
    println!("bring back       {:6.2} µs a file, {} of {files}", a_file(began.elapsed(), files), report.done.len());
}
