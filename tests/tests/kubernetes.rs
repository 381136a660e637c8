//! `kubectl` in a box, in its streams and by its kinds of kubeconfig: what is understood passes, what is not waits, and a no is printed.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, process::Child};

use agentbox_tests::{Home, certificates, origin::serve_with, skip};
use tempfile::TempDir;

/// An API server that ends with the test.
struct Cluster {
    folder: TempDir,
    server: Child,
    port: String,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Cluster {
    /// Starts it; `None` where this machine lacks what it takes, which is said.
    fn start(words: &[&str]) -> Option<Self> {
        if !skip::have(&["kubectl", "python3", "openssl"]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        certificates::make(folder.path());
        fs::write(folder.path().join("token.txt"), "tok-of-a-test").expect("token.txt");
        fs::create_dir(folder.path().join("container")).expect("container/");
        fs::write(folder.path().join("container/orders"), "one\ntwo\n").expect("orders");
        let (server, port) = serve_with(folder.path(), "python3", "kubernetes.py", include_str!("../stand-ins/kubernetes.py"), words);
        Some(Self { folder, server, port: port.trim().to_owned() })
    }

    /// A home whose policy lets the cluster be read and written, and holds what destroys or is not understood.
    fn home(&self) -> Home {
        let home = Home::new(&format!(
            "extends = \"default\"\nroots = [\"{}\"]\n[names]\n\"k8s.example\" = \"127.0.0.1:{}\"\n[place.cloud]\nhosts = [\"k8s.example:6443\"]\nread = \"allow\"\n\
             write = \"allow\"\ndestroy = \"hold\"\n[approval]\npatience = \"60s\"\n",
            self.folder.path().join("ca.pem").display(),
            self.port
        ));
        home.write("work/kubeconfig", &kubeconfig("token: tok-of-a-test"));
        home
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("requests.log")).unwrap_or_default()
    }

    fn orders(&self) -> String {
        fs::read_to_string(self.folder.path().join("container/orders")).unwrap_or_default()
    }
}

fn kubeconfig(user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"https://k8s.example:6443\"}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u, namespace: shop}}}}]\ncurrent-context: x\n"
    )
}

/// Whoever runs a command in a container has another party act, so each waits: a no is printed, a yes runs it once, its input flows after the yes.
fn streams(words: &[&str], environment: &str, upgrade: &str) {
    let Some(cluster) = Cluster::start(words) else { return };
    let home = cluster.home();
    let going = home.start(&format!(
        "export KUBECONFIG=$PWD/kubeconfig {environment}; kubectl exec web -- cat orders nothing; echo code $?; kubectl exec web -- rm orders 2>&1; \
         kubectl get pods -o name; echo three | kubectl exec -i web -- tee -a orders; kubectl exec web -- rm orders && echo removed; echo end",
    ));
    let card = |held: &str| home.outside(&["show", held]).ended(0).out();
    let approve = |held: &str| home.outside(&["approve", held, "--confirm", "yes"]).ended(0);
    let mut seen = BTreeSet::new();
    let mut next = || home.another_hold(&mut seen);
    let first = next();
    let told = card(&first);
    assert!(told.contains("k8s.exec") && told.contains("/shop/pods/web") && told.contains("it runs cat"), "{told}");
    approve(&first);
    let second = next();
    assert!(card(&second).contains("DESTROY k8s.exec"), "{}", card(&second));
    home.outside(&["deny", &second, "--because", "the shop is open"]).ended(0);
    let third = next();
    assert!(card(&third).contains("input that is not seen"), "{}", card(&third));
    approve(&third);
    let fourth = next();
    assert_eq!(cluster.orders(), "one\ntwo\nthree\n", "it is there until somebody says yes");
    approve(&fourth);
    let out = going.finish().ended(0).out();
    for words in ["one\ntwo\n", "code 1", "Forbidden): agentbox", "the shop is open", "pod/web", "three\n", "removed", "end"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert_eq!(cluster.orders(), "", "removed after the yes");
    let opened = |what: &str| cluster.log().lines().filter(|line| line.contains("/exec?") && line.contains(what) && line.ends_with(upgrade)).count();
    assert_eq!((opened("command=rm"), opened("command=cat"), opened("command=tee")), (1, 1, 1), "each once, and not what was denied: {}", cluster.log());
    let log = home.log();
    assert!(log.contains("bytes sent,"), "how much flowed unread is written down: {log}");
}

#[test]
fn exec_over_websockets() {
    streams(&[], "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "websocket");
}

#[test]
fn exec_over_spdy() {
    streams(&[], "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "SPDY/3.1");
}

/// A server that has none: the client tries the other way by itself, and a no counts for both.
#[test]
fn exec_where_a_websocket_is_refused() {
    let Some(cluster) = Cluster::start(&["spdy"]) else { return };
    let home = cluster.home();
    let going = home.start("export KUBECONFIG=$PWD/kubeconfig KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true; kubectl exec web -- rm orders 2>&1; echo end");
    home.outside(&["deny", &home.hold(), "--because", "the shop is open"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("the shop is open") && out.contains("end"), "{out}");
    assert!(!cluster.log().contains("/exec"), "{}", cluster.log());
}

#[test]
fn a_forwarded_port_waits() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let home = cluster.home();
    let going = home.start(
        "export KUBECONFIG=$PWD/kubeconfig; kubectl port-forward pod/web 8080:80 >forward.log 2>&1 & until grep -q Forwarding forward.log; do sleep 0.1; done; \
         python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", 8080)); s.sendall(b\"hello\"); print(s.recv(9))'; kill $!; cat forward.log; echo end",
    );
    let held = home.hold();
    let card = home.outside(&["show", &held]).ended(0).out();
    assert!(card.contains("k8s.portforward"), "{card}");
    home.outside(&["approve", &held, "--confirm", "yes"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("b'HELLO'") && out.contains("end"), "{out}");
}

#[test]
fn apply() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let home = cluster.home();
    let map = |colour: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: made, namespace: shop}}\ndata: {{colour: {colour}}}\n");
    home.write("work/one.yaml", &map("green"));
    home.write("work/two.yaml", &map("white"));
    let out = home
        .run(
            "export KUBECONFIG=$PWD/kubeconfig; kubectl apply --validate=false -f one.yaml; kubectl apply --validate=false -f two.yaml; \
             kubectl get configmap made -o 'jsonpath={.data.colour}'; echo; kubectl apply --validate=false --server-side -f one.yaml; \
             kubectl get configmap made -o 'jsonpath={.data.colour}'; echo; kubectl diff -f two.yaml >/dev/null; echo end",
        )
        .ended(0);
    let (out, err) = (out.out(), out.err());
    for words in ["configmap/made created\n", "configmap/made configured\nwhite\n", "configmap/made serverside-applied\ngreen\n", "end"] {
        assert!(out.contains(words), "{words}: {out}{err}{}", cluster.log());
    }
}

#[test]
fn a_plugin_gives_the_token() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let home = cluster.home();
    home.write(
        "work/plugin.sh",
        "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"tok-of-a-test\"}}'\n",
    );
    home.write("work/kubeconfig", &kubeconfig("exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [plugin.sh], interactiveMode: Never}"));
    let out = home.run("export KUBECONFIG=$PWD/kubeconfig; kubectl get pods -o name; kubectl get configmap app -o 'jsonpath={.data.colour}'").ended(0).out();
    assert_eq!(out, "pod/web\nblue");
}
