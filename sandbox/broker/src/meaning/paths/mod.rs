//! What a path says: the verb at its end (`/volumes/3/wipe`, `/v1/things:purge`), and what a DELETE would take.

mod orders;

use agentbox_core::Effect;

use super::{
    bodies::Found,
    call::Call,
    http_rules::safe,
    route::Route,
    words::{self, Worth},
};

/// Most parts of a path whose words are looked at, from its end.
const NEAR: usize = 6;

/// Parts of a path below which people choose the names: they say nothing of what a thing is.
const FREE_NAMES: &[&str] = &[
    "kv",
    "secret",
    "secrets",
    "data",
    "metadata",
    "files",
    "file",
    "objects",
    "blobs",
    "documents",
    "docs",
    "contents",
    "raw",
    "storage",
    "buckets",
    "content",
    "keys",
];

/// Endings of names of files, of which no verb is made.
const PROGRAMS: &[&str] = &["json", "xml", "php", "do", "action", "aspx", "asp", "cgi", "jsp", "html", "htm"];

/// Domains of APIs whose paths are made of their own words.
const APIS: &[&str] = &[
    "amazonaws.com",
    "api.aws",
    "googleapis.com",
    "azure.com",
    "azurewebsites.net",
    "github.com",
    "gitlab.com",
    "cloudflare.com",
    "vercel.com",
    "netlify.com",
    "fly.io",
    "fly.dev",
    "render.com",
    "heroku.com",
    "railway.com",
    "supabase.com",
    "neon.tech",
    "planetscale.com",
    "mongodb.com",
    "digitalocean.com",
    "hetzner.cloud",
    "linode.com",
    "stripe.com",
    "myshopify.com",
    "twilio.com",
    "auth0.com",
    "okta.com",
    "datadoghq.com",
    "datadoghq.eu",
    "terraform.io",
    "pagerduty.com",
    "slack.com",
    "atlassian.net",
    "sentry.io",
    "bitbucket.org",
    "discord.com",
];

/// Whether a host is one of a provider whose paths are made of its own words.
#[must_use]
pub(crate) fn is_known(host: &str) -> bool {
    APIS.iter().any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether a part of a path is somebody's number or hash, not a word.
#[must_use]
pub(crate) fn is_identifier(segment: &str) -> bool {
    // `acme.storage.v1.Volumes` is a service's name.
    segment.bytes().any(|byte| byte.is_ascii_digit())
        && segment.split('.').any(|part| part.bytes().any(|byte| byte.is_ascii_digit()) && !is_version(part))
        && !is_version(segment)
}

/// `v1`, `v2beta1`, `2010-04-01`.
fn is_version(segment: &str) -> bool {
    let rest = segment.strip_prefix('v').unwrap_or(segment);
    let begins = rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    (segment.starts_with('v') && begins && segment.len() <= 10) || (segment.len() == 10 && segment.bytes().filter(|byte| *byte == b'-').count() == 2)
}

/// The words of the path's last parts, without identifiers and versions.
#[must_use]
pub(crate) fn words(route: &Route) -> Vec<String> {
    let near: Vec<&str> = route.segments().rev().filter(|segment| !is_identifier(segment) && !is_version(segment)).take(NEAR).collect();
    near.into_iter().rev().flat_map(words::split).collect()
}

/// The words of the thing that the path leads to: of the collection whose member stands last, of what a verb at the end is said of.
#[must_use]
pub(crate) fn about(route: &Route) -> Vec<String> {
    const ASIDE: &[&str] = &["default", "current", "settings", "config", "configuration", "status", "state", "properties", "attributes", "options"];
    const SETTING: &[&str] = &["set", "update", "change", "put", "modify", "enable", "disable", "replace", "configure"];
    let segments: Vec<&str> = route.segments().filter(|segment| !is_version(segment) && !is_filler(segment)).collect();
    let mut near: Vec<&str> = segments.iter().rev().copied().take(NEAR).collect();
    while near.len() > 1 && near.first().is_some_and(|last| ASIDE.contains(last)) {
        near.remove(0);
    }
    let is_plural = |segment: &str| !is_identifier(segment) && words::split(segment).last().is_some_and(|word| words::singular(word) != word);
    let (Some(last), before) = (near.first().copied(), near.get(1).copied()) else { return Vec::new() };
    let own = words::split(last);
    let is_setting = own.first().is_some_and(|first| SETTING.contains(&first.as_str()));
    match before {
        Some(before) if is_identifier(last) && !matches!(before, "jobs" | "rules" | "policies") => words::split(before),
        // What a member is called may tell what it is for: `settings/waf`, `sinks/audit`.
        Some(before) if is_plural(before) && !is_plural(last) && !is_identifier(last) => words::split(before).into_iter().chain(own).collect(),
        // `firewalls/1/rules`, `firewalls/1/actions/set_rules`.
        Some(_) if is_setting || is_identifier(last) || own.len() == 1 && matches!(words::singular(last), "rule" | "schedule" | "policie" | "job") => {
            let mut above = near.iter().filter(|segment| !is_identifier(segment));
            let own = if is_identifier(last) {
                above.next().map(|segment| words::split(segment)).unwrap_or_default()
            } else {
                above.next();
                own
            };
            above.next().map(|above| words::split(above)).unwrap_or_default().into_iter().chain(own).collect()
        }
        _ => own,
    }
}

/// The part of a segment that may be a verb: `9:purge`, `chat.delete`, `deletePost.php`; nothing of `delete-me.txt`.
fn verb_of(segment: &str) -> &str {
    let verb = segment.rsplit(':').next().unwrap_or(segment);
    match verb.rsplit_once('.') {
        Some((stem, ending)) if PROGRAMS.contains(&ending) => stem,
        Some((_, ending)) if words::step(ending).is_some() => ending,
        Some(_) => "",
        None => verb,
    }
}

/// `/servers/3/actions/reset` is said of the server, `/users/3/lifecycle/suspend` of the user.
fn is_filler(segment: &str) -> bool {
    matches!(segment, "actions" | "action" | "lifecycle" | "commands" | "operations" | "ops" | "do" | "id")
}

/// The last segment of a path without a program's ending: `tags.json` is `tags`.
fn without_ending(segment: &str) -> &str {
    segment.rsplit_once('.').filter(|(_, ending)| PROGRAMS.contains(ending)).map_or(segment, |(stem, _)| stem)
}

/// What the names at the path's end call for. Only ever stricter than the method.
#[must_use]
pub(crate) fn called(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    let (last, before) = segments.split_last()?;
    let around: Vec<String> = before
        .iter()
        .rev()
        .filter(|segment| !is_identifier(segment) && !is_filler(segment))
        .take(NEAR)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .flat_map(|segment| words::split(segment))
        .collect();
    let says = |segment: &str| (Effect::Destroy, format!("the path says {}", safe(segment)));
    if *last == "preview" || *last == "dry-run" || *last == "dry_run" {
        return None;
    }
    let stem = last.rsplit_once('.').filter(|(_, ending)| !PROGRAMS.contains(ending)).map(|(stem, _)| words::split(stem));
    // `reactions.remove` is said of reactions.
    let around_last: Vec<String> = if let Some(stem) = stem {
        around.iter().cloned().chain(stem).collect()
    } else if last.contains(':') {
        words::split(last.rsplit_once(':').map_or("", |(name, _)| name)).into_iter().chain(around.iter().rev().take(2).rev().cloned()).collect()
    } else {
        around.clone()
    };
    // `databases:restore` makes a new one of the collection; `databases/3:restore` is said of one.
    let collection = last.rsplit_once(':').map_or("", |(name, _)| name);
    let is_collection = !collection.is_empty() && !is_identifier(collection) && words::singular(collection) != collection;
    if is_collection && last.ends_with(":restore") {
        return None;
    }
    if let Some(found) = orders::merges(last, before)
        .or_else(|| orders::recovers(last, before))
        .or_else(|| orders::ends(last, before))
        .or_else(|| orders::gives_away(last, before))
    {
        return Some(found);
    }
    if let Some(step) = words::step(verb_of(last)) {
        return (words::of_words(&step, &around_last) == Some(Effect::Destroy)).then(|| says(last));
    }
    if let Some(found) = orders::standing_above(&segments).or_else(|| orders::on_the_collection(call, &segments)) {
        return Some(found);
    }
    // `/delete/3`, `/replication/dr/primary/disable` stands above; a word in the middle is a noun.
    let (segment, above) = before.split_last()?;
    let verb = words::split(segment.rsplit(':').next().unwrap_or(segment));
    let around: Vec<String> = above.iter().rev().take(2).rev().flat_map(|segment| words::split(segment)).collect();
    let again = matches!(*last, "retry" | "confirm" | "execute" | "run" | "start" | "commit");
    let is_verb = (verb.len() == 1 || again) && verb.first().is_some_and(|word| words::destroys(word));
    (is_verb && words::of_words(&verb, &around) == Some(Effect::Destroy)).then(|| says(segment))
}

/// `GET …/exec/org.apache.activemq:…/purge`: a path of an RPC that travels by GET.
#[must_use]
pub(crate) fn executes(call: &Call<'_>) -> bool {
    call.route.segments().rev().skip(1).any(|segment| matches!(segment, "exec" | "execute" | "invoke" | "executeMethod" | "callMethod" | "rpc" | "xrpc"))
}

/// `GET /users/7/delete`: a page of an old sort that deletes when it is opened.
#[must_use]
pub(crate) fn page_that_deletes(call: &Call<'_>) -> Option<Found> {
    let mut segments = call.route.segments().rev();
    let (last, before) = (segments.next()?, segments.next().unwrap_or_default());
    const VERBS: &[&str] = &["delete", "del", "destroy", "remove", "purge", "wipe", "truncate", "drop", "erase", "terminate"];
    // `removeacct?user=acme`, `deleteHost?id=7`: a call's name in one word or in humps, with what it is said of. A page is called `delete-account`.
    let is_call = || {
        let all = words::split(last);
        let is_name = last.bytes().all(|byte| byte.is_ascii_alphanumeric()) && last.starts_with(|first: char| first.is_ascii_lowercase());
        let has_arguments = call.route.query().is_some_and(|pairs| pairs.iter().any(|(_, value)| !value.is_empty()));
        is_name
            && all.len() > 1
            && has_arguments
            && all.first().is_some_and(|first| VERBS.contains(&first.as_str()))
            && words::of_words(&all, &[]) == Some(Effect::Destroy)
    };
    ((VERBS.contains(&last) && is_identifier(before)) || is_call()).then(|| (Effect::Destroy, format!("the path says {}", safe(last))))
}

/// A DELETE of what is made again at will, where the path is made of the API's own words; `None` where something is lost.
#[must_use]
pub(crate) fn deletes(call: &Call<'_>) -> Option<Found> {
    if !call.route.is_plain() {
        return None;
    }
    if let Some(found) = parts(call) {
        return Some(found);
    }
    let mut segments: Vec<&str> = call.route.segments().filter(|segment| !matches!(*segment, "$ref" | "$value" | "@me")).collect();
    if let Some(last) = segments.last_mut() {
        *last = without_ending(last);
    }
    // A registry's upload that was never finished (OCI distribution, 4.3).
    if matches!(segments.as_slice(), ["v2", .., "blobs", "uploads", _]) {
        return Some((Effect::Write, "it gives up an upload that was never finished".to_owned()));
    }
    if !speaks_of_itself(call) {
        return None;
    }
    // `users/self/favorites/courses/3`: a mark that somebody has put on it.
    let marks = |segment: &str| {
        matches!(
            segment,
            "favorites" | "favourites" | "bookmarks" | "stars" | "starred" | "likes" | "following" | "watchlist" | "like" | "favorite" | "star" | "bookmark"
        )
    };
    // Below a collection it is a member's name: `databases/stars/tables/5`.
    let is_own = |at: usize| {
        let above = at.checked_sub(1).and_then(|above| segments.get(above)).copied().unwrap_or_default();
        is_identifier(above)
            || is_version(above)
            || is_api_word(above)
            || matches!(above, "" | "me" | "self" | "user" | "my" | "user_account" | "profile" | "account")
    };
    let near = segments.len().checked_sub(3).and_then(|at| Some((at, *segments.get(at)?))).filter(|(at, segment)| marks(segment) && is_own(*at));
    if let Some((_, mark)) = near {
        return Some((Effect::Write, format!("it removes one of {}, which is made again at will", safe(mark))));
    }
    let subject = subject(&segments)?;
    // An image's or a repository's tag is the only name of what it leads to; a management lock guards.
    let has = |wanted: &[&str]| segments.iter().any(|segment| wanted.contains(segment));
    // `account/keys`, `groups/3/roles`: what it is of stands above.
    let is_plural = |segment: &str| words::split(segment).last().is_some_and(|word| words::singular(word) != word);
    let before = || segments.iter().rev().skip_while(|segment| **segment != subject).skip(1).filter(|segment| !is_identifier(segment));
    let above = before().find(|segment| is_plural(segment)).or_else(|| before().next());
    let owner = above.and_then(|segment| words::split(segment).pop()).map(|word| words::singular(&word).to_owned());
    let words: Vec<String> = owner.into_iter().chain(words::split(subject)).collect();
    let names_content = words.iter().any(|word| matches!(word.as_str(), "tag" | "tags"))
        && has(&["repos", "repository", "repositories", "images", "packages", "manifests", "refs", "git", "registries"]);
    let is_management = words.iter().any(|word| word.starts_with("lock")) && call.head.host.as_str().ends_with("azure.com");
    // What joins needs something above it that it joins to: a collection of its own holds records.
    let has_owner = segments
        .iter()
        .take_while(|segment| **segment != subject)
        .any(|segment| !is_version(segment) && !matches!(*segment, "api" | "apis" | "rest" | "client"))
        // `organization_memberships` says it itself.
        || matches!(words::split(subject).as_slice(), [_, .., head] if matches!(words::singular(head), "membership" | "association"));
    let is_light = match words::worth(&words) {
        Worth::Light => true,
        Worth::Joining => has_owner,
        Worth::Guard | Worth::Heavy | Worth::Unknown => false,
    };
    // `transfer_lock`, `legal_hold`: a lock of this kind is nobody's own.
    if names_content || is_management || !is_light || words::guard_together(&words) {
        return None;
    }
    Some((Effect::Write, format!("it removes {}, which is made again at will", safe(subject))))
}

/// What only parts two that remain, by the standards that say so: OData 4's `…/$ref` (11.4.6.2), JSON:API's `…/relationships/tags`.
fn parts(call: &Call<'_>) -> Option<Found> {
    let mut segments = call.route.segments().rev();
    let (last, before) = (segments.next()?, segments.next()?);
    let above = segments.filter(|segment| !is_version(segment) && !is_api_word(segment)).count();
    // Below an object store anything may be a name. And it is a member of something: `volumes/3/$ref` is the volume itself, if it is anything.
    let is_api = || call.route.segments().take(3).any(|segment| is_version(segment) || is_api_word(segment));
    let is_odata = last == "$ref" && is_api() && (above > 1 || !is_identifier(before));
    // A type and a member of it stand above.
    let is_json_api = before == "relationships" && above > 1 && !is_identifier(last) && speaks_of_itself(call);
    (!is_store(call) && (is_odata || is_json_api)).then(|| (Effect::Write, "it parts two things that remain".to_owned()))
}

/// The part of the path that says what is deleted.
fn subject<'a>(segments: &[&'a str]) -> Option<&'a str> {
    let (last, before) = match segments {
        [.., before, last] => (*last, *before),
        [last] => (*last, ""),
        [] => return None,
    };
    let is_plural = |segment: &str| !is_identifier(segment) && words::split(segment).last().is_some_and(|word| words::singular(word) != word);
    // `actions/caches`: a collection within another.
    if is_plural(before) && is_plural(last) && words::worth(&words::split(last)) == Worth::Light {
        return Some(last);
    }
    // Below a collection stands one of its members, whatever its name.
    if is_plural(before) {
        return Some(before);
    }
    // `users/7/roles`: with whose they are.
    let owner = |segment: &str| {
        let above = segments.iter().rev().skip_while(|known| **known != segment).skip(1).find(|above| !is_identifier(above) && is_plural(above));
        above.and_then(|above| words::split(above).pop()).map(|word| words::singular(&word).to_owned())
    };
    let known = |segment: &'a str| {
        let own = words::split(segment);
        let whose: Vec<String> = owner(segment).into_iter().chain(own.clone()).collect();
        let is_light = |words: &[String]| matches!(words::worth(words), Worth::Light | Worth::Joining);
        (!is_identifier(segment) && (is_light(&own) || words::worth(&whose) == Worth::Light)).then_some(segment)
    };
    // `/applications/3a/token`, `/posts/7/like`: a member's own.
    if is_identifier(before) || is_version(before) || matches!(before, "" | "api" | "rest") {
        return known(last);
    }
    // `admin/session`, `me/session`: somebody's own; `admin/members` are records.
    if matches!(before, "admin" | "me" | "self" | "current" | "my" | "mine" | "_action") || before.ends_with("api") {
        return known(last).filter(|last| words::worth(&words::split(last)) == Worth::Light);
    }
    // A word below a collection is the name of a member, too.
    if segments.iter().rev().nth(2).is_some_and(|above| is_plural(above)) {
        return known(last);
    }
    known(before)
}

/// First parts of paths that are made of an API's own words.
fn is_api_word(segment: &str) -> bool {
    matches!(segment, "api" | "apis" | "rest" | "admin" | "jsonapi")
}

/// Object stores have names of their users' all over.
fn is_store(call: &Call<'_>) -> bool {
    let host = call.head.host.as_str();
    host.contains("s3") || host.starts_with("storage.") || host.ends_with(".blob.core.windows.net") || call.head.headers.contains_key("x-amz-content-sha256")
}

/// Whether the path is made of an API's own words, not of names that people gave to files.
fn speaks_of_itself(call: &Call<'_>) -> bool {
    let host = call.head.host.as_str();
    let first: Vec<&str> = call.route.segments().take(3).collect();
    // `api2.example.com`, `chat.example-api.com`, `www.exampleapis.com`.
    let begins = host.strip_prefix("api").is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(['.', '-']));
    let is_api = begins
        || host.split('.').any(|label| label.ends_with("-api") || label.ends_with("apis"))
        || is_known(host)
        || first.iter().any(|segment| is_version(segment) || is_api_word(segment));
    let is_free = call.route.segments().any(|segment| FREE_NAMES.contains(&segment))
        && !call.route.segments().any(|segment| words::split(segment).last().is_some_and(|last| matches!(words::singular(last), "account" | "user")));
    // Vault's own paths; all others are mounts with names that people chose.
    let is_vault = call.head.headers.contains_key("x-vault-token") || call.head.port == 8200;
    let is_vaults_own = call.route.segments().nth(1).is_some_and(|segment| matches!(segment, "sys" | "auth"));
    is_api && !is_free && !is_store(call) && (!is_vault || is_vaults_own)
}
