//! The supervisor's ears towards the box's init and the shim: how the agent fares, and what the person's terminal says.

use std::{
    io,
    os::unix::net::{UnixDatagram as StdDatagram, UnixStream as StdStream},
};

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

/// Waits until the agent has ended; meanwhile hands signals on. A shim that has gone ends the box.
///
/// # Errors
/// The descriptors cannot be watched.
pub(crate) fn until_the_end<'a>(
    running: &'a Running,
    shim: &StdStream,
    events: mpsc::Sender<ShimEvent>,
    voice: Voice,
) -> io::Result<impl Future<Output = Exit> + use<'a>> {
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
                        return Exit::Code(crate::cli::FAILED);
                    }
                }
                ready = init.readable() => {
                    if ready.is_err() {
                        return Exit::Code(crate::cli::FAILED);
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
                        Ok(Some(FromInit::Network { .. } | FromInit::Ready { .. } | FromInit::Started | FromInit::Failed(_) | FromInit::NotExecuted(_))) => {}
                        // Init was killed, or says nothing that can be understood: the box is over.
                        Ok(None) => return Exit::Signal(9),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return Exit::Code(crate::cli::FAILED),
                    }
                }
                ready = shim.readable() => {
                    if ready.is_err() {
                        return Exit::Code(crate::cli::FAILED);
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
