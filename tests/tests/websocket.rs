//! Real WebSocket clients through the box: conversations pass, a mutation that destroys waits, and the conversation goes on after a no.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, process::Child};

use agentbox_tests::{Home, Who, certificates, origin, process::finish, skip};
use tempfile::TempDir;

/// A far side. It ends with the test.
struct Server {
    folder: TempDir,
    child: Child,
    clear: u16,
    tls: u16,
}

impl Server {
    /// Starts it; `None` where this machine lacks what it takes, which is said.
    fn start() -> Option<Self> {
        if !skip::have(&["openssl", "bash"]) || !skip::python_has("websockets") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        certificates::make(folder.path());
        let (child, line) = origin::serve(folder.path(), "/usr/bin/python3", "websocket.py", include_str!("../stand-ins/websocket.py"));
        let mut ports = line.split_whitespace().map(|port| port.parse().expect("a port"));
        let (clear, tls) = (ports.next().expect("a port"), ports.next().expect("two ports"));
        Some(Self { folder, child, clear, tls })
    }

    /// `held.example` holds what destroys, `web.example` lets everything pass; both in the clear. `tls.example` is as the first, over TLS.
    fn policy(&self) -> String {
        format!(
            "extends = \"default\"\nroots = [\"{}\"]\n[names]\n\"web.example\" = \"127.0.0.1:{clear}\"\n\"held.example\" = \"127.0.0.1:{clear}\"\n\"tls.example\" = \"127.0.0.1:{}\"\n\
             [place.open]\nhosts = [\"web.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n\
             [place.guarded]\nhosts = [\"held.example\", \"tls.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n",
            self.folder.path().join("ca.pem").display(),
            self.tls,
            clear = self.clear,
        )
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("messages.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Speaks GraphQL over `websockets`: the address and the subprotocol are given, and one line a message is said.
const PYTHON: &str = r#"
import asyncio, json, ssl, sys, websockets

async def main(address, protocol):
    start = "start" if protocol == "graphql-ws" else "subscribe"
    context = {"ssl": ssl.create_default_context()} if address.startswith("wss") else {}
    async with websockets.connect(address, subprotocols=[protocol], **context) as socket:
        async def ask(id, query):
            await socket.send(json.dumps({"id": id, "type": start, "payload": {"query": query}}))
        await socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        await ask("1", "{ me { id } }")
        print("query", json.loads(await socket.recv())["payload"]["data"]["ran"], json.loads(await socket.recv())["type"], flush=True)
        await ask("2", 'mutation { volumeDelete(id: "3d2c") }')
        told = json.loads(await socket.recv())
        print("mutation", told["type"], told["id"], json.dumps(told["payload"]), flush=True)
        if told["type"] in ("next", "data"):
            assert json.loads(await socket.recv())["type"] == "complete"
        await ask("3", "{ still { here } }")
        print("after", json.loads(await socket.recv())["payload"]["data"]["ran"], flush=True)
        pong = await socket.ping()
        await pong
        print("extensions", [type(one).__name__ for one in getattr(socket, "extensions", [])], flush=True)

asyncio.run(main(*sys.argv[1:]))
"#;

fn said<'t>(out: &'t str, word: &str) -> &'t str {
    out.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no line {word:?} in {out}")).trim()
}

#[test]
fn a_refused_mutation_is_an_error_and_the_conversation_goes_on() {
    let Some(server) = Server::start() else { return };
    for (who, address, protocol) in [
        (Who::Me, "wss://tls.example/graphql", "graphql-transport-ws"),
        (Who::Ordinary, "ws://held.example/graphql", "graphql-ws"),
        (Who::Ordinary, "wss://tls.example/graphql", "graphql-transport-ws"),
    ] {
        if !Who::each().contains(&who) {
            continue;
        }
        let home = Home::of(who, &server.policy());
        home.write("work/client.py", PYTHON);
        let going = home.start(&format!("/usr/bin/python3 client.py {address} {protocol}; $AGENTBOX why"));
        let cards = home.waiting(1);
        let card = cards.first().expect("a card").to_string();
        assert!(card.contains("graphql.volumeDelete") && card.contains("guarded") && card.contains("destroy"), "{card}");
        let id = home.hold();
        home.outside(&["deny", &id, "--because", "wrong environment"]).ended(0);
        let finished = going.finish().ended(0);
        let out = finished.out();
        assert_eq!(said(&out, "query"), "{ me { id } } complete");
        let told = said(&out, "mutation");
        assert!(told.starts_with("error 2 ") && told.contains("wrong environment") && told.contains("agentbox_denied"), "{told}");
        assert_eq!((said(&out, "after"), said(&out, "extensions")), ("{ still { here } }", "[]"));
        assert!(out.contains("on the WebSocket"), "agentbox why tells of it: {out}");
    }
    assert!(!server.log().contains("volumeDelete"), "{}", server.log());
    assert!(!server.log().contains("Deflate"), "nothing is compressed: {}", server.log());
}

#[test]
fn an_approved_mutation_passes_once() {
    let Some(server) = Server::start() else { return };
    let home = Home::new(&server.policy());
    home.write("work/client.py", PYTHON);
    let going = home.start("/usr/bin/python3 client.py wss://tls.example/graphql graphql-transport-ws");
    let id = home.hold();
    assert!(!server.log().contains("volumeDelete"), "nothing is sent before the yes");
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(said(&out, "mutation").starts_with("next 2 ") && said(&out, "after") == "{ still { here } }", "{out}");
    assert_eq!(server.log().matches("volumeDelete").count(), 1, "{}", server.log());
    home.outside(&["log", "--verify"]).ended(0);
}

/// Chats without a subprotocol, and tells how it ended.
const CHAT: &str = r#"
import asyncio, sys, websockets

async def main(address):
    async with websockets.connect(address, max_size=32 << 20) as socket:
        try:
            for message in ("hello", b"\x00" * 3_000_000, "how are you"):
                await socket.send(message)
                assert await socket.recv() == message
            print("chatted")
        except websockets.ConnectionClosed as ended:
            print("closed", ended.code, ended.reason)

asyncio.run(main(*sys.argv[1:]))
"#;

#[test]
fn what_cannot_be_read_passes_where_everything_may_and_waits_elsewhere() {
    let Some(server) = Server::start() else { return };
    let home = Home::new(&server.policy());
    home.write("work/chat.py", CHAT);
    let ended = home.run("/usr/bin/python3 chat.py ws://web.example/chat").ended(0);
    assert_eq!(ended.out(), "chatted\n", "{}", ended.err());
    assert!(server.log().contains("3000000 bytes"), "{}", server.log());
    // Elsewhere once for all of them.
    let going = home.start("/usr/bin/python3 chat.py ws://held.example/chat");
    let id = home.hold();
    let card = home.outside(&["show", &id]).ended(0).out();
    assert!(card.contains("websocket.unread") && card.contains("cannot be read"), "{card}");
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    assert_eq!(going.finish().ended(0).out(), "chatted\n");
    // With nobody to ask.
    let before = server.log().matches("hello").count();
    let ended = finish(&mut home.script(&["--unattended", "--exit-code", "agent"], "/usr/bin/python3 chat.py wss://tls.example/chat"));
    assert!(ended.out().starts_with("closed 1008 agentbox: "), "{}{}", ended.out(), ended.err());
    assert_eq!(server.log().matches("hello").count(), before);
}

/// The browser's own interface, as node has it.
const NODE: &str = r#"
const socket = new WebSocket("wss://tls.example/graphql", ["graphql-transport-ws"]);
const say = (message) => socket.send(JSON.stringify(message));
socket.onopen = () => say({ type: "connection_init" });
socket.onerror = (event) => { console.log("failed", event.message); process.exit(1); };
socket.onmessage = ({ data }) => {
  const told = JSON.parse(data);
  if (told.type === "connection_ack") say({ id: "a", type: "subscribe", payload: { query: "mutation { volumeDelete(id: 1) }" } });
  if (told.type === "error") {
    console.log("error", told.id, told.payload[0].extensions.error);
    say({ id: "b", type: "subscribe", payload: { query: "{ me }" } });
  }
  if (told.type === "next") console.log("next", told.id, told.payload.data.ran, socket.protocol, JSON.stringify(socket.extensions));
  if (told.type === "complete") socket.close(1000, "done");
};
socket.onclose = ({ code }) => console.log("closed", code);
"#;

#[test]
fn nodes_own_client_is_told_in_its_tongue() {
    let Some(server) = Server::start() else { return };
    if !skip::have(&["node"]) {
        return;
    }
    let flag = "--experimental-websocket";
    let home = Home::new(&server.policy());
    if finish(home.program("node").args([flag, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"])).code != 0 {
        return skip::not_here("this node has no WebSocket of its own");
    }
    home.write("work/client.mjs", NODE);
    let ended = finish(&mut home.script(&["--unattended", "--exit-code", "agent"], &format!("node {flag} --no-warnings client.mjs")));
    assert_eq!(ended.out(), "error a agentbox_denied\nnext b { me } graphql-transport-ws \"\"\nclosed 1000\n", "{}", ended.err());
}
