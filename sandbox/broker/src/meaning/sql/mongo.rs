//! MongoDB's commands: what one does, by its name and the fields that choose its meaning.
//!
//! After the manual of MongoDB 8.0 (database commands; aggregation stages). Names are told apart by case, as the server does.

use agentbox_core::{Effect, Lineage, Operation, Resource, ResourceId};

use super::UNCLEAR;

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Document(Vec<(String, Value)>),
    Array(Vec<Value>),
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    /// A date, an id, bytes, a pattern, code.
    Other,
}

/// Longest text of a command for people, in bytes.
const LONGEST_SHOWN: usize = 4000;

/// Fields whose values are secrets.
const SECRETS: &[&str] = &["pwd", "password", "key", "payload", "nonce"];

impl Value {
    /// As people read it, without the secrets in it.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        if text.len() > LONGEST_SHOWN {
            text.truncate(text.floor_char_boundary(LONGEST_SHOWN));
            text.push('…');
        }
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        if text.len() > LONGEST_SHOWN || depth > DEEPEST {
            return text.push('…');
        }
        match self {
            Value::Document(fields) => {
                text.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    text.push_str(if index > 0 { ", " } else { "" });
                    text.push_str(&format!("{name}: "));
                    if SECRETS.contains(&name.as_str()) && !matches!(value, Value::Document(_)) {
                        text.push('…')
                    } else {
                        value.write(text, depth + 1)
                    }
                    if text.len() > LONGEST_SHOWN {
                        break;
                    }
                }
                text.push('}');
            }
            Value::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { ", " } else { "" });
                    item.write(text, depth + 1);
                    if text.len() > LONGEST_SHOWN {
                        break;
                    }
                }
                text.push(']');
            }
            Value::Text(value) => text.push_str(&format!("{:?}", value.chars().take(200).collect::<String>())),
            Value::Number(value) => text.push_str(&value.to_string()),
            Value::Bool(value) => text.push_str(&value.to_string()),
            Value::Null => text.push_str("null"),
            Value::Other => text.push('…'),
        }
    }

    /// The value of the last field of this name: a document with a name twice is refused before.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Document(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Value::Bool(value) => *value,
            Value::Number(number) => *number != 0.0,
            Value::Document(_) | Value::Array(_) | Value::Text(_) | Value::Null | Value::Other => false,
        }
    }

    fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            _ => "",
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Value::Document(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Null => true,
            Value::Text(_) | Value::Number(_) | Value::Bool(_) | Value::Other => false,
        }
    }

    /// A document of JSON.
    pub(super) fn of_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => number.as_f64().map_or(Value::Other, Value::Number),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::Array(items.iter().map(Self::of_json).collect()),
            serde_json::Value::Object(fields) => Value::Document(fields.iter().map(|(name, value)| (name.clone(), Self::of_json(value))).collect()),
        }
    }
}

/// Commands that only read, or only speak of the connection or the session.
const READ: &[&str] = &[
    "buildInfo",
    "buildinfo",
    "checkShardingIndex",
    "collStats",
    "collstats",
    "connPoolStats",
    "connectionStatus",
    "count",
    "currentOp",
    "currentop",
    "dataSize",
    "dbHash",
    "dbStats",
    "dbstats",
    "distinct",
    "driverOIDTest",
    "explain",
    "features",
    "find",
    "geoSearch",
    "getCmdLineOpts",
    "getClusterParameter",
    "getDefaultRWConcern",
    "getLog",
    "getMore",
    "getParameter",
    "getShardMap",
    "getShardVersion",
    "getnonce",
    "hello",
    "hostInfo",
    "isMaster",
    "isdbgrid",
    "ismaster",
    "lastError",
    "listCollections",
    "listCommands",
    "listDatabases",
    "listIndexes",
    "listSearchIndexes",
    "listShards",
    "lockInfo",
    "netstat",
    "ping",
    "planCacheListFilters",
    "profileStatus",
    "replSetGetConfig",
    "replSetGetStatus",
    "rolesInfo",
    "serverStatus",
    "shardConnPoolStats",
    "shardingState",
    "top",
    "usersInfo",
    "validate",
    "validateDBMetadata",
    "whatsmyuri",
    "getLastError",
    "getlasterror",
    "analyzeShardKey",
    "balancerCollectionStatus",
    "balancerStatus",
    "checkMetadataConsistency",
];

/// Commands that change something and lose nothing that is stored.
const WRITE: &[&str] = &[
    "abortTransaction",
    "authenticate",
    "commitTransaction",
    "create",
    "createIndexes",
    "createRole",
    "createSearchIndexes",
    "createUser",
    "endSessions",
    "flushRouterConfig",
    "fsync",
    "fsyncUnlock",
    "grantPrivilegesToRole",
    "grantRolesToRole",
    "grantRolesToUser",
    "insert",
    "invalidateUserCache",
    "killAllSessions",
    "killAllSessionsByPattern",
    "killCursors",
    "killOp",
    "killSessions",
    "logRotate",
    "logout",
    "refreshSessions",
    "reIndex",
    "resetError",
    "revokePrivilegesFromRole",
    "revokeRolesFromRole",
    "revokeRolesFromUser",
    "saslContinue",
    "saslStart",
    "startSession",
    "updateRole",
    "updateSearchIndex",
    "updateUser",
    "planCacheClear",
    "planCacheClearFilters",
    "planCacheSetFilter",
    "setDefaultRWConcern",
    "setFeatureCompatibilityVersion",
    "replSetInitiate",
    "replSetStepDown",
    "replSetFreeze",
    "replSetMaintenance",
    "addShard",
    "addShardToZone",
    "balancerStart",
    "enableSharding",
    "shardCollection",
    "refineCollectionShardKey",
    "reshardCollection",
    "moveChunk",
    "movePrimary",
    "split",
    "mergeChunks",
    "updateZoneKeyRange",
    "moveCollection",
    "balancerStop",
    "dropConnections",
    "unshardCollection",
    "compact",
    "configureFailPoint",
    "setQuerySettings",
    "setIndexCommitQuorum",
    "configureQueryAnalyzer",
    "rotateCertificates",
    "autoCompact",
    "autoSplitVectors",
    "forceerror",
    "setUserWriteBlockMode",
];

/// Commands that lose something that is stored, or take a protection away.
const DESTROY: &[&str] = &[
    "cloneCollectionAsCapped",
    "convertToCapped",
    "delete",
    "drop",
    "dropAllRolesFromDatabase",
    "dropAllUsersFromDatabase",
    "dropDatabase",
    "dropIndexes",
    "deleteIndexes",
    "dropRole",
    "dropSearchIndex",
    "dropUser",
    "emptycapped",
    "godinsert",
    "removeShard",
    "removeShardFromZone",
    "replSetReconfig",
    "replSetResizeOplog",
    "replSetSyncFrom",
    "shutdown",
    "cleanupOrphaned",
    "removeQuerySettings",
    "clearJumboFlag",
    "abortReshardCollection",
    "repairDatabase",
    "resync",
    "applyOps",
    "restartCatalog",
    "transitionToDedicatedConfigServer",
];

/// What a command does. `command` is its document, the command's name first.
pub(super) fn judge(command: &Value) -> Vec<Operation> {
    let fields = match command {
        Value::Document(fields) => fields.as_slice(),
        _ => &[],
    };
    // Drivers put the name first; some tools put `$db` before it.
    let Some((name, argument)) = fields.iter().find(|(name, _)| !name.starts_with('$')) else {
        return vec![Operation::new(Effect::Opaque, UNCLEAR, database(""), "the command has no name")];
    };
    let base = command.field("$db").map_or("", Value::text);
    let one = |effect, why: &str| vec![Operation::new(effect, &format!("mongodb.{name}"), target(base, argument), why)];
    match name.as_str() {
        "update" => worst_of(name, base, argument, command.field("updates"), update),
        "delete" => worst_of(name, base, argument, command.field("deletes"), |delete| {
            let all = delete.field("q").is_none_or(Value::is_empty) && !delete.field("limit").is_some_and(Value::is_true);
            (Effect::Destroy, if all { "deletes every document" } else { "deletes documents" })
        }),
        "bulkWrite" => bulk(command, base),
        "findAndModify" | "findandmodify" if command.field("remove").is_some_and(Value::is_true) => one(Effect::Destroy, "deletes a document"),
        "findAndModify" | "findandmodify" => one(Effect::Write, "changes a document"),
        "aggregate" => aggregate(command, base, argument),
        "mapReduce" | "mapreduce" => match command.field("out") {
            Some(Value::Document(out)) if out.iter().any(|(how, _)| how == "inline") => one(Effect::Read, "computes"),
            Some(Value::Document(out)) if out.iter().any(|(how, _)| matches!(how.as_str(), "merge" | "reduce")) => {
                one(Effect::Write, "writes into a collection")
            }
            _ => one(Effect::Destroy, "replaces a collection"),
        },
        "renameCollection" if command.field("dropTarget").is_some_and(|target| target.is_true() || matches!(target, Value::Other)) => {
            one(Effect::Destroy, "replaces a collection")
        }
        "renameCollection" => one(Effect::Write, "renames a collection"),
        "collMod" => {
            let (effect, why) = modify(command);
            one(effect, why)
        }
        "setParameter" | "setClusterParameter" | "profile" | "setAuditConfig" => {
            let (effect, why) = parameter(name, command);
            one(effect, why)
        }
        "createIndexes" if command.field("indexes").is_some_and(|indexes| indexes.items().iter().any(|index| index.field("expireAfterSeconds").is_some())) => {
            one(Effect::Destroy, "lets documents expire")
        }
        "explain" => one(Effect::Read, "shows a plan"),
        "eval" | "$eval" => one(Effect::Opaque, "runs a script that is not read here"),
        known if READ.contains(&known) => one(Effect::Read, "reads"),
        known if WRITE.contains(&known) => one(Effect::Write, "changes what is stored, or the session"),
        known if DESTROY.contains(&known) => one(Effect::Destroy, "loses what is stored, or a protection of it"),
        _ => vec![Operation::new(Effect::Opaque, UNCLEAR, target(base, argument), "what the command does is not known")],
    }
}

fn database(name: &str) -> Resource {
    if name.is_empty() {
        Resource::unplaced(ResourceId::new("mongodb", "database"))
    } else {
        Resource::rooted(ResourceId::new("mongodb", &format!("database/{name}")))
    }
}

/// The collection that a command names, or its database.
fn target(base: &str, argument: &Value) -> Resource {
    match argument {
        Value::Text(collection) => {
            let full = if base.is_empty() || collection.contains('.') && base == "admin" { collection.clone() } else { format!("{base}.{collection}") };
            let above = full.split_once('.').map_or("", |(database, _)| database).to_owned();
            let id = ResourceId::new("mongodb", &format!("collection/{full}"));
            Resource { id, lineage: Lineage::Known(vec![vec![ResourceId::new("mongodb", &format!("database/{above}"))]]) }
        }
        _ => database(base),
    }
}

/// The worst of several changes in one command; a command without them does nothing that could be told.
fn worst_of(name: &str, base: &str, argument: &Value, changes: Option<&Value>, judge: impl Fn(&Value) -> (Effect, &'static str)) -> Vec<Operation> {
    let empty = if name == "delete" { (Effect::Destroy, "deletes documents") } else { (Effect::Write, "changes documents") };
    let (effect, why) = changes.map(Value::items).unwrap_or_default().iter().map(judge).max_by_key(|(effect, _)| *effect).unwrap_or(empty);
    vec![Operation::new(effect, &format!("mongodb.{name}"), target(base, argument), why)]
}

fn update(update: &Value) -> (Effect, &'static str) {
    let query = update.field("q").or_else(|| update.field("filter"));
    if update.field("multi").is_some_and(Value::is_true) && query.is_none_or(takes_all) {
        (Effect::Destroy, "changes every document")
    } else if matches!(update.field("u").or_else(|| update.field("updateMods")), Some(Value::Document(fields)) if fields.is_empty()) {
        (Effect::Destroy, "replaces a document by an empty one")
    } else {
        (Effect::Write, "changes the documents that match")
    }
}

/// `{}`, `{_id: {$exists: true}}`, `{$or: [{}]}`, `{$expr: true}`: whatever is stored matches.
fn takes_all(query: &Value) -> bool {
    let Value::Document(fields) = query else { return false };
    fields.iter().all(|(name, value)| match name.as_str() {
        "$comment" => true,
        "$and" => value.items().iter().all(takes_all),
        "$or" => value.items().iter().any(takes_all),
        "$expr" => value.is_true(),
        "_id" => match value {
            Value::Document(conditions) => {
                !conditions.is_empty()
                    && conditions.iter().all(|(operator, operand)| match operator.as_str() {
                        "$exists" => operand.is_true(),
                        "$ne" => matches!(operand, Value::Null),
                        "$nin" => operand.is_empty(),
                        _ => false,
                    })
            }
            _ => false,
        },
        _ => false,
    })
}

fn bulk(command: &Value, base: &str) -> Vec<Operation> {
    let spaces = command.field("nsInfo").map(Value::items).unwrap_or_default();
    let operations = command.field("ops").map(Value::items).unwrap_or_default();
    let mut found: Vec<Operation> = Vec::new();
    for operation in operations {
        let Value::Document(fields) = operation else { continue };
        let (effect, why) = match fields.first().map(|(name, _)| name.as_str()) {
            Some("insert") => (Effect::Write, "inserts"),
            Some("update") => update(operation),
            Some("delete") => (Effect::Destroy, "deletes documents"),
            _ => (Effect::Opaque, "what a part of it does is not known"),
        };
        let index = match fields.first() {
            Some((_, Value::Number(number))) if *number >= 0.0 => format!("{number}").parse().unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let resource = spaces.get(index).and_then(|space| space.field("ns")).map_or_else(|| database(base), |space| target("", space));
        if !found.iter().any(|known| known.effect == effect && known.resource == resource) && found.len() < 200 {
            found.push(Operation::new(effect, "mongodb.bulkWrite", resource, why));
        } else if effect > found.iter().map(|known| known.effect).max().unwrap_or(Effect::Read) {
            found.push(Operation::new(effect, "mongodb.bulkWrite", database(base), why));
        }
    }
    if found.is_empty() {
        found.push(Operation::new(Effect::Opaque, "mongodb.bulkWrite", database(base), "what it does is not told"));
    }
    found
}

/// How deep pipelines are followed.
const DEEPEST: usize = 16;

fn aggregate(command: &Value, base: &str, argument: &Value) -> Vec<Operation> {
    let mut found = vec![Operation::new(Effect::Read, "mongodb.aggregate", target(base, argument), "computes")];
    if command.field("explain").is_some_and(Value::is_true) {
        return found;
    }
    stages(command.field("pipeline"), base, 0, &mut found);
    found
}

fn stages(pipeline: Option<&Value>, base: &str, depth: usize, found: &mut Vec<Operation>) {
    if depth >= DEEPEST {
        return found.push(Operation::new(Effect::Opaque, UNCLEAR, database(base), "a pipeline lies deeper than is read"));
    }
    for stage in pipeline.map(Value::items).unwrap_or_default() {
        let Value::Document(fields) = stage else { continue };
        for (name, value) in fields {
            match name.as_str() {
                "$out" => {
                    let into = match value {
                        Value::Document(_) => target(value.field("db").map_or(base, Value::text), value.field("coll").unwrap_or(&Value::Null)),
                        other => target(base, other),
                    };
                    found.push(Operation::new(Effect::Destroy, "mongodb.out", into, "replaces a collection"));
                }
                "$merge" => {
                    let into = value.field("into").unwrap_or(value);
                    let into = match into {
                        Value::Document(_) => target(into.field("db").map_or(base, Value::text), into.field("coll").unwrap_or(&Value::Null)),
                        other => target(base, other),
                    };
                    let (effect, why) = match value.field("whenMatched").map(Value::text) {
                        Some("replace") => (Effect::Destroy, "replaces the documents that are there"),
                        _ => (Effect::Write, "writes into a collection"),
                    };
                    found.push(Operation::new(effect, "mongodb.merge", into, why));
                }
                "$lookup" | "$unionWith" => stages(value.field("pipeline"), base, depth + 1, found),
                "$facet" => {
                    if let Value::Document(facets) = value {
                        for (_, facet) in facets {
                            stages(Some(facet), base, depth + 1, found);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn modify(command: &Value) -> (Effect, &'static str) {
    let index = command.field("index");
    match () {
        () if index.is_some_and(|index| index.field("expireAfterSeconds").is_some())
            || command.field("expireAfterSeconds").is_some_and(|value| value.text() != "off") =>
        {
            (Effect::Destroy, "lets documents expire")
        }
        () if command.field("validationLevel").is_some_and(|level| level.text() == "off") => (Effect::Destroy, "switches validation off"),
        () if command.field("validator").is_some_and(Value::is_empty) => (Effect::Destroy, "switches validation off"),
        () if command.field("validationAction").is_some_and(|action| action.text() == "warn") => (Effect::Destroy, "lets what is not valid be stored"),
        () if command.field("cappedSize").is_some() || command.field("cappedMax").is_some() => (Effect::Destroy, "may cut a capped collection"),
        () if command.field("changeStreamPreAndPostImages").is_some_and(|images| !images.field("enabled").is_some_and(Value::is_true)) => {
            (Effect::Destroy, "ends the keeping of images")
        }
        () => (Effect::Write, "changes a collection's options"),
    }
}

fn parameter(name: &str, command: &Value) -> (Effect, &'static str) {
    let Value::Document(fields) = command else { return (Effect::Write, "changes a setting") };
    for (field, value) in fields.iter().filter(|(field, _)| !field.starts_with('$') && field != name) {
        let field = field.to_ascii_lowercase();
        let falls = match field.as_str() {
            _ if field.contains("audit") => !value.is_true(),
            "loglevel" | "slowms" | "comment" => false,
            "ttlmonitorenabled" => value.is_true(),
            "journalcommitinterval" => false,
            "enablelocalhostauthbypass" => value.is_true(),
            "disablejavascriptjit" => false,
            "minsnapshothistorywindowinseconds" | "transactionlifetimelimitseconds" => false,
            "changestreamoptions" => true,
            "quiet" => value.is_true(),
            _ => false,
        };
        if falls {
            return (Effect::Destroy, "switches a protection off");
        }
    }
    (Effect::Write, "changes a setting")
}
