//! The doors of a box: ports of the machine that it may reach, ports of its own that the machine may reach, UNIX sockets that it may use.
//!
//! A forwarded port is a listener in the box that leads to the broker, which judges what flows as it judges everything. A published port is
//! a listener on the machine's loopback, in a process that lives in the box's network and nothing else of it, and connects to that one port.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::{fs::FileTypeExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use agentbox_core::{
    policy::settings::{Published, Settings},
    safe,
};
use agentbox_kernel::{
    control::Control,
    launch::{Doors, Publish},
    network::{MOST_DOORS, Namespaces},
    process::{Child, First, fork_child},
    publish,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::commands::run::chain;

/// Connections to published ports at once.
const CONNECTIONS: usize = 256;

/// For a server in the box to take a connection: it is on this machine.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection on which neither side says anything for so long is dead: pages that wait for changes send pings.
const SILENCE: Duration = Duration::from_secs(3600);

/// Read at once.
const BLOCK: usize = 32 << 10;

/// After `accept` failed for want of descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Names of socket files behind which somebody runs whatever it is told, with the user's rights or the machine's.
const REFUSED: &[(&str, &str)] = &[
    ("docker.sock", "whoever speaks to Docker can mount the whole machine into a container and write it"),
    ("podman.sock", "whoever speaks to Podman can mount the user's files into a container and write them"),
    ("containerd.sock", "whoever speaks to containerd can run anything on the machine"),
    ("crio.sock", "whoever speaks to CRI-O can run anything on the machine"),
    ("buildkitd.sock", "whoever speaks to BuildKit can run builds outside of the box"),
    ("system_bus_socket", "over D-Bus systemd runs any command outside of the box"),
    ("bus", "over D-Bus systemd runs any command outside of the box"),
    ("private", "systemd runs any command outside of the box"),
    ("libvirt-sock", "whoever speaks to libvirt can run virtual machines over the machine's disks"),
];

/// Folders of such sockets.
const REFUSED_FOLDERS: &[(&str, &str)] = &[
    ("tmux-", "whoever speaks to tmux types into the user's own terminals"),
    ("screen", "whoever speaks to screen types into the user's own terminals"),
    ("S-", "whoever speaks to screen types into the user's own terminals"),
    ("emacs", "whoever speaks to Emacs has it run any program of Lisp"),
    ("systemd", "systemd runs any command outside of the box"),
];

/// Why a door stays shut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Shut {
    /// A socket that nobody may open to a box.
    #[error("the socket {} is not opened to a box: {why}", shown(.path))]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// It is not there, or is no socket.
    #[error("the socket {} cannot be opened to the box: {why}", shown(.path))]
    NoSocket {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The machine's port.
    #[error("port {port} of this machine's loopback cannot be published on: {error}{}", hint(.error))]
    Port {
        /// Which.
        port: u16,
        /// Why.
        error: io::Error,
    },
    /// Both ways at once.
    #[error("port {0} of the box is both forwarded and published: one of the two is meant")]
    Both(u16),
    /// Of all layers together.
    #[error("{0} ports are forwarded, and a box can have {MOST_DOORS}")]
    TooMany(usize),
    /// Our own process.
    #[error("the process that publishes ports: {0}")]
    Process(String),
}

fn shown(path: &Path) -> String {
    safe::line(&path.to_string_lossy(), 300)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (something listens there already: publish on another one with `--publish OUTSIDE:INSIDE`)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 are root's: publish on another one with `--publish OUTSIDE:INSIDE`)",
        _ => "",
    }
}

/// The sockets that the policy opens, by their real paths; never one of `own`, the folder of our control sockets.
///
/// # Errors
/// One of them is none, or none that may be opened.
pub(crate) fn sockets(settings: &Settings, own: &Path) -> Result<Vec<PathBuf>, Shut> {
    settings.sockets.iter().map(|path| vetted(path, own)).collect()
}

fn vetted(path: &Path, own: &Path) -> Result<PathBuf, Shut> {
    // By the name that was given as well as by what it leads to: the file need not be there to be refused.
    refused(path, path)?;
    let none = |why: String| Shut::NoSocket { path: path.to_owned(), why };
    let real = fs::canonicalize(path).map_err(|error| none(error.to_string()))?;
    refused(&real, path)?;
    if real.starts_with(own) || fs::canonicalize(own).is_ok_and(|own| real.starts_with(own)) {
        return Err(Shut::Refused { path: path.to_owned(), why: "it is agentbox's own, by which approvals are given" });
    }
    if !fs::metadata(&real).map_err(|error| none(error.to_string()))?.file_type().is_socket() {
        return Err(none("it is no socket".to_owned()));
    }
    Ok(real)
}

fn refused(path: &Path, named: &Path) -> Result<(), Shut> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let by_name = REFUSED.iter().find(|(known, _)| *known == name || (known.contains('.') && name.ends_with(known)));
    let by_folder = || {
        let mut folders = path.parent().into_iter().flat_map(Path::components).map(|part| part.as_os_str().to_string_lossy().into_owned());
        folders.find_map(|folder| REFUSED_FOLDERS.iter().find(|(known, _)| folder == *known || (known.ends_with('-') && folder.starts_with(known))))
    };
    match by_name.or_else(by_folder) {
        Some((_, why)) => Err(Shut::Refused { path: named.to_owned(), why }),
        None => Ok(()),
    }
}

/// What the kernel's side of a box must open.
///
/// # Errors
/// More than one box can have.
pub(crate) fn of_the_box(settings: &Settings) -> Result<Doors, Shut> {
    if settings.forward.len() > MOST_DOORS {
        return Err(Shut::TooMany(settings.forward.len()));
    }
    Ok(Doors { forward: settings.forward.clone(), publish: if settings.publish.is_empty() { Publish::No } else { Publish::Yes } })
}

/// The process that publishes ports, and the way to hand it the box.
#[derive(Debug)]
pub(crate) struct Publisher {
    process: Child,
    line: Control,
}

/// Listens on the machine's loopback and starts the process; none where nothing is published.
///
/// # Errors
/// A port is not to be had.
pub(crate) fn publisher(settings: &Settings) -> Result<Option<Publisher>, Shut> {
    if settings.publish.is_empty() {
        return Ok(None);
    }
    let mut listeners = Vec::new();
    for door in &settings.publish {
        if settings.forward.contains(&door.inside) {
            return Err(Shut::Both(door.inside));
        }
        listeners.extend(listen(*door)?);
    }
    let own = |error: &dyn std::error::Error| Shut::Process(chain(error));
    let (line, theirs) = Control::pair().map_err(|error| own(&error))?;
    let mut keep: Vec<RawFd> = listeners.iter().map(|(listener, _)| listener.as_raw_fd()).collect();
    keep.push(theirs.as_raw_fd());
    let process = fork_child(First::Parent, &keep, move |supervisor| run(listeners, &theirs, supervisor)).map_err(|error| own(&error))?;
    Ok(Some(Publisher { process, line }))
}

/// On both loopback addresses, and on nothing else. Where the machine has no IPv6, on one.
fn listen(door: Published) -> Result<Vec<(TcpListener, u16)>, Shut> {
    let mut found = Vec::new();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match TcpListener::bind(SocketAddr::new(address, door.outside)) {
            Ok(listener) => found.push((listener, door.inside)),
            Err(error) if address.is_ipv6() && matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {}
            Err(error) if address.is_ipv6() && error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) => {}
            Err(error) => return Err(Shut::Port { port: door.outside, error }),
        }
    }
    Ok(found)
}

/// Comes with the box's namespaces.
#[derive(serde::Serialize, serde::Deserialize)]
struct Handed;

impl Publisher {
    /// Hands it the box.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn hand_over(&self, namespaces: &Namespaces) -> io::Result<()> {
        self.line.send(&Handed, &[namespaces.user.as_raw_fd(), namespaces.network.as_raw_fd()])
    }

    /// Its process, to be ended with the box.
    pub(crate) fn into_process(self) -> Child {
        self.process
    }
}

/// The process's whole life: until the supervisor's socket ends, or it is killed.
fn run(listeners: Vec<(TcpListener, u16)>, handed: &Control, supervisor: UnixStream) -> u8 {
    let Ok(Some((Handed, fds))) = handed.receive::<Handed>() else { return 0 };
    let mut fds = fds.into_iter();
    let (Some(user), Some(network)) = (fds.next(), fds.next()) else { return 1 };
    let said = publish::enter(Namespaces { user, network }).map_err(|error| chain(&error)).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| chain(&error))?;
        runtime.block_on(serve(listeners, supervisor)).map_err(|error| chain(&error))
    });
    match said {
        Ok(()) => 0,
        Err(why) => {
            let _ = io::Write::write_all(&mut io::stderr(), format!("agentbox: published ports: {}\r\n", safe::line(&why, 300)).as_bytes());
            1
        }
    }
}

async fn serve(listeners: Vec<(TcpListener, u16)>, supervisor: UnixStream) -> io::Result<()> {
    supervisor.set_nonblocking(true)?;
    let mut supervisor = tokio::net::UnixStream::from_std(supervisor)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    for (listener, inside) in listeners {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(accept(listener, inside, places.clone()));
    }
    // Nothing is said on it: it ends with the supervisor.
    let _ = supervisor.read_u8().await;
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, inside: u16, places: Arc<Semaphore>) {
    loop {
        // A place first: beyond the limit clients wait in the kernel's backlog.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    relay(client, inside).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

/// To that port of the box's loopback, by whichever family somebody listens there.
async fn relay(client: TcpStream, inside: u16) {
    let mut server = None;
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(SocketAddr::new(address, inside))).await {
            server = Some(stream);
            break;
        }
    }
    let Some(server) = server else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((client_reader, client_writer), (server_reader, server_writer)) = (client.into_split(), server.into_split());
    tokio::join!(one_way(client_reader, server_writer), one_way(server_reader, client_writer));
}

async fn one_way(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
    let mut block = vec![0; BLOCK];
    while let Ok(Ok(length @ 1..)) = timeout(SILENCE, reader.read(&mut block)).await {
        let Some(bytes) = block.get(..length) else { break };
        if !matches!(timeout(SILENCE, writer.write_all(bytes)).await, Ok(Ok(()))) {
            break;
        }
    }
    let _ = writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn vet(path: &Path) -> Result<PathBuf, String> {
        vetted(path, Path::new("/nowhere")).map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_that_run_what_they_are_told_are_refused_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let docker = root.join("docker.sock");
        let _listener = UnixListener::bind(&docker).unwrap();
        std::os::unix::fs::symlink(&docker, root.join("harmless")).unwrap();
        for name in ["docker.sock", "harmless"] {
            let told = vet(&root.join(name)).unwrap_err();
            assert!(told.contains("Docker") && told.contains(name), "{told}");
        }
        for path in ["/var/run/docker.sock", "/run/user/1000/bus", "/tmp/tmux-1000/default", "/run/systemd/private", "/x/my-docker.sock"] {
            assert!(vet(Path::new(path)).unwrap_err().contains("not opened to a box"), "{path}");
        }
    }

    #[test]
    fn others_are_found_by_their_real_path() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let socket = root.join("service");
        let _listener = UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&socket, root.join("link")).unwrap();
        assert_eq!(vet(&root.join("link")), Ok(socket));
        std::fs::write(root.join("file"), "").unwrap();
        assert!(vet(&root.join("file")).unwrap_err().contains("no socket"));
        assert!(vet(&root.join("none")).is_err());
        assert!(vetted(&root.join("link"), &root).unwrap_err().to_string().contains("agentbox's own"));
    }

    #[test]
    fn a_port_that_is_taken_is_said_with_what_helps() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let told = listen(Published { outside: port, inside: 80 }).unwrap_err().to_string();
        assert!(told.contains(&port.to_string()) && told.contains("OUTSIDE:INSIDE"), "{told}");
    }
}
