//! The process that holds the credentials: it asks providers questions that only read, and puts secrets into requests that were permitted.
//!
//! It hears [`LookRequest`]s from the supervisor and answers each with what was seen or one sentence on why nothing was. The broker hands
//! it requests that carry a placeholder; it sends one only after the supervisor has struck the token for exactly that request.
//! A secret leaves it in two places only, both towards a host that the policy names for it: the header of a look's question, and the
//! authenticating position of such a request.

mod ask;
mod direct;
mod issue;
mod keyring;
mod program;
mod secret;
mod transport;
mod vault;

use std::{os::unix::net::UnixStream, rc::Rc, sync::Arc, time::Duration};

use agentbox_core::{
    policy::{Policy, settings::CredentialRule},
    wire::{self, Issued, LookAnswer, LookRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Mutex, Semaphore},
};

pub(crate) use direct::Direct;
pub(crate) use secret::{Held, Secret};
use transport::Transport;

use crate::http::carrier::{self, Keeper, Releases};

/// How long one look may take: an approver waits for the card meanwhile.
const DEADLINE: Duration = Duration::from_secs(8);

/// Looks at once; a burst of held operations must not become a burst on the provider.
const AT_ONCE: usize = 4;

/// Looks that may wait for their turn; more are answered at once with a no.
const MOST_WAITING: usize = 64;

/// How long the supervisor may take to read an answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What the process is started with.
pub struct LookerConfig {
    credentials: Vec<CredentialRule>,
    policy: Arc<Policy>,
    held: Arc<Vec<Held>>,
    direct: Option<Direct>,
    lines: Option<Lines>,
}

/// The sockets by which requests are carried.
#[derive(Debug)]
pub struct Lines {
    /// From the broker: requests with placeholders.
    pub broker: UnixStream,
    /// To the supervisor: tokens to strike.
    pub releases: UnixStream,
}

impl LookerConfig {
    /// The credentials of the policy, not yet read.
    #[must_use]
    pub fn new(credentials: Vec<CredentialRule>, policy: Arc<Policy>) -> Self {
        Self { credentials, policy, held: Arc::default(), direct: None, lines: None }
    }

    /// Carries requests as well.
    #[must_use]
    pub fn with_lines(self, lines: Lines) -> Self {
        Self { lines: Some(lines), ..self }
    }

    /// Reads all secrets and root certificates. Call it once, before the process is fenced: commands can be run and files
    /// read only then.
    ///
    /// Returns what the box sees instead of the secrets, with sentences to warn with; what could not be read is told again in each look
    /// that would have needed it. `variables` are those that the box would have.
    pub fn read_secrets(&mut self, variables: &[(String, String)]) -> Issued {
        let held: Vec<Held> = self.credentials.iter().map(|rule| Held::read(rule, &self.policy)).collect();
        let mut issued = issue::issue(&held, variables);
        self.held = Arc::new(held);
        match Direct::new(self.policy.clone(), |name| std::env::var(name).ok()) {
            Ok(direct) => self.direct = Some(direct),
            Err(why) => issued.warnings.push(format!("nothing can be looked at, and no credential can be used: {why}")),
        }
        issued
    }
}

/// Serves looks, and carries requests, until the supervisor closes its end. Call [`LookerConfig::read_secrets`] before. Returns the process's exit code.
#[must_use]
pub fn run(config: LookerConfig, supervisor: UnixStream) -> u8 {
    let connector = config.direct.as_ref().map(|direct| direct.connector.clone());
    let transport: Box<dyn Transport> = match config.direct {
        Some(direct) => Box::new(direct),
        None => Box::new(transport::Nowhere),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    let tasks = tokio::task::LocalSet::new();
    let looker = Rc::new(Looker { held: config.held.clone(), transport });
    if let (Some(lines), Some(connector)) = (config.lines, connector) {
        let (held, policy) = (config.held, config.policy);
        tasks.spawn_local(async move {
            let swaps = issue::swaps(&held);
            let served = match Releases::start(lines.releases) {
                Ok(releases) => carrier::serve(Arc::new(Keeper::new(held, swaps, connector, policy, releases)), lines.broker).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!("requests with credentials are not carried any more: {error}");
            }
        });
    }
    match tasks.block_on(&runtime, serve(looker, supervisor)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("the looker ends: {error}");
            1
        }
    }
}

pub(crate) struct Looker {
    pub(crate) held: Arc<Vec<Held>>,
    pub(crate) transport: Box<dyn Transport>,
}

/// Why the process ends before its supervisor does.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the supervisor's socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error(transparent)]
    Message(#[from] wire::BadMessage),
}

async fn serve(looker: Rc<Looker>, supervisor: UnixStream) -> Result<(), Ended> {
    supervisor.set_nonblocking(true)?;
    let (mut reader, writer) = tokio::net::UnixStream::from_std(supervisor)?.into_split();
    let writer = Rc::new(Mutex::new(writer));
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let places = Arc::new(Semaphore::new(AT_ONCE + MOST_WAITING));
    let mut buffer = Vec::new();
    loop {
        while let Some(request) = wire::decode::<LookRequest>(&mut buffer)? {
            let (looker, writer, turns) = (looker.clone(), writer.clone(), turns.clone());
            let place = places.clone().try_acquire_owned();
            tokio::task::spawn_local(async move {
                let seen = match (&place, turns.acquire().await) {
                    (Ok(_), Ok(_turn)) => match tokio::time::timeout(DEADLINE, looker.look(&request)).await {
                        Ok(seen) => seen,
                        Err(_) => Err(format!("{} did not answer within {} seconds", request.destination, DEADLINE.as_secs())),
                    },
                    (Err(_), _) | (_, Err(_)) => Err("too many looks wait already".to_owned()),
                };
                let answer = LookAnswer { id: request.id, seen };
                if let Ok(bytes) =
                    wire::encode(&answer).or_else(|_| wire::encode(&LookAnswer { id: request.id, seen: Err("what was seen is too long to tell".to_owned()) }))
                {
                    let mut writer = writer.lock().await;
                    // A supervisor that does not read is gone or stuck: the reading side will notice.
                    let _ = tokio::time::timeout(WRITE_DEADLINE, writer.write_all(&bytes)).await;
                }
            });
        }
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
