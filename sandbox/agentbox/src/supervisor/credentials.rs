//! Which credentials of the box may still be used, how often each was, and how long they last.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use agentbox_core::{
    Refusal, RefusalKind, Request,
    policy::settings::CredentialRule,
    safe,
    verdict::{Because, Denied},
};
use agentbox_desk::control::Lent;

#[derive(Debug)]
struct Kept {
    rule: CredentialRule,
    used: u64,
    ended: bool,
}

/// All of one box.
#[derive(Debug)]
pub(super) struct Credentials {
    all: Vec<Kept>,
    since: Instant,
}

impl Credentials {
    pub(super) fn new(rules: &[CredentialRule], since: Instant) -> Self {
        Self { all: rules.iter().map(|rule| Kept { rule: rule.clone(), used: 0, ended: false }).collect(), since }
    }

    pub(super) fn list(&self, now: Instant) -> Vec<Lent> {
        let left = |life: Duration| (self.since + life).saturating_duration_since(now).as_secs();
        let mut list: Vec<Lent> = self
            .all
            .iter()
            .map(|kept| Lent {
                name: kept.rule.name.clone(),
                hosts: kept.rule.hosts.iter().map(ToString::to_string).collect(),
                allow: kept.rule.allow.clone(),
                left: kept.rule.expires.map(left),
                ended: kept.ended,
                used: kept.used,
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Whether there was one to end.
    pub(super) fn end(&mut self, name: &str) -> bool {
        match self.all.iter_mut().find(|kept| kept.rule.name == name && !kept.ended) {
            Some(kept) => {
                kept.ended = true;
                true
            }
            None => false,
        }
    }

    pub(super) fn is_ended(&self, name: &str) -> bool {
        self.all.iter().any(|kept| kept.rule.name == name && kept.ended)
    }

    /// Those of `names` that may be put in now; each is counted.
    pub(super) fn take<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names: BTreeSet<&str> = names.collect();
        let open = self.all.iter_mut().filter(|kept| !kept.ended && names.contains(kept.rule.name.as_str()));
        open.map(|kept| {
            kept.used += 1;
            kept.rule.name.clone()
        })
        .collect()
    }
}

/// What a request is told whose credential a person has ended.
pub(super) fn ended(request: Request, name: &str) -> Denied {
    let action = request.worst().map_or_else(String::new, |operation| operation.action.to_string());
    let name = safe::line(name, 64);
    let reason = format!("the credential {name} was ended by a person");
    let refusal = Refusal {
        kind: RefusalKind::Denied,
        operation: action.clone(),
        place: String::new(),
        reason: reason.clone(),
        guidance: "Do not look for another credential; go on without it, or ask the person who started this box.".to_owned(),
        approval_id: None,
    };
    Denied { request, because: Because { action, place: String::new(), rule: format!("credential.{name}"), reason }, refusal }
}

#[cfg(test)]
mod tests {
    use agentbox_core::{HostName, policy::settings::Source};

    use super::*;

    #[test]
    fn an_ended_one_is_not_given_out() {
        let rule = |name: &str, expires| CredentialRule {
            name: name.to_owned(),
            source: Source::Env("T".into()),
            hosts: vec![HostName::parse("a.example").unwrap()],
            allow: vec!["read".into()],
            expires,
            env: Vec::new(),
            files: Vec::new(),
            environment: None,
        };
        let now = Instant::now();
        let mut all = Credentials::new(&[rule("b", None), rule("a", Some(Duration::from_secs(60)))], now);
        assert_eq!(all.take(["a", "b", "a", "other"].into_iter()).len(), 2);
        assert!(all.end("a") && !all.end("a") && !all.end("other"));
        assert_eq!(all.take(["a", "b"].into_iter()), ["b"]);
        let list = all.list(now + Duration::from_secs(20));
        assert_eq!((list[0].name.as_str(), list[0].left, list[0].ended, list[0].used), ("a", Some(40), true, 1));
        assert_eq!((list[1].left, list[1].ended, list[1].used), (None, false, 2));
    }
}
