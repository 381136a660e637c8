//! `kubectl` and `aws` as people use them: ordinary work passes, what destroys waits, and the client prints why.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use agentbox_tests::{
    Home, certificates,
    origin::serve,
    process::until,
    skip::{self, PATH},
};

const KUBERNETES: &str = include_str!("../stand-ins/kubernetes.py");

/// Where `cargo xtask tools` puts what pip brings.
const MOTO: &str = "/usr/local/lib/agentbox-tools/bin/moto_server";

/// A far side that ends with the test.
struct Far(Child);

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn policy(ca: &str, names: &[&str], port: &str, place: &str) -> String {
    let names: String = names.iter().map(|name| format!("\"{name}\" = \"127.0.0.1:{port}\"\n")).collect();
    format!(
        "extends = \"default\"\nroots = [\"{ca}\"]\n[names]\n{names}[place.cloud]\nhosts = [{place}]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
         [approval]\npatience = \"60s\"\n"
    )
}

#[test]
fn kubectl() {
    if !skip::have(&["kubectl", "python3", "openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates::make(folder.path());
    fs::write(folder.path().join("token.txt"), "tok-of-a-test").expect("token.txt");
    let (server, port) = serve(folder.path(), "python3", "kubernetes.py", KUBERNETES);
    let _server = Far(server);
    let ca = folder.path().join("ca.pem").display().to_string();
    let home = Home::new(&policy(&ca, &["k8s.example"], port.trim(), "\"k8s.example:6443\""));
    home.write(
        "work/kubeconfig",
        "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://k8s.example:6443\"}}]\nusers: [{name: u, user: {token: tok-of-a-test}}]\n\
         contexts: [{name: x, context: {cluster: c, user: u, namespace: shop}}]\ncurrent-context: x\n",
    );
    let going = home.start(
        "export KUBECONFIG=$PWD/kubeconfig; kubectl get pods -o name; kubectl get configmap app -o 'jsonpath={.data.colour}'; echo; \
         kubectl delete pod web --dry-run=server; kubectl create configmap new --from-literal=a=b; kubectl patch configmap app -p '{\"data\":{\"colour\":\"red\"}}'; \
         kubectl delete pod web --wait=false 2>&1; kubectl get pods -o name; kubectl delete configmap new --wait=false; echo end",
    );
    let first = home.hold();
    let card = home.outside(&["show", &first]).ended(0).out();
    assert!(card.contains("k8s.delete") && card.contains("/shop/pods/web"), "{card}");
    home.outside(&["deny", &first, "--because", "the shop is open"]).ended(0);
    let second = home.hold();
    home.outside(&["approve", &second, "--confirm", "yes"]).ended(0);
    let out = going.finish().ended(0).out();
    for words in ["pod/web\nblue\n", "(server dry run)", "configmap/new created", "configmap/app patched", "configmap \"new\" deleted", "end"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(out.contains("Error from server (Forbidden): agentbox:") && out.contains("the shop is open"), "kubectl prints why: {out}");
    assert_eq!(out.matches("pod/web").count(), 2, "it is there still: {out}");
    let log = fs::read_to_string(folder.path().join("requests.log")).expect("requests.log");
    let deletions = |what: &str| log.lines().filter(|line| line.starts_with("DELETE") && line.contains(what)).count();
    assert_eq!((deletions("/pods/web"), deletions("/configmaps/new")), (1, 1), "the dry run, and what was approved, once: {log}");
}

#[test]
fn aws() {
    if !skip::have(&["aws", "openssl"]) {
        return;
    }
    if fs::metadata(MOTO).is_err() {
        return skip::skip("not installed: moto");
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates::make(folder.path());
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port().to_string();
    let log = fs::File::create(folder.path().join("moto.log")).expect("a log");
    let mut moto = Command::new(MOTO);
    moto.args(["-H", "127.0.0.1", "-p", &port, "-s", "-c", "cert.pem", "-k", "key.pem"]).current_dir(folder.path()).env_clear().env("PATH", PATH);
    let server = moto.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("moto starts");
    let _server = Far(server);
    let told = || fs::read_to_string(folder.path().join("moto.log")).unwrap_or_default();
    until("moto listens", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok(), told);
    let hosts = ["s3.eu-west-1.amazonaws.com", "shop-files.s3.eu-west-1.amazonaws.com", "rds.eu-west-1.amazonaws.com"];
    let ca = folder.path().join("ca.pem").display().to_string();
    let home = Home::new(&policy(&ca, &hosts, &port, "\"*.amazonaws.com\""));
    let going = home.start(
        "export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY AWS_DEFAULT_REGION=eu-west-1 AWS_PAGER='' AWS_MAX_ATTEMPTS=1; \
         echo hello > f; aws s3 mb s3://shop-files; aws s3 cp f s3://shop-files/f; aws s3 cp s3://shop-files/f -; aws s3 ls s3://shop-files; \
         aws rds create-db-instance --db-instance-identifier shop --db-instance-class db.t3.micro --engine postgres --query DBInstance.DBInstanceIdentifier; \
         aws rds delete-db-instance --db-instance-identifier shop --skip-final-snapshot 2>&1; \
         aws rds describe-db-instances --query 'DBInstances[].DBInstanceIdentifier'; aws s3 rm s3://shop-files/f; aws s3 ls s3://shop-files; echo end",
    );
    let first = home.hold();
    let card = home.outside(&["show", &first]).ended(0).out();
    assert!(card.contains("aws.rds.DeleteDBInstance"), "{card}");
    home.outside(&["deny", &first, "--because", "it is the shop's only one"]).ended(0);
    let second = home.hold();
    home.outside(&["approve", &second, "--confirm", "yes"]).ended(0);
    let ended = going.finish();
    let (out, told) = (ended.out(), format!("{}\n{}\n{}", ended.out(), ended.err(), told()));
    for words in ["upload: ./f to s3://shop-files/f", "hello", "(AccessDenied)", "it is the shop's only one", "\"shop\"", "delete: s3://shop-files/f", "end"] {
        assert!(out.contains(words), "{words}: {told}");
    }
    assert_eq!(out.matches(" f\n").count(), 1, "it is gone after the yes: {told}");
}
