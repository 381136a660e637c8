//! The supervisor's process: makes the box and its broker and looker, serves the gate, and says how it all ended.

use std::{
    cell::OnceCell,
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::{fs::DirBuilderExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use agentbox_broker::look;
use agentbox_core::{
    Destination, ResourceId,
    fingerprint::FingerprintKey,
    ledger::{Draft, Event},
    policy::{
        Policy,
        settings::{FilePath, KernelGate},
    },
    safe,
};
use agentbox_desk::{channels::Screen, control::Folder};
use agentbox_kernel::{
    cgroup::Cgroup,
    control::{Control, Exit},
    idle,
    launch::{FileGate, ForTheGate, NestedUserns, Plan, Probed, Remains, Running, Stdio, launch},
    layer::{Layer, LayerReport, Requirement},
    lineage,
    mounts::{FileFence, Provided},
    network::BoxSockets,
    probes::{self, Gate, Prober, When},
    process::{Child, First, fork_child},
    real::Real,
    selfguard::{self, Role},
    stopped::OwnFiles,
    terminal::protocol::ToShim,
};

use agentbox_vault::{Settings as VaultSettings, Summary, Vault};

use super::{
    addresses, approvers, attend, brokering, browsers, couriers, doors, globs,
    guarded::{Guard, Loose, Named, guarded},
    judging, keeping, keystores,
    launchable::{self, Found, Why},
    reins::Bridle,
    traces, trust, variables, without,
    writes::{self, Files, Used},
};
use crate::{
    caches,
    commands::run::chain,
    ledger,
    policy_files::Loaded,
    scratch::{
        Layers,
        changes::{self, Effect},
    },
    supervisor::{self, End, Mode, Outcome, Setup, WhoAsked, supervise},
};

/// How long the end of a box waits for the hashing of what was kept; the rest is hashed when it is asked for.
const HASHING: Duration = Duration::from_millis(20);

/// Exit code of an unattended run in which the agent exited 0 but something was refused.
const REFUSED: u8 = 77;

/// Address of the resolver that the box is told of: any would do, since all lead to the broker; this one is reserved for documentation.
const RESOLVER: &str = "192.0.2.53";

/// Longest certificate that the broker may hand over.
const LONGEST_PEM: usize = 16 << 10;

/// Refusals that are listed at the end of an unattended run.
const MOST_LISTED: usize = 20;

/// Whose exit code an unattended run ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// 77 where something was refused.
    Box,
    /// The agent's own.
    Agent,
}

/// Where what the box writes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// To the files, through the file gate.
    ToTheFiles,
    /// To a layer, which a person applies or drops.
    ToALayer,
}

/// What is to be run, decided by the shim.
pub(crate) struct Order {
    pub(crate) loaded: Loaded,
    pub(crate) command: Vec<OsString>,
    pub(crate) workspace: PathBuf,
    pub(crate) stdio: Stdio,
    pub(crate) writes: Writes,
    pub(crate) mode: Mode,
    pub(crate) whose: Whose,
    pub(crate) shares_terminal: bool,
}

impl Order {
    /// The descriptors that the supervisor's process must keep.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let stdio = &self.stdio;
        let mut fds = vec![stdio.stdin.as_raw_fd(), stdio.stdout.as_raw_fd(), stdio.stderr.as_raw_fd()];
        fds.extend(stdio.controlling.as_ref().map(AsRawFd::as_raw_fd));
        fds
    }
}

/// Talk of the supervisor, on the user's stderr. Where the real terminal is in raw mode a line needs its carriage return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    raw: bool,
}

impl Voice {
    pub(crate) fn say(self, text: &str) {
        let mut out = String::new();
        for line in text.lines() {
            out.push_str(line);
            out.push_str(if self.raw { "\r\n" } else { "\n" });
        }
        let _ = io::stderr().write_all(out.as_bytes());
    }
}

/// The supervisor's whole life.
pub(crate) fn run(order: Order, shim: UnixStream) -> u8 {
    // Keys typed on the user's terminal are for the agent: the shim hands on what is meant for us.
    let _ = nix::unistd::setsid();
    let voice = Voice { raw: order.shares_terminal };
    let [_, state] = order.loaded.own_folders.clone();
    let (exit, remains, left) = match start(order, &shim, voice) {
        Ok((exit, remains, left)) => (exit, Some(remains), left),
        Err((code, why)) => {
            voice.say(&format!("agentbox: {why}"));
            (Exit::Code(code), None, Left::default())
        }
    };
    // The shim is about to end, and what is still to be removed can take a while: a disk is told of each block that is free again.
    let _ = nix::sys::prctl::set_pdeathsig(None);
    let _ = (&shim).write_all(&ToShim::Ended(exit).encode());
    caches::leave_the_streams();
    // Behind everybody's back: what stays is looked after by another box.
    left.take_away();
    if caches::is_tidy_due(&state) {
        let _ = caches::tidy(&state);
    }
    // The kernel lets go of it with this process, after the standard streams: a pipe's reader does not wait for it either.
    std::mem::forget(remains);
    exit.code()
}

pub(super) type Failed = (u8, String);

/// What a box leaves that nobody uses any more.
#[derive(Debug, Default)]
struct Left {
    layers: Vec<PathBuf>,
    /// A vault, and the session in it that kept nothing.
    unused: Option<(Vault, String)>,
}

impl Left {
    fn take_away(self) {
        caches::take_away(&self.layers);
        // If it stays, it goes with the vault's next sweep.
        let _ = self.unused.map(|(vault, session)| vault.clear(&session));
    }
}

/// Makes a folder with those above it, for its owner alone; one that is there stays as it is.
fn private_folder(folder: &Path) -> Result<(), Failed> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        let fix = "fix: let HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME, name folders of yours that can be written";
        (crate::cli::FAILED, format!("making {}: {error}\n{fix}", folder.display()))
    })
}

pub(super) fn own(error: &dyn std::error::Error) -> Failed {
    (crate::cli::FAILED, chain(error))
}

fn start(order: Order, shim: &UnixStream, voice: Voice) -> Result<(Exit, Remains, Left), Failed> {
    selfguard::guard(Role::Supervisor).map_err(|error| own(&error))?;
    let session = session_name().map_err(|error| own(&error))?;
    let Order { loaded, command, workspace, stdio, writes, mode, whose, shares_terminal } = order;
    let mut masked: Vec<PathBuf> = loaded.own_folders.to_vec();
    for folder in &masked {
        // A folder that is not there cannot be masked, and could be made in a box whose workspace is the home.
        private_folder(folder)?;
    }
    for folder in &loaded.policy.settings().folders {
        private_folder(folder)?;
    }
    let [_, state] = &loaded.own_folders;
    let state = state.clone();
    let approval = &loaded.policy.settings().approval;
    let signers = approvers::read(approval).map_err(|error| own(&error))?;
    masked.extend(approvers::private_files(approval));
    let policy_files: Vec<PathBuf> =
        loaded.layers.iter().map(|(name, _)| PathBuf::from(name)).chain(approvers::public_files(approval).map(Path::to_owned)).collect();
    let ledger_folder = ledger::folder().map_err(|error| own(&error))?;
    let controls = Folder::of_this_user().map_err(|error| own(&error))?;
    let door = controls.listen(&session).map_err(|error| own(&error))?;
    // Root's sockets lie where every box has memory of its own, which hides them already.
    if controls.path() != Path::new(trust::OURS) {
        masked.push(controls.path().to_owned());
    }
    masked.push(ledger_folder.clone());
    let mut policy = loaded.policy;
    for warning in addresses::learn(&mut policy) {
        voice.say(&format!("agentbox: warning: {}", safe::line(&warning, 300)));
    }
    let policy = Arc::new(policy);
    // The kernel takes its memory back at once; to take it apart, table by table, would hold up the end.
    std::mem::forget(policy.clone());
    let mut requirements = requirements(&policy)?;

    // The broker first: it makes the box's certificate authority, whose key must be nowhere else.
    let (to_broker, brokers_end) = Control::pair().map_err(|error| own(&error))?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| (crate::cli::FAILED, "the system gives no random numbers".to_owned()))?;
    let key = FingerprintKey::new(random);
    let (brokers_line, keepers_line) = keeping::line(&policy).map_err(|error| own(&error))?.unzip();
    let broker = {
        let (policy, session) = (policy.clone(), session.clone());
        let keep = [brokers_end.as_raw_fd()];
        let (mut keep, keeping) = (keep.to_vec(), brokering::Keeping { carrier: brokers_line, key: key.clone() });
        keep.extend(keeping.carrier.as_ref().map(AsRawFd::as_raw_fd));
        fork_child(First::Parent, &keep, move |socket| brokering::run(policy, session, &brokers_end, keeping, socket)).map_err(|error| own(&error))?
    };
    let mut place = without::Place::choose(&state, &session, voice).map_err(|error| own(&error))?;
    let mut environment = variables::environment(&policy, &session);
    let keeper = keeping::start(&policy, keepers_line, &environment, voice).map_err(|why| (crate::cli::FAILED, why))?;
    let publisher = doors::publisher(policy.settings()).map_err(|error| own(&error))?;
    let couriers = couriers::start(&policy, voice).map_err(|error| own(&error))?;
    if let (Some(home), Some(path)) = (std::env::var_os("HOME"), std::env::var_os("PATH")) {
        browsers::make_missing(Path::new(&home), &path);
    }
    let apart = if place.is_some() { Err("the box has no network of its own, by which they tell it from the machine".to_owned()) } else { Ok(()) };
    let possible = apart.and_then(|()| probes::possible());
    let mut fence = fence(&policy, masked, &policy_files).map_err(|error| own(&error))?;
    fence.sockets = doors::sockets(policy.settings(), controls.path()).map_err(|error| own(&error))?;
    let writable = fence.writable.clone();
    let in_use = caches::lay(&mut fence, &state, &workspace, &policy.settings().caches, &environment, voice)
        .map_err(|error| (crate::cli::FAILED, format!("the layers of caches cannot be made in {}: {error}", state.display())))?;
    let mut files = match writes {
        Writes::ToTheFiles => Files::gate(&policy, &session, &workspace, &state, &mut fence, place.is_some(), told(&command))?,
        Writes::ToALayer => Files::layer(&session, &state, &mut fence, told(&command))?,
    };
    let unguarded: Vec<PathBuf> =
        policy.settings().files.read_only.iter().map(|path| path.pattern.clone()).filter(|path| path.symlink_metadata().is_err()).collect();
    let stores = keystores::find();
    // Last, since the broker makes it meanwhile.
    let certificate = certificate(&broker)?;
    fence.provided = provided(&certificate, stores);
    browsers::tell(&mut fence, &certificate, &place.as_ref().map_or_else(|| trust::OURS.into(), without::Place::shown), &environment);
    let public: Vec<PathBuf> = fence.provided.iter().map(|provided| provided.path.clone()).collect();
    let started = (told(&command), workspace.display().to_string());
    let kept = keeping::show(&policy, keeper, &mut environment, &mut fence, voice).map_err(|why| (crate::cli::FAILED, why))?;
    let (looker, releases) = kept.unzip();
    if let Some(place) = &mut place {
        place.furnish(&mut fence, &public, &mut environment).map_err(|why| (crate::cli::FAILED, why))?;
    }
    let above = match &place {
        Some(place) => files.above(|brief| brief.without = Some(place.for_the_gate(&fence, &policy.settings().forward))).map_err(|error| own(&error))?,
        None => None,
    };
    let own_files = judging::own_files(policy.settings(), &files, place.is_some(), voice);
    if policy.settings().kernel_gate == KernelGate::Judge {
        requirements.push(Requirement::Layer(Layer::KernelGate));
    }
    let traces = traces::Traces::new(key, writable.clone(), &environment);
    let plan = Plan {
        session: session.clone(),
        command,
        directory: workspace,
        environment,
        files: fence,
        limits: policy.settings().limits.clone(),
        require: requirements,
        nested_userns: if policy.settings().nested_userns { NestedUserns::Allowed } else { NestedUserns::Refused },
        doors: doors::of_the_box(policy.settings()).map_err(|error| own(&error))?,
        stdio,
        file_gate: files.gate_of_the_box(),
        own_files,
        probes: if possible.is_ok() { Probed::Yes } else { Probed::No },
        hostname: format!("agentbox-{session}"),
        without: place.as_ref().map(without::Place::own),
        above,
    };
    let began = SystemTime::now();
    let (mut ledger, mut prober) = (None, None);
    let requires = |layer| plan.require.iter().any(|requirement| requirement.layer() == layer);
    // In a scratch layer the box's processes do it all themselves.
    let gate_in_vain = requires(Layer::KernelGate) && plan.file_gate == FileGate::Off;
    let gate = match own_files {
        OwnFiles::ByKernel => Gate::Judges,
        OwnFiles::ByGate if requires(Layer::KernelGate) && !gate_in_vain => Gate::Refuses,
        OwnFiles::ByGate => Gate::Not,
    };
    let must_probe = requires(Layer::ConnectProbes) || gate != Gate::Not;
    let nested = plan.nested_userns;
    let notes = OnceCell::new();
    let prepare = |sockets: BoxSockets, cgroup: Option<&Cgroup>| {
        brokering::hand_over(&to_broker, &sockets)?;
        if let (Some(publisher), Some(namespaces)) = (&publisher, &sockets.namespaces) {
            publisher.hand_over(namespaces)?;
        }
        // The last of our processes, made while the box's first one is at its mounts; the ledger has a thread.
        let started = possible.and_then(|()| Prober::start().map_err(|error| chain(&error)));
        let attached = attach(started.as_ref(), &sockets, cgroup, nested, if must_probe { When::AtOnce(gate) } else { When::Soon });
        let prober = prober.insert(started);
        ledger = Some(supervisor::begin(&ledger_folder, &session).map_err(|error| io::Error::other(chain(&error)))?);
        // Nobody waits for them where the policy does not.
        if gate_in_vain {
            return Ok(vec![LayerReport::missing(Layer::KernelGate, "what is done in a scratch layer is not judged", "run without `--scratch`")]);
        }
        Ok(match (attached, prober) {
            (Ok(()), Ok(prober)) if must_probe => {
                let (layers, given) = prober.report();
                given.into_iter().for_each(|given| drop(notes.set(given)));
                layers.to_vec()
            }
            (Ok(()), _) => Vec::new(),
            (Err(why), _) => vec![probes::missing(&why), probes::no_gate(&why)],
        })
    };
    let hand_over = |what| match (own_files, notes.get()) {
        // Where the kernel gate is missing it does not come to this.
        (OwnFiles::ByKernel, None) if matches!(what, ForTheGate::Listener(_)) => Err(io::Error::other("the kernel gate gives no notes")),
        (OwnFiles::ByKernel | OwnFiles::ByGate, notes) => files.hand_over(what, notes.map(AsFd::as_fd)),
    };
    let mut running = match launch(plan, prepare, hand_over) {
        Ok(running) => running,
        Err(error) => {
            if let Some(ledger) = ledger {
                let note = safe::line(&format!("it did not start: {error}"), 300);
                let _ = ledger.close(Draft { note, ..Draft::new(Event::SessionEnded, &session) });
            }
            files.did_not_begin();
            return Err((error.code(), error.to_string()));
        }
    };
    files.stands(running.above.take());
    for told in caches::unlayered(&running.unlayered) {
        voice.say(&told);
    }
    let ledger = ledger.ok_or_else(|| (crate::cli::FAILED, "the ledger was not opened".to_owned()))?;
    let screen = if shares_terminal { Screen::SharedWithAgent } else { Screen::Apart };
    let name = session.clone();
    let deputies = [Some(&broker), files.process()].into_iter().flatten().map(Child::leash).collect::<Result<_, _>>().map_err(|error| own(&error))?;
    let bridle = Bridle::new(running.reins().map_err(|error| own(&error))?, deputies, (controls.path().join(writes::TURNS), name.clone()));
    let required = if must_probe { attend::Required::Yes } else { attend::Required::No };
    let prober = prober.unwrap_or_else(|| Err("the box has no network".to_owned()));
    let alarm = prober.as_ref().ok().and_then(|prober| prober.breaches().ok()).map(|line| attend::Alarm { line, required });
    let setup = Setup {
        policy,
        session,
        ledger,
        broker: broker.socket.try_clone().map_err(|error| own(&error))?,
        files: files.socket().map_err(|error| own(&error))?,
        looker: looker.as_ref().map(|child| child.socket.try_clone()).transpose().map_err(|error| own(&error))?,
        releases,
        couriers: couriers.iter().map(|child| child.socket.try_clone()).collect::<Result<_, _>>().map_err(|error| own(&error))?,
        can_look,
        find: Arc::new(move |wanted| traces.find(wanted)),
        who: Box::new({
            let init = running.pid();
            let prober = prober.ok().map(Mutex::new);
            move |asker| match asker {
                WhoAsked::Connection(client, server) => {
                    let seen = prober.as_ref().and_then(|prober| prober.lock().ok()?.who(client, server));
                    seen.map_or_else(|| lineage::of_connection(init, client, server), |seen| lineage::of_seen(init, &seen))
                }
                WhoAsked::Process(pid) => lineage::of_process(init, pid),
            }
        }),
        approvers: signers,
        control: door,
        mode,
        screen,
        started,
        reins: Box::new(move |rein| bridle.pull(rein)),
        announce: Box::new(move |text| voice.say(&text)),
    };
    let mut outcome = serve(setup, &running, shim, voice, alarm)?;
    // An agent whose connection broke with the broker may have ended before the broker's end was heard of. A broker that was asked to
    // end does so with 0.
    if let (End::Box(_), Some(code @ 1..)) = (&outcome.end, broker.ended()) {
        outcome.end = End::Broker(format!("it ended with code {code}"));
    }
    let remains = running.end();
    drop(place);
    for child in [Some(broker), looker, publisher.map(doors::Publisher::into_process)].into_iter().flatten().chain(couriers) {
        child.kill();
    }
    let mut left = Left { layers: in_use.remnants(), unused: None };
    match files {
        Files::Gate { process, vault, .. } => {
            left.unused = tell_of_the_vault(&vault, &name, Used::by(process.as_ref()), voice).map(|vault| (vault, name));
            tell_of_launchable(&unguarded, &writable, began, voice);
        }
        Files::Layer(layers) => tell_of_the_layer(&layers, voice),
    }
    Ok((conclude(&outcome, mode, whose, voice), remains, left))
}

/// Has the connect probes attached, where they are possible.
fn attach(prober: Result<&Prober, &String>, sockets: &BoxSockets, cgroup: Option<&Cgroup>, nested: NestedUserns, when: When) -> Result<(), String> {
    let prober = prober.map_err(Clone::clone)?;
    let cgroup = cgroup.ok_or("the box has no cgroup of its own")?;
    let of_the_box = sockets.tcp.first().ok_or("the box has no network")?;
    prober.attach(cgroup, of_the_box.as_fd(), nested, when).map_err(|error| error.to_string())
}

/// Tells what is in the layer, and what can be done with it.
fn tell_of_the_layer(layers: &Layers, voice: Voice) {
    let session = &layers.about.session;
    match changes::of(layers) {
        Err(error) => voice.say(&format!("agentbox: the layer cannot be looked through: {error}")),
        Ok((found, _)) if found.is_empty() => voice.say("agentbox: nothing was changed in the scratch layer"),
        Ok((found, _)) => {
            let count = |effect| found.iter().filter(|change| change.effect == effect).count();
            voice.say(&format!(
                "agentbox: {} made, {} changed, {} removed, all in a scratch layer: the files outside are as they were\n  look    agentbox scratch diff {session}\n  keep    agentbox scratch apply {session}\n  forget  agentbox scratch drop {session}",
                count(Effect::Made),
                count(Effect::Changed),
                count(Effect::Removed)
            ));
        }
    }
}

fn serve(setup: Setup, running: &Running, shim: &UnixStream, voice: Voice, alarm: Option<attend::Alarm>) -> Result<Outcome<Exit>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build().map_err(|error| own(&error))?;
    let outcome = runtime.block_on(async {
        let (events, heard) = tokio::sync::mpsc::channel(16);
        let ended = attend::until_the_end(running, shim, events, voice, alarm)?;
        tokio::spawn(async {
            tokio::time::sleep(idle::AFTER).await;
            idle::give_back();
        });
        Ok::<_, io::Error>(supervise(setup, ended, heard).await)
    });
    runtime.shutdown_background();
    outcome.map_err(|error| own(&error))
}

/// The command as a person would write it, cut.
fn told(command: &[OsString]) -> String {
    let words: Vec<String> = command.iter().take(32).map(|word| word.to_string_lossy().into_owned()).collect();
    safe::line(&words.join(" "), 200)
}

/// Ends the session's part of the vault, and tells what can be brought back and what cannot. Gives a vault in which the session was not used.
fn tell_of_the_vault(folder: &Path, session: &str, used: Used, voice: Voice) -> Option<Vault> {
    let summary = Vault::open(folder, VaultSettings::default()).and_then(|vault| match used {
        Used::Not => vault.discard(session).map(|()| Err(vault)),
        Used::Yes => vault.finish(session, HASHING).map(Ok),
    });
    match summary {
        Err(error) => voice.say(&format!("agentbox: the vault: {}", safe::line(&chain(&error), 300))),
        Ok(Err(unused)) => return Some(unused),
        Ok(Ok(Summary { kept, bytes, lost, dropped })) => {
            if kept > 0 {
                voice.say(&format!("agentbox: kept the first version of {kept} files that were removed or overwritten ({bytes} bytes); bring them back with `agentbox undo {session}`"));
            }
            for (path, why) in lost.iter().take(MOST_LISTED) {
                voice.say(&format!("agentbox: NOT kept: {}: {}", safe::line(&path.path().to_string_lossy(), 200), safe::line(why, 200)));
            }
            if lost.len() > MOST_LISTED {
                voice.say(&format!("agentbox: NOT kept: {} more", lost.len() - MOST_LISTED));
            }
            if !dropped.is_empty() {
                voice.say(&format!("agentbox: the vault was full: {} older sessions can no longer be undone", dropped.len()));
            }
        }
    }
    None
}

/// Tells what came to be or was changed in the box and will later run outside of it.
fn tell_of_launchable(unguarded: &[PathBuf], writable: &[PathBuf], since: SystemTime, voice: Voice) {
    let shown = |path: &Path| safe::line(&path.display().to_string(), 200);
    let came: Vec<&PathBuf> = unguarded.iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    for path in &came {
        voice.say(&format!("agentbox: look at {}: it came to be in this box, and what it holds may later run outside", shown(path)));
    }
    let Found { files, cut } = launchable::changed(writable, since);
    let files: Vec<_> = files.iter().filter(|(path, _)| !came.iter().any(|above| path.starts_with(above))).collect();
    if files.is_empty() {
        return;
    }
    voice.say("agentbox: changed in this box, and to be run outside of it some day; look before you do:");
    for (path, why) in files.iter().take(MOST_LISTED) {
        let why = match why {
            Why::Script => "tools run it, or do what it says",
            Why::Executable => "executable",
        };
        voice.say(&format!("  {}  ({why})", shown(path)));
    }
    if files.len() > MOST_LISTED || cut {
        voice.say(&format!(
            "  and {}",
            if cut { "perhaps more: not every file was looked at".to_owned() } else { format!("{} more", files.len() - MOST_LISTED) }
        ));
    }
}

/// Tells what was refused, and chooses the exit code.
fn conclude(outcome: &Outcome<Exit>, mode: Mode, whose: Whose, voice: Voice) -> Exit {
    let exit = match &outcome.end {
        End::Box(exit) => *exit,
        End::Broker(why) => {
            voice.say(&format!("agentbox: the box was ended, since a process of agentbox is gone ({}); what waited was refused", safe::line(why, 200)));
            return Exit::Code(crate::cli::FAILED);
        }
        End::Stopped(why) => {
            voice.say(&format!("agentbox: the box was stopped: {}", safe::line(why, 200)));
            return Exit::Signal(15);
        }
        End::Ledger(why) => {
            voice.say(&format!("agentbox: the box was ended, since the ledger cannot be written ({}); what waited was refused", safe::line(why, 200)));
            return Exit::Code(crate::cli::FAILED);
        }
    };
    if mode == Mode::Attended || outcome.refused_in_all == 0 {
        return exit;
    }
    voice.say(&format!("agentbox: {} refused in this unattended run:", outcome.refused_in_all));
    for past in outcome.refused.iter().rev().take(MOST_LISTED) {
        voice.say(&format!("  {}  {}: {}", safe::line(&past.summary, 120), safe::line(&past.refusal.operation, 60), safe::line(&past.refusal.reason, 200)));
    }
    if exit == Exit::Code(0) && whose == Whose::Box { Exit::Code(REFUSED) } else { exit }
}

fn can_look(resource: &ResourceId, destination: &Destination) -> bool {
    look::find(resource, destination).is_some()
}

/// Short, easy to tell apart, and no secret.
pub(crate) fn session_name() -> Result<String, io::Error> {
    let mut bytes = [0; 5];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn requirements(policy: &Policy) -> Result<Vec<Requirement>, Failed> {
    policy
        .settings()
        .require
        .iter()
        .map(|word| word.parse::<Requirement>().map_err(|error| (crate::cli::FAILED, format!("policy: require: {error}"))))
        .collect()
}

fn certificate(broker: &Child) -> Result<String, Failed> {
    let lost = || (crate::cli::FAILED, "the broker ended while it started".to_owned());
    let mut socket = &broker.socket;
    let mut length = [0; 2];
    socket.read_exact(&mut length).map_err(|_| lost())?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > LONGEST_PEM {
        return Err(lost());
    }
    let mut pem = vec![0; length];
    socket.read_exact(&mut pem).map_err(|_| lost())?;
    String::from_utf8(pem).map_err(|_| lost())
}

/// The paths of the policy as the mounts need them: absolute, with links followed, globs spelt out.
fn fence(policy: &Policy, own: Vec<PathBuf>, policy_files: &[PathBuf]) -> Result<FileFence, Loose> {
    let files = &policy.settings().files;
    let mut real = Real::default();
    let mut writable = spelt_out(&files.writable, &mut real)?;
    // One that lies in another writable tree is no mount of its own: names could not be moved across.
    let gated = spelt_out(&files.gated, &mut real)?;
    writable.extend(gated.into_iter().filter(|path| !writable.iter().any(|tree| path.starts_with(tree))).collect::<Vec<_>>());
    let Named { found: mut masked, absent } = guarded(patterns(&files.masked), Guard::Masked, &writable)?;
    // Secrets that are not there yet cannot be masked; that one comes to be is noticed, and ends the box.
    masked.extend(absent);
    // The folders that hold the ledger, the policy and the sockets: also where they do not exist yet, their parents may be writable.
    masked.extend(own.iter().filter_map(|path| real.of(path).ok()));
    let mut read_only = guarded(patterns(&files.read_only), Guard::ReadOnly, &writable)?.found;
    // In the box no policy file can be written.
    read_only.extend(guarded(policy_files.iter().map(PathBuf::as_path).filter(|path| path.is_absolute()), Guard::ReadOnly, &writable)?.found);
    // A home below `/tmp` must be seen all the same, where the box has an empty folder of its own.
    let home = std::env::var_os("HOME").and_then(|home| real.of(Path::new(&home)).ok());
    read_only.extend(home.filter(|home| !writable.iter().any(|tree| home.starts_with(tree))));
    // And so must this program, by which the agent asks `agentbox why`, wherever it was built.
    let own = std::env::current_exe().ok().and_then(|program| real.of(&program).ok());
    read_only.extend(own.filter(|program| !writable.iter().any(|tree| program.starts_with(tree))));
    Ok(FileFence { writable, read_only, masked, ..FileFence::default() })
}

/// Files of ours that the box sees: whom to trust, whom to ask for names.
fn provided(certificate: &str, stores: Vec<keystores::Store>) -> Vec<Provided> {
    let (system, mut files) = trust::files(certificate);
    files.extend(keystores::covers(stores, certificate, system.as_deref()));
    let mut provided: Vec<Provided> = files.into_iter().map(|(path, contents)| Provided { path, contents }).collect();
    let texts = [
        ("/etc/resolv.conf", format!("# agentbox: every address leads to the broker\nnameserver {RESOLVER}\noptions timeout:10 attempts:2\n")),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned()),
    ];
    provided.extend(texts.map(|(path, text)| Provided { path: path.into(), contents: Arc::new(text.into_bytes().into()) }));
    provided
}

fn patterns(paths: &[FilePath]) -> impl Iterator<Item = &Path> {
    paths.iter().map(|path| path.pattern.as_path())
}

fn spelt_out(paths: &[FilePath], real: &mut Real) -> Result<Vec<PathBuf>, globs::TooMuch> {
    let mut found = Vec::new();
    for pattern in patterns(paths) {
        found.extend(globs::matches(pattern)?.iter().filter_map(|path| real.of(path).ok()));
    }
    found.sort();
    found.dedup();
    Ok(found)
}
