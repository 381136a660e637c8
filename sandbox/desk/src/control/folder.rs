//! Where the control sockets lie: a folder that only their user can open.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

/// Longest path of a socket: the kernel's `sun_path` is 108 bytes with its end.
const LONGEST_PATH: usize = 107;

/// The folder of the control sockets, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A listening control socket. Whoever serves it removes its name at the end; one that died is tidied away by the next `agentbox holds`.
#[derive(Debug)]
pub struct Door {
    /// Listening.
    pub listener: UnixListener,
    /// Its name.
    pub path: PathBuf,
}

/// Why there can be no control socket: holds would then be refused unheard, so the box must not start.
#[derive(Debug, thiserror::Error)]
pub enum BadFolder {
    /// Neither XDG_RUNTIME_DIR nor XDG_STATE_HOME nor HOME says where.
    #[error("none of XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME says where the control sockets may lie")]
    Nowhere,
    /// A call failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others could get in.
    #[error("{}: {problem}; it must be a folder of uid {uid} with mode 0700", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// Whose it must be.
        uid: u32,
    },
    /// The kernel takes no longer path.
    #[error("{} is longer than the {LONGEST_PATH} bytes that a socket's path may have", .0.display())]
    TooLong(PathBuf),
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BadFolder {
    let path = path.to_owned();
    move |source| BadFolder::Io { what, path, source }
}

impl Folder {
    /// The folder of the user `uid`, whose environment `env` reads. It is not made.
    ///
    /// # Errors
    /// Nothing says where it is.
    pub fn find(env: &dyn Fn(&str) -> Option<OsString>, uid: u32) -> Result<Self, BadFolder> {
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(runtime) = absolute("XDG_RUNTIME_DIR") {
            return Ok(Self(runtime.join("agentbox")));
        }
        let usual = PathBuf::from(format!("/run/user/{uid}"));
        if fs::symlink_metadata(&usual).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid) {
            return Ok(Self(usual.join("agentbox")));
        }
        if uid == 0 {
            return Ok(Self(PathBuf::from("/run/agentbox")));
        }
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.map(|state| Self(state.join("agentbox/run"))).ok_or(BadFolder::Nowhere)
    }

    /// The folder of this process's user.
    ///
    /// # Errors
    /// Nothing says where it is.
    pub fn of_this_user() -> Result<Self, BadFolder> {
        Self::find(&|name| std::env::var_os(name), nix::unistd::geteuid().as_raw())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it if it is not there, and checks that only its user gets in.
    ///
    /// # Errors
    /// It cannot be made, or others get in.
    pub fn make(&self) -> Result<(), BadFolder> {
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0) {
            Ok(()) => self.check(),
            Err(source) => Err(BadFolder::Io { what: "making", path: self.0.clone(), source }),
        }
    }

    /// Checks that only its user gets in.
    ///
    /// # Errors
    /// It is not there, or others get in.
    pub fn check(&self) -> Result<(), BadFolder> {
        let uid = nix::unistd::geteuid().as_raw();
        // Not followed: a link could be turned elsewhere after the check.
        let meta = fs::symlink_metadata(&self.0).map_err(io_error("looking at", &self.0))?;
        let open = |problem: String| Err(BadFolder::Open { path: self.0.clone(), problem, uid });
        if !meta.is_dir() {
            return open("it is no folder".to_owned());
        }
        if meta.uid() != uid {
            return open(format!("it belongs to uid {}", meta.uid()));
        }
        if meta.mode() & 0o077 != 0 {
            return open(format!("its mode is {:04o}", meta.mode() & 0o7777));
        }
        Ok(())
    }

    /// The socket of a box.
    #[must_use]
    pub fn socket(&self, session: &str) -> PathBuf {
        self.0.join(format!("{session}.sock"))
    }

    /// Makes the folder and the socket of the box `session`, listening.
    ///
    /// # Errors
    /// Any of it fails, or others could get in.
    pub fn listen(&self, session: &str) -> Result<Door, BadFolder> {
        self.make()?;
        let path = self.socket(session);
        // Bound under another name and then renamed: whoever tidies up dead sockets never meets one that does not listen yet.
        let early = self.0.join(format!("{session}.new"));
        if path.as_os_str().len() > LONGEST_PATH || early.as_os_str().len() > LONGEST_PATH {
            return Err(BadFolder::TooLong(path));
        }
        match fs::remove_file(&early) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(BadFolder::Io { what: "removing", path: early, source }),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&early).map_err(io_error("listening on", &early))?;
        fs::set_permissions(&early, fs::Permissions::from_mode(0o600)).map_err(io_error("closing to others", &early))?;
        fs::rename(&early, &path).map_err(io_error("naming", &path))?;
        Ok(Door { listener, path })
    }
}
