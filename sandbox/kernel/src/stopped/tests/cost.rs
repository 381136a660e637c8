//! What a stopped call costs: `cargo test -p agentbox-kernel stopped_cost -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

/// Calls of one round, and rounds of each kind; bare and stopped take turns.
const CALLS: u32 = 2_000;
const ROUNDS: usize = 7;

/// A name and what is done in a folder.
type Work = (&'static str, fn(&Path));

const WORKS: &[Work] = &[
    ("create exclusively, unlink", |folder| {
        let file = folder.join("x");
        drop(fs::OpenOptions::new().write(true).create_new(true).open(&file).unwrap());
        fs::remove_file(&file).unwrap();
    }),
    ("create, unlink", |folder| {
        let file = folder.join("x");
        drop(fs::File::create(&file).unwrap());
        fs::remove_file(&file).unwrap();
    }),
    ("rename", |folder| fs::rename(folder.join("a"), folder.join("b")).and_then(|()| fs::rename(folder.join("b"), folder.join("a"))).unwrap()),
    ("open for writing", |folder| drop(fs::OpenOptions::new().write(true).open(folder.join("a")).unwrap())),
    ("umask, which is only let go on", |_| {
        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    }),
    ("stat", |folder| assert!(fs::metadata(folder.join("a")).is_ok())),
];

#[test]
#[ignore = "a measurement, not a test"]
fn stopped_cost() {
    let (_keep, folder) = ground();
    fs::write(folder.join("a"), "a").unwrap();
    for (name, work) in WORKS {
        let mut taken: [Vec<u128>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (stopped, all) in taken.iter_mut().enumerate() {
                let told = folder.join("told");
                let measured = || {
                    let began = Instant::now();
                    (0..CALLS).for_each(|_| work(&folder));
                    let each = began.elapsed().as_nanos() / u128::from(CALLS);
                    fs::write(&told, each.to_string()).unwrap();
                    0
                };
                if stopped == 0 {
                    measured();
                } else {
                    run_free(measured);
                }
                all.push(fs::read_to_string(&told).unwrap().parse().unwrap());
            }
        }
        let [bare, stopped] = taken.map(|mut all| {
            all.sort_unstable();
            all.get(ROUNDS / 2).copied().unwrap()
        });
        println!("{name:<31} bare {bare:>7} ns   stopped {stopped:>7} ns   {}.{:02} x", stopped / bare, stopped * 100 / bare % 100);
    }
}

/// Runs `work` behind the filter, and does what it does in its place as the gate does what needs no judging.
fn run_free(work: impl FnOnce() -> u8) {
    let (pid, listener) = stopped(work);
    let world = World::here(World::proc().unwrap(), Roots::One, &[]).unwrap();
    while waitpid(pid, Some(WaitPidFlag::WNOHANG)).unwrap() == WaitStatus::StillAlive {
        for _ in 0..1000 {
            let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&listener), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(20_u16)).unwrap();
            match listener.take(fds[0].revents().unwrap()) {
                Ok(Received::End) => return,
                Ok(Received::Nothing) => {}
                Err(_) => break,
                Ok(Received::Call(notice)) => match Deed::read(notice, &world) {
                    Reading::Answered => {}
                    Reading::Deed(notice, deed) => {
                        assert!(deed.things(&world).all(|thing| thing.stat.links > 0));
                        assert!(matches!(deed.perform(notice, &world), Performed::Answered(_)));
                    }
                },
            }
        }
    }
}
