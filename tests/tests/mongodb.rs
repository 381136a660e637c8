//! A real MongoDB driver in a box, against a stand-in server: ordinary work passes untouched, what destroys waits, and the session stays usable.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

use agentbox_tests::{Going, Home, process::finish, skip};

/// Python as Debian brings it, with its driver.
const PYTHON: &str = "/usr/bin/python3";

const SERVER: &str = include_str!("../stand-ins/mongodb.py");

/// The server, and a policy in which `db.example:27017` leads there.
fn ready() -> Option<(Going, String)> {
    let there = Command::new(PYTHON).args(["-c", "import pymongo"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        skip::skip("not installed: python3-pymongo");
        return None;
    }
    let server = Going::start(Command::new(PYTHON).args(["-u", "-c", SERVER]));
    server.says("port ");
    let port = server.out().lines().next().and_then(|line| line.strip_prefix("port ").map(str::to_owned)).expect("a port");
    let policy = format!(
        "extends = \"default\"\n[names]\n\"db.example\" = \"127.0.0.1:{port}\"\n\
         [place.databases]\nhosts = [\"db.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
         [place.production]\nresources = [\"mongodb:database/shop\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
         [place.staging]\nresources = [\"mongodb:database/other\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n"
    );
    Some((server, policy))
}

const WORK: &str = r#"
import pymongo
client = pymongo.MongoClient("mongodb://db.example:27017/?directConnection=true", serverSelectionTimeoutMS=30000)
client.admin.command("ping")
t = client.shop.t
t.insert_many([{"_id": number, "body": "x" * 1000} for number in range(2000)])
assert t.find_one({"_id": 7})["body"] == "x" * 1000
assert t.count_documents({}) == 2000
assert len(list(t.find({}))) == 2000
for number in range(200):
    t.insert_one({"_id": 5000 + number})
client.shop.get_collection("t", write_concern=pymongo.WriteConcern(w=0)).insert_one({"_id": "unheard"})
client.other.t.insert_one({"_id": 1})
assert client.other.t.delete_many({}).deleted_count == 1
client.drop_database("other")
print("worked")
"#;

#[test]
fn ordinary_work_passes_untouched() {
    let Some((_server, policy)) = ready() else { return };
    let home = Home::new(&policy);
    home.write("work/work.py", WORK);
    let ended = finish(&mut home.script(&["--unattended"], &format!("{PYTHON} work.py")));
    assert_eq!((ended.code, ended.out().as_str()), (0, "worked\n"), "{}", ended.err());
    home.outside(&["log", "--verify"]).ended(0);
}

const DESTROYS: &str = r#"
import pymongo
client = pymongo.MongoClient("mongodb://db.example:27017/?directConnection=true", serverSelectionTimeoutMS=30000)
t = client.shop.t
t.insert_many([{"_id": number} for number in range(10)])
def attempt(deed):
    try:
        print(deed(), flush=True)
    except pymongo.errors.OperationFailure as error:
        print(error.code, error.details["errmsg"], flush=True)
    print(len(list(t.find({}))), flush=True)
attempt(lambda: t.delete_many({}).deleted_count)
attempt(lambda: client.drop_database("shop"))
attempt(lambda: list(t.aggregate([{"$match": {}}, {"$out": "t"}])))
attempt(lambda: t.delete_many({}).deleted_count)
"#;

#[test]
fn what_destroys_waits_passes_once_and_a_no_leaves_the_session_usable() {
    let Some((server, policy)) = ready() else { return };
    let home = Home::new(&policy);
    home.write("work/destroys.py", DESTROYS);
    let going = home.start(&format!("{PYTHON} destroys.py; echo end; $AGENTBOX why"));
    for (action, shown) in [("mongodb.delete", "delete: \"t\""), ("mongodb.dropDatabase", "dropDatabase: 1"), ("mongodb.out", "$out: \"t\"")] {
        let cards = home.waiting(1);
        let id = cards[0]["id"].as_str().expect("an id").to_owned();
        assert!(cards[0]["operations"].as_array().expect("operations").iter().any(|operation| operation["action"] == action), "{cards:?}");
        assert_eq!(cards[0]["place"].as_str(), Some("production"), "{cards:?}");
        let card = home.outside(&["show", &id]).ended(0).out();
        assert!(card.contains(shown) && card.contains("mongodb://db.example:27017"), "{card}");
        home.outside(&["deny", &id, "--because", "not today"]).ended(0);
    }
    let id = home.hold();
    assert!(!server.out().contains("delete shop.t") && !server.out().contains("dropDatabase"), "nothing is sent before the yes: {}", server.out());
    home.outside(&["approve", &id, "--confirm", "yes"]).ended(0);
    let out = going.finish().ended(0).out();
    let lines: Vec<&str> = out.lines().collect();
    for pair in lines[..6].chunks(2) {
        assert!(pair[0].starts_with("13 agentbox: refused: A person said no, because: not today") && pair[1] == "10", "{out}");
    }
    assert_eq!(lines[6..9], ["10", "0", "end"], "{out}");
    assert_eq!(server.out().matches("delete shop.t").count(), 1, "{}", server.out());
    assert!(out.contains("mongodb://db.example"), "why tells it: {out}");
}
