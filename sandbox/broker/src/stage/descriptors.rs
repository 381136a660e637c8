//! A broker that runs out of descriptors waits, and serves again when it has some.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream as Plain,
    process::{Command, Stdio},
};

use tokio::sync::Semaphore;

use super::*;
use crate::dns::{Reading, Resolver};

const CHILD: &str = "stage::descriptors::the_child_with_few_descriptors";
const VARIABLE: &str = "AGENTBOX_TEST_FEW_DESCRIPTORS";

/// More than the child may have open.
const CLIENTS: usize = 120;

#[test]
fn running_out_is_survived() {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 48 && exec \"$0\" --exact --nocapture \"$1\"", program.to_str().unwrap(), CHILD])
        .env(VARIABLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port: u16 = lines.find_map(|line| line.unwrap().split("port=").nth(1).and_then(|port| port.trim().parse().ok())).expect("the child's port");
    let connect = || {
        let client = Plain::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    };
    let crowd: Vec<Plain> = (0..CLIENTS).map(|_| connect()).collect();
    // Long enough for many failed calls of accept.
    std::thread::sleep(Duration::from_millis(400));
    drop(crowd);
    let mut client = connect();
    client.write_all(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Does nothing unless the test above starts it.
#[test]
fn the_child_with_few_descriptors() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    run(async {
        let stage = Stage::new(Say::No, "127.0.0.1:9".parse().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        println!("port={}", listener.local_addr().unwrap().port());
        let resolver =
            Resolver { names: stage.broker.names.clone(), reading: Box::new(|_| Reading::Silent), denied: Box::new(|_| {}), own: stage.broker.own.clone() };
        tokio::spawn(accept::accept(listener, stage.broker.clone(), Arc::new(resolver), Arc::new(Semaphore::new(1000)), None));
        // Until the parent closes our standard input.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read(&mut [0]);
            let _ = sender.send(());
        });
        let _ = receiver.await;
    });
}
