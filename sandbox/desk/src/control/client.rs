//! A terminal's end of the control socket: which boxes run, and one question to one of them.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Instant,
};

use agentbox_core::wire;

use super::{BadFolder, Folder, FromDesk, PATIENCE, ToDesk};

/// Boxes that are looked for at once: more sockets than that in one folder are an accident.
const MOST_SESSIONS: usize = 1024;

/// A running box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// Its control socket.
    pub socket: PathBuf,
}

/// The boxes of this user that run, by name. Sockets that nobody listens on are removed.
///
/// # Errors
/// The folder cannot be read, or others get into it.
pub fn sessions(folder: &Folder) -> Result<Vec<Session>, BadFolder> {
    match fs::symlink_metadata(folder.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(BadFolder::Io { what: "looking at", path: folder.path().to_owned(), source }),
        Ok(_) => folder.check()?,
    }
    let entries = fs::read_dir(folder.path()).map_err(|source| BadFolder::Io { what: "reading", path: folder.path().to_owned(), source })?;
    let mut found = Vec::new();
    for entry in entries.take(MOST_SESSIONS) {
        let Ok(entry) = entry else { continue };
        let socket = entry.path();
        let Some(name) = socket.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock")).map(str::to_owned) else { continue };
        match UnixStream::connect(&socket) {
            Ok(_) => found.push(Session { name, socket }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // Its box has died: a socket is only named once it listens, so this is none that is just starting.
                let _ = fs::remove_file(&socket);
            }
            Err(_) => {}
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Asks one box one thing.
///
/// # Errors
/// It does not answer in time, or not in our language.
pub fn call(session: &Session, message: &ToDesk) -> io::Result<FromDesk> {
    let deadline = Instant::now() + PATIENCE * 2;
    let mut stream = UnixStream::connect(&session.socket)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match stream.write_all(&wire::encode(message).map_err(io::Error::other)?) {
        // Who may not speak is answered before it has spoken: the reason is there to be read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    let mut buffer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(answer) = wire::decode::<FromDesk>(&mut buffer).map_err(io::Error::other)? {
            return Ok(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the box ended before it answered"));
        }
        buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
}
