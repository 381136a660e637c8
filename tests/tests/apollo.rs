//! Apollo's client in a box, with persisted queries: ordinary ones pass, by document and by hash, and a deletion that is named by its hash alone waits.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use agentbox_tests::{Home, Who, origin, skip};

const SERVER: &str = include_str!("../stand-ins/graphql.mjs");

/// What the client does, a word a step. Each step has a client of its own, which knows of no hash what the server knows.
const CLIENT: &str = r#"
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client/core/index.js";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries/index.js";

const uri = "http://api.example/graphql";
const sha256 = text => createHash("sha256").update(text).digest("hex");
const client = get => new ApolloClient({
  link: ApolloLink.from([new PersistedQueryLink({ sha256, useGETForHashedQueries: get }), new HttpLink({ uri })]),
  cache: new InMemoryCache(),
});
const LIST = gql`query List { volumes { id name } }`;
const RENAME = gql`mutation Rename($id: ID!, $name: String!) { volumeRename(id: $id, name: $name) { id name } }`;
const DELETE = gql`mutation Delete($id: ID!) { volumeDelete(id: $id) }`;
const steps = {
  list: () => client(false).query({ query: LIST }),
  get: () => client(true).query({ query: LIST }),
  rename: () => client(false).mutate({ mutation: RENAME, variables: { id: "v2", name: "renamed" } }),
  delete: () => client(false).mutate({ mutation: DELETE, variables: { id: "v1" } }),
  // Of a document that nobody has sent through this box.
  unknown: async () => {
    const extensions = { persistedQuery: { version: 1, sha256Hash: "ab".repeat(32) } };
    const answer = await fetch(uri, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ operationName: "Secret", variables: {}, extensions }) });
    return { data: await answer.json() };
  },
};
for (const step of process.argv.slice(2)) {
  try {
    console.log(step, JSON.stringify((await steps[step]()).data));
  } catch (error) {
    console.log(step, "failed:", error.message);
  }
}
"#;

struct Api {
    folder: tempfile::TempDir,
    server: Child,
    packages: PathBuf,
    port: u16,
}

impl Api {
    fn start() -> Option<Self> {
        if !skip::have(&["node", "npm"]) {
            return None;
        }
        let root = Command::new("npm").args(["root", "-g"]).output().expect("npm").stdout;
        let packages = PathBuf::from(String::from_utf8_lossy(&root).trim());
        if !packages.join("@apollo/client").is_dir() {
            skip::skip("not installed: npm:@apollo/client");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (server, line) = origin::serve_with(folder.path(), "node", "graphql.mjs", SERVER, &[&packages.display().to_string()]);
        Some(Self { folder, server, packages, port: line.trim().parse().expect("a port") })
    }

    fn home(&self, who: Who) -> Home {
        let home = Home::of(
            who,
            &format!(
                "extends = \"default\"\n[names]\n\"api.example\" = \"127.0.0.1:{}\"\n[place.api]\nhosts = [\"api.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n",
                self.port
            ),
        );
        home.write("work/client.mjs", CLIENT);
        home
    }

    /// The client, as a project has it: its packages beside its sources.
    fn client(&self, steps: &str) -> String {
        format!("mkdir -p node_modules; ln -sfn {}/@apollo node_modules/@apollo; node client.mjs {steps} 2>&1", self.packages.display())
    }

    fn lines(&self, name: &str) -> Vec<String> {
        read(&self.folder.path().join(name))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn read(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn ordinary_work_passes_by_document_and_by_hash() {
    for who in Who::each() {
        let Some(api) = Api::start() else { return };
        let home = api.home(who);
        let out = home.run(&api.client("list list get rename rename list")).ended(0).out();
        let lines: Vec<&str> = out.lines().collect();
        let first = r#"{"volumes":[{"__typename":"Volume","id":"v1","name":"first"},{"__typename":"Volume","id":"v2","name":"second"}]}"#;
        let data = |step: &str, json: &str| -> serde_json::Value {
            let line = lines.iter().find(|line| line.starts_with(step) && line.contains(json)).unwrap_or_else(|| panic!("{step} {json}: {out}"));
            serde_json::from_str(line.split_once(' ').expect("two words").1).expect("JSON")
        };
        assert_eq!(data("list", "first"), serde_json::from_str::<serde_json::Value>(first).expect("JSON"));
        assert_eq!((data("get", "first"), lines.len()), (data("list", "first"), 6), "{out}");
        assert!(lines[3].contains("renamed") && lines[4].contains("renamed") && lines[5].contains("renamed"), "{out}");
        // The broker asks for a document that it has not seen; once it has, the hash is enough.
        let requests = api.lines("requests.log");
        let expected = ["List hash document", "List hash -", "List hash -", "Rename hash document", "Rename hash -", "List hash -"];
        assert_eq!(requests, expected);
        assert!(home.holds().is_empty());
    }
}

#[test]
fn a_deletion_waits_whether_it_comes_by_document_or_by_hash() {
    let Some(api) = Api::start() else { return };
    let home = api.home(Who::Me);
    let mut seen = BTreeSet::new();
    // By document, since its hash is not known yet; denied.
    let going = home.start(&api.client("delete list"));
    let held = home.another_hold(&mut seen);
    let card = home.outside(&["show", &held]).ended(0).out();
    assert!(card.contains("graphql.volumeDelete") && card.contains("destroy") && card.contains("v1"), "{card}");
    home.outside(&["deny", &held, "--because", "it is still mounted"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("delete failed:") && out.contains("it is still mounted") && out.contains("\"v1\""), "{out}");
    assert!(api.lines("deleted.log").is_empty() && !api.lines("requests.log").iter().any(|line| line.starts_with("Delete")), "nothing was sent");
}

#[test]
fn a_deletion_by_its_hash_alone_is_judged_as_what_the_hash_stands_for() {
    let Some(api) = Api::start() else { return };
    let home = api.home(Who::Me);
    let mut seen = BTreeSet::new();
    let going = home.start(&api.client("delete delete list"));
    // By document: approved, so that the server knows it from now on.
    let first = home.another_hold(&mut seen);
    home.outside(&["approve", &first, "--confirm", "yes"]).ended(0);
    // By hash: the same card.
    let second = home.another_hold(&mut seen);
    let card = home.outside(&["show", &second]).ended(0).out();
    assert!(card.contains("graphql.volumeDelete") && card.contains("destroy") && card.contains("v1"), "{card}");
    assert_eq!(api.lines("requests.log"), ["Delete hash document"], "the second one has not left");
    home.outside(&["deny", &second, "--because", "once is enough"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.starts_with("delete {\"volumeDelete\":true}\ndelete failed:") && out.contains("once is enough"), "{out}");
    assert_eq!(api.lines("deleted.log"), ["v1"], "once");
}

#[test]
fn a_hash_that_stands_for_nothing_known_is_asked_for_and_then_waits() {
    let Some(api) = Api::start() else { return };
    let home = api.home(Who::Me);
    let going = home.start(&api.client("unknown unknown list"));
    let held = home.hold();
    let card = home.outside(&["show", &held]).ended(0).out();
    assert!(card.contains("opaque"), "{card}");
    home.outside(&["deny", &held, "--because", "nobody knows it"]).ended(0);
    let out = going.finish().ended(0).out();
    assert!(out.contains("PersistedQueryNotFound") && out.contains("nobody knows it") && out.contains("\"v1\""), "{out}");
    assert_eq!(api.lines("requests.log"), ["List hash document"], "no hash of an unknown document was sent on");
}
