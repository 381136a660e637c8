//! A real gRPC client against a real gRPC server: calls of each kind flow message by message, what destroys waits, and the channel goes on.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, process::Child};

use agentbox_tests::{Home, certificates, origin::serve, skip};
use tempfile::TempDir;

/// Python with what `cargo xtask tools` brings by pip.
const PYTHON: &str = "/usr/local/lib/agentbox-tools/bin/python3";

/// One channel, calls of each kind, and one line a result.
const CLIENT: &str = r#"
import queue, time, grpc

channel = grpc.secure_channel("grpc.example:443", grpc.ssl_channel_credentials())
at = "/shop.v1.Orders/"

def told(error):
    return f"{error.code().name} {error.details()}"

def get(name):
    reply, call = channel.unary_unary(at + "GetOrder").with_call(name, timeout=60)
    print("unary", reply.decode(), dict(call.initial_metadata())["x-region"], dict(call.trailing_metadata())["x-cost"], flush=True)

def conversation(method, wait):
    # Each message is sent when the answer to the one before has come: nothing may wait for a stream's end.
    said = queue.SimpleQueue()
    call = channel.stream_stream(at + method)(iter(said.get, None), timeout=120)
    time.sleep(wait)
    answers = []
    for word in (b"one", b"two", b"three"):
        said.put(word)
        answers.append(next(call).decode())
    said.put(None)
    rest = [reply.decode() for reply in call]
    print(method, answers, rest, dict(call.trailing_metadata())["x-cost"], flush=True)

get(b"1")
call = channel.unary_stream(at + "WatchOrders")(b"all", timeout=60)
print("server stream", [reply.decode() for reply in call], dict(call.trailing_metadata())["x-cost"], flush=True)
print("client stream", channel.stream_unary(at + "UploadItems")(iter([b"x" * 100_000] * 20), timeout=60).decode(), flush=True)

def slowly():
    time.sleep(1)
    for _ in range(3):
        yield b"x"
        time.sleep(0.3)

print("slow client stream", channel.stream_unary(at + "UploadItems")(slowly(), timeout=60).decode(), flush=True)
conversation("SendMessages", 0)
conversation("WatchBoth", 1)
for name in (b"no", b"yes"):
    try:
        print("delete", channel.unary_unary(at + "DeleteOrder")(name, timeout=120).decode(), flush=True)
    except grpc.RpcError as error:
        print("delete refused", told(error), flush=True)
try:
    conversation("PurgeAll", 0)
except grpc.RpcError as error:
    print("purge refused", told(error), flush=True)
conversation("PurgeAll", 0.5)
get(b"2")
try:
    channel.unary_unary(at + "Nothing")(b"", timeout=60)
except grpc.RpcError as error:
    print("the server's own", told(error), flush=True)
print("end", flush=True)
"#;

/// A far side that ends with the test.
struct Far(Child, TempDir);

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn calls_of_each_kind() {
    if !skip::have(&["openssl"]) {
        return;
    }
    let has_grpc = std::process::Command::new(PYTHON).args(["-c", "import grpc"]).stderr(std::process::Stdio::null()).status();
    if !has_grpc.is_ok_and(|status| status.success()) {
        return skip::skip("not installed: grpcio");
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates::make(folder.path());
    let (server, port) = serve(folder.path(), PYTHON, "grpc_orders.py", include_str!("../stand-ins/grpc_orders.py"));
    let far = Far(server, folder);
    let home = Home::new(&format!(
        "extends = \"default\"\nroots = [\"{}\"]\n[names]\n\"grpc.example\" = \"127.0.0.1:{}\"\n[place.shop]\nhosts = [\"grpc.example\"]\nread = \"allow\"\n\
         write = \"allow\"\ndestroy = \"hold\"\n[approval]\npatience = \"60s\"\n",
        far.1.path().join("ca.pem").display(),
        port.trim()
    ));
    home.write("work/client.py", CLIENT);
    let going = home.start(&format!("{PYTHON} client.py 2>&1"));
    let mut seen = BTreeSet::new();
    let mut settle = |word: &str, action: &str| {
        let held = home.another_hold(&mut seen);
        let card = home.outside(&["show", &held]).ended(0).out();
        assert!(card.contains(action), "{card}");
        match word {
            "deny" => home.outside(&["deny", &held, "--because", "the shop is open"]).ended(0),
            _ => home.outside(&["approve", &held, "--confirm", "yes"]).ended(0),
        };
    };
    settle("deny", "grpc.shop.v1.Orders.DeleteOrder");
    settle("approve", "grpc.shop.v1.Orders.DeleteOrder");
    settle("deny", "grpc.shop.v1.Orders.PurgeAll");
    settle("approve", "grpc.shop.v1.Orders.PurgeAll");
    // Its name says nothing.
    settle("approve", "grpc.shop.v1.Orders.Nothing");
    let out = going.finish().ended(0).out();
    for words in [
        "unary order 1 here 3",
        "server stream ['event 0', 'event 1', 'event 2'] 3",
        "\nclient stream 20",
        "slow client stream 3",
        "SendMessages ['ONE', 'TWO', 'THREE'] [] 3",
        "WatchBoth ['ONE', 'TWO', 'THREE'] [] 3",
        "delete refused PERMISSION_DENIED agentbox",
        "the shop is open",
        "delete deleted yes",
        "purge refused PERMISSION_DENIED agentbox",
        "PurgeAll ['ONE', 'TWO', 'THREE'] [] 3",
        "unary order 2 here 3",
        "the server's own UNIMPLEMENTED",
        "end",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let log = fs::read_to_string(far.1.path().join("calls.log")).expect("calls.log");
    let count = |line: &str| log.lines().filter(|known| *known == line).count();
    assert_eq!((count("DeleteOrder no"), count("DeleteOrder yes"), count("PurgeAll")), (0, 1, 1), "{log}");
    assert_eq!((count("uploaded 20"), count("uploaded 3")), (1, 1), "{log}");
}
