//! Redis and what speaks its protocol: what a command does, by its name and the words that choose its meaning.
//!
//! The lists follow the command metadata of Redis 7.4 (`src/commands/*.json`: flags and ACL categories) and of the modules of Redis Stack 7.4.

use std::borrow::Cow;

use agentbox_core::{Delegation, Effect, Operation, Reach};

use super::{
    UNCLEAR,
    redis_keys::{anywhere, resources},
};

/// Commands that only read, or only speak of the connection.
const READ: &[&str] = &[
    "asking",
    "auth",
    "bf.card",
    "bf.exists",
    "bf.info",
    "bf.mexists",
    "bf.scandump",
    "bitcount",
    "bitfield_ro",
    "bitpos",
    "cf.count",
    "cf.exists",
    "cf.info",
    "cf.mexists",
    "cf.scandump",
    "cms.info",
    "cms.query",
    "command",
    "dbsize",
    "digest",
    "dump",
    "echo",
    "exists",
    "expiretime",
    "ft._list",
    "ft.aggregate",
    "ft.dictdump",
    "ft.explain",
    "ft.explaincli",
    "ft.info",
    "ft.profile",
    "ft.search",
    "ft.spellcheck",
    "ft.sugget",
    "ft.suglen",
    "ft.syndump",
    "ft.tagvals",
    "geodist",
    "geohash",
    "geopos",
    "georadius_ro",
    "georadiusbymember_ro",
    "geosearch",
    "get",
    "getbit",
    "getrange",
    "graph.explain",
    "graph.ro_query",
    "hello",
    "hexists",
    "hexpiretime",
    "hget",
    "hgetall",
    "hkeys",
    "hlen",
    "hmget",
    "hpexpiretime",
    "hpttl",
    "hrandfield",
    "hscan",
    "hstrlen",
    "httl",
    "hvals",
    "info",
    "json.arrindex",
    "json.arrlen",
    "json.get",
    "json.mget",
    "json.objkeys",
    "json.objlen",
    "json.resp",
    "json.strlen",
    "json.type",
    "keys",
    "lastsave",
    "lcs",
    "lindex",
    "llen",
    "lolwut",
    "lpos",
    "lrange",
    "mget",
    "monitor",
    "object",
    "pexpiretime",
    "pfcount",
    "ping",
    "psubscribe",
    "pttl",
    "punsubscribe",
    "quit",
    "randomkey",
    "readonly",
    "readwrite",
    "role",
    "scan",
    "scard",
    "sdiff",
    "select",
    "sinter",
    "sintercard",
    "sismember",
    "smembers",
    "smismember",
    "srandmember",
    "sscan",
    "ssubscribe",
    "strlen",
    "subscribe",
    "substr",
    "sunion",
    "sunsubscribe",
    "tdigest.byrank",
    "tdigest.cdf",
    "tdigest.info",
    "tdigest.max",
    "tdigest.min",
    "tdigest.quantile",
    "tdigest.rank",
    "time",
    "topk.count",
    "topk.info",
    "topk.list",
    "topk.query",
    "touch",
    "ts.get",
    "ts.info",
    "ts.mget",
    "ts.mrange",
    "ts.mrevrange",
    "ts.queryindex",
    "ts.range",
    "ts.revrange",
    "ttl",
    "type",
    "unsubscribe",
    "vcard",
    "vdim",
    "vemb",
    "vgetattr",
    "vinfo",
    "vlinks",
    "vrandmember",
    "vsim",
    "wait",
    "waitaof",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xrevrange",
    "zcard",
    "zcount",
    "zdiff",
    "zinter",
    "zintercard",
    "zlexcount",
    "zmscore",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrank",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
];

/// Commands that change something and lose nothing that was not about to be replaced by themselves.
const WRITE: &[&str] = &[
    "append",
    "bf.add",
    "bf.insert",
    "bf.loadchunk",
    "bf.madd",
    "bf.reserve",
    "bgrewriteaof",
    "bgsave",
    "bitfield",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "cf.add",
    "cf.addnx",
    "cf.insert",
    "cf.insertnx",
    "cf.loadchunk",
    "cf.reserve",
    "cms.incrby",
    "cms.initbydim",
    "cms.initbyprob",
    "cms.merge",
    "decr",
    "decrby",
    "discard",
    "exec",
    "failover",
    "ft.alias",
    "ft.aliasadd",
    "ft.aliasupdate",
    "ft.alter",
    "ft.config",
    "ft.create",
    "ft.cursor",
    "ft.dictadd",
    "ft.sugadd",
    "ft.synupdate",
    "geoadd",
    "georadius",
    "georadiusbymember",
    "getex",
    "getset",
    "hgetex",
    "hincrby",
    "hincrbyfloat",
    "hmset",
    "hpersist",
    "hset",
    "hsetex",
    "hsetnx",
    "incr",
    "incrby",
    "incrbyfloat",
    "json.arrappend",
    "json.arrinsert",
    "json.merge",
    "json.mset",
    "json.numincrby",
    "json.nummultby",
    "json.set",
    "json.strappend",
    "json.toggle",
    "linsert",
    "lmove",
    "lmpop",
    "lpop",
    "lpush",
    "lpushx",
    "lset",
    "move",
    "mset",
    "msetex",
    "msetnx",
    "multi",
    "persist",
    "pfadd",
    "pfmerge",
    "pfselftest",
    "psetex",
    "publish",
    "renamenx",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "save",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "smove",
    "spublish",
    "tdigest.add",
    "tdigest.create",
    "tdigest.merge",
    "topk.add",
    "topk.incrby",
    "topk.reserve",
    "ts.add",
    "ts.alter",
    "ts.create",
    "ts.createrule",
    "ts.decrby",
    "ts.incrby",
    "ts.madd",
    "unwatch",
    "vadd",
    "vsetattr",
    "watch",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xreadgroup",
    "xsetid",
    "zadd",
    "zincrby",
    "zmpop",
    "zpopmax",
    "zpopmin",
];

/// Commands that lose keys, members or samples, stop the server or give its data to another.
const DESTROY: &[&str] = &[
    "bitop",
    "cf.del",
    "del",
    "delex",
    "flushall",
    "flushdb",
    "ft.aliasdel",
    "ft.dictdel",
    "ft.drop",
    "ft.dropindex",
    "ft.sugdel",
    "georadius.store",
    "geosearchstore",
    "getdel",
    "graph.delete",
    "hdel",
    "hgetdel",
    "json.arrpop",
    "json.arrtrim",
    "json.clear",
    "json.del",
    "json.forget",
    "lrem",
    "ltrim",
    "pfdebug",
    "psync",
    "rename",
    "replconf",
    "replicaof",
    "restore-asking",
    "sdiffstore",
    "shutdown",
    "sinterstore",
    "slaveof",
    "sort.store",
    "spop",
    "srem",
    "sunionstore",
    "swapdb",
    "sync",
    "tdigest.reset",
    "ts.del",
    "ts.deleterule",
    "unlink",
    "vrem",
    "xackdel",
    "xdel",
    "xdelex",
    "xtrim",
    "zdiffstore",
    "zinterstore",
    "zrangestore",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zunionstore",
];

/// The database that a connection begins with.
pub(super) const FIRST_DATABASE: &[u32] = &[0];

/// What one command does where the selected database is one of `databases`; none of them says that it is not known.
#[must_use]
pub(super) fn judge(command: &[impl AsRef<[u8]>], databases: &[u32]) -> Vec<Operation> {
    let Some(name) = command.first() else { return Vec::new() };
    let words: Vec<Cow<'_, str>> = command.iter().map(|word| String::from_utf8_lossy(word.as_ref())).collect();
    let name = String::from_utf8_lossy(name.as_ref()).to_ascii_lowercase();
    let upper = |index: usize| words.get(index).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let has = |word: &str| words.iter().skip(1).any(|one| one.eq_ignore_ascii_case(word));
    let number = |index: usize| words.get(index).and_then(|word| word.trim().parse::<i128>().ok());
    let (effect, why): (Effect, &str) = match name.as_str() {
        "set" if words.len() >= 4 && expires_at_once(&words) => (Effect::Destroy, "sets a value that is gone at once"),
        "expire" | "pexpire" | "expireat" | "pexpireat" => expiry(&name, number(2)),
        "hexpire" | "hpexpire" | "hexpireat" | "hpexpireat" => expiry(&name, number(2)),
        "getex" if expires_at_once(&words) => (Effect::Destroy, "lets a value expire at once"),
        "setex" | "psetex" if number(2).is_some_and(|seconds| seconds <= 0) => (Effect::Destroy, "lets a value expire at once"),
        "copy" if has("replace") => (Effect::Destroy, "overwrites a key"),
        "copy" => (Effect::Write, "copies a key"),
        "restore" if has("replace") => (Effect::Destroy, "overwrites a key"),
        "restore" => (Effect::Write, "makes a key"),
        "migrate" if has("copy") => (Effect::Write, "copies keys to another server"),
        "migrate" => (Effect::Destroy, "moves keys to another server"),
        "sort" | "sort_ro" if has("store") => (Effect::Destroy, "overwrites a key"),
        "sort" | "sort_ro" => (Effect::Read, "reads"),
        "georadius" | "georadiusbymember" if has("store") || has("storedist") => (Effect::Destroy, "overwrites a key"),
        "xadd" if empties(&words) => (Effect::Destroy, "empties a stream"),
        "hsetex" if expires_at_once(&words) => (Effect::Destroy, "lets a field expire at once"),
        "failover" if has("force") => (Effect::Destroy, "what the other server does not have yet is lost"),
        "replicaof" | "slaveof" if upper(1) == "NO" && upper(2) == "ONE" => (Effect::Write, "becomes a primary"),
        "config" => config(&words),
        "client" => match upper(1).as_str() {
            "KILL" | "PAUSE" | "UNPAUSE" | "UNBLOCK" | "SETNAME" | "SETINFO" | "REPLY" | "TRACKING" | "CACHING" | "NO-EVICT" | "NO-TOUCH" => {
                (Effect::Write, "steers connections")
            }
            _ => (Effect::Read, "tells of connections"),
        },
        "cluster" => match upper(1).as_str() {
            "FAILOVER" if has("force") || has("takeover") => (Effect::Destroy, "what the other server does not have yet is lost"),
            "FORGET" | "RESET" | "FLUSHSLOTS" | "DELSLOTS" | "DELSLOTSRANGE" | "REPLICATE" | "SETSLOT" => {
                (Effect::Destroy, "takes a node or its slots out of the cluster")
            }
            "FAILOVER" | "MEET" | "ADDSLOTS" | "ADDSLOTSRANGE" | "BUMPEPOCH" | "SAVECONFIG" | "SET-CONFIG-EPOCH" => (Effect::Write, "changes the cluster"),
            _ => (Effect::Read, "tells of the cluster"),
        },
        "function" => match upper(1).as_str() {
            "FLUSH" | "DELETE" => (Effect::Destroy, "deletes functions"),
            "RESTORE" if has("flush") || has("replace") => (Effect::Destroy, "replaces functions"),
            "LOAD" if has("replace") => (Effect::Destroy, "replaces functions"),
            "LOAD" | "RESTORE" | "KILL" => (Effect::Write, "changes functions"),
            _ => (Effect::Read, "tells of functions"),
        },
        "script" => match upper(1).as_str() {
            "FLUSH" | "LOAD" | "KILL" | "DEBUG" => (Effect::Write, "changes the cache of scripts"),
            _ => (Effect::Read, "tells of scripts"),
        },
        "acl" => match upper(1).as_str() {
            "DELUSER" => (Effect::Destroy, "removes users"),
            "LOAD" => (Effect::Destroy, "replaces the users by those of a file"),
            "SETUSER" | "SAVE" => (Effect::Write, "changes users"),
            "LOG" if upper(2) == "RESET" => (Effect::Destroy, "empties a log of security"),
            _ => (Effect::Read, "tells of users"),
        },
        "latency" | "slowlog" if upper(1) == "RESET" => (Effect::Write, "empties statistics"),
        "latency" | "slowlog" => (Effect::Read, "tells statistics"),
        "memory" if upper(1) == "PURGE" => (Effect::Write, "gives memory back"),
        "memory" => (Effect::Read, "tells of memory"),
        "xinfo" | "pubsub" => (Effect::Read, "reads"),
        "xgroup" => match upper(1).as_str() {
            "DESTROY" | "DELCONSUMER" => (Effect::Destroy, "removes a group or a consumer with what it has not finished"),
            _ => (Effect::Write, "changes a group"),
        },
        "debug" => match upper(1).as_str() {
            "SLEEP" | "SET-ACTIVE-EXPIRE" | "JMAP" | "CHANGE-REPL-ID" => (Effect::Write, "steers the server"),
            "OBJECT" | "HELP" | "LISTPACK" | "SDSLEN" | "DIGEST" | "HTSTATS" | "STRINGMATCH-LEN" => (Effect::Read, "reads"),
            _ => (Effect::Destroy, "may lose data or stop the server"),
        },
        "module" => match upper(1).as_str() {
            "LIST" | "HELP" => (Effect::Read, "lists modules"),
            _ => (Effect::Opaque, "loads or unloads code"),
        },
        "sentinel" => match upper(1).as_str() {
            "REMOVE" | "RESET" | "SIMULATE-FAILURE" | "MONITOR" => (Effect::Destroy, "changes what the sentinels guard"),
            "FAILOVER" | "SET" | "FLUSHCONFIG" => (Effect::Write, "changes the sentinels"),
            _ => (Effect::Read, "tells of the sentinels"),
        },
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" => script(&name, command.get(1).map(AsRef::as_ref).unwrap_or_default()),
        "fcall_ro" => (Effect::Read, "calls a function that may only read"),
        "fcall" => (Effect::Opaque, "calls a function that is not read here"),
        "graph.query" => (Effect::Opaque, "runs a query that is not read here"),
        "json.debug" => (Effect::Read, "reads"),
        "reset" => (Effect::Write, "resets the connection"),
        "ft.aggregate" | "ft.search" => (Effect::Read, "reads"),
        one if READ.binary_search(&one).is_ok() => (Effect::Read, "reads"),
        one if WRITE.binary_search(&one).is_ok() => (Effect::Write, "changes what is stored"),
        one if DESTROY.binary_search(&one).is_ok() => (Effect::Destroy, "loses what is stored"),
        _ => (Effect::Opaque, "what the command does is not known"),
    };
    let action = if effect == Effect::Opaque && why.ends_with("not known") { UNCLEAR.to_owned() } else { format!("redis.{name}") };
    let resources = if effect == Effect::Opaque { vec![anywhere()] } else { resources(&name, &words, databases, effect) };
    let mut operations: Vec<Operation> = resources.into_iter().map(|resource| Operation::new(effect, &action, resource, why)).collect();
    if matches!(name.as_str(), "migrate" | "replicaof" | "slaveof") && effect != Effect::Write {
        let why = "the server connects elsewhere";
        for operation in &mut operations {
            operation.delegates = Some(Delegation { reach: Reach::Anywhere, why: why.to_owned() });
        }
    }
    operations
}

/// Shortest time to live that is not a deletion in disguise, in milliseconds.
const SHORTEST_LIFE: i128 = 1000;

/// A moment in seconds that is long past: 2026-01-01.
const LONG_PAST: i128 = 1_767_225_600;

fn expiry(name: &str, value: Option<i128>) -> (Effect, &'static str) {
    const GONE: (Effect, &str) = (Effect::Destroy, "lets it expire at once");
    let Some(value) = value else { return (Effect::Destroy, "when it expires cannot be read") };
    let gone = match name {
        "expire" | "hexpire" => value * 1000 < SHORTEST_LIFE,
        "pexpire" | "hpexpire" => value < SHORTEST_LIFE,
        "expireat" | "hexpireat" => value < LONG_PAST,
        _ => value < LONG_PAST * 1000,
    };
    if gone { GONE } else { (Effect::Write, "sets when it expires") }
}

/// `SET key value EX 0`, `PXAT 1`.
fn expires_at_once(words: &[Cow<'_, str>]) -> bool {
    words.iter().enumerate().skip(2).any(|(index, word)| {
        let value = words.get(index + 1).and_then(|value| value.parse::<i128>().ok());
        match word.to_ascii_uppercase().as_str() {
            "EXAT" => value.is_some_and(|value| value < LONG_PAST),
            "PXAT" => value.is_some_and(|value| value < LONG_PAST * 1000),
            "EX" | "PX" => value.is_some_and(|value| value <= 0),
            _ => false,
        }
    })
}

/// Whether `XADD key [options] id …` leaves hardly more in the stream than what it adds. A threshold by id may be any.
fn empties(words: &[Cow<'_, str>]) -> bool {
    let mut options = words.iter().skip(2).skip_while(|word| ["NOMKSTREAM", "KEEPREF", "DELREF", "ACKED"].contains(&word.to_ascii_uppercase().as_str()));
    match options.next().map(|word| word.to_ascii_uppercase()).as_deref() {
        Some("MINID") => true,
        Some("MAXLEN") => options.find(|word| !matches!(word.as_ref(), "=" | "~")).and_then(|word| word.parse::<i128>().ok()).is_none_or(|most| most <= 1),
        _ => false,
    }
}

fn config(words: &[Cow<'_, str>]) -> (Effect, &'static str) {
    let verb = words.get(1).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match verb.as_str() {
        "GET" | "HELP" => return (Effect::Read, "reads settings"),
        "RESETSTAT" | "REWRITE" => return (Effect::Write, "resets statistics or writes the settings down"),
        "SET" => {}
        _ => return (Effect::Opaque, "what the command does is not known"),
    }
    let mut settings = words.iter().skip(2);
    // Each turn takes two words.
    while let (Some(name), Some(value)) = (settings.next(), settings.next()) {
        let value = value.to_ascii_lowercase();
        let why = match name.to_ascii_lowercase().as_str() {
            "save" if value.trim().is_empty() => "switches snapshots off",
            "appendonly" if value == "no" => "switches the log off",
            "appendfsync" if value == "no" => "a crash can lose the log",
            "maxmemory" if value != "0" => "keys are thrown away beyond it",
            "maxmemory-policy" if value != "noeviction" => "keys are thrown away when memory is short",
            "dir" | "dbfilename" | "appendfilename" | "appenddirname" | "logfile" | "aclfile" => "the server writes over other files",
            "replica-read-only" | "slave-read-only" if value == "no" => "opens a replica to changes",
            "min-replicas-to-write" | "min-slaves-to-write" if value == "0" => "writes need no replica any more",
            "repl-backlog-size" => "shortens what replicas can catch up with",
            "replicaof" | "slaveof" => "replaces the data by another server's",
            "protected-mode" if value == "no" => "opens the server to everybody",
            "requirepass" if value.is_empty() => "opens the server to everybody",
            "stop-writes-on-bgsave-error" if value == "no" => "goes on when snapshots fail",
            "rdbchecksum" | "aof-use-rdb-preamble" if value == "no" => "a damaged snapshot is not noticed",
            "slowlog-max-len" | "latency-monitor-threshold" if value == "0" => continue,
            _ => continue,
        };
        return (Effect::Destroy, why);
    }
    (Effect::Write, "changes a setting")
}

/// A Lua script: what it hands to `redis.call` as a constant is known, the rest is not.
fn script(name: &str, text: &[u8]) -> (Effect, &'static str) {
    const OPAQUE: (Effect, &str) = (Effect::Opaque, "runs a script that is not read here");
    if name.ends_with("_ro") {
        return (Effect::Read, "runs a script that may only read");
    }
    if name == "evalsha" {
        return OPAQUE;
    }
    let text = String::from_utf8_lossy(text);
    let mut worst = (Effect::Read, "runs a script that only reads");
    for piece in text.split("call").skip(1).take(256) {
        let rest = piece.trim_start().trim_start_matches('(').trim_start();
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else { return OPAQUE };
        let Some(command) = rest.get(1..).and_then(|rest| rest.split(quote).next()) else { return OPAQUE };
        let command = command.to_ascii_lowercase();
        let effect = match () {
            () if READ.binary_search(&command.as_str()).is_ok() => (Effect::Read, "runs a script that only reads"),
            () if WRITE.binary_search(&command.as_str()).is_ok() => (Effect::Write, "runs a script that changes what is stored"),
            () if matches!(command.as_str(), "expire" | "pexpire") => (Effect::Write, "runs a script that changes what is stored"),
            () if DESTROY.binary_search(&command.as_str()).is_ok() => (Effect::Destroy, "runs a script that loses what is stored"),
            () => OPAQUE,
        };
        if effect.0 > worst.0 {
            worst = effect;
        }
    }
    // What the script could reach by another name.
    let is_plain = !["load", "_G", "setmetatable", "redis[", "['call']", "[\"call\"]", "acl_check"].iter().any(|word| text.contains(word))
        && (text.matches("redis.").count()
            <= text.matches("call").count()
                + text.matches("redis.log").count()
                + text.matches("redis.error_reply").count()
                + text.matches("redis.status_reply").count()
                + text.matches("redis.LOG").count()
                + text.matches("redis.sha1hex").count());
    if is_plain { worst } else { OPAQUE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_apart() {
        for list in [READ, WRITE, DESTROY] {
            assert!(list.is_sorted(), "{:?}", list.windows(2).find(|pair| pair[0] >= pair[1]));
        }
        for name in READ {
            assert!(!WRITE.contains(name) && !DESTROY.contains(name), "{name}");
        }
        for name in WRITE {
            assert!(!DESTROY.contains(name), "{name}");
        }
    }

    #[test]
    fn a_script_is_no_way_around() {
        let of = |text: &str| script("eval", text.as_bytes()).0;
        assert_eq!(of("return redis.call('GET', KEYS[1])"), Effect::Read);
        assert_eq!(of("redis.call('SET', KEYS[1], 1)"), Effect::Write);
        assert_eq!(of("redis.call('del', KEYS[1])"), Effect::Destroy);
        assert_eq!(of("redis.call(ARGV[1], KEYS[1])"), Effect::Opaque);
        assert_eq!(of("local r = redis; r.call('DEL', KEYS[1])"), Effect::Destroy);
        assert_eq!(of("local c = redis['ca'..'ll']; c('DEL', 'x')"), Effect::Opaque);
        assert_eq!(of("redis.pcall('FLUSHALL')"), Effect::Destroy);
    }
}
