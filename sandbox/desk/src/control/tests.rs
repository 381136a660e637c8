//! Tests of the control socket: over real sockets, in real folders.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use agentbox_core::{Digest, wire};
use tokio::sync::mpsc;

use super::*;

fn private() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn folder_in(dir: &tempfile::TempDir) -> Folder {
    let runtime = dir.path().to_owned().into_os_string();
    Folder::find(&move |name| (name == "XDG_RUNTIME_DIR").then(|| runtime.clone()), 1000).unwrap()
}

#[test]
fn the_folder_is_found_in_order() {
    let nobody = 3_999_999_999;
    let find = |list: &'static [(&'static str, &'static str)], uid| {
        Folder::find(&move |name| list.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()), uid).map(|folder| folder.path().to_owned())
    };
    assert_eq!(find(&[("XDG_RUNTIME_DIR", "/r"), ("HOME", "/h")], nobody).unwrap(), PathBuf::from("/r/agentbox"));
    // The XDG specification: a relative path is to be ignored.
    assert_eq!(find(&[("XDG_RUNTIME_DIR", "r"), ("XDG_STATE_HOME", "/s")], nobody).unwrap(), PathBuf::from("/s/agentbox/run"));
    assert_eq!(find(&[("HOME", "/h")], nobody).unwrap(), PathBuf::from("/h/.local/state/agentbox/run"));
    assert!(matches!(find(&[], nobody), Err(BadFolder::Nowhere)));
    let root = find(&[], 0).unwrap();
    assert!(root.as_path() == std::path::Path::new("/run/agentbox") || root.as_path() == std::path::Path::new("/run/user/0/agentbox"), "{root:?}");
}

#[test]
fn only_a_folder_of_ones_own_will_do() {
    let dir = private();
    let folder = folder_in(&dir);
    let door = folder.listen("b1").unwrap();
    assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(&door.path).unwrap().mode() & 0o777, 0o600);
    assert!(door.path.ends_with("agentbox/b1.sock"));
    for mode in [0o710, 0o701, 0o777, 0o750] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(folder.listen("b2"), Err(BadFolder::Open { .. })), "{mode:o}");
        assert!(sessions(&folder).is_err());
    }
    let dir = private();
    let folder = folder_in(&dir);
    let elsewhere = private();
    symlink(elsewhere.path(), folder.path()).unwrap();
    assert!(matches!(folder.listen("b1"), Err(BadFolder::Open { .. })), "a link must not be followed");
    let dir = private();
    let folder = folder_in(&dir);
    fs::write(folder.path(), "").unwrap();
    assert!(folder.listen("b1").is_err());
    let dir = private();
    assert!(matches!(folder_in(&dir).listen(&"x".repeat(120)), Err(BadFolder::TooLong(_))));
}

#[test]
fn dead_sockets_are_tidied_away_and_live_ones_found() {
    let dir = private();
    let folder = folder_in(&dir);
    assert_eq!(sessions(&folder).unwrap(), Vec::new());
    let live = folder.listen("live").unwrap();
    let dead = folder.listen("dead").unwrap();
    drop(dead.listener);
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    let found = sessions(&folder).unwrap();
    assert_eq!(found, [Session { name: "live".to_owned(), socket: live.path.clone() }]);
    assert!(!dead.path.exists() && live.path.exists());
}

/// Serves a door as a desk that answers every question with its own words, on a thread of its own. Who spoke comes out.
fn desk(listener: UnixListener) -> std::sync::mpsc::Receiver<String> {
    let (seen, saw) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (to, mut knocks) = mpsc::channel(8);
            tokio::spawn(serve(listener, to));
            while let Some(knock) = knocks.recv().await {
                let sent = match knock {
                    Knock::Call(call) => {
                        let sent = seen.send(call.peer.approver());
                        let _ = call.answer.send(FromDesk::No(format!("{:?}", call.message)));
                        sent
                    }
                    Knock::Stranger(stranger) => seen.send(stranger.to_string()),
                };
                if sent.is_err() {
                    return;
                }
            }
        });
    });
    saw
}

#[test]
fn a_terminal_of_the_same_user_is_heard() {
    let dir = private();
    let folder = folder_in(&dir);
    let door = folder.listen("b1").unwrap();
    let saw = desk(door.listener);
    let session = sessions(&folder).unwrap().remove(0);
    let message =
        ToDesk::Approve { id: HoldId::spell(7), card: Digest::of([]), typed: Some("pgdata".to_owned()), lasting: None, via: Via::Terminal, signature: None };
    assert_eq!(call(&session, &message).unwrap(), FromDesk::No(format!("{message:?}")));
    // `sessions` knocked too and said nothing: that is no call.
    assert_eq!(saw.recv_timeout(Duration::from_secs(20)).unwrap(), format!("uid:{}", nix::unistd::geteuid()));
}

#[test]
fn garbage_and_floods_end_one_connection_and_nothing_else() {
    let dir = private();
    let folder = folder_in(&dir);
    let door = folder.listen("b1").unwrap();
    let path = door.path.clone();
    let _saw = desk(door.listener);
    let session = Session { name: "b1".to_owned(), socket: path.clone() };
    let long = wire::encode(&ToDesk::Deny { id: HoldId::spell(7), because: "x".repeat(100_000), via: Via::Terminal }).unwrap();
    for bad in [&[255_u8; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[2, 0, 0, 0, 9, 1], &long] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(bad);
        let mut rest = Vec::new();
        // Closed without an answer; a reset says the same.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
    // Many that say nothing do not keep one that speaks out for longer than their deadline.
    let silent: Vec<UnixStream> = (0..15).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert!(call(&session, &ToDesk::List).is_ok());
    drop(silent);
}

/// What a process in a box would do, with what every system has: connect, and print what comes back.
const CLIENT: &str = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(20)\ns.connect(sys.argv[1])\nb=b'\"List\"'\ntry:\n s.sendall((len(b)+1).to_bytes(4,'little')+bytes([int(sys.argv[2])])+b)\nexcept BrokenPipeError: pass\nprint(s.recv(65536)[5:].decode())\n";

fn knock_from(prefix: &[&str], path: &std::path::Path) -> Option<String> {
    let (first, rest) = prefix.split_first()?;
    let output = Command::new(first).args(rest).args(["python3", "-c", CLIENT]).arg(path).arg(wire::VERSION.to_string()).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        println!("SKIPPED: {prefix:?}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_process_in_a_box_is_refused_and_told_of() {
    let dir = private();
    let folder = folder_in(&dir);
    let door = folder.listen("b1").unwrap();
    let path = door.path.clone();
    let saw = desk(door.listener);
    if let Some(said) = knock_from(&["env"], &path) {
        assert!(said.contains("List"), "the client works from outside: {said}");
        assert!(saw.recv_timeout(Duration::from_secs(20)).unwrap().starts_with("uid:"));
    }
    for (prefix, namespace) in
        [(&["unshare", "--user", "--map-root-user"][..], "user"), (&["unshare", "--user", "--map-root-user", "--pid", "--fork"][..], "pid")]
    {
        let Some(said) = knock_from(prefix, &path) else { continue };
        assert!(said.contains("\"No\"") && said.contains(&format!("another {namespace} namespace")), "{said}");
        let told = saw.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(told.contains("namespace"), "{told}");
    }
}

#[test]
fn another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    let dir = private();
    let folder = folder_in(&dir);
    let door = folder.listen("b1").unwrap();
    let path = door.path.clone();
    let saw = desk(door.listener);
    // As if the folder had been open: its modes are one fence, the question at the door is another.
    for (of, mode) in [(dir.path(), 0o711), (folder.path(), 0o711), (path.as_path(), 0o666)] {
        fs::set_permissions(of, fs::Permissions::from_mode(mode)).unwrap();
    }
    if let Some(said) = knock_from(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"], &path) {
        assert!(said.contains("uid 65534 is not uid 0"), "{said}");
        assert!(saw.recv_timeout(Duration::from_secs(20)).unwrap().contains("65534"));
    }
}
