//! Facts about single calls, as data: where neither a method nor words tell what a call does.

use std::sync::LazyLock;

use agentbox_core::Effect;
use serde_json::Value;

use super::Found;
use crate::meaning::{call::Call, content::Content};

static FACTS: LazyLock<Vec<Fact>> = LazyLock::new(|| include_str!("facts.txt").lines().filter_map(Fact::of).collect());

/// One line of the file.
struct Fact {
    method: &'static str,
    host: Host,
    path: Vec<&'static str>,
    holds: Option<(&'static str, &'static str)>,
    effect: Effect,
    why: &'static str,
}

/// Whose call it is.
enum Host {
    /// `*`: what people run themselves.
    Any,
    /// `.example.com` with all below it.
    Below(&'static str),
    /// One name.
    Is(&'static str),
}

impl Fact {
    fn of(line: &'static str) -> Option<Self> {
        let mut columns = line.split(" | ");
        let mut words = columns.next().filter(|call| !call.starts_with('#'))?.split(' ');
        let (method, host, path) = (words.next()?, words.next()?, words.next()?);
        let holds = words.next().and_then(|pair| pair.split_once('='));
        let effect = match columns.next()? {
            "destroy" => Effect::Destroy,
            "write" => Effect::Write,
            "read" => Effect::Read,
            _ => return None,
        };
        let host = match host.strip_prefix('.') {
            Some(domain) => Host::Below(domain),
            None if host == "*" => Host::Any,
            None => Host::Is(host),
        };
        Some(Self { method, host, path: path.split('/').skip(1).collect(), holds, effect, why: columns.next()? })
    }

    fn is_of(&self, call: &Call<'_>) -> bool {
        let host = call.head.host.as_str();
        let is_host = match self.host {
            Host::Any => true,
            Host::Below(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Host::Is(name) => host == name,
        };
        is_host && call.head.method.as_str() == self.method && self.fits(call) && self.holds.is_none_or(|(name, value)| says(call, name, value))
    }

    fn fits(&self, call: &Call<'_>) -> bool {
        let mut segments = call.route.segments();
        for part in &self.path {
            match (*part, segments.next()) {
                ("**", _) => return true,
                ("*", Some(_)) => {}
                (part, Some(segment)) if part == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

/// What is known of this very call.
#[must_use]
pub(super) fn judge(call: &Call<'_>) -> Option<Found> {
    FACTS.iter().find(|fact| fact.is_of(call)).map(|fact| (fact.effect, fact.why.to_owned()))
}

/// Whether a pair stands in the query or in the body.
fn says(call: &Call<'_>, name: &str, wanted: &str) -> bool {
    let is = |value: &Value| match value {
        Value::String(text) => text == wanted,
        Value::Bool(on) => wanted == if *on { "true" } else { "false" },
        Value::Number(number) => number.to_string() == wanted,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let in_body = || match call.content() {
        Content::Form(pairs) => pairs.iter().any(|(key, value)| key == name && value == wanted),
        Content::Json(body) => name.split('.').try_fold(body, |value, part| value.get(part)).is_some_and(is),
        _ => false,
    };
    call.route.values(name).any(|value| value == wanted) || in_body()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meaning::example;

    fn at(method: &str, url: &str, body: &str) -> Effect {
        example(method, url, (!body.is_empty()).then_some(body)).unwrap().worst().unwrap().effect
    }

    #[test]
    fn every_line_is_a_fact_with_its_source_and_day() {
        let lines: Vec<&str> = include_str!("facts.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(lines.len(), FACTS.len());
        for (line, fact) in lines.iter().zip(FACTS.iter()) {
            let columns: Vec<&str> = line.split(" | ").collect();
            assert_eq!(columns.len(), 4, "{line}");
            assert!(columns[3].rsplit_once(", 20").is_some_and(|(source, day)| source.contains('.') && day.len() == 8), "{line}");
            // Whoever stands behind an unknown host speaks as he likes.
            assert!(!matches!(fact.host, Host::Any) || fact.effect == Effect::Destroy, "{line}");
        }
    }

    #[test]
    fn a_fact_is_of_its_host_its_path_and_its_words() {
        for (method, url, body, wanted) in [
            ("PATCH", "https://api.notion.com/v1/pages/a", r#"{"archived":true}"#, Effect::Destroy),
            ("PATCH", "https://api.notion.com/v1/pages/a", r#"{"archived":false}"#, Effect::Write),
            ("PATCH", "https://api.acme.example/v1/pages/a", r#"{"archived":true}"#, Effect::Write),
            ("POST", "https://api.fastly.com/service/a/purge_all", "", Effect::Write),
            ("POST", "https://cdn.acme.example/service/a/purge_all", "", Effect::Destroy),
            ("POST", "https://a.ingest.sentry.io/api/1/envelope", r#"{"op":"delete"}"#, Effect::Write),
            ("POST", "https://ingest.sentry.io.acme.example/api/1/store", r#"{"op":"delete"}"#, Effect::Destroy),
            ("POST", "http://etcd.acme.example:2379/v3/kv/compaction", r#"{"revision":"9"}"#, Effect::Destroy),
            ("POST", "http://etcd.acme.example:2379/v3/kv/put", r#"{"key":"YQ==","value":"YQ=="}"#, Effect::Write),
            ("POST", "https://pve.acme.example:8006/api2/json/nodes/n/qemu", "vmid=1&force=1", Effect::Destroy),
            ("POST", "https://pve.acme.example:8006/api2/json/nodes/n/qemu", "vmid=1", Effect::Write),
        ] {
            assert_eq!(at(method, url, body), wanted, "{method} {url} {body}");
        }
    }
}
