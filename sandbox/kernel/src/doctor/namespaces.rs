//! Namespaces and mounts, each by doing in a child what a box does.

use std::{
    fs,
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount as mount_call},
    sched::{CloneFlags, unshare},
    sys::{
        socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{getegid, geteuid, getpid},
};

use super::fixes::Settings;
use crate::{
    layer::{Layer, LayerReport},
    network::{self, Ipv6},
    sys::{
        self,
        fork::{Side, exit_now, fork},
        mount::Depth,
    },
    trial::in_child,
};

/// The longest that a grandchild of a trial may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Turns an error into "call: errno", the form in which the kernel is quoted.
fn said(call: &str) -> impl Fn(Errno) -> String + '_ {
    move |errno| format!("{call}: {errno}")
}

/// A user namespace with these others, mapped as a box maps it; whether it has power is not known yet.
fn enter(others: CloneFlags) -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | others).map_err(said("unshare"))?;
    let write = |file: &str, text: String| fs::write(file, text).map_err(|error| format!("{file}: {error}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Power over the namespace, and not only its name: on Ubuntu AppArmor lets it be made and then takes all capabilities.
fn has_power() -> Result<(), String> {
    let udp = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::Udp).map_err(said("socket"))?;
    setsockopt(&udp, sockopt::IpTransparent, &true).map_err(said("a capability in the new namespace (IP_TRANSPARENT)"))
}

pub(super) fn user() -> LayerReport {
    let made = in_child(|| unshare(CloneFlags::CLONE_NEWUSER).map(|()| String::new()).map_err(|errno| (errno as i32).to_string()));
    if let Err(why) = made.result() {
        let errno = why.parse().ok().map(Errno::from_raw);
        let why = errno.map_or(why, |errno| format!("unshare(CLONE_NEWUSER): {errno}"));
        return LayerReport::missing(Layer::UserNamespace, why, Settings::read().for_user_namespace(errno));
    }
    let powerful = in_child(|| enter(CloneFlags::CLONE_NEWNET).and_then(|()| has_power()).map(|()| String::new()));
    match powerful.result() {
        Ok(_) => LayerReport::enforced(Layer::UserNamespace),
        Err(why) => LayerReport::missing(Layer::UserNamespace, format!("it can be made, but has no power: {why}"), Settings::read().for_user_namespace(None)),
    }
}

/// A trial that comes back with a word is enforced in part. All the others lean on the user namespace, so their first fix is its.
fn tried(layer: Layer, fix: impl FnOnce(&str) -> String, trial: impl FnOnce() -> Result<String, String>) -> LayerReport {
    match in_child(trial).result() {
        Ok(note) if note.is_empty() => LayerReport::enforced(layer),
        Ok(note) => LayerReport::partial(layer, note),
        Err(why) if why.starts_with("unshare") || why.starts_with("/proc/self/") => {
            LayerReport::missing(layer, why, format!("first what user-namespace needs; then CONFIG_NAMESPACES and {} in the kernel", built_as(layer)))
        }
        Err(why) => {
            let fix = fix(&why);
            LayerReport::missing(layer, why, fix)
        }
    }
}

fn built_as(layer: Layer) -> &'static str {
    match layer {
        Layer::UserNamespace => "CONFIG_USER_NS",
        Layer::PidNamespace => "CONFIG_PID_NS",
        Layer::NetworkNamespace => "CONFIG_NET_NS",
        Layer::IpcNamespace => "CONFIG_IPC_NS",
        Layer::UtsNamespace => "CONFIG_UTS_NS",
        Layer::MountNamespace | Layer::Landlock | Layer::Seccomp | Layer::FileGate | Layer::Cgroup | Layer::ConnectProbes | Layer::KernelGate => "nothing more",
    }
}

/// A place that is there on every machine and that a trial may mount over in its own namespace.
const OVER: &str = "/tmp";

pub(super) fn mount() -> LayerReport {
    let fix = |_: &str| Settings::read().for_user_namespace(None);
    tried(Layer::MountNamespace, fix, || {
        enter(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount_call(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(said("making mounts private"))?;
        mount_call(Some("tmpfs"), OVER, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("size=64k")).map_err(said("mounting a tmpfs"))?;
        let (inside, file) = (Path::new(OVER).join("inside"), Path::new(OVER).join("inside/file"));
        fs::create_dir(&inside).map_err(|e| format!("a folder in the tmpfs: {e}"))?;
        // As the box makes its root: a detached copy of a tree, made read-only in one call, and attached.
        let place = fs::File::open(&inside).map_err(|e| format!("opening a folder: {e}"))?;
        let tree = sys::mount::open_tree(place.as_fd(), Depth::Tree).map_err(said("open_tree (Linux 5.2)"))?;
        sys::mount::restrict(tree.as_fd(), libc::MOUNT_ATTR_RDONLY).map_err(said("mount_setattr (Linux 5.12)"))?;
        sys::mount::attach(tree.as_fd(), place.as_fd()).map_err(said("move_mount"))?;
        match fs::write(&file, "x") {
            Err(error) if error.raw_os_error() == Some(libc::EROFS) => Ok(String::new()),
            other => Err(format!("writing to a read-only mount: {other:?}")),
        }
    })
}

pub(super) fn pid() -> LayerReport {
    let fix = |why: &str| {
        let settings = Settings::read();
        if why.contains("/proc") { settings.for_proc() } else { settings.for_user_namespace(None) }
    };
    tried(Layer::PidNamespace, fix, || {
        enter(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
        let (mut reader, mut writer) = std::io::pipe().map_err(|e| e.to_string())?;
        match fork().map_err(said("fork"))? {
            Side::Child => {
                let says = be_pid_one().err().unwrap_or_default();
                let written = std::io::Write::write_all(&mut writer, says.as_bytes());
                exit_now(u8::from(written.is_err()))
            }
            Side::Parent(child) => {
                drop(writer);
                end_of(child)?;
                let mut says = String::new();
                std::io::Read::read_to_string(&mut reader, &mut says).map_err(|e| e.to_string())?;
                if says.is_empty() { Ok(says) } else { Err(says) }
            }
        }
    })
}

fn be_pid_one() -> Result<(), String> {
    if getpid().as_raw() != 1 {
        return Err(format!("the first process of a new namespace has number {}", getpid()));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_call(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(said("mounting /proc"))?;
    if fs::exists("/proc/1/status").unwrap_or(false) { Ok(()) } else { Err("the new /proc does not show its PID 1".to_owned()) }
}

fn end_of(child: nix::unistd::Pid) -> Result<(), String> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).map_err(said("waitpid"))? {
            WaitStatus::Exited(_, 0) => return Ok(()),
            WaitStatus::StillAlive => std::thread::sleep(Duration::from_millis(1)),
            other => return Err(format!("PID 1 of a new namespace ended: {other:?}")),
        }
    }
    Err("PID 1 of a new namespace does not end".to_owned())
}

pub(super) fn network() -> LayerReport {
    let fix = |why: &str| if why.contains("nf_tables") { super::network_fix() } else { Settings::read().for_user_namespace(None) };
    tried(Layer::NetworkNamespace, fix, || {
        enter(CloneFlags::CLONE_NEWNET)?;
        // The very set-up of a box: device, addresses, routes, TPROXY, listeners.
        match network::set_up(&[]).map_err(|error| error.to_string())? {
            (_, Ipv6::Up) => Ok(String::new()),
            (_, Ipv6::Off) => Ok("IPv6 is switched off on this machine, so the box has none either".to_owned()),
        }
    })
}

pub(super) fn ipc() -> LayerReport {
    tried(
        Layer::IpcNamespace,
        |_| Settings::read().for_user_namespace(None),
        || {
            let before = fs::read_link("/proc/self/ns/ipc").map_err(|e| e.to_string())?;
            enter(CloneFlags::CLONE_NEWIPC)?;
            let after = fs::read_link("/proc/self/ns/ipc").map_err(|e| e.to_string())?;
            if before == after { Err("the namespace is the old one".to_owned()) } else { Ok(String::new()) }
        },
    )
}

pub(super) fn uts() -> LayerReport {
    tried(
        Layer::UtsNamespace,
        |_| Settings::read().for_user_namespace(None),
        || {
            enter(CloneFlags::CLONE_NEWUTS)?;
            nix::unistd::sethostname("agentbox").map_err(said("sethostname")).map(|()| String::new())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor,
        layer::LayerStatus,
        seccomp::{FilterPlan, compile},
    };

    /// A machine that lets us set the stage; the tests of what it lacks need one.
    fn can_set_the_stage() -> bool {
        let can = in_child(|| enter(CloneFlags::empty()).map(|()| String::new())).result();
        if let Err(why) = &can {
            println!("SKIPPED: no user namespaces here: {why}");
        }
        can.is_ok()
    }

    #[test]
    fn a_machine_without_user_namespaces_gets_its_sysctl() {
        if !can_set_the_stage() {
            return;
        }
        let trial = in_child(|| {
            // The limit of this new namespace alone, as an administrator sets it for the whole machine.
            unshare(CloneFlags::CLONE_NEWUSER).map_err(said("unshare"))?;
            if let Err(error) = fs::write("/proc/sys/user/max_user_namespaces", "0") {
                return Ok(format!("SKIPPED: /proc/sys is not ours to write: {error}"));
            }
            match user().status {
                LayerStatus::Missing { why, fix } if why.contains("ENOSPC") && fix.contains("user.max_user_namespaces=15000") => Ok(String::new()),
                other => Err(format!("{other:?}")),
            }
        });
        println!("{}", trial.result().unwrap());
    }

    #[test]
    fn inside_a_fence_doctor_says_no() {
        let filters = compile(&FilterPlan::default()).unwrap();
        let trial = in_child(|| {
            nix::sys::prctl::set_no_new_privs().map_err(said("prctl"))?;
            filters.install().map_err(said("seccomp"))?;
            let report = doctor::examine();
            if report.can_run() {
                return Err("it says that a box would start".to_owned());
            }
            for layer in [Layer::UserNamespace, Layer::MountNamespace, Layer::PidNamespace, Layer::NetworkNamespace] {
                let found = report.layers.iter().find(|found| found.layer == layer).map(|found| &found.status);
                match found {
                    Some(LayerStatus::Missing { why, fix }) if why.contains("EPERM") && !fix.is_empty() => {}
                    other => return Err(format!("{layer}: {other:?}")),
                }
            }
            Ok(String::new())
        });
        assert_eq!(trial.result(), Ok(String::new()));
    }

    #[test]
    fn a_namespace_without_power_is_missing() {
        if !can_set_the_stage() {
            return;
        }
        let trial = in_child(|| {
            // As Ubuntu's AppArmor: the namespace is made, the capabilities are not there.
            nix::sys::prctl::set_no_new_privs().map_err(said("prctl"))?;
            let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
            let setsockopt = u32::try_from(libc::SYS_setsockopt).map_err(|e| e.to_string())?;
            let filter = [
                libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
                libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: setsockopt },
                libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: refuse },
                libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
            ];
            crate::sys::seccomp::add_filter(&filter).map_err(said("seccomp"))?;
            match user().status {
                LayerStatus::Missing { why, .. } if why.starts_with("it can be made, but has no power") => Ok(String::new()),
                other => Err(format!("{other:?}")),
            }
        });
        assert_eq!(trial.result(), Ok(String::new()));
    }
}
