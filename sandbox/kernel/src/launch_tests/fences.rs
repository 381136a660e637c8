//! What an agent would try against the fences, and what happens outside while it runs.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixListener},
    time::{Duration, Instant},
};

use nix::{pty::openpty, sys::signal::Signal};

use super::{Ground, become_user, boxed, everyone, in_box_as, no_boxes_here, plan, sh};
use crate::{
    control::{Exit, FromInit},
    launch::{Running, launch},
    mounts::{Entry, FileFence, Furnished, Rest},
    trial::in_child,
};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn exit_of(running: &Running) -> Result<Exit, String> {
    loop {
        match running.hear().map_err(|e| e.to_string())? {
            Some(FromInit::Ended(exit)) => return Ok(exit),
            Some(_) => {}
            None => return Err("init ended without a word".to_owned()),
        }
    }
}

#[test]
fn folders_are_seen_with_more_in_them() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let ground = Ground::new();
        fs::create_dir_all(ground.path("shown/folder")).unwrap();
        fs::write(ground.path("shown/file"), "a file\n").unwrap();
        fs::write(ground.path("shown/folder/deep"), "below\n").unwrap();
        std::os::unix::fs::symlink("file", ground.path("shown/link")).unwrap();
        let full = ground.path("full");
        fs::create_dir(&full).unwrap();
        (0..200).for_each(|number| fs::write(full.join(number.to_string()), "").unwrap());
        let file = || Entry::File(b"ours\n".to_vec().into());
        let own = Entry::Own { folder: "/run/own".into(), name: "begun", contents: b"to be changed\n".to_vec().into() };
        let mut fence = ground.fence();
        fence.read_only.extend([ground.path("shown"), ground.path("secret"), full.clone()]);
        fence.furnished = vec![
            Furnished { folder: ground.path("shown"), rest: Rest::Shown, at: "new/ours".into(), entry: file() },
            Furnished { folder: ground.path("secret"), rest: Rest::Hidden, at: "own".into(), entry: own },
            Furnished { folder: full, rest: Rest::Shown, at: "ours".into(), entry: file() },
            // In a place of the agent's, and in one that is hidden: it stays as it is.
            Furnished { folder: ground.path("work"), rest: Rest::Shown, at: "ours".into(), entry: file() },
            Furnished { folder: ground.path("none"), rest: Rest::Shown, at: "ours".into(), entry: file() },
        ];
        let script = format!(
            "cd {}; cat shown/new/ours shown/file shown/link shown/folder/deep; for at in shown/x shown/new/x shown/file shown/folder/x secret/x; do (echo x >$at) 2>/dev/null || echo closed; done
            ls secret; cat secret/own/begun; echo changed >secret/own/begun; echo x >secret/own/more; cat /run/own/begun; ls full | wc -l; ls work",
            ground.path("").display()
        );
        let output = in_box_as(user, &sh(&script), fence).unwrap();
        let closed = "closed\n".repeat(5);
        assert_eq!(output, format!("Code(0) ours\na file\na file\nbelow\n{closed}own\nto be changed\nchanged\n200\nhooks\n"), "as {user:?}");
        assert!(!ground.path("secret/own").exists() && !ground.path("shown/new").exists() && ground.path("secret/key").exists());
    }
}

#[test]
fn of_two_places_the_deeper_one_counts() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let ground = Ground::new();
        for path in ["work/private/shown", "work/hooks/free"] {
            fs::create_dir_all(ground.path(path)).unwrap();
            std::os::unix::fs::chown(ground.path(path), user, user).unwrap();
        }
        let mut fence = ground.fence();
        fence.masked.push(ground.path("work/private"));
        fence.writable.extend([ground.path("work/private/shown"), ground.path("work/hooks/free")]);
        let script = format!(
            "ls -a {0}; echo x > {0}/shown/made && echo shown-written; echo x > {0}/new || echo mask-kept
            cd {1}; echo x > hooks/new || echo hooks-kept; echo x > hooks/free/made && echo free-written",
            ground.path("work/private").display(),
            ground.path("work").display(),
        );
        let output = in_box_as(user, &sh(&script), fence).unwrap();
        for word in ["Code(0)", "\n..\nshown\nshown-written", "mask-kept", "hooks-kept", "free-written"] {
            assert!(output.contains(word), "as {user:?}: no {word:?} in {output}");
        }
        assert!(ground.path("work/private/shown/made").exists() && ground.path("work/hooks/free/made").exists());
    }
}

#[test]
fn nothing_at_the_top_of_proc_speaks_to_the_machine() {
    if no_boxes_here() {
        return;
    }
    let script = "cd /proc
        for f in kmsg kpagecount kpageflags pagetypeinfo slabinfo vmallocinfo timer_list keys kcore; do
            test -e $f && test \"$(head -c 64 $f | wc -c)\" != 0 && echo shown:$f; done
        for f in *; do test -f $f && test ! -L $f && (: >> $f) 2> /dev/null && echo opened:$f; done
        ls /sys/kernel/debug /sys/kernel/security /sys/firmware 2>/dev/null | grep -v :; cat /proc/1/environ /proc/1/maps 2>&1 | wc -l; exit 0";
    let output = in_box_as(None, &sh(script), FileFence::default()).unwrap();
    assert!(output.starts_with("Code(0) "), "{output}");
    assert!(!output.contains("shown:"), "{output}");
    // An empty mask may be opened by none either: it is read-only.
    assert!(!output.contains("opened:"), "{output}");
    assert!(output.trim_end().ends_with("\n2") || output.trim_end().ends_with(" 2"), "more than two refusals: {output}");
}

#[test]
fn sockets_of_others_cannot_be_reached_and_own_ones_work() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let ground = Ground::new();
        let path = ground.path("work/docker.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        nix::sys::stat::fchmodat(nix::fcntl::AT_FDCWD, &path, nix::sys::stat::Mode::from_bits_truncate(0o777), nix::sys::stat::FchmodatFlags::FollowSymlink)
            .unwrap();
        let script = format!(
            "import socket
s = socket.socket(socket.AF_UNIX)
try: s.connect('{0}/docker.sock'); print('reached')
except OSError as e: print('refused')
l = socket.socket(socket.AF_UNIX); l.bind('{0}/own.sock'); l.listen(); socket.socket(socket.AF_UNIX).connect('{0}/own.sock'); print('own')
",
            ground.path("work").display()
        );
        let output = in_box_as(user, &["python3", "-c", &script], ground.fence()).unwrap();
        if output.contains("No such file") {
            println!("SKIPPED: python3 is not installed");
            return;
        }
        assert_eq!(output, "Code(0) refused\nown\n", "as {user:?}");
    }
}

#[test]
fn a_mask_that_falls_ends_the_box() {
    if no_boxes_here() {
        return;
    }
    let ground = Ground::new();
    let mark = ground.path("work/seen");
    let script = format!("while ! grep -q new {0}/.env; do sleep 0.01; done; sleep 30; touch {1}", ground.path("work").display(), mark.display());
    let outcome = in_child(|| {
        let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let running = launch(plan(&sh(&script), ground.fence(), writer.into()), |_, _| Ok(Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
        if let Some(fallen) = running.fallen_mask() {
            return Err(format!("at once: {fallen}"));
        }
        // As an editor saves.
        fs::write(ground.path("work/.env.new"), "new secret").map_err(|e| e.to_string())?;
        fs::rename(ground.path("work/.env.new"), ground.path("work/.env")).map_err(|e| e.to_string())?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(fallen) = running.fallen_mask() {
                return match running.hear() {
                    Ok(None) => Ok(fallen.to_string()),
                    other => Err(format!("it says: {other:?}")),
                };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("nobody noticed".to_owned())
    });
    let said = outcome.result().unwrap();
    assert!(said.contains("work/.env is no longer hidden from the agent, because it was replaced"), "{said}");
}

#[test]
fn a_file_as_standard_input_cannot_be_changed_through_it() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let ground = Ground::new();
        let path = ground.path("work/hooks/old");
        if let Some(uid) = user {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid)).unwrap();
        }
        let script = "read line; echo read:$line; true > /dev/stdin; truncate -s 0 /proc/self/fd/0; chmod 600 /proc/self/fd/0; touch /proc/self/fd/0; exit 0";
        let outcome = in_child(|| {
            if let Some(uid) = user {
                become_user(uid)?;
            }
            let (mut reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
            let mut plan = plan(&sh(script), ground.fence(), writer.into());
            plan.stdio.stdin = File::open(&path).map_err(|e| e.to_string())?.into();
            let running = launch(plan, |_, _| Ok(Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
            let mut output = String::new();
            reader.read_to_string(&mut output).map_err(|e| e.to_string())?;
            exit_of(&running).map(|exit| format!("{exit:?} {output}"))
        });
        let output = outcome.result().unwrap();
        assert!(output.starts_with("Code(0) read:content"), "{output}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "content", "as {user:?}: {output}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o666, "as {user:?}: {output}");
    }
}

#[test]
fn the_boxs_terminal_works_as_a_terminal() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let script = "test -t 0 && test -t 1 && echo is-tty; tty; echo out > /dev/stdout; echo err > /dev/stderr; echo con > /dev/tty
            ps -o stat= -p $$ 2>/dev/null | grep -q + && echo foreground; sleep 60";
        let outcome = in_child(|| {
            if let Some(uid) = user {
                become_user(uid)?;
            }
            let ends = openpty(None, None).map_err(|e| e.to_string())?;
            let copy = || ends.slave.try_clone().map_err(|e| e.to_string());
            let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
            let mut plan = plan(&sh(script), FileFence::default(), writer.into());
            plan.stdio = crate::launch::Stdio { stdin: copy()?, stdout: copy()?, stderr: copy()?, controlling: Some(copy()?) };
            let running = launch(plan, |_, _| Ok(Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
            let mut screen = File::from(ends.master);
            let mut output = String::new();
            while !output.contains("con\r\n") {
                let mut chunk = [0; 512];
                let count = screen.read(&mut chunk).map_err(|e| format!("{e} after {output}"))?;
                output.push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
            std::thread::sleep(Duration::from_millis(100));
            // Ctrl-Z, then on again, then Ctrl-C: by the terminal's own means.
            screen.write_all(b"\x1a").map_err(|e| e.to_string())?;
            match running.hear() {
                Ok(Some(FromInit::Stopped)) => output.push_str("stopped "),
                other => return Err(format!("no stop but {other:?} after {output}")),
            }
            running.signal(Signal::SIGCONT as i32);
            std::thread::sleep(Duration::from_millis(100));
            screen.write_all(b"\x03").map_err(|e| e.to_string())?;
            exit_of(&running).map(|exit| format!("{output} {exit:?}"))
        });
        let output = outcome.result().unwrap();
        for word in ["is-tty", "/dev/console", "out\r\n", "err\r\n", "stopped", "Signal(2)"] {
            assert!(output.contains(word), "as {user:?}: no {word:?} in {output:?}");
        }
    }
}

#[test]
fn the_command_starts_clean() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let script = "ls /proc/self/fd | tr '\\n' ' '; grep -E 'SigBlk|SigIgn|CapBnd|CapAmb|CapInh' /proc/self/status | cut -f2 | tr '\\n' ' '
            ls /proc/self/ns >/dev/null; (sleep 0.05 &); sleep 0.3; cat /proc/[0-9]*/stat | grep -c ') Z '";
        let output = in_box_as(user, &sh(script), FileFence::default()).unwrap();
        // 3 is the folder that `ls` itself reads.
        let zero = "0000000000000000 ";
        assert_eq!(output, format!("Code(1) 0 1 2 3 {}0\n", zero.repeat(5)), "as {user:?}");
    }
}

#[test]
fn signals_are_handed_on() {
    if no_boxes_here() {
        return;
    }
    let outcome = in_child(|| {
        let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let running =
            launch(plan(&sh("sleep 60 & wait"), FileFence::default(), writer.into()), |_, _| Ok(Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
        running.signal(Signal::SIGTERM as i32);
        exit_of(&running).map(|exit| format!("{exit:?}"))
    });
    assert_eq!(outcome.result(), Ok("Signal(15)".to_owned()));
}

#[test]
fn two_hundred_daemons_end_with_the_agent() {
    if no_boxes_here() {
        return;
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    let outcome = in_child(|| {
        let (exit, _) =
            boxed(&sh("i=0; while [ $i -lt 200 ]; do (setsid sleep 300 >/dev/null 2>&1 &); i=$((i+1)); done; exit 3"), FileFence::default(), |_| Ok(()))?;
        Ok(format!("{exit:?}"))
    });
    drop::<OwnedFd>(writer.into());
    assert_eq!(outcome.result(), Ok("Code(3)".to_owned()));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "somebody holds our pipe still");
}

#[test]
fn a_supervisor_that_nobody_can_look_into_makes_a_box_all_the_same() {
    if no_boxes_here() {
        return;
    }
    for user in everyone() {
        let outcome = in_child(|| {
            if let Some(uid) = user {
                become_user(uid)?;
            }
            crate::selfguard::guard(crate::selfguard::Role::Supervisor).map_err(|e| e.to_string())?;
            let (exit, output) = boxed(&sh("id -u; cat /proc/self/uid_map"), FileFence::default(), |_| Ok(()))?;
            Ok(format!("{exit:?} {}", output.split_whitespace().collect::<Vec<_>>().join(" ")))
        });
        let output = outcome.result().unwrap();
        let wanted = match user {
            Some(uid) => format!("Code(0) {uid} {uid} {uid} 1"),
            None => "Code(0) ".to_owned(),
        };
        assert!(output.starts_with(&wanted), "as {user:?}: {output}");
    }
}

#[test]
fn root_of_a_container_makes_a_box_too() {
    if no_boxes_here() || !nix::unistd::geteuid().is_root() {
        return;
    }
    for hidden in [false, true] {
        let outcome = in_child(|| {
            become_user(65_534)?;
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(|e| e.to_string())?;
            for (file, text) in [("setgroups", "deny"), ("uid_map", "0 65534 1"), ("gid_map", "0 65534 1")] {
                fs::write(format!("/proc/self/{file}"), text).map_err(|e| format!("{file}: {e}"))?;
            }
            if hidden {
                crate::selfguard::guard(crate::selfguard::Role::Supervisor).map_err(|e| e.to_string())?;
            }
            let (exit, output) =
                boxed(&sh("id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status; cat /proc/1/maps"), FileFence::default(), |_| Ok(()))?;
            let still = nix::sys::prctl::get_dumpable().map_err(|e| e.to_string())? != hidden;
            Ok(format!("{exit:?} {still} {}", output.split_whitespace().collect::<Vec<_>>().join(" ")))
        });
        let wanted = "Code(1) true 0 0 0 1 CapEff: 0000000000000000 cat: /proc/1/maps: Permission denied";
        assert_eq!(outcome.result(), Ok(wanted.to_owned()), "hidden: {hidden}");
    }
}

#[test]
fn a_command_does_not_run_in_another_folder_than_was_meant() {
    if no_boxes_here() {
        return;
    }
    let ground = Ground::new();
    let outcome = in_child(|| {
        let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let mut plan = plan(&["true"], ground.fence(), writer.into());
        plan.directory = ground.path("secret");
        launch(plan, |_, _| Ok(Vec::new()), |_| Ok(())).map_or_else(|error| Ok(error.to_string()), |_| Err("it ran".to_owned()))
    });
    let said = outcome.result().unwrap();
    assert!(said.contains("secret in the box: ENOENT") && said.contains("fix: run agentbox in"), "{said}");
}

#[test]
fn a_storm_of_orphans_keeps_no_signal_away() {
    if no_boxes_here() {
        return;
    }
    let outcome = in_child(|| {
        let (_reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let storm = "trap 'exit 9' TERM; while :; do (true &) ; (true &) ; (true &) ; done";
        let running = launch(plan(&sh(storm), FileFence::default(), writer.into()), |_, _| Ok(Vec::new()), |_| Ok(())).map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(300));
        running.signal(Signal::SIGTERM as i32);
        exit_of(&running).map(|exit| format!("{exit:?}"))
    });
    assert_eq!(outcome.result(), Ok("Code(9)".to_owned()));
}
