//! `agentbox run`: a known agent, or any command, in a box.

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use agentbox_core::policy::settings::{self, Published};
use agentbox_kernel::{
    control::Exit,
    process::{First, fork_child},
    selfguard, terminal,
};

use crate::{
    policy_files::{self, Doors, Loaded, PolicyArguments},
    run::{
        agents,
        supervise::{self, Order, Whose, Writes},
    },
    supervisor::Mode,
};

/// Set in every box; tells `agentbox` that it is in one.
pub(crate) const SESSION_VARIABLE: &str = "AGENTBOX_SESSION";

/// Arguments of `agentbox run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    /// A policy file or the name of a shipped profile; counts as the user's layer
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Bind the box to one environment of the policy: what belongs to another is denied, with every use of another's credentials
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Nobody can be asked: what would wait for a person is refused, and the exit code tells
    #[arg(long)]
    unattended: bool,
    /// Let the box write to a layer instead of the files: `agentbox scratch` shows it, makes it real or drops it
    #[arg(long)]
    scratch: bool,
    /// Let the box reach this TCP port of the machine's loopback, judged as the place `host` (may be repeated)
    #[arg(long, value_name = "PORT", value_parser = settings::port)]
    forward: Vec<u16>,
    /// Let the machine reach this TCP port of the box, on the machine's loopback: PORT, or OUTSIDE:INSIDE (may be repeated)
    #[arg(long, value_name = "PORT", value_parser = settings::published)]
    publish: Vec<Published>,
    /// Let the box connect to this UNIX socket of the machine; what is said on it is not judged (may be repeated)
    #[arg(long, value_name = "PATH")]
    socket: Vec<PathBuf>,
    /// Whose exit code an unattended run ends with when the agent exited 0 but something was refused
    #[arg(long, value_name = "WHOSE", default_value = "box")]
    exit_code: ExitCodeOf,
    /// A known agent: its profile, and its command
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The command, after `--`; with NAME, arguments for the agent
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Whose exit code counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExitCodeOf {
    /// 77 when the agent exited 0 but something was refused
    Box,
    /// The agent's own, whatever was refused
    Agent,
}

/// Says something on stderr.
#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn say(what: &str) {
    eprintln!("agentbox: {what}");
}

/// Says what went wrong, on stderr, and gives agentbox's own exit code.
pub(crate) fn fail(what: &str) -> ExitCode {
    say(what);
    ExitCode::from(crate::cli::FAILED)
}

/// Runs it.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    match start(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(what) => fail(&what),
    }
}

/// The story of a run, as the shim lives it.
fn start(arguments: RunArguments) -> Result<u8, String> {
    if let Some(session) = crate::commands::desk::inside() {
        return Err(format!(
            "this is already in a box ({}), which lets nobody make another one: run the command as it is",
            agentbox_core::safe::line(&session, 40)
        ));
    }
    let (profile, command) = what_to_run(arguments.name.as_deref(), arguments.command)?;
    let workspace = env::current_dir().map_err(|error| format!("the working directory is not there: {error}"))?;
    if workspace == std::path::Path::new("/") {
        return Err("the working directory is /, so the whole machine would be the box's workspace; run it in a folder of its own (in a container image: WORKDIR /work)".to_owned());
    }
    let sockets = arguments.socket.iter().map(|path| workspace.join(path)).collect();
    let doors = Doors { forward: arguments.forward, publish: arguments.publish, sockets };
    let wanted = PolicyArguments { policy: arguments.policy, profile, workspace: workspace.clone(), doors };
    let mut loaded = policy_files::load(&wanted, policy_files::decode).map_err(|error| error.to_string())?;
    if let Some(name) = &arguments.env {
        bind(&mut loaded, name)?;
    }
    warn(&loaded);
    let (terminal, stdio) = terminal::Terminal::open().map_err(|error| chain(&error))?;
    let order = Order {
        loaded,
        command,
        workspace,
        stdio,
        writes: if arguments.scratch { Writes::ToALayer } else { Writes::ToTheFiles },
        mode: if arguments.unattended { Mode::Unattended } else { Mode::Attended },
        whose: match arguments.exit_code {
            ExitCodeOf::Box => Whose::Box,
            ExitCodeOf::Agent => Whose::Agent,
        },
        shares_terminal: terminal.is_shared(),
    };
    let keep = order.descriptors();
    let supervisor = fork_child(First::Child, &keep, |shim| supervise::run(order, shim)).map_err(|error| chain(&error))?;
    selfguard::guard(selfguard::Role::Shim).map_err(|error| chain(&error))?;
    let exit = terminal::attend(terminal, supervisor.socket).map_err(|error| error.to_string())?;
    Ok(match exit {
        Exit::Code(code) => code,
        Exit::Signal(_) => exit.code(),
    })
}

/// Binds the box to one of the policy's environments.
pub(crate) fn bind(loaded: &mut Loaded, name: &str) -> Result<(), String> {
    loaded.policy.bind_to_environment(name).map_err(|known| {
        let name = agentbox_core::safe::line(name, 64);
        let hint = if known.is_empty() { "none: give places and credentials an `environment`".to_owned() } else { known.join(", ") };
        format!("--env {name}: the policy has no environment of this name; it has {hint}")
    })
}

fn what_to_run(name: Option<&str>, mut command: Vec<OsString>) -> Result<(Option<String>, Vec<OsString>), String> {
    let Some(name) = name else {
        if command.is_empty() {
            return Err("nothing to run: `agentbox run -- COMMAND…`, or the name of a known agent".to_owned());
        }
        return Ok((None, command));
    };
    let Some(agent) = agents::find(name) else {
        let known: Vec<_> = agents::AGENTS.iter().map(|agent| agent.name).collect();
        return Err(format!("no agent is known as `{name}`; known are {}. For any other command: `agentbox run -- {name} …`", known.join(", ")));
    };
    let mut whole = agent.command()?;
    whole.append(&mut command);
    Ok((Some(agent.profile.to_owned()), whole))
}

/// Says what is likely not meant.
fn warn(loaded: &Loaded) {
    for warning in loaded.policy.warnings() {
        say(&format!("warning: {warning}"));
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
