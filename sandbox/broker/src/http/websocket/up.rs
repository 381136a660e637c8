//! From the client to the far side: each message is judged and sent on, waits for a person, or is answered with why not.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
};

use agentbox_core::{Refusal, RefusalKind, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    ask::{self, Subject},
    frames::{self, End, Opcode},
    pieces::{First, Piece, Pieces},
    tunnel::{BYTES, Cut, Note, Opened, Received, SILENCE, STALL, TIME, goodbye, write},
};
use crate::{
    http::{Share, asking::Yes, refusal},
    meaning::{Dialect, Meaning, MessageKind, websocket as meaning},
};
use meaning::{Said, Tongue};

/// Longest message that is read to judge it: as a GraphQL request's body.
const LONGEST: usize = 16 << 20;

/// Messages up to this length need no share of the broker's room.
const SMALL: usize = 64 << 10;

/// Most pieces of one message that is read to judge it.
const MOST_PIECES: usize = 16 << 10;

/// Messages that wait for a person at once; more are refused.
const MOST_PARKED: usize = 32;

/// Messages that wait behind one that waits, and their bytes: beyond them nothing more is read.
const MOST_QUEUED: usize = 256;
const MOST_QUEUED_BYTES: usize = 4 << 20;

/// What a side is told that breaks the protocol (RFC 6455, section 7.4.1), sends too much at once, or was refused.
const PROTOCOL_ERROR: u16 = 1002;
const POLICY_VIOLATION: u16 = 1008;
const TOO_BIG: u16 = 1009;
const GOING_AWAY: u16 = 1001;

/// A whole message of the client.
struct Message {
    kind: MessageKind,
    bytes: Bytes,
    share: Share,
}

/// A message that waits for a person.
struct Parked {
    message: Message,
    tongue: Tongue,
    summary: String,
    handle: AbortHandle,
    scope: Scope,
}

/// What a yes lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Message,
    /// It, and all that follows.
    Whole,
}

/// How messages are sent on.
enum Mode {
    Judged,
    /// Unread, until this moment and this many bytes; how it ended is told when it does.
    Free {
        until: Instant,
        left: u64,
        sent: u64,
        yes: Option<Yes>,
    },
}

type Answered = Result<(Id, Result<Yes, Refusal>), JoinError>;

/// One client's side.
pub(super) struct Up<'t, W> {
    opened: &'t Opened,
    far: &'t mut W,
    tell: mpsc::Sender<Note>,
    received: &'t Received,
    mode: Mode,
    asking: JoinSet<Result<Yes, Refusal>>,
    parked: HashMap<Id, Parked>,
    queue: VecDeque<Message>,
    /// The message that is being read.
    whole: BytesMut,
    share: Share,
    pieces: usize,
    kind: MessageKind,
    /// What opened the conversation: as it was sent, and as the headers that servers take it for.
    init: (Vec<u8>, HeaderMap),
    out: Vec<u8>,
}

impl<'t, W: AsyncWrite + Unpin> Up<'t, W> {
    /// `free`: everything that flows was permitted with the opening.
    pub(super) fn new(opened: &'t Opened, far: &'t mut W, tell: mpsc::Sender<Note>, received: &'t Received, free: Option<Yes>) -> Self {
        let mode = match free {
            Some(yes) => Mode::Free { until: Instant::now() + TIME, left: BYTES, sent: 0, yes: Some(yes) },
            None => Mode::Judged,
        };
        Self {
            opened,
            far,
            tell,
            received,
            mode,
            asking: JoinSet::new(),
            parked: HashMap::new(),
            queue: VecDeque::new(),
            whole: BytesMut::new(),
            share: Share::default(),
            pieces: 0,
            kind: MessageKind::Text,
            init: (Vec::new(), HeaderMap::new()),
            out: Vec::new(),
        }
    }

    /// Carries until the client or we have said goodbye.
    pub(super) async fn run<R: AsyncRead + Unpin>(mut self, mut pieces: Pieces<R>) -> Result<(), Cut> {
        let ended = self.carry(&mut pieces).await;
        if let Err(cut) = &ended {
            let (code, why) = match cut {
                Cut::Unread(super::pieces::Unread::Malformed(why)) => (PROTOCOL_ERROR, (*why).to_owned()),
                Cut::Unread(super::pieces::Unread::Io(_)) | Cut::Stalled | Cut::NoRandom | Cut::Gone => (GOING_AWAY, String::new()),
                Cut::UsedUp => (POLICY_VIOLATION, cut.to_string()),
                // The client has been told already.
                Cut::Refused => (GOING_AWAY, String::new()),
            };
            if !matches!(cut, Cut::Refused) {
                let _ = self.tell.send(Note::Close(code, why)).await;
            }
            let _ = self.frame(Opcode::Close, End::Last, &goodbye(GOING_AWAY, "")).await;
        }
        if let Mode::Free { sent, yes: Some(yes), .. } = std::mem::replace(&mut self.mode, Mode::Judged) {
            yes.tell(&format!("{sent} bytes sent, {} bytes received", self.received.count.load(Ordering::Relaxed)));
        }
        ended
    }

    async fn carry<R: AsyncRead + Unpin>(&mut self, pieces: &mut Pieces<R>) -> Result<(), Cut> {
        loop {
            let is_full = self.queue.len() >= MOST_QUEUED || self.queue.iter().map(|message| message.bytes.len()).sum::<usize>() > MOST_QUEUED_BYTES;
            let patience = if pieces.is_within() { STALL } else { SILENCE };
            let until = match &self.mode {
                Mode::Judged => None,
                Mode::Free { until, .. } => Some(*until),
            };
            let piece = tokio::select! {
                biased;
                Some(answered) = self.asking.join_next_with_id(), if !self.parked.is_empty() => {
                    self.settle(answered).await?;
                    continue;
                }
                () = async { if let Some(until) = until { sleep_until(until).await } }, if until.is_some() => return Err(Cut::UsedUp),
                // Nobody reads then, so nobody else would notice.
                () = self.opened.facts.gone(), if is_full => return Err(Cut::Gone),
                piece = timeout(patience, pieces.next()), if !is_full => piece.map_err(|_| Cut::Stalled)??,
            };
            match piece {
                Piece::Ping(bytes) => self.frame(Opcode::Ping, End::Last, &bytes).await?,
                Piece::Pong(bytes) => self.frame(Opcode::Pong, End::Last, &bytes).await?,
                Piece::Close(bytes) => return self.frame(Opcode::Close, End::Last, &bytes).await,
                Piece::Ended => return Ok(()),
                Piece::Data { kind, first, end, bytes } => match &mut self.mode {
                    Mode::Free { left, sent, .. } => {
                        let length = bytes.len() as u64;
                        *left = left.checked_sub(length).ok_or(Cut::UsedUp)?;
                        *sent += length;
                        self.frame(Piece::opcode(kind, first), end, &bytes).await?;
                    }
                    Mode::Judged => self.gather(kind, end, &bytes).await?,
                },
            }
        }
    }

    /// Sends a frame to the far side, under a mask of its own.
    async fn frame(&mut self, opcode: Opcode, end: End, payload: &[u8]) -> Result<(), Cut> {
        let mut mask = [0; 4];
        getrandom::fill(&mut mask).map_err(|_| Cut::NoRandom)?;
        self.out.clear();
        frames::write(&mut self.out, opcode, end, payload, Some(mask));
        let written = write(self.far, &self.out).await;
        self.out.shrink_to(2 * SMALL);
        written
    }

    /// Puts the pieces of a message together, and looks at it when it is whole.
    async fn gather(&mut self, kind: MessageKind, end: End, bytes: &[u8]) -> Result<(), Cut> {
        let length = self.whole.len() + bytes.len();
        self.pieces += 1;
        self.kind = kind;
        let fits = length <= LONGEST && self.pieces <= MOST_PIECES && (length <= SMALL || self.opened.broker.room.take(&mut self.share, length).is_ok());
        if !fits {
            return self.refuse_all(TOO_BIG, "agentbox: the message is too long to be judged").await;
        }
        self.whole.extend_from_slice(bytes);
        if end == End::More {
            return Ok(());
        }
        self.pieces = 0;
        let message = Message { kind, bytes: std::mem::take(&mut self.whole).freeze(), share: std::mem::take(&mut self.share) };
        if !self.parked.is_empty() && self.opened.dialect.is_ordered() {
            self.queue.push_back(message);
            return Ok(());
        }
        self.judge(message).await
    }

    async fn judge(&mut self, message: Message) -> Result<(), Cut> {
        let dialect = self.opened.dialect;
        let said = match message.kind {
            MessageKind::Text => dialect.read(&message.bytes),
            MessageKind::Binary => Said::Unread("a message of bytes, where text belongs".to_owned()),
        };
        // Servers differ in which of two credentials they believe.
        let said = if matches!(said, Said::Init(_)) && !self.init.0.is_empty() { Said::Unread("a second opening message".to_owned()) } else { said };
        let head = self.opened.head();
        match said {
            Said::Plain => self.send(message).await,
            Said::Init(payload) => {
                self.init = (message.bytes.to_vec(), meaning::init_headers(payload.as_ref()));
                self.send(message).await
            }
            Said::Stop(id) => {
                let waiting: Vec<Id> = self.parked.iter().filter(|(_, parked)| parked.tongue.id() == Some(&id)).map(|(task, _)| *task).collect();
                for task in &waiting {
                    if let Some(parked) = self.parked.remove(task) {
                        parked.handle.abort();
                    }
                }
                // The far side never heard of it.
                if waiting.is_empty() { self.send(message).await } else { Ok(()) }
            }
            Said::Asks(asked) => {
                let told = asked.meaning(&head, &self.init.1, &message.bytes);
                let identity = asked.identity(&message.bytes);
                self.ask(message, asked.tongue, told, &identity, Scope::Message).await
            }
            Said::Unread(why) => {
                let (told, scope) = match dialect {
                    Dialect::Transport | Dialect::Legacy => (meaning::unread_message(&head, &why, &message.bytes), Scope::Message),
                    Dialect::Unknown => (meaning::unread(&head, &message.bytes), Scope::Whole),
                };
                // What would follow is the same, whatever it begins with.
                let identity = if scope == Scope::Whole { Bytes::new() } else { message.bytes.clone() };
                self.ask(message, Tongue::Mute, told, &identity, scope).await
            }
        }
    }

    /// Sends a message on at once where the policy plainly allows it, else lets it wait for the answer.
    async fn ask(&mut self, message: Message, tongue: Tongue, told: Meaning, identity: &[u8], scope: Scope) -> Result<(), Cut> {
        let what = match scope {
            Scope::Message => "a message",
            Scope::Whole => "all further messages",
        };
        let question = self.opened.question(Subject { meaning: told, identity, init: &self.init.0, what });
        match self.opened.at_once(&question).await {
            Some(Ok(yes)) => {
                self.send(message).await?;
                yes.tell("sent");
                Ok(())
            }
            Some(Err(refused)) => self.refuse(&tongue, scope, &question.evidence.summary, &refused).await,
            None if self.parked.len() >= MOST_PARKED => {
                let why = "too many messages of this WebSocket wait for a person already";
                let refused = refusal(RefusalKind::Failed, "websocket.message", "", why, "Wait for them, or end some.");
                self.refuse(&tongue, scope, &question.evidence.summary, &refused).await
            }
            None => {
                self.park(message, tongue, question, scope);
                Ok(())
            }
        }
    }

    fn park(&mut self, message: Message, tongue: Tongue, question: Request, scope: Scope) {
        let summary = question.evidence.summary.clone();
        let handle = self.asking.spawn(ask::ask(Arc::clone(&self.opened.broker), question));
        self.parked.insert(handle.id(), Parked { message, tongue, summary, handle, scope });
    }

    /// An answer has come.
    async fn settle(&mut self, answered: Answered) -> Result<(), Cut> {
        let (task, answer) = match answered {
            Ok((task, answer)) => (task, answer),
            // Ended by the client, or by a fault of ours: nothing is sent.
            Err(error) => (error.id(), Err(refusal(RefusalKind::Failed, "websocket.message", "", "the question broke off", "Try again."))),
        };
        let Some(parked) = self.parked.remove(&task) else { return Ok(()) };
        match (answer, parked.scope) {
            (Ok(yes), Scope::Message) => {
                self.send(parked.message).await?;
                yes.tell("sent");
            }
            (Ok(yes), Scope::Whole) => {
                let length = parked.message.bytes.len() as u64;
                self.received.most.store(self.received.count.load(Ordering::Relaxed).saturating_add(BYTES), Ordering::Relaxed);
                self.mode = Mode::Free { until: Instant::now() + TIME, left: BYTES.saturating_sub(length), sent: length, yes: Some(yes) };
                self.send(parked.message).await?;
            }
            (Err(refused), scope) => self.refuse(&parked.tongue, scope, &parked.summary, &refused).await?,
        }
        while self.parked.is_empty()
            && let Some(message) = self.queue.pop_front()
        {
            match &mut self.mode {
                Mode::Judged => self.judge(message).await?,
                Mode::Free { left, sent, .. } => {
                    *left = left.checked_sub(message.bytes.len() as u64).ok_or(Cut::UsedUp)?;
                    *sent += message.bytes.len() as u64;
                    self.send(message).await?;
                }
            }
        }
        self.go_on_unread().await
    }

    /// Where everything may pass from now on, so may the beginning of a message whose rest has not come.
    async fn go_on_unread(&mut self) -> Result<(), Cut> {
        let Mode::Free { left, sent, .. } = &mut self.mode else { return Ok(()) };
        if self.pieces == 0 {
            return Ok(());
        }
        self.pieces = 0;
        let beginning = std::mem::take(&mut self.whole);
        *left = left.checked_sub(beginning.len() as u64).ok_or(Cut::UsedUp)?;
        *sent += beginning.len() as u64;
        self.share = Share::default();
        self.frame(Piece::opcode(self.kind, First::Yes), End::More, &beginning).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Cut> {
        let opcode = Piece::opcode(message.kind, First::Yes);
        let sent = self.frame(opcode, End::Last, &message.bytes).await;
        drop(message.share);
        sent
    }

    /// Tells the client why not, in its own tongue; what has none ends the conversation.
    async fn refuse(&mut self, tongue: &Tongue, scope: Scope, summary: &str, refused: &Refusal) -> Result<(), Cut> {
        self.opened.broker.refusals.remember(summary, refused);
        match (scope, tongue.refusal(refused)) {
            (Scope::Whole, _) => self.refuse_all(POLICY_VIOLATION, &format!("agentbox: {}", refused.reason)).await,
            (Scope::Message, Some(text)) => self.tell.send(Note::Text(text)).await.map_err(|_| Cut::Gone),
            (Scope::Message, None) => Ok(()),
        }
    }

    async fn refuse_all(&mut self, code: u16, why: &str) -> Result<(), Cut> {
        let _ = self.tell.send(Note::Close(code, agentbox_core::safe::line(why, 120))).await;
        Err(Cut::Refused)
    }
}
