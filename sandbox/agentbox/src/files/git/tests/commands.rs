//! What real git commands mean, at worst.

use std::time::SystemTime;

use agentbox_core::Effect::{self, Destroy, Write};

use super::{
    super::{Judge, Meaning},
    repository::Stage,
    traced,
};

/// Whether the judge knows when the session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Nothing is the agent's own.
    Unknown,
    /// It begins after the repositories were made, and before `line`.
    Now,
}

/// A command, run after a script, with its worst meaning.
struct Row {
    old: bool,
    before: &'static str,
    line: &'static str,
    effect: Effect,
    action: &'static str,
}

const fn row(before: &'static str, line: &'static str, effect: Effect, action: &'static str) -> Row {
    Row { old: true, before, line, effect, action }
}

/// The same, with the script run today: git's own housekeeping leaves alone what it did.
const fn now(before: &'static str, line: &'static str, effect: Effect, action: &'static str) -> Row {
    Row { old: false, before, line, effect, action }
}

/// Judges every operation of a command; gives the worst meaning, of equals the last.
fn worst(stage: &Stage, line: &str, session: Session) -> Option<(String, Meaning)> {
    let start = (session == Session::Now).then(SystemTime::now);
    // The kernel's clock of births goes in ticks: what is born in the one that the session began in could be older. A box takes longer.
    if start.is_some() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let judged = traced::run(line, &stage.work, &mut Judge::new(start))?;
    let all: Vec<_> = judged.into_iter().filter_map(|one| Some((one.call, one.meanings.worst()?))).collect();
    if std::env::var_os("AGENTBOX_TEST_SHOW").is_some() {
        for (call, meaning) in &all {
            eprintln!("  {} {} {}\n      {call}", meaning.effect.word(), meaning.action, meaning.reason);
        }
    }
    let worst = all.iter().map(|(_, meaning)| meaning.effect).max();
    let found = all.into_iter().rev().find(|(_, meaning)| Some(meaning.effect) == worst);
    Some(found.unwrap_or_else(|| (String::new(), Meaning::write("nothing", "no operation in a git directory"))))
}

fn check(rows: &[Row], session: Session) {
    let mut wrong = Vec::new();
    for row in rows {
        let stage = Stage::new();
        if row.old {
            stage.before(row.before);
        } else {
            stage.now(row.before);
        }
        let Some((call, meaning)) = worst(&stage, row.line, session) else { return };
        let right = meaning.effect == row.effect && (row.action.is_empty() || meaning.action == row.action);
        if !right {
            wrong.push(format!(
                "{}: {} {}, not {} {}\n    {}\n    {call}",
                row.line,
                meaning.effect.word(),
                meaning.action,
                row.effect.word(),
                row.action,
                meaning.reason
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn ordinary_work_is_write() {
    check(
        &[
            row("echo x > new; git add new", "git commit -m 'Change 5'", Write, ""),
            row("echo x >> file", "git add file", Write, ""),
            row("", "git commit --allow-empty -m nothing", Write, ""),
            row("", "git status", Write, ""),
            row("echo x >> file", "git stash", Write, ""),
            row("echo x >> file; git stash; echo y >> file", "git stash", Write, ""),
            row("", "git branch fresh", Write, ""),
            row("", "git checkout -b fresh", Write, ""),
            row("", "git checkout topic", Write, ""),
            row("", "git switch --detach HEAD~2", Write, ""),
            row("git switch -q --detach HEAD~1", "git switch main", Write, ""),
            row("", "git merge topic", Write, ""),
            row("git branch -f behind HEAD~1; git checkout -q behind", "git merge --ff-only main", Write, ""),
            row("", "git tag fresh", Write, ""),
            row("", "git tag -a fresh -m fresh", Write, ""),
            row("", "git cherry-pick topic", Write, ""),
            row("", "git revert --no-edit HEAD", Write, ""),
            row("", "git push origin main", Write, ""),
            row("", "git push origin HEAD:other", Write, ""),
            row("git push -q origin main; git reset -q --hard HEAD~1", "git pull --ff-only", Write, ""),
            row("git push -q origin topic; git update-ref -d refs/remotes/origin/topic", "git fetch", Write, ""),
            row("", "git fetch --all --tags", Write, ""),
            row("", "git worktree add ../tree", Write, ""),
            row("git worktree add -q ../tree", "git worktree remove ../tree", Write, ""),
            row("git worktree add -q ../tree; rm -r ../tree", "git worktree prune", Write, ""),
            row("", "git pack-refs --all", Write, ""),
            row("", "git pack-refs --all --prune; git commit --allow-empty -m more; git pack-refs --all", Write, ""),
            row("", "git repack -ad", Write, ""),
            row("git repack -qad", "git repack -adf", Write, ""),
            row("git repack -qad; git commit --allow-empty -m more", "git repack -ad", Write, ""),
            row("git repack -qad; git commit --allow-empty -m more", "git repack -Ad --unpack-unreachable=now", Write, ""),
            row("git repack -qad", "git repack -ad", Write, ""),
            row("", "git gc", Write, ""),
            row("git commit -q --allow-empty -m more; git pack-refs --all", "git gc --prune=now", Write, ""),
            row("git commit -q --amend -m other", "git gc --prune=now", Write, ""),
            row("git commit -q --amend -m other", "git reflog expire --expire=now --all; git gc --prune=now", Write, ""),
            row("git push -q origin topic; git -C ../far.git branch -D topic", "git fetch --prune", Write, ""),
            row(
                "git -C ../far.git update-ref refs/heads/side $(git -C ../far.git commit-tree -m far main^{tree}); git fetch -q; git -C ../far.git update-ref -d refs/heads/side",
                "git fetch --prune",
                Write,
                "",
            ),
            row("echo dangling | git hash-object -w --stdin", "git prune --expire=now", Write, ""),
            row("", "git commit-graph write --reachable; git multi-pack-index write", Write, ""),
            row("", "git symbolic-ref HEAD refs/heads/topic", Write, ""),
            row("", "git notes add -m seen; git notes append -m again", Write, ""),
            row("", "git bisect start HEAD HEAD~2; git bisect good; git bisect reset", Write, ""),
            row("", "git update-ref refs/heads/merged topic", Write, ""),
            row("", "git submodule add ../far.git sub; git commit -m sub", Write, ""),
            row("", "git clone -q ../far.git ../again", Write, ""),
            row("", "git sparse-checkout set file1; git sparse-checkout disable", Write, ""),
            row("echo x >> file1; git add file1", "git reset", Write, ""),
            row("", "git rm file1; git mv file2 file5; git commit -m moved", Write, ""),
            row("", "git config user.name Eve", Write, ""),
            row("git checkout -q topic; echo other > file4; git add .; git commit -qm clash", "git merge main; git merge --abort", Write, ""),
            row("git checkout -q topic; echo other > file4; git add .; git commit -qm clash", "git cherry-pick main; git cherry-pick --abort", Write, ""),
            row("git checkout -q topic; echo other > file4; git add .; git commit -qm clash", "git rebase main; git rebase --abort", Write, ""),
            row("", "git format-patch -1 topic; git am *.patch", Write, ""),
            row(
                "git repack -qad; git commit -q --allow-empty -m more; git repack -qd",
                "git multi-pack-index write; git maintenance run --task=loose-objects --task=incremental-repack",
                Write,
                "",
            ),
            row(
                "git clone -q --depth 1 file://$PWD/../far.git ../thin",
                "cd ../thin; git commit --allow-empty -m thin; git gc --prune=now; git fetch --unshallow",
                Write,
                "",
            ),
            row(
                "git clone -q --depth 1 file://$PWD/../far.git ../thin; git push -q origin main",
                "cd ../thin; git fetch --depth 1; git pull --depth 3",
                Write,
                "",
            ),
            row("git clone -q --shared . ../shared", "cd ../shared; git commit --allow-empty -m more; git checkout -b fresh; git push origin fresh", Write, ""),
            row("git pack-refs --all", "git commit --allow-empty -m more; git pack-refs --all; git branch fresh; git gc", Write, ""),
            row("git pack-refs --all; git commit -q --amend -m other", "git pack-refs --all", Write, ""),
        ],
        Session::Unknown,
    );
}

#[test]
fn losing_history_is_destroying() {
    check(
        &[
            row("", "git commit --amend -m other", Destroy, "git.ref.rewind"),
            row("", "git reset --hard HEAD~1", Destroy, "git.ref.rewind"),
            row("", "git rebase topic", Destroy, "git.ref.rewind"),
            row("", "git checkout -B main HEAD~1", Destroy, "git.ref.rewind"),
            row("", "git branch -f topic main", Destroy, "git.ref.rewind"),
            row("", "git branch -d merged", Destroy, "git.ref.delete"),
            row("", "git branch -D topic", Destroy, "git.ref.delete"),
            row("git pack-refs --all", "git branch -D topic", Destroy, "git.ref.delete"),
            row("", "git branch -m topic subject", Destroy, "git.ref.delete"),
            row("", "git update-ref -d refs/heads/topic", Destroy, "git.ref.delete"),
            row("", "git update-ref refs/heads/topic refs/heads/merged", Destroy, "git.ref.rewind"),
            row("", "git tag -d light", Destroy, "git.ref.delete"),
            row("", "git tag -d noted", Destroy, "git.ref.delete"),
            row("", "git tag -a -f noted -m again", Destroy, "git.ref.rewind"),
            row("git pack-refs --all", "git tag -d noted", Destroy, "git.ref.delete"),
            row("echo x >> file; git stash", "git stash drop", Destroy, "git.ref.delete"),
            row("echo x >> file; git stash; echo y >> file; git stash", "git stash drop", Destroy, "git.ref.rewind"),
            row("echo x >> file; git stash; echo y >> file; git stash", "git stash drop stash@{1}", Destroy, "git.reflog.remove"),
            row("echo x >> file; git stash; echo y >> file; git stash", "git stash clear", Destroy, ""),
            row("echo x >> file; git stash", "git stash pop", Destroy, ""),
            now("git commit -q --amend -m other", "git reflog expire --expire=now --all", Destroy, "git.reflog.remove"),
            now("git commit -q --amend -m other", "git reflog delete --rewrite HEAD@{1}; git reflog delete --rewrite main@{1}", Destroy, "git.reflog.remove"),
            now("git commit -q --amend -m other", "git reflog expire --expire-unreachable=now --all; git gc --prune=now", Destroy, "git.reflog.remove"),
            row("git switch -q --detach; git commit -q --allow-empty -m apart", "git switch main", Destroy, "git.head.leave"),
            row("git worktree add -q --detach ../tree; cd ../tree; git commit -q --allow-empty -m apart", "git worktree remove ../tree", Destroy, ""),
            row("git push -q origin topic; git push -q origin :topic", "git push -q origin :merged", Write, ""),
            row("git push -q origin main; git commit -q --amend -m other", "git push --force origin main", Destroy, "git.ref.rewind"),
            row("", "git filter-branch -f --msg-filter 'sed s/Change/Turn/' main", Destroy, "git.ref.rewind"),
            row("git push -q origin main", "git fetch --depth 1 file://$PWD/../far.git", Write, ""),
            row(
                "git push -q origin main; git tag -d light noted; git branch -D topic merged; rm -r .git/logs",
                "git fetch --depth 1 file://$PWD/../far.git",
                Destroy,
                "git.history.cut",
            ),
            row("", "rm -rf .git", Destroy, ""),
            row("", "rm -rf .git/refs", Destroy, ""),
            row("", "rm -rf .git/objects", Destroy, ""),
            row("git repack -qad", "rm -f .git/objects/pack/*", Destroy, "git.pack.remove"),
            row("", "rm -rf .git/logs", Write, ""),
            now("git commit -q --amend -m other", "rm -rf .git/logs", Destroy, "git.reflog.remove"),
            row("", "mv .git elsewhere", Destroy, "git.directory.remove"),
            row("", "mv .git/objects elsewhere", Destroy, "git.directory.remove"),
            row("", "rm .git/HEAD", Destroy, "git.directory.remove"),
            row("", "rm .git/refs/heads/topic", Destroy, "git.ref.delete"),
            row("git pack-refs --all", "rm .git/packed-refs", Destroy, "git.ref.delete"),
            row("", "git rev-parse merged > .git/refs/heads/topic", Destroy, "git.file.overwrite"),
            row("", "echo junk > .git/HEAD", Destroy, "git.file.overwrite"),
            row(
                "git init -q --ref-format=reftable ../tables",
                "cd ../tables; git commit --allow-empty -m one; git commit --allow-empty -m two",
                Destroy,
                "git.ref.unclear",
            ),
        ],
        Session::Unknown,
    );
}

#[test]
fn what_was_made_in_the_session_is_the_agents_own() {
    check(
        &[
            row("", "git commit --allow-empty -m own; git commit --amend -m better", Write, ""),
            row("", "git commit --allow-empty -m own; git reset --hard HEAD~1", Write, ""),
            row("", "git checkout -b own; git commit --allow-empty -m own; git checkout main; git branch -D own", Write, ""),
            row("", "git checkout -b own; git commit --allow-empty -m own; git rebase topic", Write, ""),
            row("", "echo x >> file; git stash; git stash pop", Write, ""),
            row("", "git tag own; git tag -d own", Write, ""),
            row(
                "",
                "git checkout -b own; git commit --allow-empty -m own; git push -u origin own; git commit --amend -m two; git push -f origin own",
                Write,
                "",
            ),
            row("", "git checkout -b own topic; git commit --allow-empty -m a; git commit --allow-empty -m b; git rebase -i --autosquash main", Write, ""),
            row("", "git checkout -b own; git commit --allow-empty -m a; git checkout main; git merge own; git branch -d own", Write, ""),
            row(
                "",
                "git worktree add ../tree -b own; cd ../tree; git commit --allow-empty -m a; cd ../work; git worktree remove ../tree; git branch -D own",
                Write,
                "",
            ),
            row("echo x >> file", "git pull --rebase --autostash", Write, ""),
            row("", "git clone -q ../far.git ../again; rm -rf ../again", Write, ""),
            row("echo x >> file; git stash", "echo y >> file; git stash; git stash pop", Write, ""),
            row("git repack -qad", "git unpack-objects < $(mv .git/objects/pack/*.pack .. && ls ../*.pack); git reset --hard HEAD~1", Destroy, ""),
            row("", "git commit --allow-empty -m own; git gc --prune=now; git reset --hard HEAD~1", Write, ""),
            row("", "git commit --allow-empty -m own; git reset --hard HEAD~2", Destroy, "git.ref.rewind"),
            row("", "git commit --amend -m other", Destroy, "git.ref.rewind"),
            row("", "git branch -d merged", Destroy, "git.ref.delete"),
        ],
        Session::Now,
    );
}
