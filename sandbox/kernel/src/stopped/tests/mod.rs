//! Real programs whose calls are stopped, judged by a test, and done in their place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};

use super::*;
use crate::{
    control::Control,
    sys::fork::{Side, exit_now, fork},
};

mod cost;
mod faults;
mod odd;
mod races;

/// No run of these tests takes a tenth of it.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(100);

/// What a run came to: how the program ended, and what was touched.
struct Run {
    end: WaitStatus,
    touched: Vec<(What, PathBuf)>,
}

/// What a judge of these tests says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Yes,
    No,
    /// Until its caller is wanted elsewhere.
    Wait,
}

/// Runs a script behind the filter; `judge` says yes or no to each touch.
fn run(folder: &Path, script: &str, judge: impl Fn(What, &Path) -> bool) -> Run {
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(folder);
    run_command(&mut command, Roots::One, |what, path| if judge(what, path) { Word::Yes } else { Word::No })
}

fn run_command(command: &mut Command, roots: Roots, judge: impl FnMut(What, &Path) -> Word) -> Run {
    run_freely(command, roots, |_| false, judge)
}

/// The same, where what happens to what is `free` is done at once, and the judge is not asked.
fn run_freely(command: &mut Command, roots: Roots, free: impl Fn(&Thing<'_>) -> bool, mut judge: impl FnMut(What, &Path) -> Word) -> Run {
    let (pid, listener) = stopped(|| {
        use std::os::unix::process::CommandExt as _;
        let _ = command.exec();
        126
    });
    let world = World::here(World::proc().unwrap(), roots, &[]).unwrap();
    let mut touched = Vec::new();
    let mut later = Vec::new();
    let began = std::time::Instant::now();
    let mut end = None;
    loop {
        assert!(began.elapsed() < LONGEST, "a run that does not end");
        // Before Linux 6.11 the listener has its end only when the last process behind the filter is not only dead but waited for.
        if end.is_none() {
            end = Some(waitpid(pid, Some(WaitPidFlag::WNOHANG)).unwrap()).filter(|status| *status != WaitStatus::StillAlive);
        }
        let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&listener), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(20_u16)).unwrap();
        let (wanted, mut due): (Vec<_>, Vec<_>) = later.drain(..).partition(|(notice, _): &(Notice, Deed)| notice.is_wanted_elsewhere(&world));
        wanted.into_iter().for_each(|(notice, _)| notice.refuse(Errno::EINTR));
        match listener.receive().unwrap() {
            Received::End => break,
            Received::Nothing => {}
            Received::Call(notice) => match Deed::read(notice, &world) {
                Reading::Answered => {}
                Reading::Deed(notice, deed) => due.push((notice, deed)),
            },
        }
        while let Some((notice, mut deed)) = due.pop() {
            if deed.things(&world).all(|thing| free(&thing)) {
                match deed.perform(notice, &world) {
                    Performed::Answered(_) => {}
                    Performed::Another(notice, deed) => due.push((notice, deed)),
                    Performed::Later(notice, deed) => later.push((notice, deed)),
                }
                continue;
            }
            let all: Vec<(What, PathBuf)> = match deed.hold().and_then(|()| deed.touches(&world)) {
                Ok(touches) => touches.iter().map(|touch| (touch.what, touch.path.clone())).collect(),
                Err(errno) => {
                    notice.refuse(errno);
                    continue;
                }
            };
            let words: Vec<Word> = all.iter().map(|(what, path)| judge(*what, path)).collect();
            if words.contains(&Word::Wait) {
                later.push((notice, deed));
                continue;
            }
            touched.extend(all);
            if words.contains(&Word::No) {
                drop(notice);
                continue;
            }
            match deed.perform(notice, &world) {
                Performed::Answered(_) => {}
                Performed::Another(notice, deed) => due.push((notice, deed)),
                Performed::Later(notice, deed) => later.push((notice, deed)),
            }
        }
    }
    Run { end: end.unwrap_or_else(|| waitpid(pid, None).unwrap()), touched }
}

/// Starts `work` in a child behind the filter: its calls arrive at the listener.
fn stopped(work: impl FnOnce() -> u8) -> (Pid, Listener) {
    let (ours, theirs) = Control::pair().unwrap();
    let pid = match fork().unwrap() {
        Side::Child => {
            drop(ours);
            nix::sys::prctl::set_no_new_privs().unwrap();
            let listener = install(super::Stops::APART).unwrap();
            theirs.send(&(), &[listener.as_raw_fd()]).unwrap();
            drop((listener, theirs));
            exit_now(work())
        }
        Side::Parent(pid) => pid,
    };
    drop(theirs);
    let (_, fds) = ours.receive::<()>().unwrap().unwrap();
    (pid, Listener::from(fds.into_iter().next().unwrap()))
}

/// Runs a test as an ordinary user, where this process may become one.
fn as_somebody(work: impl FnOnce(&Path)) {
    const SOMEBODY: u32 = 65_533;
    let (_keep, folder) = ground();
    if !nix::unistd::Uid::effective().is_root() {
        return work(&folder);
    }
    let (uid, gid) = (nix::unistd::Uid::from_raw(SOMEBODY), nix::unistd::Gid::from_raw(SOMEBODY));
    nix::unistd::chown(&folder, Some(uid), Some(gid)).unwrap();
    let pid = match fork().unwrap() {
        Side::Child => {
            nix::unistd::setgroups(&[]).unwrap();
            nix::unistd::setresgid(gid, gid, gid).unwrap();
            nix::unistd::setresuid(uid, uid, uid).unwrap();
            nix::sys::prctl::set_dumpable(true).unwrap();
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&folder)));
            exit_now(u8::from(done.is_err()))
        }
        Side::Parent(pid) => pid,
    };
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Exited(_, 0)), "it says why above");
}

fn ground() -> (tempfile::TempDir, PathBuf) {
    // Not below /tmp, which is a box's own memory.
    let parent =
        ["/var/lib".into(), std::env::current_dir().unwrap()].into_iter().find(|parent| nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK).is_ok());
    ground_in(&parent.expect("a folder to write in"))
}

fn ground_in(parent: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("agentbox-stopped-").tempdir_in(parent).unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

/// Scripts and what they print and leave must be the same with and without the gate.
const SAME: &[&str] = &[
    "echo a > f; cat f; rm f; ls",
    "echo a > f; echo b >> f; cat f; : > f; wc -c < f",
    "mkdir -p d/e; touch d/e/f; mv d/e/f d/g; rmdir d/e; ls -R",
    "echo a > a; echo b > b; mv a b; cat b; ls",
    "echo x > f; ln f g; stat -c %h f; rm f; cat g",
    "ln -s nowhere l; echo x > l; cat nowhere; rm l; ls -l nowhere | cut -c1-10",
    "umask 027; echo x > f; stat -c %a f; umask 077; echo x > g; stat -c %a g; (umask 002; echo x > h); stat -c %a h",
    "echo out > /dev/stdout; echo err > /dev/stderr; echo null > /dev/null; echo fd > /proc/self/fd/1; echo n > /dev/fd/1",
    "exec 3<>f; echo hi >&3; cat f; exec 3>&-",
    "mkfifo p; (echo through > p) & cat p; wait",
    "rm nothing; echo $?; rmdir nothing; echo $?; rm -f nothing; echo $?; mv nothing x; echo $?",
    "mkdir d; rm d; echo $?; rmdir d/.; echo $?; rmdir d/..; echo $?; rm -r d; echo $?",
    "mkdir d; echo x > d; echo $?; echo x > d/; echo $?; echo x > nothing/f; echo $?; echo x > f; echo y > f/g; echo $?",
    "touch f; mv f f; echo $?; mkdir d; mv f d/; ls d; mv d d/e; echo $?; mv d/f/ g; echo $?",
    "touch a b; python3 -c \"import os; os.link('a','b')\" 2>&1 | tail -1; python3 -c \"import os; os.rename('a','c'); print(os.listdir('.'))\" | wc -c",
    "python3 - <<'E'\nimport os,errno\ndef t(f,*a,**k):\n    try: print(f.__name__, f(*a,**k))\n    except OSError as e: print(f.__name__, errno.errorcode[e.errno])\nopen('f','w').write('12345')\nos.mkdir('d')\nos.symlink('f','l'); os.symlink('loop','loop'); os.symlink('d','ld')\nt(os.truncate,'f',2); t(os.truncate,'d',2); t(os.truncate,'no',2); t(os.truncate,'l',1)\nt(os.unlink,''); t(os.unlink,'d'); t(os.unlink,'f/'); t(os.unlink,'f/x'); t(os.unlink,'loop/x'); t(os.unlink,'x'*300); t(os.unlink,'y/'*3000)\nt(os.rmdir,'f'); t(os.rmdir,'/'); t(os.rmdir,'.'); t(os.rmdir,'ld'); t(os.rmdir,'ld/')\nt(os.rename,'f','d'); t(os.rename,'d','f'); t(os.rename,'.','x'); t(os.rename,'d','d/x'); t(os.rename,'','x'); t(os.rename,'f','x/')\nt(os.link,'d','x'); t(os.link,'no','x'); t(os.link,'f','l'); t(os.link,'f','x'); t(os.link,'l','y',follow_symlinks=False); print(os.path.islink('y'))\nt(os.open,'loop',os.O_WRONLY); t(os.open,'l',os.O_WRONLY|os.O_NOFOLLOW); t(os.open,'d',os.O_WRONLY); t(os.open,'f',os.O_WRONLY|os.O_DIRECTORY); t(os.open,'f/',os.O_WRONLY)\nt(os.open,'f',os.O_CREAT|os.O_EXCL|os.O_WRONLY)\nfd=os.open('d',os.O_RDONLY)\nw=os.open('in',os.O_WRONLY|os.O_CREAT,0o640,dir_fd=fd); os.write(w,b'hi'); os.close(w); print(oct(os.stat('d/in').st_mode))\nt(os.unlink,'in',dir_fd=fd); t(os.unlink,'in',dir_fd=fd); t(os.unlink,'in',dir_fd=99)\nos.chmod('f',0o400)\nprint(os.path.getsize('f'), sorted(os.listdir('.')))\nE",
    "tar cf a.tar --files-from=/dev/null; for i in 1 2 3; do echo $i > f$i; done; tar rf a.tar f1 f2 f3; rm f1 f2; tar xf a.tar; cat f1 f2 f3; sed -i s/1/one/ f1; cat f1",
    "git init -q . && git config user.email a@b && git config user.name a && echo 1 > f && git add f && git commit -qm 1 && echo 2 > f && git commit -qam 2 && git checkout -q HEAD~1 && cat f && git gc -q && git log --oneline --all | wc -l && git fsck 2>&1 | grep -c error",
    "python3 -c \"import sqlite3; c=sqlite3.connect('d.db'); c.execute('pragma journal_mode=wal'); c.executescript('create table t(a); insert into t values(7)'); print(c.execute('select a from t').fetchall())\"",
    "echo x > f; chmod 755 f; cp f g; cp -f f g; install -m 600 f h; stat -c '%a %n' f g h; dd if=/dev/zero of=f bs=1 count=3 conv=notrunc 2>/dev/null; wc -c < f",
    "python3 -c \"import os,threading\ndef w(n):\n  for i in range(50):\n    p='f%d' % (i%5)\n    open(p,'w').write(str(n))\n    try: os.unlink(p)\n    except FileNotFoundError: pass\nts=[threading.Thread(target=w,args=(n,)) for n in range(4)]\n[t.start() for t in ts]; [t.join() for t in ts]; print('done')\"; rm -f f?; ls",
    "python3 -c \"import pty; pty.spawn(['bash','-c','echo in > /dev/tty; test -t 1 && echo tty'])\" < /dev/null | tr -d '\\r'",
    "python3 -c \"import tempfile,os; f=tempfile.NamedTemporaryFile(dir='.'); f.write(b'x'*9); f.flush(); os.ftruncate(f.fileno(),4); print(os.stat(f.name).st_size); f.close(); print(os.listdir('.'))\"",
    "python3 -c \"import mmap,os; fd=os.open('m',os.O_RDWR|os.O_CREAT); os.ftruncate(fd,4096); m=mmap.mmap(fd,4096); m[0:2]=b'hi'; m.flush(); print(open('m','rb').read(2)); os.posix_fallocate(fd,0,9000); print(os.stat('m').st_size)\"",
    "mkdir -p t/a/b; for i in $(seq 50); do echo $i > t/a/b/$i; done; tar cf t.tar t; rm -rf t; tar xf t.tar; ls t/a/b | wc -l; cp -a t u; diff -r t u; mv u v; find v -type f -delete; find v -type f | wc -l; rm -r t v",
    "perl -e 'open(F,\">\",\"pf\"); print F \"abc\"; close F; rename \"pf\",\"pg\"; print -s \"pg\"; unlink \"pg\"; print -e \"pg\" ? 1 : 0'",
    "echo 'a: b; cat b > a' > Makefile; echo 'b: ; echo x > b' >> Makefile; make -s a; make -s a; cat a",
    "(set -C; echo x > n; echo y > n; echo $?; echo z >| n); cat n",
    "sqlite3 s.db 'create table t(a); insert into t values(1); delete from t; vacuum; select count(*) from t'; ls",
    "echo x > f; (trap 'echo caught' USR1; kill -USR1 $BASHPID; echo y > f); cat f",
    // The same words for another folder, and another folder under the same number.
    "mkdir a b; touch a/f a/g b/f b/g; rm a/f; mv a c; mv b a; rm a/g; ls a c; rm $PWD/c/g; mv c d; mkdir c; touch c/g; rm $PWD/c/g; ls -R",
    "mkdir a b; touch a/f a/g b/f b/g; ln -s a l; rm l/f; ln -sfn b l; rm l/g; echo x > l/f; ls -R; cat b/f",
    "mkdir a b; touch a/f b/f; (cd a; rm f; touch g; cd ../b; rm f; ls ../a; rmdir ../a || rm ../a/g); rm -r a; mkdir a; touch a/f; rm a/f; ls -R",
    "python3 -c \"import os\nfor d in ('a','b','c'):\n    os.mkdir(d); f=os.open(d,0); os.close(os.open('f',os.O_WRONLY|os.O_CREAT,dir_fd=f)); os.rename('f','g',src_dir_fd=f,dst_dir_fd=f); print(os.listdir(f)); os.close(f)\n    f=os.open('.',0); os.unlink(d+'/g',dir_fd=f); os.close(f)\"; ls -R",
    "mkdir -p a/x b/x; touch a/x/f b/x/f; ln -s b/x l; for n in 1 2 3; do chmod 60$n a/x/f; touch -d @$n l/f; touch -hd @9 l; (cd b; chmod 64$n x/f; cd ..; rm -f a/x/g; echo > a/x/g); done; stat -c '%a %n' a/x/f b/x/f l; stat -c %Y b/x/f l",
    "touch f; chmod 640 /proc/self/cwd/f $PWD/../w/f; exec 3<f 4>>f; python3 -c \"import os; os.fchmod(3,0o600); os.utime(4,(5,6)); p=os.open('f',os.O_PATH)\ntry: os.fchmod(p,0o7)\nexcept OSError as e: print(e.errno)\nos.chmod('/proc/self/fd/%d'%p,0o611)\"; stat -c '%a %Y' f",
    // What has just been written is run at once: nobody may have it open for writing any more.
    "for n in $(seq 20); do cp /bin/true p; ./p || echo $n; cp /bin/true q$n; ./q$n || echo $n; done; rm -f p q*; python3 -c \"import os, subprocess\nfor n in range(50):\n    f=os.open('r',os.O_WRONLY|os.O_CREAT|os.O_TRUNC,0o666); os.write(f,open('/bin/true','rb').read()); os.close(f); os.chmod('r',0o755); subprocess.run(['./r'],check=True); os.remove('r')\"",
    "bash -c 'ulimit -n 20; for i in $(seq 40); do eval \"exec $((i+2))>f$i\" 2>/dev/null || { echo full; break; }; done'",
];

/// What stands between a program and its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Absent,
    /// Everything is judged, and allowed.
    Judges,
    FindsAllFree,
}

impl Gate {
    fn run(self, command: &mut Command) -> WaitStatus {
        match self {
            Self::Absent => WaitStatus::Exited(Pid::from_raw(0), command.status().unwrap().code().unwrap()),
            Self::Judges => run_command(command, Roots::One, |_, _| Word::Yes).end,
            Self::FindsAllFree => run_freely(command, Roots::One, |_| true, |_, _| Word::No).end,
        }
    }
}

#[test]
fn programs_notice_nothing() {
    for script in SAME {
        let output = |prefix: &str, folder: &Path| fs::read_to_string(folder.join(prefix)).unwrap_or_default().replace(folder.to_str().unwrap(), "");
        let outcome = |gate: Gate| {
            let (_keep, folder) = ground();
            let inner = folder.join("w");
            fs::create_dir(&inner).unwrap();
            let script = format!("export GIT_CONFIG_GLOBAL=/dev/null; exec > {0}/out 2> {0}/err; {script}", folder.display());
            let mut command = Command::new("bash");
            command.args(["-c", &script]).current_dir(&inner);
            let code = gate.run(&mut command);
            let code = match code {
                WaitStatus::Exited(_, code) => code,
                other => panic!("{other:?}"),
            };
            let mut left: Vec<String> = fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            left.sort();
            (code, output("out", &folder), output("err", &folder).lines().map(|line| line.replace("/w", "")).collect::<Vec<_>>(), left)
        };
        let bare = outcome(Gate::Absent);
        assert_eq!(outcome(Gate::Judges), bare, "{script}");
        assert_eq!(outcome(Gate::FindsAllFree), bare, "without a judge: {script}");
    }
}

#[test]
fn what_is_touched_is_told_by_its_real_path() {
    let (_keep, folder) = ground();
    fs::create_dir(folder.join("real")).unwrap();
    fs::write(folder.join("real/f"), "x").unwrap();
    fs::write(folder.join("g"), "y").unwrap();
    std::os::unix::fs::symlink("real", folder.join("link")).unwrap();
    let ran = run(&folder, "mv g link/../link/./f; echo z > link/f; truncate -s 1 real/f; rm ./link/f; rmdir real; exit 3", |_, _| true);
    assert!(matches!(ran.end, WaitStatus::Exited(_, 3)));
    let at = |name: &str| folder.join(name);
    assert_eq!(
        ran.touched,
        [
            (What::Move, at("g")),
            (What::Replace, at("real/f")),
            (What::Overwrite, at("real/f")),
            (What::Overwrite, at("real/f")),
            (What::Remove, at("real/f")),
            (What::RemoveFolder, at("real")),
        ]
    );
}

#[test]
fn what_is_refused_stays() {
    let (_keep, folder) = ground();
    fs::create_dir(folder.join("kept")).unwrap();
    fs::write(folder.join("kept/f"), "precious").unwrap();
    fs::write(folder.join("free"), "x").unwrap();
    let script = "rm -rf kept; echo x > kept/f; mv free kept/f; truncate -s 0 kept/f; ln kept/f alias && echo x > alias; mv kept elsewhere; : > kept/../kept/f; python3 -c \"open('kept/f','r+').write('no')\"; rm free";
    let kept = folder.join("kept");
    run(&folder, script, |_, path| !path.starts_with(&kept));
    assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "precious");
    assert!(!folder.join("free").exists() && !folder.join("alias").exists());
}
