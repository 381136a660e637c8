//! The supervisor's ears towards the box's init and the shim: how the agent fares, and what the person's terminal says.

use std::{
    io,
    os::unix::net::{UnixDatagram as StdDatagram, UnixStream as StdStream},
};

use agentbox_core::safe;
use agentbox_kernel::{
    control::{Exit, FromInit},
    launch::Running,
    terminal::protocol::{FromShim, LENGTH, ToShim},
};
use nix::sys::signal::Signal;
use tokio::{
    io::Interest,
    net::{UnixDatagram, UnixStream, unix::pipe},
    sync::mpsc,
};

use super::supervise::Voice;
use crate::supervisor::ShimEvent;

/// Whether the policy requires a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Required {
    /// It does.
    Yes,
    /// The box runs without it, too.
    No,
}

/// Where the connect probes tell of breaches.
pub(crate) struct Alarm {
    /// One line each; reads as ended when the probes have gone.
    pub(crate) line: StdStream,
    /// Whether the box ends with them.
    pub(crate) required: Required,
}

/// Longest line that is read of a breach.
const LONGEST_BREACH: usize = 512;

/// The first breach that is told; `None` when there can be no more.
async fn breach(line: &UnixStream) -> Option<String> {
    let mut text = vec![0; LONGEST_BREACH];
    loop {
        line.readable().await.ok()?;
        match line.try_read(&mut text) {
            Ok(0) => return None,
            Ok(count) => {
                let told = String::from_utf8_lossy(text.get(..count)?).into_owned();
                return Some(safe::line(told.lines().next().unwrap_or_default(), 300));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// Who is not heard any more, which ends the box.
fn lost(voice: Voice, whom: &str, error: Option<io::Error>) -> Exit {
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    voice.say(&format!("agentbox: {whom} cannot be heard any more{why}; the box is ended"));
    Exit::Code(crate::cli::FAILED)
}

/// Waits until the agent has ended; meanwhile hands signals on. A shim that has gone ends the box.
///
/// # Errors
/// The descriptors cannot be watched.
pub(crate) fn until_the_end<'a>(
    running: &'a Running,
    shim: &StdStream,
    events: mpsc::Sender<ShimEvent>,
    voice: Voice,
    alarm: Option<Alarm>,
) -> io::Result<impl Future<Output = Exit> + use<'a>> {
    let mut alarm = match alarm {
        None => None,
        Some(Alarm { line, required }) => {
            line.set_nonblocking(true)?;
            Some((UnixStream::from_std(line)?, required))
        }
    };
    let shim = shim.try_clone()?;
    shim.set_nonblocking(true)?;
    let shim = UnixStream::from_std(shim)?;
    // A socket that keeps the ends of messages, as a datagram socket does: tokio has no word for it of its own.
    let init = StdDatagram::from(running.control_fd().try_clone_to_owned()?);
    init.set_nonblocking(true)?;
    let init = UnixDatagram::from_std(init)?;
    // Not a pipe, but read as one: tokio only waits for it.
    let masks = pipe::Receiver::from_file_unchecked(running.watch_fd().try_clone_to_owned()?.into())?;
    Ok(async move {
        let mut heard = Vec::new();
        loop {
            tokio::select! {
                ready = masks.readable() => {
                    if let Some(fallen) = running.fallen_mask() {
                        voice.say(&format!("agentbox: {fallen}"));
                        return Exit::Signal(9);
                    }
                    // One byte is too little for any event, so none is lost; where there is none, tokio waits again.
                    if ready.is_err() || masks.try_read(&mut [0]).is_ok() {
                        return lost(voice, "the watch of what is masked", ready.err());
                    }
                }
                told = async { match &alarm { Some((line, _)) => breach(line).await, None => std::future::pending().await } } => match told {
                    Some(told) => {
                        // What the fences make impossible has been tried: one of them does not stand.
                        voice.say(&format!("agentbox: ALARM: {told}. The box is ended: one of its fences does not hold what it should"));
                        running.kill();
                        // The supervisor reads all of these before it closes the ledger.
                        let _ = events.try_send(ShimEvent::Alarm(told));
                        return Exit::Signal(9);
                    }
                    None if alarm.take().is_some_and(|(_, required)| required == Required::Yes) => {
                        voice.say("agentbox: the process that hears of the kernel's programs is gone, which the policy requires: the box is ended");
                        running.kill();
                        return Exit::Signal(9);
                    }
                    None => {}
                },
                ready = init.readable() => {
                    if let Err(error) = ready {
                        return lost(voice, "the box's first process", Some(error));
                    }
                    match init.try_io(Interest::READABLE, || running.hear()) {
                        Ok(Some(FromInit::Ended(exit))) => return exit,
                        Ok(Some(FromInit::Stopped)) => {
                            // Two bytes on an empty socket; a shim that does not read them has ended, which is noticed below.
                            let _ = shim.try_write(&ToShim::Stopped.encode());
                        }
                        Ok(Some(FromInit::WantsTerminal)) => {
                            let _ = shim.try_write(&ToShim::WantsTerminal.encode());
                        }
                        Ok(Some(FromInit::Network { .. } | FromInit::Mounted { .. } | FromInit::Ready { .. } | FromInit::Started | FromInit::Failed(_) | FromInit::NotExecuted(_))) => {}
                        // Init was killed, or says nothing that can be understood: the box is over.
                        Ok(None) => return Exit::Signal(9),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return lost(voice, "the box's first process", Some(error)),
                    }
                }
                ready = shim.readable() => {
                    if let Err(error) = ready {
                        return lost(voice, "the process at the terminal", Some(error));
                    }
                    let mut chunk = [0; 64];
                    match shim.try_read(&mut chunk) {
                        // The shim was killed: nobody attends to the box any more.
                        Ok(0) => return Exit::Signal(9),
                        Ok(count) => heard.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        Err(_) => return Exit::Signal(9),
                    }
                    while let Some(message) = heard.first_chunk::<LENGTH>().copied() {
                        heard.drain(..LENGTH);
                        match FromShim::decode(message) {
                            Some(FromShim::Signal(number)) => {
                                if i32::from(number) == Signal::SIGINT as i32 {
                                    let _ = events.try_send(ShimEvent::Interrupted);
                                }
                                running.signal(i32::from(number));
                            }
                            Some(FromShim::Foreground) => running.foreground(),
                            None => {}
                        }
                    }
                }
            }
        }
    })
}
