//! Client certificates with real clients: the agent has a placeholder of it, and the far side sees the real one, shown by the process that holds it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Child, Command},
};

use agentbox_tests::{
    Finished, Going, Home, Who, certificates,
    origin::serve_with,
    process::{finish, until},
    skip,
};
use base64::Engine as _;
use tempfile::TempDir;

const KUBERNETES: &str = include_str!("../stand-ins/kubernetes.py");

/// An API server that takes certificates of its authority alone.
struct Server {
    child: Child,
    folder: TempDir,
    port: String,
}

impl Server {
    fn start() -> Option<Self> {
        if !skip::have(&["kubectl", "python3", "openssl", "curl"]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
        certificates::make(folder.path());
        fs::write(folder.path().join("token.txt"), "none").expect("token.txt");
        fs::write(folder.path().join("client.ext"), "basicConstraints = CA:FALSE\nextendedKeyUsage = clientAuth\n").expect("client.ext");
        openssl(folder.path(), "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=dev/CN=anna -keyout client.key -out client.csr");
        openssl(folder.path(), "x509 -req -days 2 -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile client.ext -out client.crt");
        let (child, port) = serve_with(folder.path(), "python3", "kubernetes.py", KUBERNETES, &["certificates"]);
        Some(Self { child, folder, port: port.trim().to_owned() })
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn kubeconfig(&self) -> String {
        let data = |name: &str| base64::engine::general_purpose::STANDARD.encode(self.read(name));
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"https://k8s.example:6443\"}}}}]\n\
             users: [{{name: u, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u, namespace: shop}}}}]\ncurrent-context: x\n",
            data("client.crt"),
            data("client.key")
        )
    }

    /// A protected place in which all is allowed but deletions: a foreign credential alone makes anything else wait.
    fn policy(&self, more: &str) -> String {
        let source = "command:kubectl config view --raw -o go-template='{{range .users}}{{index .user \"client-certificate-data\" | base64decode}}{{index .user \"client-key-data\" | base64decode}}{{end}}'";
        format!(
            "extends = \"default\"\nroots = [\"{}\"]\n[names]\n\"k8s.example\" = \"127.0.0.1:{port}\"\n\"tls.example\" = \"127.0.0.1:{port}\"\n\
             [place.cluster]\nprotected = true\nhosts = [\"k8s.example:6443\", \"tls.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [credential.cluster]\nsource = '''{source}'''\nfor = [\"k8s.example\"]\nfiles = [\"~/.kube/config\"]\n{more}",
            self.folder.path().join("ca.pem").display(),
            port = self.port
        )
    }

    /// Nothing that the box saw or that was written down has the key in it.
    fn kept_its_key(&self, home: &Home, finished: &Finished) {
        let key = self.read("client.key");
        let base64 = base64::engine::general_purpose::STANDARD.encode(&key);
        let log = home.outside(&["log", "--json"]).ended(0).out();
        for secret in [key.lines().nth(1).expect("a line"), base64.as_str()] {
            for text in [finished.out(), finished.err(), log.clone()] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, line: &str) {
    finish(Command::new("openssl").args(line.split(' ')).current_dir(folder)).ended(0);
}

#[test]
fn kubectl_shows_a_certificate_that_it_does_not_have() {
    let Some(server) = Server::start() else { return };
    for who in Who::each() {
        let home = Home::of(who, &server.policy(""));
        home.write("home/.kube/config", &server.kubeconfig());
        let going = home.start(
            "cat ~/.kube/config; kubectl get pods -o name; kubectl patch configmap app -p '{\"data\":{\"colour\":\"red\"}}'; kubectl get configmap app -o 'jsonpath={.data.colour}'; echo; \
             kubectl delete pod web --wait=false 2>&1; echo end",
        );
        let id = home.hold();
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains("k8s.delete") && card.contains("cluster in the client certificate"), "{card}");
        home.outside(&["deny", &id, "--because", "not that one"]).ended(0);
        let finished = going.finish().ended(0);
        let out = finished.out();
        for words in ["client-key-data: LS0t", "pod/web\n", "configmap/app patched", "red\n", "not that one", "end\n"] {
            assert!(out.contains(words), "{words}: {out}\n{}", finished.err());
        }
        server.kept_its_key(&home, &finished);
    }
    let subjects = server.read("subjects.log");
    assert!(subjects.lines().count() > 0 && subjects.lines().all(|line| line.starts_with("anna ")), "{subjects}");
    assert!(!subjects.contains("DELETE"), "{subjects}");
}

#[test]
fn another_certificate_is_foreign_and_the_own_one_is_for_its_hosts() {
    let Some(server) = Server::start() else { return };
    let home = Home::new(&server.policy("env = [\"CLUSTER_PEM\"]\n"));
    home.write("home/.kube/config", &server.kubeconfig());
    let text = "printenv CLUSTER_PEM > own.pem; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=found -keyout found.key -out found.crt 2>/dev/null; \
        cat found.crt found.key > found.pem; c() { curl -sS -o answer -w '%{http_code}\\n' \"$@\"; }; \
        c --cert own.pem https://k8s.example:6443/api/v1/namespaces/shop/pods; c --cert found.pem https://k8s.example:6443/api/v1/namespaces/shop/pods; c https://k8s.example:6443/version; \
        c --cert own.pem https://tls.example/version; c --data-binary @own.pem https://tls.example/x; $AGENTBOX why";
    let mut command = home.script(&["--unattended", "--exit-code", "agent"], text);
    let finished = finish(&mut command).ended(0);
    // Its own; a foreign one waits; none is shown for who shows none, nor at another host; and a placeholder sent as text is denied there.
    assert!(finished.out().starts_with("200\n403\n502\n502\n403\n"), "{}\n{}", finished.out(), finished.err());
    let log = home.outside(&["log", "--json"]).ended(0).out();
    assert!(log.contains("(unknown, client certificate)") && log.contains("it is not for this host"), "{log}");
    assert_eq!(server.read("subjects.log").lines().count(), 1, "{}", server.read("subjects.log"));
    server.kept_its_key(&home, &finished);
}

#[test]
fn an_ended_certificate_is_not_shown_any_more_on_a_connection_that_stays_open() {
    let Some(server) = Server::start() else { return };
    let home = Home::new(&server.policy("env = [\"CLUSTER_PEM\"]\n"));
    home.write("home/.kube/config", &server.kubeconfig());
    let ask = "import http.client, os, ssl, time\n\
        context = ssl.create_default_context(); open('own.pem', 'w').write(os.environ['CLUSTER_PEM']); context.load_cert_chain('own.pem')\n\
        connection = http.client.HTTPSConnection('k8s.example', 6443, context=context)\n\
        def ask():\n    connection.request('GET', '/version'); answer = connection.getresponse(); answer.read(); print(answer.status, flush=True)\n\
        ask()\nwhile not os.path.exists('ended'): time.sleep(0.05)\nask()\n";
    home.write("work/ask.py", ask);
    let mut command = home.script(&["--exit-code", "agent"], "python3 ask.py");
    let going = Going::start(&mut command);
    going.says("200\n");
    home.outside(&["lease", "end", "cluster"]).ended(0);
    home.write("work/ended", "");
    let finished = going.finish().ended(0);
    assert_eq!(finished.out(), "200\n403\n", "{}", finished.err());
    until("it is noted", || home.log().contains("was ended by"), || home.log());
    server.kept_its_key(&home, &finished);
}
