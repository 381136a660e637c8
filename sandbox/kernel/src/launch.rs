//! Makes a box: the supervisor's side of the ritual whose other side is [`crate::init`].

use std::{
    ffi::OsString,
    fs, io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use agentbox_core::policy::settings::Limits;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
    sys::{
        prctl,
        socket::{SockType as Kind, UnixAddr, getpeername, getsockopt, sockopt::SockType},
        stat::{SFlag, fstat},
    },
    unistd::Pid,
};

use crate::{
    cgroup::{self, Cgroup},
    control::{Control, Exit, Failure, FromInit, ToInit},
    doctor,
    family::{Family, Init},
    grants::{self, GrantError, Readable},
    init::{self, Ids, Prepared},
    landlock,
    layer::{self, Layer, LayerReport, Requirement},
    mounts::{
        self, FenceError, FileFence,
        watch::{Fallen, MaskWatch},
    },
    network::{self, BoxSockets},
    process::{Above, Child, Part},
    rlimits,
    seccomp::{self, FilterPlan},
    setting::{self, Outside, Own, Setting},
    stopped::OwnFiles,
    sys::{
        clone::{clone_into, clone_into_cgroup},
        fork::Side,
        pidfd,
    },
};

/// For each step of init. A machine under load takes a hundred times its usual milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The agent's standard streams, and the terminal that controls its session.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// The box's own pty, where there is one.
    pub controlling: Option<OwnedFd>,
}

/// Whether the agent may make user namespaces of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NestedUserns {
    /// No: the kernel's largest attack surface stays shut.
    #[default]
    Refused,
    /// Yes, as a browser's own sandbox needs.
    Allowed,
}

/// Whether calls that destroy files are stopped and judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileGate {
    /// No: whoever may write a place may destroy what is in it.
    #[default]
    Off,
    /// Yes: see [`crate::stopped`].
    On,
}

/// Ways between the box's loopback and the machine's.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Ports of the box's loopback that lead to the broker.
    pub forward: Vec<u16>,
    /// Whether ports of the box are published.
    pub publish: Publish,
}

/// Whether somebody outside reaches ports of the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// Nobody does.
    #[default]
    No,
    /// A process outside, for which the box's namespaces are handed out: see [`crate::publish`].
    Yes,
}

/// What the process of the file gate needs of a box, one after the other.
#[derive(Debug)]
pub enum ForTheGate {
    /// Where it is to stand. While it goes there the agent's process puts up its fences.
    Stand(Stand),
    /// The stopped calls. The command runs when this has been handed over.
    Listener(OwnedFd),
}

/// Where the process of the file gate stands.
#[derive(Debug)]
pub enum Stand {
    /// In the box's namespaces.
    Inside {
        /// The namespace in which the box's ids mean something.
        user: OwnedFd,
        /// The box's files as the agent sees them.
        mount: OwnedFd,
        /// The caches that the box shows through layers of its own.
        layered: Vec<PathBuf>,
    },
    /// Where it is, since there are none.
    Outside(Outside),
}

/// A box, decided beforehand.
#[derive(Debug)]
pub struct Plan {
    /// Its name.
    pub session: String,
    /// What runs in it.
    pub command: Vec<OsString>,
    /// Where.
    pub directory: PathBuf,
    /// With which variables.
    pub environment: Vec<(OsString, OsString)>,
    /// What it may touch.
    pub files: FileFence,
    /// How much.
    pub limits: Limits,
    /// Namespaces of its own.
    pub nested_userns: NestedUserns,
    /// What leads in and out on loopback.
    pub doors: Doors,
    /// Its streams.
    pub stdio: Stdio,
    /// Whether its destroying calls are stopped.
    pub file_gate: FileGate,
    /// Who opens for writing and removes what was made in it; the kernel only where the kernel gate is required, and judges.
    pub own_files: OwnFiles,
    /// For the connect probes.
    pub probes: Probed,
    /// Its host name.
    pub hostname: String,
    /// Layers without which the command must not run.
    pub require: Vec<Requirement>,
    /// What it has of its own, where it has no namespaces; see [`setting::choose`].
    pub without: Option<Own>,
    /// The file gate's process, where it is to be the parent of init: what it may read of a process outside of namespaces can hang on that.
    pub above: Option<Above>,
}

/// There is no box.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A layer cannot be had.
    #[error("the box cannot be made: {}: {}{}", .0.layer, .0.what, if .0.fix.is_empty() { String::new() } else { format!("\nfix: {}", .0.fix) })]
    Layer(Failure),
    /// The command cannot be run.
    #[error("{}: {}", .command.to_string_lossy(), if *.errno == libc::ENOENT { "not found in the box (nor, of a script, the program that its first line names)".to_owned() } else { io::Error::from_raw_os_error(*.errno).to_string() })]
    NotExecuted {
        /// Which.
        command: OsString,
        /// Why.
        errno: i32,
    },
    /// Layers that the policy requires are not there; each with the reason and the fix.
    #[error("the box does not start, because the policy requires what is not there:\n{}", .0.join("\n"))]
    Unmet(Vec<String>),
    /// A place of the plan that cannot be given.
    #[error("the box cannot be made: {0}")]
    Fence(#[from] FenceError),
    /// What the agent may read cannot be said.
    #[error("the box cannot be made: {0}")]
    Grant(#[from] GrantError),
    /// A thing that takes namespaces.
    #[error("the box cannot be made: {0} takes namespaces, and there are none here\nfix: {1}")]
    TakesNamespaces(&'static str, String),
    /// A standard stream through which the agent would reach what is outside.
    #[error("the agent's {0} is {1}: through it the box could be left (fix: put a pipe between, `… | agentbox run … | cat`)")]
    Stream(&'static str, &'static str),
    /// Init ended, or said something else than was due.
    #[error("the box's first process ended while the box was being made ({0})")]
    Lost(&'static str),
    /// Descriptors or the filter.
    #[error("the box cannot be made: {0}")]
    Own(String),
}

impl LaunchError {
    /// The exit code that tells it, as shells do.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            LaunchError::NotExecuted { errno, .. } if *errno == libc::ENOENT => 127,
            LaunchError::NotExecuted { .. } => 126,
            LaunchError::Layer(_)
            | LaunchError::Unmet(_)
            | LaunchError::Fence(_)
            | LaunchError::Grant(_)
            | LaunchError::TakesNamespaces(..)
            | LaunchError::Stream(..)
            | LaunchError::Lost(_)
            | LaunchError::Own(_) => 125,
        }
    }
}

/// A running box.
#[derive(Debug)]
pub struct Running {
    /// First, and so dropped first: nothing else of the box is let go while anything runs in it.
    init: Init,
    control: Control,
    pidfd: OwnedFd,
    watch: MaskWatch,
    cgroup: Option<Cgroup>,
    /// The process of [`Plan::above`].
    pub above: Option<Child>,
    /// What each layer enforces.
    pub layers: Vec<LayerReport>,
    /// Caches that are read-only because no layer could be made over them, and why.
    pub unlayered: Vec<(PathBuf, String)>,
}

/// Whether the box is to be born in a cgroup of its own for the connect probes, where it has none for its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It is.
    Yes,
    /// Only where the policy limits it.
    No,
}

/// Makes the box and starts the command in it. `network` takes the sockets as soon as they are there. The command runs only after it has
/// come back without an error, and when every layer of [`Plan::require`] holds; meanwhile init goes on with its work. `files` takes what
/// the file gate needs, where the plan has one: the listener comes directly before the command runs, which it does only after that.
///
/// The caller has no other thread.
///
/// # Errors
/// There is then no box, and nothing of it is left.
pub fn launch(
    plan: Plan,
    network: impl FnOnce(BoxSockets, Option<&Cgroup>) -> io::Result<Vec<LayerReport>>,
    files: impl FnMut(ForTheGate) -> io::Result<()>,
) -> Result<Running, LaunchError> {
    plan.stdio.leads_nowhere()?;
    let mut plan = plan;
    let watch;
    (plan.files, watch) = plan.files.settled()?;
    let setting = if plan.without.is_some() { Setting::Without } else { Setting::Namespaces };
    let readable = readable_without(&plan)?;
    let above = plan.above.take();
    let filters = seccomp::compile(&FilterPlan { nested_userns: plan.nested_userns == NestedUserns::Allowed, setting })
        .map_err(|error| LaunchError::Own(error.to_string()))?;
    let command: Vec<_> = plan.command.iter().map(init::c_string).collect::<Result<_, _>>().map_err(LaunchError::Layer)?;
    let name = plan.command.first().cloned().ok_or_else(|| LaunchError::Own("no command".to_owned()))?;
    let join = |(name, value): &(OsString, OsString)| {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        init::c_string(&pair)
    };
    let environment = plan.environment.iter().map(join).collect::<Result<_, _>>().map_err(LaunchError::Layer)?;
    let (cgroup, no_limits) = cgroup::of_the_box(&plan.session, &plan.limits, plan.probes);
    plan.limits = rlimits::with_default(plan.limits, setting);
    let (nested, file_gate) = (plan.nested_userns, plan.file_gate);
    let handed = if plan.doors.publish == Publish::Yes { network::Handed::Namespaces } else { network::Handed::Sockets };
    let require = plan.require.clone();
    // Read here: in the box's network namespace the list is another one.
    let sockets = mounts::sockets::bound().into_iter().filter(|socket| !plan.files.sockets.contains(socket)).collect();
    let ids = if setting == Setting::Without { Ids::Same } else { init::ids() };
    let prepared = Prepared { plan, command, environment, filters, sockets, ids, readable };
    let ids = prepared.ids;
    let (ours, theirs) = Control::pair().map_err(|errno| LaunchError::Own(format!("no socket: {errno}")))?;
    let namespaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    let (flags, mut family) = match setting {
        Setting::Namespaces => (namespaces, Family::InNamespace),
        Setting::Without => (CloneFlags::empty(), Family::adopting(&ours).map_err(|error| LaunchError::Own(format!("adopting what init leaves: {error}")))?),
    };
    let refused = |errno| {
        LaunchError::Layer(Failure { layer: Layer::UserNamespace.name().to_owned(), what: format!("clone: {errno}"), fix: doctor::user_namespace_fix(errno) })
    };
    // Init is born as dumpable as this process is, and until it is dumpable root of a container cannot write its maps. It ends that itself.
    let hidden = ids == Ids::ByParent && !prctl::get_dumpable().map_err(|errno| LaunchError::Own(format!("PR_GET_DUMPABLE: {errno}")))?;
    let dumpable = |wanted| prctl::set_dumpable(wanted).map_err(|errno| LaunchError::Own(format!("PR_SET_DUMPABLE: {errno}")));
    if hidden {
        dumpable(true)?;
    }
    let folder = cgroup.as_ref().and_then(|cgroup| cgroup.open().ok());
    let make = || {
        let born = folder.as_ref().and_then(|folder| clone_into_cgroup(flags, folder.as_fd()).ok());
        let is_in_cgroup = born.is_some();
        (born.map_or_else(|| clone_into(flags), Ok), is_in_cgroup)
    };
    let (side, mut is_in_cgroup, above) = match above {
        None => {
            let (side, is_in_cgroup) = make();
            (side, is_in_cgroup, None)
        }
        Some(above) => match above.part(make).map_err(|error| LaunchError::Own(format!("the file gate's process: {error}")))? {
            Part::Below => (Ok(Side::Child), false, None),
            Part::Beside { above, below, said } => (below.map(Side::Parent), said, Some(above)),
        },
    };
    if let Some(above) = &above {
        family.leaves(above.pid);
    }
    drop(folder);
    if hidden && !matches!(side, Ok(Side::Child)) {
        dumpable(false)?;
    }
    let pid = match side.map_err(refused)? {
        Side::Child => {
            // Else init would hold its own supervisor's end, and never see that the supervisor has gone.
            drop((ours, family));
            init::run(prepared, theirs)
        }
        Side::Parent(pid) => pid,
    };
    // Others wait for the end of what these hold.
    let Prepared { plan: Plan { stdio, environment: pairs, files: FileFence { provided, masked, read_only, .. }, .. }, environment, .. } = prepared;
    drop((theirs, stdio, provided));
    // Many small things, which lie in memory that is init's as well: each page in which one is given back would be copied.
    std::mem::forget((pairs, environment, masked, read_only));
    let pidfd = pidfd::open(pid).map_err(|errno| LaunchError::Own(format!("pidfd_open: {errno}")))?;
    let mut running = Running { init: Init { pid, family }, control: ours, pidfd, watch, cgroup: None, above, layers: Vec::new(), unlayered: Vec::new() };
    running.layers = match setting {
        Setting::Without => {
            let mut layers = setting::reports();
            layers.push(LayerReport::enforced(Layer::Seccomp));
            layers.extend(running.watch.unwatched());
            layers
        }
        Setting::Namespaces => vec![
            LayerReport::enforced(Layer::UserNamespace),
            running.watch.report(),
            LayerReport::enforced(Layer::PidNamespace),
            LayerReport::enforced(Layer::IpcNamespace),
            LayerReport::enforced(Layer::UtsNamespace),
            match nested {
                NestedUserns::Refused => LayerReport::enforced(Layer::Seccomp),
                NestedUserns::Allowed => LayerReport::partial(Layer::Seccomp, "the policy lets the agent make user namespaces (`nested-userns`)"),
            },
        ],
    };
    if ids == Ids::ByParent {
        map_all_ids(pid).map_err(|error| {
            LaunchError::Layer(Failure {
                layer: Layer::UserNamespace.name().to_owned(),
                what: format!("writing root's id maps: {error}"),
                fix: doctor::user_namespace_fix(Errno::EPERM),
            })
        })?;
    }
    // Limits are worth waiting for; the probes are not.
    let mut why = no_limits;
    if let (Some(cgroup), None, false) = (&cgroup, &why, is_in_cgroup) {
        match cgroup.take(pid) {
            Ok(()) => is_in_cgroup = true,
            Err(error) => why = Some(error.to_string()),
        }
    }
    running.layers.push(why.map_or_else(|| LayerReport::enforced(Layer::Cgroup), |why| cgroup::missing(&why)));
    running.cgroup = cgroup.filter(|_| is_in_cgroup);
    running.control.send(&ToInit::Go, &[]).map_err(|_| LaunchError::Lost("before its start"))?;
    let (sockets, outside) = match setting {
        Setting::Without => {
            let (sockets, outside) = network::plain().map_err(|error| LaunchError::Own(format!("listening on loopback: {error}")))?;
            (sockets, Some(outside))
        }
        Setting::Namespaces => match running.next()? {
            (FromInit::Network { ipv6, doors }, fds) => {
                running.layers.push(if ipv6 {
                    LayerReport::enforced(Layer::NetworkNamespace)
                } else {
                    LayerReport::partial(Layer::NetworkNamespace, "this machine has IPv6 switched off; the box has none either")
                });
                (network::sockets(fds, doors, handed), None)
            }
            (FromInit::Failed(failure), _) => return Err(LaunchError::Layer(failure)),
            (_, _) => return Err(LaunchError::Lost("the network was due")),
        },
    };
    let more = network(sockets, running.cgroup.as_ref());
    running.layers.extend(more.map_err(|error| LaunchError::Own(format!("the broker cannot take the network: {error}")))?);
    let mut files = files;
    let mut for_the_gate = |what| files(what).map_err(|error| LaunchError::Own(format!("the file gate: {error}")));
    if file_gate == FileGate::On {
        for_the_gate(ForTheGate::Stand(match outside {
            Some(outside) => Stand::Outside(outside),
            None => running.mounted()?,
        }))?;
    }
    let fds = match running.next()? {
        (FromInit::Ready { partial, unlayered }, fds) => {
            running.unlayered = unlayered;
            let why = partial.into_iter().find(|(layer, _)| layer == Layer::Landlock.name()).map(|(_, why)| why);
            running.layers.push(why.map_or_else(|| LayerReport::enforced(Layer::Landlock), |why| LayerReport::partial(Layer::Landlock, why)));
            if file_gate == FileGate::On {
                running.layers.push(LayerReport::enforced(Layer::FileGate));
            }
            running.layers.sort_by_key(|report| report.layer);
            fds
        }
        (FromInit::Failed(failure), _) => return Err(LaunchError::Layer(failure)),
        (FromInit::NotExecuted(errno), _) => return Err(LaunchError::NotExecuted { command: name, errno }),
        (_, _) => return Err(LaunchError::Lost("the fences were due")),
    };
    let unmet = layer::unmet(&require, &running.layers, landlock::offered().ok());
    if !unmet.is_empty() {
        return Err(LaunchError::Unmet(unmet));
    }
    if file_gate == FileGate::On {
        for_the_gate(ForTheGate::Listener(fds.into_iter().next().ok_or(LaunchError::Lost("the file gate's listener was due"))?))?;
    }
    running.control.send(&ToInit::Run, &[]).map_err(|_| LaunchError::Lost("behind its fences"))?;
    match running.next()? {
        (FromInit::Started, _) => Ok(running),
        (FromInit::Failed(failure), _) => Err(LaunchError::Layer(failure)),
        (FromInit::NotExecuted(errno), _) => Err(LaunchError::NotExecuted { command: name, errno }),
        (_, _) => Err(LaunchError::Lost("the start was due")),
    }
}

/// What the agent may read where no mount hides anything; none where mounts do.
fn readable_without(plan: &Plan) -> Result<Option<Readable>, LaunchError> {
    let Some(own) = &plan.without else { return Ok(None) };
    let fix = || doctor::user_namespace_fix(Errno::EPERM);
    if plan.file_gate == FileGate::Off {
        return Err(LaunchError::TakesNamespaces("a box without a file gate (`--scratch`)", fix()));
    }
    if plan.doors.publish == Publish::Yes {
        return Err(LaunchError::TakesNamespaces("publishing a port (a server of such a box listens on this machine's loopback already)", fix()));
    }
    if !landlock::offered().is_ok_and(|abi| abi >= setting::LEAST_ABI) {
        return Err(LaunchError::Own(format!("without namespaces it takes Landlock ABI {}", setting::LEAST_ABI)));
    }
    let ours: Vec<PathBuf> = std::iter::once(&own.shown).chain(own.reserve.paths()).cloned().collect();
    Ok(Some(grants::readable(&plan.files, &ours)?))
}

impl Stdio {
    /// A descriptor brings its own reach along: a folder the mounts that it was opened in (`..` leads behind every mask), a network socket
    /// the network that it was made in, whoever connects it anew.
    fn leads_nowhere(&self) -> Result<(), LaunchError> {
        for (name, fd) in [("standard input", &self.stdin), ("standard output", &self.stdout), ("standard error", &self.stderr)] {
            let own = |errno: Errno| LaunchError::Own(format!("{name}: {errno}"));
            let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).map_err(own)?);
            if flags.contains(OFlag::O_PATH) {
                return Err(LaunchError::Stream(name, "a bare path"));
            }
            match SFlag::from_bits_truncate(fstat(fd).map_err(own)?.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFDIR => return Err(LaunchError::Stream(name, "a folder")),
                SFlag::S_IFSOCK if !is_pipe_of_sockets(fd) => return Err(LaunchError::Stream(name, "a network socket")),
                // A namespace, a process or a mount shows as a file without a path.
                SFlag::S_IFREG if !has_path(fd) => return Err(LaunchError::Stream(name, "a handle of the kernel's")),
                SFlag::S_IFREG | SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK | SFlag::S_IFSOCK => {}
                _ => return Err(LaunchError::Stream(name, "a handle of the kernel's")),
            }
        }
        Ok(())
    }
}

/// Two connected UNIX sockets, as node and sshd have them in the place of pipes: the kernel does not let one be connected anew. Those of
/// datagrams may be, and abstract names are found by the network that a socket was made in.
fn is_pipe_of_sockets(fd: &OwnedFd) -> bool {
    let is_stream = matches!(getsockopt(fd, SockType), Ok(Kind::Stream | Kind::SeqPacket));
    is_stream && getpeername::<UnixAddr>(fd.as_raw_fd()).is_ok()
}

fn has_path(fd: &OwnedFd) -> bool {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).is_ok_and(|path| path.is_absolute())
}

/// Identity over every id that is known here, because root works on files of many owners: with root's id alone mapped, all others would be
/// nobody's, and git, package managers and backups would refuse them or write them anew as root's.
///
/// What it costs is that uid 0 in the box is the machine's own uid 0, to which the kernel grants by file mode what it grants to no other
/// user. So everything that this is said of is taken away by other means: every capability and the bounding set, with securebits that keep
/// uid 0 from bringing any back; `/proc` and `/sys` read-only, and empty where only root may read; `nosuid` and `nodev` everywhere.
fn map_all_ids(pid: Pid) -> io::Result<()> {
    for kind in ["uid_map", "gid_map"] {
        let ours = fs::read_to_string(format!("/proc/self/{kind}"))?;
        let identity: String = ours
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (inside, _, count) = (words.next()?, words.next()?, words.next()?);
                Some(format!("{inside} {inside} {count}\n"))
            })
            .collect();
        fs::write(Path::new("/proc").join(pid.to_string()).join(kind), identity)?;
    }
    Ok(())
}

impl Running {
    /// Where the file gate is to stand, from the word of init that is due.
    fn mounted(&self) -> Result<Stand, LaunchError> {
        match self.next()? {
            (FromInit::Mounted { layered }, fds) => {
                let [user, mount] = <[OwnedFd; 2]>::try_from(fds).map_err(|_| LaunchError::Lost("the box's namespaces were due"))?;
                Ok(Stand::Inside { user, mount, layered })
            }
            (FromInit::Failed(failure), _) => Err(LaunchError::Layer(failure)),
            (_, _) => Err(LaunchError::Lost("the mounts were due")),
        }
    }

    fn next(&self) -> Result<(FromInit, Vec<OwnedFd>), LaunchError> {
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)], patience) {
                Ok(0) => return Err(LaunchError::Lost("it hangs")),
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(LaunchError::Own(format!("poll: {errno}"))),
            }
        }
        match self.control.receive() {
            Ok(Some(message)) => Ok(message),
            Ok(None) | Err(_) => Err(LaunchError::Lost("without a word")),
        }
    }

    /// Becomes readable when init has something to say.
    #[must_use]
    pub fn control_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Becomes readable when init has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// PID 1 of the box, as the supervisor counts.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.init.pid
    }

    /// What init said; `None` when it has ended without a word. Call it when [`Running::control_fd`] is readable.
    ///
    /// # Errors
    /// What came is no message.
    pub fn hear(&self) -> io::Result<Option<FromInit>> {
        Ok(self.control.receive()?.map(|(message, _)| message))
    }

    /// Becomes readable when a masked name outside changes: then call [`Running::fallen_mask`].
    #[must_use]
    pub fn watch_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Ends the box if a mask covers its file no more, and tells which; never waits.
    #[must_use]
    pub fn fallen_mask(&self) -> Option<Fallen> {
        let fallen = self.watch.fallen();
        if fallen.is_some() {
            self.kill();
        }
        fallen
    }

    /// Sends a signal to the agent's group.
    pub fn signal(&self, number: i32) {
        let _ = self.control.send(&ToInit::Signal(number), &[]);
    }

    /// Another end of the words to init, for who outlives a borrow of this.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn reins(&self) -> io::Result<Reins> {
        Ok(Reins(Control::from(self.control.as_fd().try_clone_to_owned()?)))
    }

    /// Gives the agent the box's terminal, which it asked for from the background, and lets it go on.
    pub fn foreground(&self) {
        let _ = self.control.send(&ToInit::Foreground, &[]);
    }

    /// Ends the box at once.
    pub fn kill(&self) {
        self.init.kill();
    }

    /// Ends the box, and comes back when nothing runs in it any more. What is left takes the kernel long to let go of, and nobody needs to
    /// wait for it: closing an inotify descriptor waits for a grace period, which is 10 to 20 ms.
    #[must_use = "dropped here, it is waited for here"]
    pub fn end(self) -> Remains {
        let Self { watch, .. } = self;
        Remains { _watch: watch }
    }
}

/// What can be told to a running box by who does not own it.
#[derive(Debug)]
pub struct Reins(Control);

impl Reins {
    /// Sends a signal to the agent's group.
    pub fn signal(&self, number: i32) {
        let _ = self.0.send(&ToInit::Signal(number), &[]);
    }

    /// Stops every process of the box. One that armed a timer with SIGCONT can wake itself: whatever it then asks for must be refused
    /// elsewhere.
    pub fn freeze(&self) {
        let _ = self.0.send(&ToInit::Freeze, &[]);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        let _ = self.0.send(&ToInit::Thaw, &[]);
    }
}

/// What is left of a box that has ended; dropping it takes a while.
#[derive(Debug)]
pub struct Remains {
    _watch: MaskWatch,
}

/// How a box ended, for whoever waits.
pub type Ended = Exit;
