//! Settings by which a guard ends: which names guard, and which values say that they no longer do.
//!
//! A field is judged by its own name, and by what it stands in: the thing that the path leads to, and the fields above it.

use serde_json::Value;

use super::{
    super::{sql, words},
    Around,
    guarding::{NEAR, guards, is_guarding, keeps},
    is_no,
};

const OFF: &str = "it switches a protection off";

/// What lies beside a guard without guarding.
const APART: &[&str] = &["comment", "contact", "dashboard", "member", "note", "page", "report", "template", "user", "view"];

/// Words that turn a switch around: `disableBackups: true`, `is_paused: true`.
const NEGATIVE: &[&str] = &[
    "bypass",
    "deactivate",
    "deactivated",
    "disable",
    "disabled",
    "exempt",
    "ignore",
    "ignored",
    "inactive",
    "mute",
    "muted",
    "no",
    "pause",
    "paused",
    "silenced",
    "skip",
    "snoozed",
    "suspend",
    "suspended",
    "without",
];

/// Words for what may be demanded of somebody who does something, as `require_approval_for_deploy: false`.
const DEMANDED: &[&str] = &[
    "approval",
    "auth",
    "authentication",
    "confirmation",
    "encryption",
    "factor",
    "mfa",
    "reason",
    "review",
    "secure",
    "signature",
    "signed",
    "ssl",
    "sso",
    "tls",
    "verification",
    "2fa",
];

/// What stands around a field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Above {
    /// The path leads to a guard as a whole.
    path: bool,
    /// A guard stands somewhere around: in the path, in the host's name, in a field that says what kind of thing it is.
    near: bool,
    /// A field above guards.
    body: bool,
    /// Something above says how long things are kept.
    keeps: bool,
}

impl Above {
    /// What the request's head says.
    pub(super) fn of(around: &Around) -> Self {
        let is_guard = |word: &String| words::is_guard(word) || NEAR.contains(&words::singular(word));
        let path = around.is_about_guard();
        let about = if around.about.is_empty() { &around.words } else { &around.about };
        // `alertPolicies/1/comments/2` is no part of the guarding.
        let is_apart = about.iter().any(|word| APART.contains(&words::singular(word)));
        Self {
            path,
            near: path || around.guarded || (!is_apart && around.words.iter().any(is_guard)),
            body: false,
            keeps: about.iter().any(|word| keeps(word)),
        }
    }

    /// Below a field of this name.
    pub(super) fn below(self, all: &[String]) -> Self {
        let body = self.body || guards(all);
        Self { body, near: self.near || body, keeps: self.keeps || all.iter().any(|word| keeps(word)), ..self }
    }

    /// Beside a field that says what kind of thing it is.
    pub(super) fn beside(self, kind: &str) -> Self {
        Self { near: self.near || (kind.len() <= 48 && guards(&words::split(kind))), ..self }
    }

    /// Whether what is said here is said of a guard.
    pub(super) const fn guards(self) -> bool {
        self.path || self.body
    }

    /// Whether what stands above says how long things are kept.
    pub(super) const fn keeps(self) -> bool {
        self.keeps
    }
}

/// `{"DeletionProtection": false}`, `{"versioning": {"enabled": false}}`, `{"retentionDays": 0}`, `{"retentionPolicy": null}`.
#[must_use]
pub(super) fn switches_off(name: &str, all: &[String], value: &Value, around: &Around, above: Above) -> Option<&'static str> {
    // `POST …/backups/list {"retention": 0}` looks for such.
    if around.asks {
        return None;
    }
    let has = |wanted: &[&str]| all.iter().any(|word| wanted.contains(&word.as_str()));
    // `destructive_requires_name: false`: what held a loss back.
    if has(&["destructive"]) && has(&["require", "requires"]) && is_off(value, false, 0) {
        return Some(OFF);
    }
    // A server's own settings, which its SQL knows as well: `fsync`, `archive_mode`.
    if around.changes
        && let Some(text) = scalar(value)
        && let Some(why) = sql::setting_falls(name, &text)
    {
        return Some(why);
    }
    // One snapshot is a copy; what takes them by itself guards. A default for what is made later guards nothing yet.
    let is_one = has(&["snapshot"]) && !has(&["schedule", "policy", "plan", "enable", "enabled", "auto", "automatic", "automated", "copies"]);
    // Nothing is switched off in what is made: there, only the words count that guard wherever they stand.
    let names = || if around.changes { guards(all) } else { all.iter().any(|word| words::is_guard(word)) || (has(&["soft"]) && has(&["delete"])) };
    let names_guard = !around.makes && !is_one && !has(&["default"]) && names();
    let negated = has(NEGATIVE);
    // `DisableApiTermination: false`, `preventDestroy: false`: what keeps a thing from being ended.
    let keeps_from = has(&["disable", "disabled", "prevent", "disallow", "block", "deny"])
        && (has(&["termination", "deletion", "delete", "destroy", "destroyed", "removal"]) || (has(&["force"]) && has(&["push", "pushes"])));
    if keeps_from && !around.makes {
        return (is_no(value) || is_off(value, false, 0)).then_some(OFF);
    }
    // `prevent_vul: "false"`, `safe_migrations: false`, `block_public_policy: false`: whatever it is that is let happen now.
    let holds_back = matches!(all.first().map(String::as_str), Some("prevent" | "prevents" | "forbid" | "disallow" | "block" | "safe" | "safety"));
    if around.changes && holds_back && all.len() > 1 && (matches!(value, Value::Bool(false)) || value.as_str() == Some("false")) {
        return Some(OFF);
    }
    // `muted_until: "2030-01-01"`.
    let lasts = matches!(all, [first, .., last] if matches!(first.as_str(), "mute" | "muted" | "pause" | "paused" | "silence" | "silenced" | "snooze" | "snoozed" | "suspended") && matches!(last.as_str(), "until" | "for" | "duration"));
    if around.changes && lasts && above.near && !is_no(value) {
        return Some(OFF);
    }
    // `DisableLogTypes: ["audit"]` names what is no longer kept.
    let lists_losses = has(&["disable"])
        && (matches!(value, Value::Array(items) if !items.is_empty())
            || all.last().is_some_and(|last| last != "disable") && value.as_str().is_some_and(|text| !text.is_empty() && !is_plain_switch(text)));
    if names_guard && lists_losses {
        return Some(OFF);
    }
    // `preserve_deleted_files: "REMOVE"`.
    let lets_go = value.as_str().is_some_and(|text| text.len() <= 24 && words::split(text).iter().any(|word| words::destroys(word)));
    if around.changes && has(&["preserve", "preserves"]) && (lets_go || is_off(value, negated, 0)) {
        return Some(OFF);
    }
    // `enforce_sso: false`, `require_approval_for_deploy: false`.
    let demands = has(&["enforce", "enforced", "mandatory"]) || (has(&["require", "required", "requires", "requirement"]) && has(DEMANDED));
    if around.changes && demands && !has(&["default"]) && is_off(value, negated, 0) {
        return Some(OFF);
    }
    if names_guard {
        // What guards may be called by what it leads to, of which there is none: that says nothing.
        let taken_away = around.changes && (matches!(value, Value::Array(items) if items.is_empty()) || (value.is_null() && !negated));
        // `DELETE_PROTECTION_DISABLED`: an enumeration's word, of which something new has a default.
        let says_off =
            around.changes && value.as_str().is_some_and(|text| text.to_ascii_lowercase().ends_with("_disabled") || is_weaker(text) || is_plainly_off(text));
        return (is_off(value, negated, 0) || says_off || taken_away).then_some(OFF);
    }
    // `rulesets/phases/…_firewall_custom/entrypoint` with `{"rules": []}`.
    let empties_rules = matches!(value, Value::Array(items) if items.is_empty()) && all.last().is_some_and(|last| last == "rules");
    if around.changes && empties_rules && around.words.iter().any(|word| words::is_guard(word)) {
        return Some(OFF);
    }
    (around.changes && within(all, value, negated, above)).then_some(OFF)
}

/// Names of switches: what they stand in is on or off with them.
const SWITCHES: &[&str] = &[
    "action",
    "active",
    "decision",
    "delete",
    "destroy",
    "enable",
    "enabled",
    "enforce",
    "enforcement",
    "engine",
    "frequency",
    "level",
    "mode",
    "on",
    "policy",
    "rebuild",
    "require",
    "required",
    "requires",
    "restrict",
    "restrictions",
    "scan",
    "sensitivity",
    "state",
    "status",
    "value",
];

/// Names of shares, of which none is left at 0.
const SHARES: &[&str] = &["copies", "frequency", "percent", "percentage", "rate", "sampling", "value"];

/// Words of settings of a guard that may be `false` without its guarding less.
const HARMLESS: &[&str] = &[
    "acknowledged",
    "archived",
    "archive",
    "async",
    "auto",
    "compress",
    "compressed",
    "compression",
    "default",
    "dry",
    "email",
    "external",
    "favorite",
    "force",
    "include",
    "internal",
    "notify",
    "notification",
    "notifications",
    "open",
    "pinned",
    "private",
    "public",
    "read",
    "recursive",
    "resolve",
    "resolved",
    "shared",
    "show",
    "starred",
    "template",
    "test",
    "verbose",
    "visible",
    "wait",
    "weekend",
    "allow",
    "allows",
    "allowed",
    "exclude",
    "has",
    "is",
    "new",
    "run",
];

/// A field of a guard: `PUT …/protection {"enforce_admins": false, "reviews": null}`, `{"backup": {"schedule": {"paused": true}}}`.
fn within(all: &[String], value: &Value, negated: bool, above: Above) -> bool {
    let ends = |wanted: &[&str]| [all.first(), all.last()].into_iter().flatten().any(|word| wanted.contains(&word.as_str()));
    let is_switch = ends(SWITCHES);
    if above.near {
        // Said so plainly, it does not matter how far above the guard stands.
        let plain = match value {
            Value::Bool(true) => all.last().is_some_and(|last| NEGATIVE.contains(&last.as_str())),
            Value::Bool(false) => ends(&["enabled", "enable", "active", "enforced"]) && !negated,
            Value::String(text) => ends(&["enabled", "status", "state", "active", "mode"]) && !negated && is_plainly_off(text),
            Value::Array(items) => items.is_empty() && all.last().is_some_and(|last| matches!(words::singular(last), "receiver" | "recipient" | "notify")),
            _ => false,
        };
        if plain {
            return true;
        }
    }
    if !(above.path || above.body) || negated {
        return false;
    }
    match value {
        Value::Bool(false) => is_switch || !all.iter().any(|word| HARMLESS.contains(&word.as_str())),
        Value::Bool(true) => ends(&["allow"]),
        Value::String(text) => is_plainly_off(text) || (is_switch && (is_off(value, false, 0) || (!ends(&["action", "decision"]) && is_weaker(text)))),
        Value::Number(number) => number.as_f64() == Some(0.0) && (is_switch || ends(SHARES)),
        Value::Array(items) => items.is_empty() && !all.iter().any(|word| HARMLESS_LISTS.contains(&words::singular(word))),
        Value::Null => is_switch || above.body,
        Value::Object(_) => false,
    }
}

/// Lists that say no more of a guard than how it is told from others, or what it leaves alone: any other guards nothing when it is empty.
const HARMLESS_LISTS: &[&str] = &[
    "app",
    "member",
    "role",
    "team",
    "user",
    "annotation",
    "argument",
    "attachment",
    "bypass",
    "comment",
    "contact",
    "exception",
    "exclude",
    "excluded",
    "exclusion",
    "exempt",
    "header",
    "ignore",
    "ignored",
    "keyword",
    "label",
    "metadata",
    "note",
    "parameter",
    "permission",
    "share",
    "shared",
    "suppression",
    "tag",
    "viewer",
    "watcher",
    "with",
];

/// Words of a path or a name that only say which of a thing's settings are meant.
const ASIDE: &[&str] = &[
    "default",
    "check",
    "current",
    "setting",
    "config",
    "configuration",
    "feature",
    "level",
    "policy",
    "status",
    "state",
    "log",
    "model",
    "option",
    "property",
    "properties",
    "global",
    "item",
    "job",
    "modify",
    "plan",
    "put",
    "rule",
    "schedule",
    "set",
    "toggle",
    "update",
];

impl Around {
    /// Whether what is changed is a guard as a whole: `…/auditingSettings/default`, `…/protection`.
    fn is_about_guard(&self) -> bool {
        let words = if self.about.is_empty() { &self.words } else { &self.about };
        let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&words::singular(word)));
        let is_aside = |word: &String| ASIDE.contains(&words::singular(word)) || word.ends_with("ies");
        let last = words.iter().rev().find(|word| !is_aside(word));
        // `log-streams`, `logpush`: where what is recorded goes.
        let carries_logs = has(&["log"]) && has(&["stream", "sink", "drain", "push", "export", "exporter", "forward", "forwarding", "flow", "collector"]);
        // `securityPolicies`, `security_monitoring/rules`.
        let is_rule = has(&["policy", "policie", "rule", "ruleset", "control", "check", "detection"])
            && self.words.iter().any(|word| {
                matches!(words::singular(word), "security" | "firewall" | "conditional" | "threat" | "compliance" | "vulnerability" | "ddos" | "fraud" | "bot")
            });
        // `backups/nightly`, `alerts/high-load`: a member with a name.
        let is_member = !self.about.is_empty() && words.iter().any(|word| words::singular(word) != word && words::is_guard(word)) && !has(APART);
        carries_logs || is_rule || is_member || words::guard_together(words) || last.or(words.last()).is_some_and(|last| is_guarding(last) && last != "log")
    }
}

/// How deep below a guard's name its switch is looked for.
const DEEPEST_SWITCH: usize = 5;

fn is_off(value: &Value, negated: bool, depth: usize) -> bool {
    match value {
        Value::Bool(on) => *on == negated,
        Value::Number(number) => !negated && number.as_f64() == Some(0.0),
        Value::String(text) => {
            if negated {
                text.eq_ignore_ascii_case("true")
            } else {
                // `ProtectionStopped` says it as its last word; a sentence is no state.
                let words = words::split(text);
                words.len() <= 2 && words.last().is_some_and(|last| OFF_WORDS.contains(&last.as_str()))
            }
        }
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let is_switch = name.contains("enable") || matches!(name.as_str(), "status" | "state" | "active" | "value" | "on" | "required" | "enforced");
            let lists_nothing = name.contains("enable") && matches!(value, Value::Array(items) if items.is_empty());
            // `{"snapshot_policy": {"name": "none"}}`.
            let names_none = name == "name" && value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("none"));
            let is_inner = depth < DEEPEST_SWITCH && matches!(value, Value::Object(_) | Value::Array(_)) && is_off(value, negated, depth + 1);
            (names_none && !negated) || (is_switch && (lists_nothing || is_off(value, negated, depth + 1))) || is_inner
        }),
        Value::Array(items) => items.iter().any(|item| item.is_object() && depth < DEEPEST_SWITCH && is_off(item, negated, depth + 1)),
        Value::Null => false,
    }
}

/// Whether a text is the value of a switch, not the name of something.
fn is_plain_switch(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1")
}

/// States of what does not guard any more.
const OFF_WORDS: &[&str] = &[
    "false",
    "off",
    "disabled",
    "disable",
    "suspended",
    "suspend",
    "none",
    "0",
    "inactive",
    "paused",
    "stopped",
    "muted",
    "unprotected",
    "no",
    "never",
    "unlocked",
    "mutable",
];

/// Those that say it of themselves, whatever the setting is called.
fn is_plainly_off(text: &str) -> bool {
    const SAID: &[&str] = &["off", "disabled", "suspended", "inactive", "paused", "stopped", "muted", "unprotected", "never", "released", "retired"];
    if text.len() > 40 || text.contains([' ', '/', '.', '@']) {
        return false;
    }
    let words = words::split(text);
    let last = words.last().map_or("", String::as_str);
    // `not-configured`, `off`.
    SAID.contains(&last) || (words.first().is_some_and(|first| first == "not") && matches!(last, "configured" | "enabled" | "active" | "enforced" | "required"))
}

/// Ways of guarding that let everything pass: `mode: monitor-only`, `two_step_verification: optional`.
fn is_weaker(text: &str) -> bool {
    const WEAKER: &[&str] = &[
        "advisory",
        "allow",
        "besteffort",
        "bypass",
        "count",
        "detect",
        "detection",
        "detectonly",
        "detectiononly",
        "dryrun",
        "learning",
        "log",
        "logonly",
        "monitor",
        "monitoronly",
        "observe",
        "optional",
        "passive",
        "permissive",
        "report",
        "reportonly",
        "simulate",
        "warn",
        "allowall",
    ];
    let text: String = text.chars().filter(char::is_ascii_alphabetic).take(20).collect::<String>().to_ascii_lowercase();
    WEAKER.contains(&text.as_str())
}

/// A value as a server's configuration would have it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(on) => Some(on.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if text.len() <= 64 => Some(text.clone()),
        _ => None,
    }
}
