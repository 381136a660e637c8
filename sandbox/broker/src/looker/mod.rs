//! The process that looks: it holds credentials, asks providers questions that only read, and never sees the agent's bytes.
//!
//! It hears [`LookRequest`]s from the supervisor and answers each with what was seen or one sentence on why nothing was.
//! A secret leaves it in one place only: the credential's header of a question to a host that the policy names for it.

mod ask;
mod direct;
mod secret;
mod transport;

use std::{os::unix::net::UnixStream, rc::Rc, sync::Arc, time::Duration};

use agentbox_core::{
    policy::{Policy, settings::CredentialRule},
    wire::{self, LookAnswer, LookRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Mutex, Semaphore},
};

use direct::Direct;
use secret::Held;
use transport::Transport;

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
    held: Vec<Held>,
    direct: Option<Direct>,
}

impl LookerConfig {
    /// The credentials of the policy, not yet read.
    #[must_use]
    pub fn new(credentials: Vec<CredentialRule>, policy: Arc<Policy>) -> Self {
        Self { credentials, policy, held: Vec::new(), direct: None }
    }

    /// Reads all secrets and root certificates. Call it once, before the process is fenced: commands can be run and files
    /// read only then.
    ///
    /// Returns the sentences to warn with; what could not be read is told again in each look that would have needed it.
    pub fn read_secrets(&mut self) -> Vec<String> {
        self.held = self.credentials.iter().map(Held::read).collect();
        let mut warnings: Vec<String> = self.held.iter().filter_map(Held::warning).collect();
        match Direct::new(self.policy.clone(), |name| std::env::var(name).ok()) {
            Ok(direct) => self.direct = Some(direct),
            Err(why) => warnings.push(format!("nothing can be looked at: {why}")),
        }
        warnings
    }
}

/// Serves looks until the supervisor closes its end. Returns the process's exit code.
#[must_use]
pub fn run(mut config: LookerConfig, supervisor: UnixStream) -> u8 {
    if config.direct.is_none() {
        for warning in config.read_secrets() {
            tracing::warn!("{warning}");
        }
    }
    let transport: Box<dyn Transport> = match config.direct {
        Some(direct) => Box::new(direct),
        None => Box::new(transport::Nowhere),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    let tasks = tokio::task::LocalSet::new();
    let looker = Rc::new(Looker { held: config.held, transport });
    match tasks.block_on(&runtime, serve(looker, supervisor)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("the looker ends: {error}");
            1
        }
    }
}

pub(crate) struct Looker {
    pub(crate) held: Vec<Held>,
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
