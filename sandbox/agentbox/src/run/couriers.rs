//! The processes that carry cards: one to webhooks and notifiers, whose secrets it holds, and one to the desktop, which holds the session's bus and
//! hears nobody else. Both are fenced as the looker is, and nobody waits for them.

use std::{io::Read as _, os::unix::net::UnixStream, sync::Arc, time::Duration};

use agentbox_broker::{
    courier::Courier,
    dbus::{Bus, Desktop, Note},
};
use agentbox_core::{
    policy::{
        Policy,
        settings::{CourierRule, Source},
    },
    safe, wire,
};
use agentbox_desk::{
    Card,
    card::unix_now,
    channels::{courier, desktop},
};
use agentbox_kernel::{
    process::{Child, First, ProcessError, fork_child},
    selfguard::{self, Role},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::supervise::Voice;

/// How long one delivery may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Longest secret, in bytes.
const LONGEST: u64 = 4096;

/// Starts those that the policy has among its channels.
pub(crate) fn start(policy: &Arc<Policy>, voice: Voice) -> Result<Vec<Child>, ProcessError> {
    let settings = policy.settings();
    let named = |rule: &&CourierRule| settings.approval.channels.contains(&rule.name);
    let rules: Vec<CourierRule> = settings.couriers.iter().filter(named).cloned().collect();
    let mut children = Vec::new();
    if !rules.is_empty() {
        let policy = Arc::clone(policy);
        children.push(fork_child(First::Parent, &[], move |socket| live(rules, policy, socket, voice))?);
    }
    if settings.approval.channels.iter().any(|name| name == desktop::NAME) {
        // Over the session's bus much can be asked of who owns it, so that nothing which comes from elsewhere is read beside it.
        children.push(fork_child(First::Parent, &[], move |socket| live_on_the_desktop(socket, voice))?);
    }
    Ok(children)
}

/// Joins the session's bus while it can still be joined.
fn live_on_the_desktop(supervisor: UnixStream, voice: Voice) -> u8 {
    let bus = Bus::join(|name| std::env::var(name).ok());
    if let Err(why) = &bus {
        voice.say(&format!("agentbox: warning: the channel {} tells nobody: {}", desktop::NAME, safe::line(why, 200)));
    }
    if let Err(error) = selfguard::guard(Role::Looker) {
        voice.say(&format!("agentbox: the courier to the desktop cannot be fenced, so it tells nobody: {error}"));
        return 1;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    let shown = runtime.block_on(async {
        let mut desktop = bus.ok().map(Bus::open).transpose()?;
        let mut line = Line::new(supervisor)?;
        while let Some(card) = line.card().await? {
            if let Some(desktop) = &mut desktop {
                let outcome = show(desktop, &card).await;
                line.tell(&card, outcome).await?;
            }
        }
        Ok::<_, std::io::Error>(())
    });
    shown.map_or(1, |()| 0)
}

async fn show(desktop: &mut Desktop, card: &Card) -> String {
    let (summary, body) = desktop::note(card);
    let note = Note { summary, body, lasts: Duration::from_secs(card.left) };
    match tokio::time::timeout(DEADLINE, desktop.show(&note)).await {
        Ok(Ok(number)) => format!("told by {}: notification {number}", desktop::NAME),
        Ok(Err(why)) => format!("NOT told by {}: {}", desktop::NAME, safe::line(&why, 200)),
        Err(_) => format!("NOT told by {}: no answer within {} s", desktop::NAME, DEADLINE.as_secs()),
    }
}

fn live(rules: Vec<CourierRule>, policy: Arc<Policy>, supervisor: UnixStream, voice: Voice) -> u8 {
    let mut ready = Vec::new();
    for rule in rules {
        match rule.secret.as_ref().map(read).transpose() {
            Ok(secret) => ready.push((rule, secret)),
            Err(why) => voice.say(&format!("agentbox: warning: the channel {} tells nobody: {}", rule.name, safe::line(&why, 200))),
        }
    }
    let courier = match Courier::new(policy) {
        Ok(courier) => courier,
        Err(why) => {
            voice.say(&format!("agentbox: warning: no channel tells anybody elsewhere: {}", safe::line(&why, 200)));
            return 1;
        }
    };
    if let Err(error) = selfguard::guard(Role::Looker) {
        voice.say(&format!("agentbox: the couriers cannot be fenced, so nobody elsewhere is told: {error}"));
        return 1;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    runtime.block_on(carry(&ready, &courier, supervisor)).map_or(1, |()| 0)
}

/// A secret from a variable or a file; the policy lets nothing else be named.
fn read(source: &Source) -> Result<String, String> {
    let text = match source {
        Source::Env(name) => std::env::var(name).map_err(|_| format!("{name} is not set"))?,
        Source::File(path) => {
            let mut text = String::new();
            let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
            file.take(LONGEST).read_to_string(&mut text).map_err(|error| format!("{}: {error}", path.display()))?;
            text
        }
        Source::Command(_) | Source::Keyring(_) | Source::Vault { .. } => return Err("its secret is read from a variable or a file".to_owned()),
    };
    let text = text.trim().to_owned();
    if text.is_empty() { Err("its secret is empty".to_owned()) } else { Ok(text) }
}

/// One card after the other, to all at once; what came of each goes back, for the ledger.
async fn carry(rules: &[(CourierRule, Option<String>)], courier: &Courier, supervisor: UnixStream) -> std::io::Result<()> {
    let mut line = Line::new(supervisor)?;
    while let Some(card) = line.card().await? {
        for (rule, secret) in rules {
            let post = courier::post(rule.kind, &card, secret.as_deref(), unix_now());
            let target = post
                .path
                .as_ref()
                .map_or_else(|| rule.target.clone(), |path| format!("{}/{}", rule.target.trim_end_matches('/'), path.trim_start_matches('/')));
            let sent = async {
                match &rule.mail {
                    Some(mail) => courier.mail(&rule.destination, mail, secret.as_deref(), &post.headers, &post.body).await,
                    None => courier.post(&rule.destination, &target, &post.headers, post.body).await,
                }
            };
            let outcome = match tokio::time::timeout(DEADLINE, sent).await {
                Ok(Ok(status @ 200..=299)) => format!("told by {}: {status}", rule.name),
                Ok(Ok(status)) => format!("NOT told by {}: it answers {status}", rule.name),
                Ok(Err(why)) => format!("NOT told by {}: {}", rule.name, safe::line(&why, 200)),
                Err(_) => format!("NOT told by {}: no answer within {} s", rule.name, DEADLINE.as_secs()),
            };
            line.tell(&card, outcome).await?;
        }
    }
    Ok(())
}

/// The line to the supervisor.
struct Line {
    stream: tokio::net::UnixStream,
    buffer: Vec<u8>,
}

impl Line {
    fn new(supervisor: UnixStream) -> std::io::Result<Self> {
        supervisor.set_nonblocking(true)?;
        Ok(Self { stream: tokio::net::UnixStream::from_std(supervisor)?, buffer: Vec::new() })
    }

    /// The next card; none where the supervisor has gone.
    async fn card(&mut self) -> std::io::Result<Option<Card>> {
        loop {
            if let Some(card) = wire::decode::<Card>(&mut self.buffer).map_err(std::io::Error::other)? {
                return Ok(Some(card));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn tell(&mut self, card: &Card, outcome: String) -> std::io::Result<()> {
        self.stream.write_all(&wire::encode(&(card.id.clone(), outcome)).map_err(std::io::Error::other)?).await
    }
}
