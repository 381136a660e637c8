//! The shell commands of the shared corpus, run for real in a box: over a protected tree nothing is lost, over a workspace all comes back.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use agentbox_tests::{
    Home,
    outside::corpora,
    process::{Finished, finish},
    skip,
    tree::{Node, snapshot},
};
use serde_json::Value;

/// Kinds of commands that have no file as their victim.
const ELSEWHERE: &[&str] = &["remote"];

/// Commands that reach for what is not in the tree, or need what no test machine has; each with its reason.
const NOT_HERE: &[(&str, &str)] = &[
    ("sudo rm -rf --no-preserve-root /", "no setuid program works in a box"),
    ("apt-get purge -y postgresql", "its victim is the system, which is mounted read-only"),
    ("npm install", "it needs a registry"),
    ("wget -O important.db http://localhost/x", "it needs a server"),
    ("git rebase -i --root", "it needs an editor"),
    ("dd if=/dev/zero of=/dev/sda", "the box has no disks"),
    ("trash-put data.db", "it moves to a home that is read-only"),
    ("fallocate -l 1G new.img", "a gigabyte a run"),
    ("truncate -s 10G sparse.img", "ten gigabytes a run"),
    ("rm -rf ~", "its victim is the home, which is read-only"),
    ("rm -rf \"$UNSET/\"*", "its victim is the whole system, which is read-only"),
];

/// Commands that only a person can tell from a loss: they write the same bytes in another form, or replace a file by themselves.
const LOOKS_LIKE_A_LOSS: &[&str] = &[
    "sqlite3 important.db 'SELECT 1'",
    "git branch -d feature",
    "gzip big.log",
    "xz -d x.xz",
    "sort -o x.txt x.txt",
    "git commit --amend",
    "git reset --soft HEAD~1",
    "mv important.db /tmp/",
];

struct Row {
    command: String,
    held: bool,
}

fn rows() -> Option<Vec<Row>> {
    let file = corpora()?.join("shell_hard.jsonl");
    let text = fs::read_to_string(file).expect("the rows");
    let rows: Vec<Row> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a row is JSON"))
        .filter(|row| !ELSEWHERE.contains(&row["effect"].as_str().unwrap_or_default()))
        .filter(|row| !["infra-cli", "db-cli"].contains(&row["category"].as_str().unwrap_or_default()))
        .map(|row| Row { command: row["cmd"].as_str().expect("a command").to_owned(), held: row["expect"][0] == "hold" })
        .collect();
    assert!(rows.len() > 60, "the corpus has changed its shape");
    Some(rows)
}

/// The first word of a command that is a program, if it is not installed.
fn missing(command: &str) -> Option<&str> {
    [
        "busybox", "toybox", "php", "lua", "ruby", "sponge", "ed", "ex", "vim", "fd", "sqlite3", "rsync", "shred", "xz", "unzip", "make", "tar", "perl",
        "node", "wget",
    ]
    .into_iter()
    .find(|tool| command.split_whitespace().any(|word| word.trim_matches(|c: char| "\"';|&(){}".contains(c)) == *tool) && skip::which(tool).is_none())
}

/// What the commands find: every file that they name, with something in it.
const FIXTURE: &str = r#"
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
mkdir -p data/deep src dst empty other
for i in 1 2 3; do echo "row $i" > data/deep/$i; done
echo 'console.log(1)' > src/app.ts; echo old > dst/app.ts; echo other > dst/only-here
python3 -c "import sqlite3; c=sqlite3.connect('important.db'); c.executescript('create table t(a); insert into t values(1)')"
head -c 200000 /dev/urandom >> important.db.tail
cp important.db data.db; cp important.db one.sqlite; cp important.db new.db
seq 1 100 > x.txt; seq 1 9 > a; seq 1 5 > b; seq 1 3 > log.txt; seq 1 5000 > big.log; seq 1 20 > some.log
seq 1 30 > x; tar cf a.tar x x.txt; xz -k x 2>/dev/null || true; cp x.xz keep.xz 2>/dev/null || true
python3 -c "import zipfile; zipfile.ZipFile('a.zip','w').write('x.txt')"
printf 'clean:\n\trm -rf data\n' > Makefile
git init -q -b main .; git add -A; git commit -qm one
echo 2 >> x.txt; git commit -qam two; echo 3 >> x.txt; git commit -qam three; echo 4 >> x.txt; git commit -qam four
git tag v1; git branch feature HEAD~1; git checkout -q feature; echo f > f; git add f; git commit -qm feature; git checkout -q main
git merge -q --no-edit feature; git branch gone HEAD; git checkout -q gone; echo g > g; git add g; git commit -qm gone; git checkout -q main
echo stashed >> x.txt; git stash -q; echo unsaved >> src/app.ts
"#;

fn prepare(home: &Home) {
    fs::create_dir(home.path("work/tree")).expect("a folder");
    let mut command = Command::new("bash");
    command.args(["-c", FIXTURE]).current_dir(home.path("work/tree"));
    finish(&mut command).ended(0);
}

/// Files that git itself keeps for its own convenience, and whose change loses nothing.
fn is_gits_own(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let Some(inside) = text.strip_prefix(".git/") else { return false };
    // Objects and refs may go from one file to another: what counts is that git still has them.
    inside.starts_with("objects")
        || inside.starts_with("refs")
        || ["index", "ORIG_HEAD", "COMMIT_EDITMSG", "FETCH_HEAD", "MERGE_RR", "HEAD", "gc.pid", "gc.log", "logs", "info", "AUTO_MERGE"]
            .iter()
            .any(|own| inside == *own || inside.starts_with(&format!("{own}/")))
}

/// What was there and is there no more, or has other bytes.
fn lost(before: &BTreeMap<std::path::PathBuf, Node>, after: &BTreeMap<std::path::PathBuf, Node>) -> Vec<String> {
    before
        .iter()
        .filter(|(path, _)| !is_gits_own(path))
        .filter(|(path, node)| after.get(*path).is_none_or(|now| now.content != node.content))
        .map(|(path, _)| path.display().to_string())
        .collect()
}

/// The objects that git has and that something reaches.
fn objects_of(home: &Home) -> BTreeSet<String> {
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*", "rev-list", "--objects", "--all", "--reflog", "--no-object-names"]).current_dir(home.path("work/tree"));
    finish(&mut command).out().lines().map(str::to_owned).collect()
}

/// What every ref leads to.
fn refs_of(home: &Home) -> BTreeSet<String> {
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*", "for-each-ref", "--format=%(refname) %(objectname)"]).current_dir(home.path("work/tree"));
    finish(&mut command).out().lines().map(str::to_owned).collect()
}

fn in_the_tree(home: &Home, command: &str) -> Finished {
    let environment = "export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=a GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=a@example.com GIT_EDITOR=true";
    finish(&mut home.script(&["--unattended"], &format!("{environment}; cd tree; {command}")))
}

const PROTECTED: &str = "extends = \"default\"\n[place.kept]\npaths = [\"tree\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n";

#[test]
fn over_a_protected_tree_nothing_is_lost() {
    let Some(rows) = rows() else { return skip::not_here("no corpus: neither AGENTBOX_SHARED nor ../shared has it") };
    let (mut ran, mut wrong) = (0, Vec::new());
    for Row { command, held } in &rows {
        let held = *held;
        if NOT_HERE.iter().any(|(row, _)| row == command) {
            continue;
        }
        if let Some(tool) = missing(command) {
            skip::not_here(&format!("`{command}`: {tool} is not installed"));
            continue;
        }
        ran += 1;
        let home = Home::new(PROTECTED);
        prepare(&home);
        let before = snapshot(&home.path("work/tree"));
        let (objects, refs) = (objects_of(&home), refs_of(&home));
        let ended = in_the_tree(&home, command);
        let mut lost = if held { lost(&before, &snapshot(&home.path("work/tree"))) } else { Vec::new() };
        lost.extend(objects.difference(&objects_of(&home)).map(|object| format!("git object {object}")));
        if held {
            lost.extend(refs.difference(&refs_of(&home)).map(|name| format!("git ref {name}")));
        }
        let refused = ended.err().contains("refused in this unattended run");
        if !lost.is_empty() {
            wrong.push(format!("LOST    {command}: {lost:?}\n{}{}", ended.out(), ended.err()));
        } else if !held && refused && !LOOKS_LIKE_A_LOSS.contains(&command.as_str()) {
            wrong.push(format!("REFUSED {command}\n{}{}", ended.out(), ended.err()));
        }
    }
    assert!(ran >= 50, "only {ran} rows ran");
    assert!(wrong.is_empty(), "{} of {ran} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn over_a_workspace_all_comes_back() {
    let Some(rows) = rows() else { return skip::not_here("no corpus: neither AGENTBOX_SHARED nor ../shared has it") };
    let (mut ran, mut wrong) = (0, Vec::new());
    for Row { command, held } in &rows {
        if !held || NOT_HERE.iter().any(|(row, _)| row == command) || missing(command).is_some() {
            continue;
        }
        ran += 1;
        let home = Home::new("extends = \"default\"\n");
        prepare(&home);
        let before = snapshot(&home.path("work/tree"));
        let ended = in_the_tree(&home, command);
        let after = snapshot(&home.path("work/tree"));
        if ended.err().contains("refused in this unattended run") {
            wrong.push(format!("REFUSED {command}\n{}", ended.err()));
            continue;
        }
        if lost(&before, &after).is_empty() {
            continue;
        }
        let undone = home.outside(&["undo", "--overwrite"]);
        let back = snapshot(&home.path("work/tree"));
        let differs: Vec<String> = before
            .iter()
            .filter(|(path, node)| back.get(*path) != Some(*node))
            .map(|(path, node)| format!("{}: {node:?} is now {:?}", path.display(), back.get(path)))
            .collect();
        if !differs.is_empty() {
            wrong.push(format!("GONE {command}: {}\n{}{}", differs.join("\n  "), undone.out(), undone.err()));
        }
    }
    assert!(ran >= 30, "only {ran} rows ran");
    assert!(wrong.is_empty(), "{} of {ran} rows:\n{}", wrong.len(), wrong.join("\n"));
}
