//! What the commands of the desk share: the running boxes of this user, and how they fail. No command of its own.

use std::process::ExitCode;

use agentbox_core::safe;
use agentbox_desk::{
    Card, HoldId,
    control::{self, Folder, FromDesk, Session, ToDesk},
};

/// Set in every box to its name.
pub(crate) const SESSION_VARIABLE: &str = "AGENTBOX_SESSION";

/// Why a command of the desk did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It was said no: exit 1.
    No(String),
    /// It could not be asked: exit 125.
    Failed(String),
}

impl Fault {
    /// Says it on stderr, and gives the exit code.
    #[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
    pub(crate) fn exit(self) -> ExitCode {
        let (why, code) = match self {
            Fault::No(why) => (why, 1),
            Fault::Failed(why) => (why, crate::cli::FAILED),
        };
        eprintln!("agentbox: {}", safe::line(&why, 1000));
        ExitCode::from(code)
    }
}

/// The name of the box that this process is in, if it is in one.
pub(crate) fn inside() -> Option<String> {
    std::env::var_os(SESSION_VARIABLE).map(|name| name.to_string_lossy().into_owned())
}

/// The running boxes of this user.
#[derive(Debug)]
pub(crate) struct Boxes(Vec<Session>);

impl Boxes {
    /// Finds them.
    pub(crate) fn find() -> Result<Self, Fault> {
        if inside().is_some() {
            return Err(Fault::Failed(
                "this is for the person outside the box: what waits is ruled on in a terminal of theirs. Inside, `agentbox why` says what was refused"
                    .to_owned(),
            ));
        }
        let folder = Folder::of_this_user().map_err(|error| Fault::Failed(error.to_string()))?;
        Self::at(&folder)
    }

    /// Finds those whose sockets lie in `folder`.
    pub(crate) fn at(folder: &Folder) -> Result<Self, Fault> {
        control::sessions(folder).map(Self).map_err(|error| Fault::Failed(error.to_string()))
    }

    /// Whether none runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one of that name.
    pub(crate) fn named(&self, name: &str) -> Result<&Session, Fault> {
        let there = || self.0.iter().map(|session| session.name.as_str()).collect::<Vec<_>>().join(", ");
        self.0.iter().find(|session| session.name == name).ok_or_else(|| {
            let there = if self.0.is_empty() { "no box runs".to_owned() } else { format!("these run: {}", there()) };
            Fault::No(format!("no box is named {}; {there}", safe::line(name, 40)))
        })
    }

    /// The one of that name, or the only one that runs.
    pub(crate) fn only(&self, name: Option<&str>) -> Result<&Session, Fault> {
        match (name, self.0.as_slice()) {
            (Some(name), _) => self.named(name),
            (None, [session]) => Ok(session),
            (None, []) => Err(Fault::No("no box runs".to_owned())),
            (None, more) => {
                let names = more.iter().map(|session| session.name.as_str()).collect::<Vec<_>>().join(", ");
                Err(Fault::No(format!("several boxes run, so say which: {names}")))
            }
        }
    }

    /// Asks all of them. One that does not answer is said, and does not hide the others.
    pub(crate) fn ask_all(&self, message: &ToDesk) -> Vec<(&Session, FromDesk)> {
        self.0.iter().filter_map(|session| Some((session, answer_of(session, message)?))).collect()
    }

    /// Asks those that are meant.
    pub(crate) fn ask_those(&self, meant: impl Fn(&Session) -> bool, message: &ToDesk) -> Vec<(&Session, FromDesk)> {
        self.0.iter().filter(|session| meant(session)).filter_map(|session| Some((session, answer_of(session, message)?))).collect()
    }

    /// The card of a hold, and whose it is.
    pub(crate) fn card(&self, id: &HoldId) -> Result<Option<(&Session, Card)>, Fault> {
        let mut found = None;
        for (session, answer) in self.ask_all(&ToDesk::Show { id: id.clone() }) {
            let FromDesk::Card(card) = answer else { continue };
            if found.is_some() {
                // Thirty random bits: a person will hardly ever read this, and must not rule on the wrong one.
                return Err(Fault::No(format!("two boxes have a hold named {id}; let one of them end first")));
            }
            found = Some((session, *card));
        }
        Ok(found)
    }

    /// The same for what a person typed; it must be there.
    pub(crate) fn must_have(&self, typed: &str) -> Result<(&Session, Card), Fault> {
        let id = HoldId::parse(typed).map_err(|why| Fault::No(why.to_owned()))?;
        self.card(&id)?.ok_or_else(|| Fault::No(format!("nothing waits under the name {id}; `agentbox holds` lists what does")))
    }
}

#[allow(clippy::print_stderr, reason = "a command's talk goes to stderr")]
fn answer_of(session: &Session, message: &ToDesk) -> Option<FromDesk> {
    match ask(session, message) {
        Ok(answer) => Some(answer),
        // It ended between the search and the question: nothing waits there any more.
        Err(_) if !session.socket.exists() => None,
        Err(Fault::No(why) | Fault::Failed(why)) => {
            eprintln!("agentbox: {}", safe::line(&why, 1000));
            None
        }
    }
}

/// Asks one box.
pub(crate) fn ask(session: &Session, message: &ToDesk) -> Result<FromDesk, Fault> {
    control::call(session, message).map_err(|error| Fault::Failed(format!("the box {} does not answer: {error}", session.name)))
}
