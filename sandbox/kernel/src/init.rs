//! PID 1 of the box: puts up network and mounts, starts the agent behind its fences, reaps, forwards signals, and ends the box with the agent.

use std::{
    collections::BTreeSet,
    ffi::{CString, OsString},
    fs,
    io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use agentbox_core::safe;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal, kill, killpg, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
        stat::{SFlag, fstat},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{
        AccessFlags, Pid, Uid, access, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, getpid, isatty, sethostname, setpgid, setsid, tcgetpgrp, tcsetpgrp,
    },
};

use crate::{
    capabilities,
    control::{Control, Exit, Failure, FromInit, ToInit, partly, signal_number},
    descendants, doctor,
    grants::Readable,
    idle::Idle,
    landlock::{self, LandlockPlan},
    launch::{FileGate, NestedUserns, Plan, Publish, Stdio},
    layer::Layer,
    mounts, network, rlimits,
    seccomp::Filters,
    setting::{Own, Setting},
    stopped::{self, OwnFiles, Stops},
    sys::{
        self,
        files::close_from_on_exec,
        fork::{Side, exit_now, fork},
        terminal::make_controlling,
    },
};

/// Orphans that are reaped before the supervisor is listened to again: an agent that makes them faster than they are reaped is not to
/// keep a signal from coming through.
const MOST_REAPED: usize = 256;

/// Characters of a path that a person is shown.
const SHOWN: usize = 300;

/// Exit codes of shells for a command that cannot be executed, and one that is not there.
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

const SECCOMP_FIX: &str = "a kernel with CONFIG_SECCOMP_FILTER; in a container, a seccomp profile that allows seccomp(2)";

/// Everything that init needs, made before the fork.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) command: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) filters: Filters,
    /// Socket files of others.
    pub(crate) sockets: Vec<PathBuf>,
    pub(crate) ids: Ids,
    /// What the agent may read, where no mounts hide anything.
    pub(crate) readable: Option<Readable>,
}

/// Who writes the id maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Nobody: there is no user namespace.
    Same,
    /// The supervisor, who is root: init waits for it.
    ByParent,
    /// Init itself: its own uid and gid alone, which is all that an ordinary user may map.
    Own {
        /// Uid.
        uid: u32,
        /// Gid.
        gid: u32,
    },
}

fn failure(layer: Layer, what: impl Into<String>, fix: impl Into<String>) -> Failure {
    Failure { layer: layer.name().to_owned(), what: what.into(), fix: fix.into() }
}

fn mount_fix(error: &mounts::MountError, fence: &mounts::FileFence) -> String {
    let is_in_a_layer = || fence.cached().any(|cache| error.path().is_some_and(|path| path.starts_with(cache)));
    match error.source.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR | libc::EEXIST) if is_in_a_layer() => {
            "an earlier box of this project put something else there, into its layer over the cache: `agentbox caches drop` in this folder".to_owned()
        }
        Some(libc::EPERM) if error.is_about(Path::new("/proc")) => doctor::proc_fix(),
        Some(libc::EPERM | libc::EACCES) => doctor::user_namespace_fix(Errno::EPERM),
        Some(libc::ENOSYS) => "a kernel from 5.12; in a container, a seccomp profile that allows open_tree, move_mount and mount_setattr".to_owned(),
        _ => String::new(),
    }
}

/// The whole life of PID 1.
pub(crate) fn run(prepared: Prepared, control: Control) -> ! {
    let setting = prepared.setting();
    let code = match start(prepared, &control) {
        Ok((agent, terminal, signals)) => attend(agent, terminal.as_ref(), &signals, &control, setting),
        Err(failure) => {
            let _ = control.send(&FromInit::Failed(failure), &[]);
            u8::MAX
        }
    };
    if setting == Setting::Without {
        // There the kernel ends nobody with us.
        descendants::end_all(&BTreeSet::new());
    }
    exit_now(code)
}

impl Prepared {
    fn setting(&self) -> Setting {
        if self.readable.is_some() { Setting::Without } else { Setting::Namespaces }
    }
}

fn start(mut prepared: Prepared, control: &Control) -> Result<(Pid, Option<OwnedFd>, SignalFd), Failure> {
    let power = |what: &str, errno: Errno| failure(Layer::UserNamespace, format!("{what}: {errno}"), doctor::user_namespace_fix(errno));
    if let Ids::Own { uid, gid } = prepared.ids {
        write_own_maps(uid, gid)
            .map_err(|error| failure(Layer::UserNamespace, format!("writing the id maps: {error}"), doctor::user_namespace_fix(Errno::EPERM)))?;
    }
    // There is no need that init, a copy of the supervisor, holds the user's variables.
    sys::environment::erase(|_| false);
    match prepared.setting() {
        Setting::Namespaces => prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| power("PR_SET_PDEATHSIG", errno))?,
        // It has others to end before it ends: the control socket tells it that the supervisor has gone.
        Setting::Without => prctl::set_child_subreaper(true).map_err(|errno| power("PR_SET_CHILD_SUBREAPER", errno))?,
    }
    // The supervisor's word to go on is also the proof that it still lived after the line above.
    match control.receive::<ToInit>() {
        Ok(Some((ToInit::Go, _))) => {}
        Ok(Some((ToInit::Run | ToInit::Signal(_) | ToInit::Freeze | ToInit::Thaw | ToInit::Foreground | ToInit::End, _)) | None) | Err(_) => {
            return Err(failure(Layer::PidNamespace, "the supervisor has gone", ""));
        }
    }
    // Nobody in the box may look into PID 1. Not before the maps are written: the files of a process that is not dumpable belong to the
    // machine's root, which root of a container is not.
    prctl::set_dumpable(false).map_err(|errno| power("PR_SET_DUMPABLE", errno))?;
    // Signals are read, never delivered: a handler could run between any two lines.
    let mut blocked = SigSet::all();
    blocked.remove(Signal::SIGKILL);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None).map_err(|errno| failure(Layer::PidNamespace, format!("blocking signals: {errno}"), ""))?;
    let signals = SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_CLOEXEC)
        .map_err(|errno| failure(Layer::PidNamespace, format!("signalfd: {errno}"), ""))?;

    let (layered, unlayered) = match prepared.setting() {
        Setting::Namespaces => {
            let (layered, unlayered) = apart(&mut prepared, control)?;
            if prepared.plan.file_gate == FileGate::On {
                // Before the agent's process: that of the file gate moves in while it puts up its fences.
                let namespaces = own_namespaces(["user", "mnt"]).map_err(|what| failure(Layer::FileGate, what, ""))?;
                let raw: Vec<_> = namespaces.iter().map(AsRawFd::as_raw_fd).collect();
                let lost = |error| failure(Layer::FileGate, format!("handing the box's namespaces out: {error}"), "");
                control.send(&FromInit::Mounted { layered: layered.clone() }, &raw).map_err(lost)?;
            }
            (layered, unlayered)
        }
        // A cache is as closed there as everything else.
        Setting::Without => (
            Vec::new(),
            std::mem::take(&mut prepared.plan.files.caches)
                .into_iter()
                .flat_map(|layer| layer.caches)
                .map(|cache| (cache, "a layer takes namespaces".to_owned()))
                .collect(),
        ),
    };

    // A session of its own: the user's terminal is nobody's controlling terminal in here. Its leader is init, so that the agent's group
    // is not orphaned, and Ctrl-Z stops it.
    setsid().map_err(|errno| failure(Layer::PidNamespace, format!("setsid: {errno}"), ""))?;
    let Stdio { stdin, stdout, stderr, controlling } = prepared.plan.stdio;
    if let Some(terminal) = &controlling {
        make_controlling(terminal.as_fd()).map_err(|errno| failure(Layer::PidNamespace, format!("taking the box's terminal: {errno}"), ""))?;
    }
    let no_pipe = |error: io::Error| failure(Layer::PidNamespace, format!("no pipe: {error}"), "");
    let (reader, writer) = io::pipe().map_err(no_pipe)?;
    let (wait, mut release) = io::pipe().map_err(no_pipe)?;
    let gate = match prepared.plan.file_gate {
        FileGate::Off => None,
        FileGate::On => Some(Control::pair().map_err(|errno| failure(Layer::FileGate, format!("no socket: {errno}"), ""))?),
    };
    let (gate, listener) = gate.unzip();
    // For both sides of the fork at once: it takes a call for each capability.
    capabilities::lock_doors().map_err(|error| failure(Layer::UserNamespace, error.to_string(), ""))?;
    let agent = match fork().map_err(|errno| failure(Layer::PidNamespace, format!("fork: {errno}"), ""))? {
        Side::Child => {
            let started = Agent {
                command: prepared.command,
                environment: prepared.environment,
                directory: prepared.plan.directory,
                writable: std::mem::take(&mut prepared.plan.files.writable).into_iter().chain(layered.iter().cloned()).collect(),
                limits: prepared.plan.limits,
                filters: prepared.filters.clone(),
                nested_userns: prepared.plan.nested_userns,
                own_files: prepared.plan.own_files,
                without: prepared.readable.take().zip(prepared.plan.without.take()),
                stdio: [stdin, stdout, stderr],
                controlling,
                listener,
            };
            drop((release, gate));
            become_agent(started, writer, wait)
        }
        Side::Parent(pid) => pid,
    };
    drop((writer, wait, stdin, stdout, stderr, listener));
    // In the parent as well as in the child, whichever comes first: the group must exist before a signal is forwarded.
    let _ = setpgid(agent, agent);
    // What init needs no more it loses: its capabilities were for the lines above, and of the refused calls it makes none. The
    // agent's process puts up its own fences meanwhile.
    prctl::set_no_new_privs().map_err(|errno| failure(Layer::Seccomp, format!("no_new_privs: {errno}"), ""))?;
    capabilities::drop_all().map_err(|error| failure(Layer::UserNamespace, error.to_string(), ""))?;
    prepared.filters.install().map_err(|errno| failure(Layer::Seccomp, format!("installing the filters on init: {errno}"), SECCOMP_FIX))?;
    let mut reader = BufReader::new(reader);
    match hear(&mut reader, agent, &signals) {
        Some(Told::Failed(failure)) => return Err(failure),
        Some(Told::NotExecuted(errno)) => not_executed(control, errno),
        Some(Told::Fenced(partial)) => {
            let listener = gate.as_ref().map(listener_of).transpose()?;
            let raw: Vec<_> = listener.iter().map(AsRawFd::as_raw_fd).collect();
            let _ = control.send(&FromInit::Ready { partial, unlayered }, &raw);
        }
        None => return Err(failure(Layer::PidNamespace, "the agent's process ended before its command began", "")),
    }
    match control.receive::<ToInit>() {
        Ok(Some((ToInit::Run, _))) => {}
        // The supervisor has gone, or has decided against it. No word of ours is due.
        Ok(Some((ToInit::Go | ToInit::Signal(_) | ToInit::Freeze | ToInit::Thaw | ToInit::Foreground | ToInit::End, _)) | None) | Err(_) => exit_now(u8::MAX),
    }
    release.write_all(b"!").map_err(|error| failure(Layer::PidNamespace, format!("the agent's process has gone: {error}"), ""))?;
    // The pipe closes with exec. A line in it is the reason why there was none.
    match hear(&mut reader, agent, &signals) {
        None => {
            let _ = control.send(&FromInit::Started, &[]);
        }
        Some(Told::NotExecuted(errno)) => not_executed(control, errno),
        Some(Told::Failed(failure)) => return Err(failure),
        Some(Told::Fenced(_)) => return Err(failure(Layer::PidNamespace, "the agent's process speaks out of turn", "")),
    }
    drop((reader, release, gate));
    close_inherited(control, &signals, controlling.as_ref());
    Ok((agent, controlling, signals))
}

/// What the box's own namespaces hold: network, mounts, its name. Gives the caches that have a layer, and those that have none.
fn apart(prepared: &mut Prepared, control: &Control) -> Result<(Vec<PathBuf>, Vec<mounts::Unlayered>), Failure> {
    let (mut sockets, ipv6) = network::set_up(&prepared.plan.doors.forward).map_err(|error| {
        // Bringing the loopback up is the first thing that needs real power: on Ubuntu AppArmor gives the namespace and keeps the power.
        let fix = if matches!(error.errno, Errno::EPERM | Errno::EACCES) { doctor::user_namespace_fix(Errno::EPERM) } else { doctor::network_fix() };
        failure(Layer::NetworkNamespace, error.to_string(), fix)
    })?;
    let families = if ipv6 == network::Ipv6::Up { 2 } else { 1 };
    if prepared.plan.doors.publish == Publish::Yes {
        sockets.extend(own_namespaces(["user", "net"]).map_err(|what| failure(Layer::NetworkNamespace, what, ""))?);
    }
    let raw: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let network = FromInit::Network { ipv6: ipv6 == network::Ipv6::Up, doors: prepared.plan.doors.forward.len() * families };
    control.send(&network, &raw).map_err(|error| failure(Layer::NetworkNamespace, format!("handing the sockets out: {error}"), ""))?;
    drop(sockets);

    let terminal = prepared.plan.stdio.controlling.as_ref().map(AsFd::as_fd);
    let unlayered = mounts::set_up(&mut prepared.plan.files, &prepared.sockets, terminal)
        .map_err(|error| failure(Layer::MountNamespace, error.to_string(), mount_fix(&error, &prepared.plan.files)))?;
    // They are put, and hold descriptors and memory that neither the agent's process nor init needs.
    drop(std::mem::take(&mut prepared.plan.files.provided));
    // Those alone that have a layer: the others are as closed as everything else.
    let layered = prepared.plan.files.cached().cloned().collect();
    // A box is told apart from its host in every prompt. That it cannot be named is no danger.
    let _ = sethostname(&prepared.plan.hostname);
    Ok((layered, unlayered))
}

/// The listener of the stopped calls, which the agent's process has handed out.
fn listener_of(gate: &Control) -> Result<OwnedFd, Failure> {
    let handed = gate.receive::<Stopped>().ok().flatten();
    let listener = handed.and_then(|(Stopped, fds)| fds.into_iter().next());
    listener.ok_or_else(|| failure(Layer::FileGate, "the agent's process gave no listener", ""))
}

/// This process's namespaces of these kinds. Those of a process that is not dumpable can be opened by itself alone.
fn own_namespaces<const N: usize>(kinds: [&str; N]) -> Result<Vec<OwnedFd>, String> {
    let open = |kind| {
        let path = format!("/proc/self/ns/{kind}");
        fs::File::open(&path).map(OwnedFd::from).map_err(|error| format!("{path}: {error}"))
    };
    kinds.into_iter().map(open).collect()
}

/// The next line of the agent's process; none when it has ended, or has become its command.
fn hear(reader: &mut BufReader<io::PipeReader>, agent: Pid, signals: &SignalFd) -> Option<Told> {
    while reader.buffer().is_empty() {
        let mut fds = [PollFd::new(reader.get_ref().as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
        let [line, child] = &fds;
        if line.any() == Some(true) {
            break;
        }
        if child.any() == Some(true) {
            let _ = signals.read_signal();
            // Ctrl-Z before there is a command: nobody could tell the shim to stop, and nothing would ever go on. Only a stop is taken
            // here; an end is left to be reaped.
            if let Ok(WaitStatus::Stopped(..)) = waitid(Id::Pid(agent), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG) {
                let _ = kill(agent, Signal::SIGCONT);
            }
        }
    }
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(&line).ok()
}

fn not_executed(control: &Control, errno: i32) -> ! {
    let _ = control.send(&FromInit::NotExecuted(errno), &[]);
    exit_now(if errno == libc::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE })
}

/// Init lives as long as the box: what it has of the supervisor's descriptors must not live as long.
fn close_inherited(control: &Control, signals: &SignalFd, controlling: Option<&OwnedFd>) {
    let mut kept = vec![control.as_raw_fd(), signals.as_fd().as_raw_fd()];
    kept.extend(controlling.map(AsRawFd::as_raw_fd));
    let _ = crate::process::close_all_but(kept);
    // The standard streams too: a pipe's other end must see its end when the agent closes it. A process without them opens trouble.
    if let Ok(null) = fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = (dup2_stdin(&null), dup2_stdout(&null), dup2_stderr(&null));
    }
}

fn write_own_maps(uid: u32, gid: u32) -> io::Result<()> {
    // The files of a process that is not dumpable belong to root: for these lines it is.
    prctl::set_dumpable(true)?;
    let written = fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")));
    prctl::set_dumpable(false)?;
    written
}

/// What the agent's process tells before its command takes over, a line each; the pipe closes with exec.
#[derive(serde::Serialize, serde::Deserialize)]
enum Told {
    Fenced(Vec<(String, String)>),
    Failed(Failure),
    NotExecuted(i32),
}

/// Comes with the listener of the stopped calls.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stopped;

struct Agent {
    command: Vec<CString>,
    environment: Vec<CString>,
    directory: PathBuf,
    /// Places, and caches under layers.
    writable: Vec<PathBuf>,
    limits: agentbox_core::policy::settings::Limits,
    filters: Filters,
    nested_userns: NestedUserns,
    own_files: OwnFiles,
    /// What it may read and what it has of its own, where there are no namespaces.
    without: Option<(Readable, Own)>,
    stdio: [OwnedFd; 3],
    controlling: Option<OwnedFd>,
    /// Takes the listener of the file gate, where there is one.
    listener: Option<Control>,
}

/// The ritual. Each step takes something away; none can be taken back.
fn become_agent(agent: Agent, mut told: io::PipeWriter, mut wait: io::PipeReader) -> ! {
    let mut tell = |message: &Told| {
        let mut line = serde_json::to_vec(message).unwrap_or_default();
        line.push(b'\n');
        let _ = told.write_all(&line);
    };
    let partial = match fence(&agent) {
        Ok(partial) => partial,
        Err(failure) => {
            tell(&Told::Failed(failure));
            exit_now(u8::MAX)
        }
    };
    let not_executed = |errno: Errno| (Told::NotExecuted(errno as i32), if errno == Errno::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE });
    let program = match find(&agent) {
        Ok(program) => program,
        Err(errno) => {
            let (message, code) = not_executed(errno);
            tell(&message);
            exit_now(code)
        }
    };
    // Not the last of the filters: the last one refuses that another listener is made.
    if let Some(gate) = &agent.listener {
        let stops = agent.without.as_ref().map_or(Stops { own: agent.own_files, ..Stops::APART }, |(readable, own)| Stops {
            setting: Setting::Without,
            sockets: own.sockets,
            readings: readable.readings,
            own: OwnFiles::ByGate,
        });
        let given = stopped::install(stops).map_err(|errno| format!("stopping calls: {errno}"));
        let given = given.and_then(|listener| gate.send(&Stopped, &[listener.as_raw_fd()]).map_err(|error| format!("handing the listener out: {error}")));
        if let Err(what) = given {
            tell(&Told::Failed(failure(Layer::FileGate, what, doctor::file_gate_fix())));
            exit_now(u8::MAX);
        }
    }
    // Last, because it refuses what the steps before needed.
    if let Err(errno) = agent.filters.install() {
        tell(&Told::Failed(failure(Layer::Seccomp, format!("installing the filters: {errno}"), SECCOMP_FIX)));
        exit_now(u8::MAX);
    }
    tell(&Told::Fenced(partial));
    // Not before the broker serves the network and the supervisor has seen that every required layer holds. No word is a no.
    if wait.read_exact(&mut [0]).is_err() {
        exit_now(u8::MAX);
    }
    let errno = match execve(&program, &agent.command, &agent.environment) {
        Ok(never) => match never {},
        Err(errno) => errno,
    };
    let (message, code) = not_executed(errno);
    tell(&message);
    exit_now(code)
}

/// The command's file, looked for in the box with the box's own PATH.
fn find(agent: &Agent) -> Result<CString, Errno> {
    let program = agent.command.first().ok_or(Errno::ENOENT)?;
    let path = agent.environment.iter().find_map(|variable| variable.to_bytes().strip_prefix(b"PATH=")).unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let candidates: Vec<CString> = if program.to_bytes().contains(&b'/') {
        vec![program.clone()]
    } else {
        path.split(|byte| *byte == b':')
            .filter_map(|folder| {
                let folder: &[u8] = if folder.is_empty() { b"." } else { folder };
                CString::new([folder, b"/", program.to_bytes()].concat()).ok()
            })
            .collect()
    };
    let can = |candidate: &&CString, how: AccessFlags| access(candidate.as_c_str(), how).is_ok();
    if let Some(found) = candidates.iter().find(|candidate| can(candidate, AccessFlags::X_OK) && !is_folder(candidate)) {
        return Ok(found.clone());
    }
    Err(if candidates.iter().any(|candidate| can(&candidate, AccessFlags::F_OK)) { Errno::EACCES } else { Errno::ENOENT })
}

fn is_folder(path: &CString) -> bool {
    fs::metadata(std::ffi::OsStr::from_bytes(path.to_bytes())).is_ok_and(|meta| meta.is_dir())
}

fn fence(agent: &Agent) -> Result<Vec<(String, String)>, Failure> {
    let step = |layer: Layer, what: &'static str| move |errno: Errno| failure(layer, format!("{what}: {errno}"), "");
    // A group of its own, in the foreground of the box's terminal, so that Ctrl-C and Ctrl-Z are for it. In `agentbox run -- agent | less` what
    // is typed is most likely for `less`: the agent begins in the background, and is stopped by the kernel if it does want the terminal.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(step(Layer::PidNamespace, "setpgid"))?;
    let talks = agent.stdio.iter().take(2).all(|stream| isatty(stream).unwrap_or(false));
    if let Some(terminal) = agent.controlling.as_ref().filter(|_| talks) {
        // SIGTTOU is blocked still, so the call succeeds from the background.
        tcsetpgrp(terminal, getpid()).map_err(step(Layer::PidNamespace, "tcsetpgrp"))?;
    }
    // Its standard streams; everything else closes with exec.
    let [stdin, stdout, stderr] = &agent.stdio;
    let in_the_box = as_seen_in_the_box(stdin);
    let stdin = in_the_box.as_ref().unwrap_or(stdin);
    dup2_stdin(stdin).map_err(step(Layer::PidNamespace, "stdin"))?;
    dup2_stdout(stdout).map_err(step(Layer::PidNamespace, "stdout"))?;
    dup2_stderr(stderr).map_err(step(Layer::PidNamespace, "stderr"))?;
    close_from_on_exec(3).map_err(step(Layer::PidNamespace, "close_range (Linux 5.11)"))?;
    // Where the user was, or not at all: a command that means this folder must not run in another.
    chdir(&agent.directory).map_err(|errno| {
        let path = safe::line(&agent.directory.to_string_lossy(), SHOWN);
        failure(Layer::MountNamespace, format!("entering {path} in the box: {errno}"), "run agentbox in a folder that the policy shows to the agent")
    })?;
    rlimits::apply(&agent.limits).map_err(|error| failure(Layer::Cgroup, format!("{error}: {}", error.source), ""))?;
    // No file of any kind gives more rights from now on.
    prctl::set_no_new_privs().map_err(step(Layer::Seccomp, "no_new_privs"))?;
    // No capabilities, not even in the box's own namespaces.
    capabilities::drop_all().map_err(|error| failure(Layer::UserNamespace, error.to_string(), ""))?;
    // The second fence around files, on the kernel's own objects, and around signals and abstract sockets.
    let mut plan = match &agent.without {
        Some((readable, own)) => LandlockPlan::without_namespaces(readable.places.clone(), own.private.clone()),
        None => plan_behind_mounts(agent),
    };
    // The terminal was opened outside, where no rule reaches it; `> /dev/stdout` opens it anew.
    let streams = [stdin, stdout, stderr].into_iter().filter(|stream| isatty(stream).unwrap_or(false));
    plan.devices.extend(streams.map(|stream| PathBuf::from(format!("/proc/self/fd/{}", stream.as_raw_fd()))));
    plan.devices.retain(|device| device.exists());
    let report = landlock::restrict(&plan).map_err(|error| {
        let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        failure(Layer::Landlock, format!("{error}{source}"), doctor::landlock_fix())
    })?;
    // Signals as a program expects them at its start: what we blocked and ignored is ours.
    sys::signals::reset_all().map_err(step(Layer::PidNamespace, "resetting signals"))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(step(Layer::PidNamespace, "unblocking signals"))?;
    Ok(partly(std::slice::from_ref(&report)))
}

fn plan_behind_mounts(agent: &Agent) -> LandlockPlan {
    let places = agent.writable.iter().filter(|path| path.exists()).cloned();
    let (mut writable, gated): (Vec<PathBuf>, Vec<PathBuf>) =
        if agent.listener.is_some() { (Vec::new(), places.collect()) } else { (places.collect(), Vec::new()) };
    writable.extend(mounts::private_folders());
    if agent.nested_userns == NestedUserns::Allowed {
        // A namespace of its own is worth nothing to the agent unless it can write the id maps in its `/proc`.
        writable.push("/proc".into());
    }
    let mut plan = LandlockPlan::of_box(writable);
    match agent.own_files {
        OwnFiles::ByGate => plan.gated = gated,
        OwnFiles::ByKernel => plan.judged = gated,
    }
    plan.devices.push(mounts::devices::CONSOLE.into());
    plan
}

/// The file that standard input reads, opened anew in the box. The one that we were given belongs to the mounts outside, which are writable:
/// through it the file's mode and times could be changed, and before Landlock ABI 3 even its length. None where standard input is no file
/// to read, or the box does not show it.
fn as_seen_in_the_box(stdin: &OwnedFd) -> Option<OwnedFd> {
    let given = fstat(stdin).ok()?;
    let reads = fcntl(stdin, FcntlArg::F_GETFL).ok()? & libc::O_ACCMODE == libc::O_RDONLY;
    if !reads || SFlag::from_bits_truncate(given.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return None;
    }
    let path = fs::read_link(format!("/proc/self/fd/{}", stdin.as_raw_fd())).ok()?;
    let mut file = fs::File::open(path).ok()?;
    let found = fstat(&file).ok()?;
    if (found.st_dev, found.st_ino) != (given.st_dev, given.st_ino) {
        return None;
    }
    let at = fs::File::from(stdin.try_clone().ok()?).stream_position().ok()?;
    file.seek(io::SeekFrom::Start(at)).ok()?;
    Some(file.into())
}

/// What a round of reaping came to.
enum Reaped {
    /// The agent itself has ended.
    Agent(Exit),
    /// Nobody is left to be reaped.
    All,
    /// As many as one round may take.
    Enough,
}

/// Whether the box's processes may run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Runs,
    Frozen,
}

/// For PID 1 of a PID namespace: every other process in it.
const EVERYBODY: Pid = Pid::from_raw(-1);

/// Waits for the agent, reaps everybody's orphans, forwards signals. Its return ends the box: the kernel kills whoever is left.
fn attend(agent: Pid, terminal: Option<&OwnedFd>, signals: &SignalFd, control: &Control, setting: Setting) -> u8 {
    let (mut pace, mut idle) = (Pace::Runs, Idle::default());
    loop {
        let patience = match reap(agent, terminal, control, pace) {
            Reaped::Agent(exit) => {
                let _ = control.send(&FromInit::Ended(exit), &[]);
                return exit.code();
            }
            Reaped::All => idle.patience(),
            Reaped::Enough => PollTimeout::ZERO,
        };
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, patience) {
            Ok(0) if patience != PollTimeout::ZERO => idle.came(),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return u8::MAX,
        }
        let [child, told] = &fds;
        if child.any() == Some(true) {
            let _ = signals.read_signal();
        }
        if told.any() == Some(true) {
            match control.receive::<ToInit>() {
                // What would let a part of it go on waits for the thaw.
                Ok(Some((ToInit::Signal(number), _))) if pace == Pace::Frozen && number == Signal::SIGCONT as i32 => {}
                Ok(Some((ToInit::Foreground, _))) if pace == Pace::Frozen => {}
                Ok(Some((ToInit::Freeze, _))) => {
                    pace = Pace::Frozen;
                    // All but this one, and those that are being made: a fork with a signal pending begins anew.
                    match setting {
                        Setting::Namespaces => drop(kill(EVERYBODY, Signal::SIGSTOP)),
                        Setting::Without => descendants::stop(getpid()),
                    }
                }
                Ok(Some((ToInit::Thaw, _))) => {
                    pace = Pace::Runs;
                    match setting {
                        Setting::Namespaces => drop(kill(EVERYBODY, Signal::SIGCONT)),
                        Setting::Without => descendants::go_on(getpid()),
                    }
                }
                Ok(Some((ToInit::Signal(number), _))) => forward(agent, terminal, number),
                Ok(Some((ToInit::Foreground, _))) => {
                    let _ = terminal.map(|terminal| tcsetpgrp(terminal, agent));
                    let _ = killpg(agent, Signal::SIGCONT);
                }
                Ok(Some((ToInit::Go | ToInit::Run, _))) => {}
                // Or the supervisor has gone: the box ends closed.
                Ok(Some((ToInit::End, _)) | None) | Err(_) => return u8::MAX,
            }
        }
    }
}

fn reap(agent: Pid, terminal: Option<&OwnedFd>, control: &Control, pace: Pace) -> Reaped {
    for _ in 0..MOST_REAPED {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == agent => return Reaped::Agent(Exit::Code(u8::try_from(code).unwrap_or(u8::MAX))),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == agent => return Reaped::Agent(Exit::Signal(signal_number(signal))),
            // Our own doing: its terminal is not to be told that its job was stopped.
            Ok(WaitStatus::Stopped(..)) if pace == Pace::Frozen => {}
            Ok(WaitStatus::Stopped(pid, signal)) if pid == agent => {
                let wants_terminal = terminal.is_some() && matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
                let _ = control.send(if wants_terminal { &FromInit::WantsTerminal } else { &FromInit::Stopped }, &[]);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return Reaped::All,
            Ok(_) => {}
        }
    }
    Reaped::Enough
}

/// To the group in the foreground where there is a terminal, as the terminal itself would; else to the agent's.
fn forward(agent: Pid, terminal: Option<&OwnedFd>, number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    let foreground = terminal.and_then(|terminal| tcgetpgrp(terminal).ok()).filter(|group| group.as_raw() > 1);
    let _ = killpg(foreground.unwrap_or(agent), signal);
    if foreground.is_some_and(|group| group != agent) && matches!(signal, Signal::SIGCONT | Signal::SIGTERM | Signal::SIGHUP) {
        let _ = kill(agent, signal);
    }
}

/// Whether this process is root as the kernel counts: it may then map every id.
pub(crate) fn ids() -> Ids {
    if Uid::effective().is_root() { Ids::ByParent } else { Ids::Own { uid: Uid::effective().as_raw(), gid: nix::unistd::Gid::effective().as_raw() } }
}

/// An argument or variable as the kernel takes it.
pub(crate) fn c_string(text: &OsString) -> Result<CString, Failure> {
    CString::new(text.as_bytes()).map_err(|_| failure(Layer::PidNamespace, "a NUL in an argument or a variable", "take it out"))
}
