//! What a command of Redis goes to: keys in databases, databases, or the server as a whole.

use std::borrow::Cow;

use agentbox_core::{Effect, Lineage, Resource, ResourceId};

/// Most keys of one command that are named.
const MOST_KEYS: usize = 32;

/// Something of the server that could be in any of its databases.
pub(super) fn anywhere() -> Resource {
    Resource::unplaced(ResourceId::new("redis", "server"))
}

/// Which words of a command are keys.
enum Keys {
    /// All after the name.
    All,
    /// All but the last one, which is how long to wait.
    AllButLast,
    /// Every second one: values stand between.
    EverySecond,
    First,
    FirstTwo,
    /// The second one: a word stands before it.
    Second,
    /// None: the database as a whole.
    Database,
    /// None: the server as a whole.
    Server,
}

fn keys_of(name: &str) -> Keys {
    match name {
        "del" | "unlink" | "exists" | "touch" | "mget" | "watch" | "sunion" | "sinter" | "sdiff" | "pfcount" | "pfmerge" => Keys::All,
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" => Keys::AllButLast,
        "mset" | "msetnx" => Keys::EverySecond,
        "rename" | "renamenx" | "smove" | "lmove" | "blmove" | "rpoplpush" | "brpoplpush" | "copy" => Keys::FirstTwo,
        "bitop" | "object" | "xgroup" | "xinfo" => Keys::Second,
        "eval" | "evalsha" | "eval_ro" | "evalsha_ro" | "fcall" | "fcall_ro" | "flushdb" | "keys" | "scan" | "dbsize" | "randomkey" | "xread"
        | "xreadgroup" | "blmpop" | "lmpop" | "bzmpop" | "zmpop" | "sintercard" | "zintercard" | "zdiff" | "zinter" | "zunion" | "msetex" | "multi"
        | "exec" | "discard" | "unwatch" => Keys::Database,
        "acl" | "asking" | "auth" | "bgrewriteaof" | "bgsave" | "client" | "cluster" | "command" | "config" | "debug" | "echo" | "failover" | "flushall"
        | "function" | "hello" | "info" | "lastsave" | "latency" | "lolwut" | "memory" | "migrate" | "module" | "monitor" | "ping" | "psubscribe" | "psync"
        | "publish" | "pubsub" | "punsubscribe" | "quit" | "readonly" | "readwrite" | "replconf" | "replicaof" | "reset" | "role" | "save" | "script"
        | "sentinel" | "shutdown" | "slaveof" | "slowlog" | "spublish" | "ssubscribe" | "subscribe" | "sunsubscribe" | "sync" | "time" | "unsubscribe"
        | "wait" | "waitaof" => Keys::Server,
        _ => Keys::First,
    }
}

/// What a command goes to: keys in databases, databases, or the server.
pub(super) fn resources(name: &str, words: &[Cow<'_, str>], databases: &[u32], effect: Effect) -> Vec<Resource> {
    let database = |number: u32| ResourceId::new("redis", &format!("database/{number}"));
    let key = |word: &Cow<'_, str>, also: Option<u32>| {
        let lines: Vec<Vec<ResourceId>> = databases.iter().copied().chain(also).map(|number| vec![database(number)]).collect();
        let lineage = if databases.is_empty() { Lineage::Unknown } else { Lineage::Known(lines) };
        Resource { id: ResourceId::new("redis", &format!("key/{word}")), lineage }
    };
    let whole = || {
        if databases.is_empty() {
            return vec![Resource::unplaced(ResourceId::new("redis", "database"))];
        }
        databases.iter().map(|number| Resource::rooted(database(*number))).collect()
    };
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<u32>().ok());
    let after = |wanted: &str| words.iter().position(|word| word.eq_ignore_ascii_case(wanted)).map(|at| at + 1);
    let rest = words.get(1..).unwrap_or_default();
    let named: Vec<&Cow<'_, str>> = match keys_of(name) {
        Keys::All => rest.iter().collect(),
        Keys::AllButLast => rest.iter().take(rest.len().saturating_sub(1)).collect(),
        Keys::EverySecond => rest.iter().step_by(2).collect(),
        Keys::FirstTwo => rest.iter().take(2).collect(),
        Keys::Second => rest.iter().skip(1).take(1).collect(),
        Keys::First if matches!(name, "sort" | "georadius" | "georadiusbymember") => {
            let target = ["store", "storedist"].into_iter().find_map(after).and_then(|at| words.get(at));
            rest.iter().take(1).chain(target).collect()
        }
        Keys::First => rest.iter().take(1).collect(),
        Keys::Database => return whole(),
        // Beyond reading and writing it is a loss in every database.
        Keys::Server if effect > Effect::Write => return vec![anywhere()],
        Keys::Server => return vec![Resource::rooted(ResourceId::new("redis", "server"))],
    };
    match name {
        "select" => {
            return vec![number(1).map_or_else(|| Resource::unplaced(ResourceId::new("redis", "database")), |number| Resource::rooted(database(number)))];
        }
        "swapdb" => {
            let both: Vec<Resource> = [1, 2].into_iter().filter_map(number).map(|number| Resource::rooted(database(number))).collect();
            return if both.len() == 2 { both } else { vec![anywhere()] };
        }
        _ => {}
    }
    // A key of another database.
    let also = match name {
        "move" => number(2),
        "copy" => after("db").and_then(number),
        _ => None,
    };
    let mut found: Vec<Resource> = named.iter().take(MOST_KEYS).map(|word| key(word, also)).collect();
    if named.len() > MOST_KEYS {
        // The strictest place that any of the others could be in decides.
        found.push(Resource::unplaced(ResourceId::new("redis", "key")));
    }
    if found.is_empty() { whole() } else { found }
}

#[cfg(test)]
mod tests {
    use agentbox_core::Effect::{Destroy, Read, Write};

    use super::*;

    fn of(text: &str, databases: &[u32], effect: Effect) -> Vec<String> {
        let words: Vec<Cow<'_, str>> = text.split(' ').map(Cow::Borrowed).collect();
        let shown = |resource: Resource| match resource.lineage {
            Lineage::Unknown => format!("{} anywhere", resource.id),
            Lineage::Known(lines) => {
                format!("{} {}", resource.id, lines.concat().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).trim_end().to_owned()
            }
        };
        resources(&words[0].to_ascii_lowercase(), &words, databases, effect).into_iter().map(shown).collect()
    }

    #[test]
    fn every_key_that_is_touched_is_named_with_its_database() {
        for (text, effect, wanted) in [
            ("DEL a b", Destroy, &["redis:key/a redis:database/3", "redis:key/b redis:database/3"][..]),
            ("MSET a 1 b 2", Write, &["redis:key/a redis:database/3", "redis:key/b redis:database/3"]),
            ("SORT a BY x STORE b", Destroy, &["redis:key/a redis:database/3", "redis:key/b redis:database/3"]),
            ("BLPOP a 0", Write, &["redis:key/a redis:database/3"]),
            ("COPY a b DB 7 REPLACE", Destroy, &["redis:key/a redis:database/3 redis:database/7", "redis:key/b redis:database/3 redis:database/7"]),
            ("FLUSHDB", Destroy, &["redis:database/3"]),
            ("FLUSHALL", Destroy, &["redis:server anywhere"]),
            ("SWAPDB 0 1", Destroy, &["redis:database/0", "redis:database/1"]),
            ("SELECT 5", Read, &["redis:database/5"]),
            ("PING", Read, &["redis:server"]),
        ] {
            assert_eq!(of(text, &[3], effect), wanted, "{text}");
        }
        assert_eq!(of("GET a", &[0, 1], Read), ["redis:key/a redis:database/0 redis:database/1"]);
        assert_eq!(of("GET a", &[], Read), ["redis:key/a anywhere"]);
        let many = format!("DEL{}", " k".repeat(40));
        let all = of(&many, &[0], Destroy);
        assert_eq!((all.len(), all[32].as_str()), (33, "redis:key anywhere"), "the rest could be anything");
    }
}
