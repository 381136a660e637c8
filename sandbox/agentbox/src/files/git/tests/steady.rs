//! What was made in the session, and could become something else unseen: it keeps nothing that somebody may miss.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::SystemTime,
};

use agentbox_core::Effect::{self, Destroy, Write};

use super::{
    super::{Deed, Judge},
    repository::Stage,
};

/// A repository from before a session that has begun, whose refs and objects no reflog names.
fn begun(script: &str) -> (Stage, Judge) {
    let stage = Stage::new();
    stage.now(&format!("{script}; rm -rf .git/logs"));
    let start = SystemTime::now();
    let probe = stage.root.join("probe");
    // Births are told by a clock that may be a tick behind.
    while fs::metadata(&probe).and_then(|facts| facts.created()).is_ok_and(|born| born < start) || !probe.exists() {
        let _ = fs::remove_file(&probe);
        fs::write(&probe, "").unwrap();
    }
    (stage, Judge::new(Some(start)))
}

fn git(stage: &Stage, below: &str) -> PathBuf {
    stage.work.join(".git").join(below)
}

fn loose(stage: &Stage, name: &str) -> PathBuf {
    let id = stage.says(&format!("git rev-parse {name}"));
    git(stage, &format!("objects/{}/{}", &id[..2], &id[2..]))
}

fn effect(judge: &mut Judge, deed: Deed<'_>) -> Effect {
    judge.judge(deed).worst().unwrap().effect
}

/// Judges that `main` goes one commit back.
fn rewound(stage: &Stage, judge: &mut Judge) -> Effect {
    let (lock, path) = (git(stage, "refs/heads/main.lock"), git(stage, "refs/heads/main"));
    fs::write(&lock, stage.says("git rev-parse main~1")).unwrap();
    let effect = effect(judge, Deed::Rename { from: &lock, to: &path });
    fs::remove_file(&lock).unwrap();
    effect
}

#[test]
fn a_ref_that_is_open_for_writing_or_has_another_name_keeps_nothing() {
    let (stage, mut judge) = begun("true");
    let keeper = git(&stage, "refs/heads/keep");
    let mut open = File::create_new(&keeper).unwrap();
    std::io::Write::write_all(&mut open, stage.says("git rev-parse main").as_bytes()).unwrap();
    assert_eq!(rewound(&stage, &mut judge), Destroy, "it can still become another one");
    drop(open);
    assert_eq!(rewound(&stage, &mut judge), Write, "it keeps what main leaves");
    let alias = stage.work.join("alias");
    fs::hard_link(&keeper, &alias).unwrap();
    assert_eq!(rewound(&stage, &mut judge), Destroy, "its other name is written as the agent likes");
    fs::remove_file(&alias).unwrap();
    assert_eq!(rewound(&stage, &mut judge), Write);
}

#[test]
fn a_pack_that_is_open_for_writing_or_has_another_name_holds_nothing() {
    let (stage, mut judge) = begun("true");
    let object = loose(&stage, "main");
    assert_eq!(effect(&mut judge, Deed::Remove(&object)), Destroy, "it is the only copy");
    stage.now("git rev-list --objects --all | git pack-objects -q --stdout > own; git index-pack -o own.idx own > name");
    let (own, pack) = (stage.work.join("own"), git(&stage, "objects/pack/pack-own.pack"));
    fs::copy(stage.work.join("own.idx"), git(&stage, "objects/pack/pack-own.idx")).unwrap();
    let mut open = File::create_new(&pack).unwrap();
    std::io::Write::write_all(&mut open, &fs::read(&own).unwrap()).unwrap();
    assert_eq!(effect(&mut judge, Deed::Remove(&object)), Destroy, "the pack can still become anything");
    drop(open);
    let alias = stage.work.join("alias");
    fs::hard_link(&pack, &alias).unwrap();
    assert_eq!(effect(&mut judge, Deed::Remove(&object)), Destroy, "the pack can be written over by its other name");
    fs::remove_file(&alias).unwrap();
    assert_eq!(effect(&mut judge, Deed::Remove(&object)), Write, "the pack has it, and every opening of it is judged");
    assert_eq!(effect(&mut judge, Deed::Link { from: &pack, to: &alias }), Destroy, "nor does it get another name later");
}

#[test]
fn nothing_comes_into_history_that_has_another_name() {
    let (stage, mut judge) = begun("true");
    let (lock, alias) = (git(&stage, "packed-refs.lock"), stage.work.join("alias"));
    stage.now("git for-each-ref --format='%(objectname) %(refname)' > .git/packed-refs.lock");
    let packs = |judge: &mut Judge| effect(judge, Deed::Rename { from: &lock, to: &git(&stage, "packed-refs") });
    assert_eq!(packs(&mut judge), Write);
    fs::hard_link(&lock, &alias).unwrap();
    assert_eq!(packs(&mut judge), Destroy);
    assert_eq!(effect(&mut judge, Deed::Link { from: &alias, to: &git(&stage, "objects/pack/pack-x.pack") }), Destroy, "a link from elsewhere is one");
    // A temporary file has its two names for a moment: neither of them may lead out then.
    fs::remove_file(&alias).unwrap();
    let (temporary, object) = (git(&stage, "objects/tmp_obj_x"), git(&stage, "objects/aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"));
    fs::write(&temporary, "").unwrap();
    assert_eq!(effect(&mut judge, Deed::Link { from: &temporary, to: &object }), Write);
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::hard_link(&temporary, &object).unwrap();
    assert_eq!(effect(&mut judge, Deed::Rename { from: &temporary, to: &alias }), Destroy);
    assert_eq!(effect(&mut judge, Deed::Link { from: &temporary, to: &alias }), Destroy);
    assert_eq!(effect(&mut judge, Deed::Remove(&temporary)), Write);
    let folder = git(&stage, "objects/tmp_objdir-x");
    fs::create_dir(&folder).unwrap();
    assert_eq!(effect(&mut judge, Deed::Rename { from: &folder, to: &alias }), Destroy, "with whatever is in it");
}

#[test]
fn a_loose_ref_that_hides_a_packed_one_does_not_make_its_history_needless() {
    for says in ["nothing that git understands", ""] {
        let (stage, mut judge) = begun("git pack-refs --all; git branch -D topic merged; git update-ref -d refs/remotes/origin/main");
        let object = loose(&stage, "main");
        let says = if says.is_empty() { stage.says("git rev-parse main~2") } else { says.to_owned() };
        fs::write(git(&stage, "refs/heads/main"), says).unwrap();
        assert_eq!(effect(&mut judge, Deed::Remove(&object)), Destroy);
    }
}
