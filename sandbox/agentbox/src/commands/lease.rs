//! `agentbox lease`: the credentials of the running boxes, what is left of them, and their early end.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use agentbox_core::safe;
use agentbox_desk::{
    card::duration,
    control::{FromDesk, Lent, ToDesk},
};
use serde_json::json;

use crate::commands::desk::{Boxes, Fault};

/// Arguments of `agentbox lease`.
#[derive(Debug, clap::Args)]
pub(crate) struct LeaseArguments {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<LeaseCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum LeaseCommand {
    /// A credential may not be used any more: requests that carry it are refused from now on
    End {
        /// Its name in the policy
        #[arg(value_name = "CREDENTIAL")]
        name: String,
        /// Only in this box
        #[arg(long = "box", value_name = "BOX")]
        session: Option<String>,
    },
}

/// Lists or ends them.
pub(crate) fn run(arguments: &LeaseArguments) -> ExitCode {
    let said = match &arguments.command {
        None => list(arguments.json),
        Some(LeaseCommand::End { name, session }) => end(name, session.as_deref()),
    };
    match said {
        Ok(said) => {
            let _ = io::stdout().lock().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(fault) => fault.exit(),
    }
}

fn list(machine: bool) -> Result<String, Fault> {
    let boxes = Boxes::find()?;
    let mut out = String::new();
    for (session, answer) in boxes.ask_all(&ToDesk::Credentials) {
        let FromDesk::Credentials(leases) = answer else { continue };
        for lease in leases {
            if machine {
                let Lent { name, hosts, allow, left, ended, used } = lease;
                let row = json!({ "box": session.name, "credential": name, "for": hosts, "allow": allow, "left": left, "ended": ended, "used": used });
                out.push_str(&format!("{row}\n"));
            } else {
                out.push_str(&row(&session.name, &lease));
            }
        }
    }
    if out.is_empty() && !machine {
        out.push_str("No running box has a credential.\n");
    }
    Ok(out)
}

fn row(session: &str, lease: &Lent) -> String {
    let left = match (lease.ended, lease.left) {
        (true, _) => "ended".to_owned(),
        (false, Some(0)) => "expired".to_owned(),
        (false, Some(left)) => format!("{} left", duration(left)),
        (false, None) => "as long as the box".to_owned(),
    };
    let text = |words: &[String]| safe::line(&words.join(", "), 120);
    format!("{session:12}  {:24}  {left:18}  used {:4}  for {}  allows {}\n", safe::line(&lease.name, 64), lease.used, text(&lease.hosts), text(&lease.allow))
}

fn end(name: &str, only: Option<&str>) -> Result<String, Fault> {
    let boxes = Boxes::find()?;
    let mut out = String::new();
    let mut why = format!("no running box has a credential `{}`", safe::line(name, 64));
    for (session, answer) in boxes.ask_those(|session| only.is_none_or(|only| session.name == only), &ToDesk::EndCredential { name: name.to_owned() }) {
        match answer {
            FromDesk::Credentials(_) => out.push_str(&format!("{}: the credential {} is ended.\n", session.name, safe::line(name, 64))),
            FromDesk::No(no) => why = no,
            FromDesk::Holds { .. }
            | FromDesk::Card(_)
            | FromDesk::Ruled(_)
            | FromDesk::Refused(_)
            | FromDesk::Running(_)
            | FromDesk::Names(_)
            | FromDesk::Done(_) => {
                why = format!("the box {} answered something else", session.name);
            }
        }
    }
    if out.is_empty() { Err(Fault::No(why)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_left() {
        let lease = Lent { name: "hub".into(), hosts: vec!["api.example".into()], allow: vec!["read".into()], left: Some(90), ended: false, used: 3 };
        assert!(row("b1", &lease).contains("left") && row("b1", &lease).contains("used    3"), "{}", row("b1", &lease));
        assert!(row("b1", &Lent { left: Some(0), ..lease.clone() }).contains("expired"));
        assert!(row("b1", &Lent { ended: true, ..lease.clone() }).contains("ended"));
        assert!(row("b1", &Lent { left: None, ..lease }).contains("as long as the box"));
    }
}
