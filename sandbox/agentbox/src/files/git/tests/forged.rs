//! Repositories that lie, and files that hide under names of git's.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use agentbox_core::Effect::{Destroy, Write};
use flate2::{Compression, write::ZlibEncoder};

use super::{
    super::{
        Deed, Judge, Meaning,
        id::{Hash, Id},
        object::Kind,
        of_worktree,
    },
    repository::Stage,
};

impl Stage {
    fn git(&self, below: &str) -> PathBuf {
        self.work.join(".git").join(below)
    }

    fn id(&self, name: &str) -> Id {
        Id::from_hex(self.says(&format!("git rev-parse {name}")).as_bytes()).unwrap()
    }

    /// Writes a loose object under any name.
    fn forge(&self, name: &Id, kind: Kind, content: &[u8]) {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(format!("{} {}\0", kind.word(), content.len()).as_bytes()).unwrap();
        packed.write_all(content).unwrap();
        let (folder, rest) = (name.hex()[..2].to_owned(), name.hex()[2..].to_owned());
        fs::create_dir_all(self.git(&format!("objects/{folder}"))).unwrap();
        let path = self.git(&format!("objects/{folder}/{rest}"));
        let _ = fs::remove_file(&path);
        fs::write(path, packed.finish().unwrap()).unwrap();
    }

    /// Writes an object under its right name.
    fn write(&self, kind: Kind, content: &[u8]) -> Id {
        let id = Id::of_content(Hash::Sha1, kind, content).unwrap();
        self.forge(&id, kind, content);
        id
    }

    /// Judges that a ref, or another file, is replaced by these bytes through its lock.
    fn replace(&self, judge: &mut Judge, file: &str, bytes: &[u8]) -> Meaning {
        let (lock, path) = (self.git(&format!("{file}.lock")), self.git(file));
        fs::write(&lock, bytes).unwrap();
        let meaning = judge.judge(Deed::Rename { from: &lock, to: &path }).target.unwrap();
        fs::remove_file(&lock).unwrap();
        meaning
    }

    /// The same for a new value of a branch, which is then done.
    fn point(&self, judge: &mut Judge, file: &str, id: &Id) -> Meaning {
        let meaning = self.replace(judge, file, format!("{}\n", id.hex()).as_bytes());
        fs::write(self.git(file), id.hex()).unwrap();
        meaning
    }

    fn remove(&self, judge: &mut Judge, file: &str) -> Meaning {
        judge.judge(Deed::Remove(&self.git(file))).target.unwrap()
    }
}

fn commit(tree: &Id, parents: &str, rest: &str) -> Vec<u8> {
    format!("tree {}\n{parents}author A <a> 1 +0000\ncommitter A <a> 1 +0000\n{rest}\nForged\n", tree.hex()).into_bytes()
}

#[test]
fn a_commit_counts_only_under_its_right_name() {
    let (stage, mut judge) = (Stage::new(), Judge::new(None));
    let (main, tree) = (stage.id("main"), stage.id("main^{tree}"));
    let child = commit(&tree, &format!("parent {}\n", main.hex()), "");
    let wrong = Id::from_hex(&[b'1'; 40]).unwrap();
    stage.forge(&wrong, Kind::Commit, &child);
    let meaning = stage.replace(&mut judge, "refs/heads/main", wrong.hex().as_bytes());
    assert_eq!((meaning.effect, meaning.action), (Destroy, "git.ref.delete"), "{meaning:?}");
    let right = stage.write(Kind::Commit, &child);
    let meaning = stage.replace(&mut judge, "refs/heads/main", right.hex().as_bytes());
    assert_eq!((meaning.effect, meaning.action), (Write, "git.ref.forward"), "{meaning:?}");
    assert_eq!(meaning.judged, Some(right.hex().into_bytes()));
}

#[test]
fn parents_are_only_what_git_takes_for_them() {
    let (stage, mut judge) = (Stage::new(), Judge::new(None));
    let (main, tree) = (stage.id("main"), stage.id("main^{tree}"));
    let late = stage.write(Kind::Commit, &commit(&tree, "", &format!("parent {}\n", main.hex())));
    assert_eq!(stage.replace(&mut judge, "refs/heads/main", late.hex().as_bytes()).effect, Destroy);
    stage.now(&format!("echo {} {} > .git/info/grafts", late.hex(), main.hex()));
    assert_eq!(stage.replace(&mut judge, "refs/heads/main", late.hex().as_bytes()).effect, Destroy, "grafts do not count");
    stage.now(&format!("rm .git/info/grafts; git replace --graft {} main", late.hex()));
    let meaning = stage.replace(&mut judge, "refs/heads/main", late.hex().as_bytes());
    assert_eq!(meaning.action, "git.ref.move", "the replacement is a ref that keeps main, but no step forward");
}

#[test]
fn lost_commits_are_named() {
    let (stage, mut judge) = (Stage::new(), Judge::new(None));
    let meaning = stage.replace(&mut judge, "refs/heads/main", stage.id("main~1").hex().as_bytes());
    assert_eq!(meaning.lost, [format!("{} Change 4", stage.id("main").short())]);
    assert!(meaning.reason.contains("1 commit") && meaning.reason.contains("the reflog still has"), "{}", meaning.reason);
    fs::remove_dir_all(stage.git("logs")).unwrap();
    let meaning = stage.replace(&mut judge, "refs/heads/main", stage.id("main~1").hex().as_bytes());
    assert!(meaning.reason.contains("no reflog has"), "{}", meaning.reason);
}

#[test]
fn a_keeper_cannot_be_taken_away_in_a_second_step() {
    let (stage, mut judge) = (Stage::new(), Judge::new(None));
    let (main, before) = (stage.id("main"), stage.id("main~1"));
    for keeper in ["refs/remotes/origin/keep", "refs/heads/keep", "refs/tags/keep", "refs/anything/keep", "MERGE_AUTOSTASH"] {
        fs::create_dir_all(stage.git(keeper).parent().unwrap()).unwrap();
        fs::write(stage.git(keeper), main.hex()).unwrap();
        let rewind = stage.point(&mut judge, "refs/heads/main", &before);
        assert_eq!((rewind.effect, rewind.action), (Write, "git.ref.move"), "{keeper} keeps it: {rewind:?}");
        assert_eq!(stage.remove(&mut judge, keeper).effect, Destroy, "{keeper} is the last");
        assert_eq!(stage.replace(&mut judge, keeper, before.hex().as_bytes()).effect, Destroy, "{keeper} is the last");
        assert_eq!(stage.point(&mut judge, "refs/heads/main", &main).effect, Write);
        fs::remove_file(stage.git(keeper)).unwrap();
    }
    for keeper in ["refs/bisect/keep", "ORIG_HEAD", "refs/rewritten/keep"] {
        fs::create_dir_all(stage.git(keeper).parent().unwrap()).unwrap();
        fs::write(stage.git(keeper), main.hex()).unwrap();
        assert_eq!(stage.replace(&mut judge, "refs/heads/main", before.hex().as_bytes()).effect, Destroy, "{keeper} goes as it comes");
    }
}

#[test]
fn a_second_copy_makes_an_old_object_nobodys_own() {
    let stage = Stage::new();
    let (main, before) = (stage.id("main"), stage.id("main~1"));
    let hex = main.hex();
    let loose = stage.git(&format!("objects/{}/{}", &hex[..2], &hex[2..]));
    fs::copy(&loose, stage.git("kept")).unwrap();
    stage.now("git repack -qad");
    fs::create_dir_all(loose.parent().unwrap()).unwrap();
    let temporary = loose.with_file_name("tmp_obj_abcdef");
    fs::copy(stage.git("kept"), &temporary).unwrap();
    let mut judge = Judge::new(None);
    assert_eq!(judge.judge(Deed::Link { from: &temporary, to: &loose }).target.unwrap().effect, Write);
    assert_eq!(stage.replace(&mut judge, "refs/heads/main", before.hex().as_bytes()).effect, Destroy);
}

#[test]
fn an_index_that_lies_covers_nothing() {
    let stage = Stage::new();
    stage.now("git repack -qad");
    let mut judge = Judge::new(None);
    let name = |kind: &str| {
        let found = fs::read_dir(stage.git("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        found.filter(|path| path.extension().is_some_and(|is| is == kind)).min().unwrap()
    };
    let (pack, index) = (name("pack"), name("idx"));
    let forged = pack.with_file_name(format!("pack-{}.pack", "1".repeat(40)));
    // An index that names all objects, with a pack in which they are not.
    fs::copy(&index, forged.with_extension("idx")).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[12..].fill(0x30);
    fs::write(&forged, bytes).unwrap();
    assert_eq!(judge.judge(Deed::Remove(&pack)).target.unwrap().action, "git.pack.remove");
    assert_eq!(judge.judge(Deed::Remove(&index)).target.unwrap().action, "git.pack.remove");
    // A right copy covers it, and then each but not both may go.
    fs::copy(&pack, &forged).unwrap();
    assert_eq!(judge.judge(Deed::Remove(&index)).target.unwrap().action, "git.pack.duplicate");
    fs::remove_file(&index).unwrap();
    assert_eq!(judge.judge(Deed::Remove(&pack)).target.unwrap().effect, Write, "its index was judged");
    fs::remove_file(&pack).unwrap();
    assert_eq!(judge.judge(Deed::Remove(&forged)).target.unwrap().effect, Destroy);
    assert_eq!(judge.judge(Deed::Remove(&forged.with_extension("idx"))).target.unwrap().effect, Destroy);
}

#[test]
fn a_pack_or_object_is_replaced_only_by_the_same() {
    let stage = Stage::new();
    let mut judge = Judge::new(None);
    let hex = stage.id("main").hex();
    let loose = stage.git(&format!("objects/{}/{}", &hex[..2], &hex[2..]));
    let temporary = loose.with_file_name("tmp_obj_abcdef");
    fs::copy(&loose, &temporary).unwrap();
    assert_eq!(judge.judge(Deed::Rename { from: &temporary, to: &loose }).target.unwrap().action, "git.object.duplicate");
    fs::remove_file(&temporary).unwrap();
    fs::write(&temporary, b"junk").unwrap();
    assert_eq!(judge.judge(Deed::Rename { from: &temporary, to: &loose }).target.unwrap().action, "git.object.rewrite");
    assert_eq!(judge.judge(Deed::Overwrite(&loose)).target.unwrap().effect, Destroy);
}

#[test]
fn a_tree_that_calls_another_a_file_hides_nothing() {
    let stage = Stage::new();
    let mut judge = Judge::new(None);
    let tree = stage.id("topic^{tree}");
    let mut entry = b"100644 x\0".to_vec();
    entry.extend_from_slice(tree.raw());
    let liar = stage.write(Kind::Tree, &entry);
    for number in 0..20 {
        let forged = stage.write(Kind::Commit, &commit(&liar, "", &number.to_string()));
        fs::write(stage.git(&format!("refs/heads/liar{number}")), forged.hex()).unwrap();
    }
    let blob = stage.id("topic:topic").hex();
    assert_eq!(stage.remove(&mut judge, &format!("objects/{}/{}", &blob[..2], &blob[2..])).effect, Destroy);
}

#[test]
fn packed_refs_that_git_would_search_wrongly_are_refused() {
    let stage = Stage::new();
    stage.now("git pack-refs --all");
    let mut judge = Judge::new(None);
    let packed = fs::read_to_string(stage.git("packed-refs")).unwrap();
    assert_eq!(stage.replace(&mut judge, "packed-refs", packed.as_bytes()).action, "git.ref.same");
    let mut lines: Vec<&str> = packed.lines().collect();
    lines[1..].reverse();
    assert_eq!(stage.replace(&mut judge, "packed-refs", format!("{}\n", lines.join("\n")).as_bytes()).effect, Destroy);
    let fewer: String = packed.lines().filter(|line| !line.ends_with("/topic")).map(|line| format!("{line}\n")).collect();
    let meaning = stage.replace(&mut judge, "packed-refs", fewer.as_bytes());
    assert_eq!((meaning.effect, meaning.action), (Destroy, "git.ref.delete"));
    assert_eq!(meaning.lost.len(), 1);
    assert_eq!(stage.replace(&mut judge, "packed-refs", b"").effect, Destroy);
}

#[test]
fn a_packed_ref_cannot_be_hidden_and_then_dropped() {
    let stage = Stage::new();
    stage.now("git branch -f topic topic; git pack-refs --all; rm -r .git/logs");
    let mut judge = Judge::new(None);
    let fewer: String = fs::read_to_string(stage.git("packed-refs")).unwrap();
    let fewer: String = fewer.lines().filter(|line| !line.ends_with("/topic")).map(|line| format!("{line}\n")).collect();
    fs::write(stage.git("refs/heads/topic"), stage.id("main").hex()).unwrap();
    let meaning = stage.replace(&mut judge, "packed-refs", fewer.as_bytes());
    assert_eq!((meaning.effect, meaning.lost.len()), (Destroy, 1), "{meaning:?}");
}

#[test]
fn a_reflog_is_not_dated_back_to_pass_for_expired() {
    let stage = Stage::new();
    stage.now("git commit -q --amend -m other");
    let mut judge = Judge::new(None);
    fs::remove_file(stage.git("logs/refs/heads/main")).unwrap();
    let log = fs::read_to_string(stage.git("logs/HEAD")).unwrap();
    assert_eq!(stage.replace(&mut judge, "logs/HEAD", log.as_bytes()).effect, Write);
    let last = log.lines().last().unwrap();
    let time = last.split('\t').next().unwrap().rsplit(' ').nth(1).unwrap();
    let meaning = stage.replace(&mut judge, "logs/HEAD", log.replace(time, "1").as_bytes());
    assert_eq!((meaning.effect, meaning.action), (Destroy, "git.reflog.remove"));
}

#[test]
fn nothing_of_value_hides_under_a_name_that_git_deletes() {
    let stage = Stage::new();
    let (file, data) = (stage.work.join("file1"), stage.root.join("data"));
    fs::create_dir_all(&data).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    for judge in [&mut Judge::new(None), &mut Judge::new(Some(SystemTime::now()))] {
        for name in ["index.lock", "index", "objects/pack/tmp_pack_x", "sequencer", "rebase-merge", "refs/bisect/x", "gc.pid"] {
            let to = stage.git(name);
            let brought = judge.judge(Deed::Rename { from: &file, to: &to }).target.unwrap();
            assert_eq!((brought.effect, brought.action), (Destroy, "git.file.bring"), "{name}");
        }
        assert_eq!(judge.judge(Deed::Link { from: &file, to: &stage.git("index.lock") }).target.unwrap().effect, Destroy);
        let linked = stage.git("gc.log");
        let _ = fs::remove_file(&linked);
        fs::hard_link(&file, &linked).unwrap();
        assert_eq!(judge.judge(Deed::Overwrite(&linked)).target.unwrap().effect, Destroy);
        let dressed = judge.judge(Deed::Rename { from: &data, to: &stage.root.join("tree/.git") });
        assert_eq!(dressed.target.unwrap().effect, Destroy);
        assert_eq!(judge.judge(Deed::Exchange(&file, &stage.git("index"))).target.unwrap().effect, Destroy);
    }
    let mut judge = Judge::new(Some(SystemTime::UNIX_EPOCH));
    assert_eq!(judge.judge(Deed::Rename { from: &file, to: &stage.git("index.lock") }).target, None, "a repository of this session is the agent's own");
    for foreign in ["hooks/pre-commit.sample", "config", "description", "lfs/objects/x"] {
        assert_eq!(Judge::new(None).judge(Deed::Remove(&stage.git(foreign))), super::super::Meanings::default(), "{foreign} is judged as any file");
    }
}

#[test]
fn a_folder_dressed_up_as_a_repository_is_none() {
    let stage = Stage::new();
    let start = SystemTime::now();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::create_dir_all(stage.work.join("logs")).unwrap();
    for folder in ["objects", "refs"] {
        fs::create_dir(stage.work.join(folder)).unwrap();
    }
    fs::write(stage.work.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(stage.work.join("logs/diary"), "dear diary").unwrap();
    let diary = stage.work.join("logs/diary");
    assert_eq!(Judge::new(Some(start)).judge(Deed::Remove(&diary)).target, None);
    assert!(Judge::new(None).judge(Deed::Remove(&diary)).target.is_some());
    // The real repository in it is judged all the same.
    for session in [None, Some(start)] {
        assert_eq!(stage.remove(&mut Judge::new(session), "refs/heads/topic").effect, Destroy);
    }
    // Nor does one inside the git directory change what its files are.
    fs::create_dir_all(stage.git("refs/heads/objects")).unwrap();
    fs::create_dir_all(stage.git("refs/heads/refs")).unwrap();
    fs::write(stage.git("refs/heads/HEAD"), "ref: refs/heads/main\n").unwrap();
    stage.now("git branch index topic");
    assert_eq!(stage.remove(&mut Judge::new(None), "refs/heads/index").effect, Destroy);
}

#[test]
fn what_cannot_be_read_is_not_passed() {
    let stage = Stage::new();
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (folder, file) in [("", "refs/heads/topic"), ("refs/heads", "refs/heads/topic"), ("logs", "refs/heads/topic"), ("objects/pack", "refs/heads/topic")] {
        mode(stage.git(folder), 0o300);
        assert_eq!(stage.remove(&mut Judge::new(None), file).effect, Destroy, "{folder}");
        mode(stage.git(folder), 0o755);
    }
}

#[test]
fn links_out_of_the_repository_are_not_followed() {
    let stage = Stage::new();
    let mut judge = Judge::new(None);
    fs::write(stage.root.join("secret"), stage.id("main").hex()).unwrap();
    let lock = stage.git("refs/heads/main.lock");
    std::os::unix::fs::symlink(stage.root.join("secret"), &lock).unwrap();
    assert_eq!(judge.judge(Deed::Rename { from: &lock, to: &stage.git("refs/heads/main") }).target.unwrap().effect, Destroy);
    fs::rename(stage.git("objects"), stage.root.join("objects")).unwrap();
    std::os::unix::fs::symlink(stage.root.join("objects"), stage.git("objects")).unwrap();
    assert_eq!(stage.remove(&mut judge, "refs/heads/topic").effect, Destroy);
}

#[test]
fn broken_or_borrowing_repositories_are_destroyed_in_doubt() {
    let stage = Stage::new();
    let mut judge = Judge::new(None);
    let dangling = stage.write(Kind::Blob, b"dangling").hex();
    let dangling = format!("objects/{}/{}", &dangling[..2], &dangling[2..]);
    assert_eq!(stage.remove(&mut judge, &dangling).action, "git.object.prune");
    fs::write(stage.git("objects/info/alternates"), "/nowhere\n").unwrap();
    assert_eq!(stage.remove(&mut judge, &dangling).effect, Destroy);
    assert_eq!(stage.remove(&mut judge, "objects/info/alternates").effect, Destroy);
    fs::remove_file(stage.git("objects/info/alternates")).unwrap();
    assert_eq!(stage.replace(&mut judge, "HEAD", b"ref: elsewhere\n").effect, Destroy);
    assert_eq!(stage.replace(&mut judge, "refs/heads/main", b"junk\n").effect, Destroy);
    assert_eq!(stage.replace(&mut judge, "refs/heads/main", &[b'2'; 40]).effect, Destroy);
    let tree = stage.id("main^{tree}").hex();
    fs::remove_file(stage.git(&format!("objects/{}/{}", &tree[..2], &tree[2..]))).unwrap();
    assert_eq!(stage.remove(&mut judge, &dangling).effect, Destroy, "what the missing tree needs cannot be known");
}

#[test]
fn wide_names_bare_repositories_and_submodules() {
    let script = "git init -q --object-format=sha256 -b main .; git commit -q --allow-empty -m one; git commit -q --allow-empty -m two";
    let stage = Stage::with(script);
    let mut judge = Judge::new(None);
    assert_eq!(stage.replace(&mut judge, "refs/heads/main", stage.id("main~1").hex().as_bytes()).action, "git.ref.rewind");
    stage.now("git branch old main~1");
    assert_eq!(stage.replace(&mut judge, "refs/heads/old", stage.id("main").hex().as_bytes()).action, "git.ref.forward");
    stage.now("git gc -q --prune=now");
    let pack = fs::read_dir(stage.git("objects/pack")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|is| is == "pack"));
    assert_eq!(judge.judge(Deed::Remove(&pack.unwrap())).target.unwrap().action, "git.pack.remove");

    let stage = Stage::new();
    let bare = stage.root.join("far.git/refs/heads/main");
    assert_eq!(judge.judge(Deed::Remove(&bare)).target.unwrap().action, "git.ref.delete");
    stage.now("git submodule add -q ../far.git sub; git commit -qm sub; git -C sub commit -q --allow-empty -m inner; git worktree add -q ../tree");
    assert_eq!(stage.remove(&mut judge, "modules/sub/refs/heads/main").action, "git.ref.delete");
    assert_eq!(stage.remove(&mut judge, "modules/sub/HEAD").effect, Destroy);
    assert_eq!(of_worktree(&stage.work.join("sub")), [stage.git("modules/sub")]);
    assert_eq!(of_worktree(&stage.root.join("tree")), [stage.git("worktrees/tree"), stage.git("")].map(|path| path.components().collect::<PathBuf>()));
    assert_eq!(of_worktree(Path::new("/")), Vec::<PathBuf>::new());
}

#[test]
fn long_histories_are_judged_in_time() {
    let mut script = String::from("git init -q -b main .; (");
    script.push_str("for n in $(seq 1 101000); do echo \"commit refs/heads/main\ncommitter A <a@b> $((1600000000 + n)) +0000\ndata 2\nx\"; done) | git fast-import --quiet; ");
    script.push_str("git update-ref refs/heads/old main~5000");
    let stage = Stage::with(&script);
    let mut judge = Judge::new(None);
    let near = stage.replace(&mut judge, "refs/heads/main", stage.id("main~1").hex().as_bytes());
    assert_eq!((near.effect, near.lost.len()), (Destroy, 1));
    let far = stage.replace(&mut judge, "refs/heads/main", stage.id("main~4000").hex().as_bytes());
    assert_eq!((far.effect, far.lost.last().unwrap().as_str()), (Destroy, "and 3990 more"), "{far:?}");
    let forward = stage.replace(&mut judge, "refs/heads/old", stage.id("main").hex().as_bytes());
    assert_eq!(forward.action, "git.ref.forward");
    stage.now("git update-ref -d refs/heads/old");
    let root = stage.says("git rev-list --max-parents=0 main");
    let started = std::time::Instant::now();
    let beyond = stage.replace(&mut judge, "refs/heads/main", root.as_bytes());
    assert!(beyond.effect == Destroy && beyond.reason.contains("too large"), "{beyond:?}");
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "a bound that no machine is too slow for");
}

#[test]
fn a_judge_may_go_to_another_thread() {
    fn moves<T: Send>(_: T) {}
    moves(Judge::new(None));
}
