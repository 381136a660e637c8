//! What a call sets off elsewhere, and what its answer gives away: delegations and credentials.

use agentbox_core::{Delegation, Effect, Operation, Reach};

use super::{call::Call, paths, words};

/// First words of calls that make somebody else act.
const RUNNING: &[&str] = &["invoke", "run", "execute", "dispatch", "trigger", "send", "start", "submit", "schedule", "deploy"];

/// What is run.
const PROGRAMS: &[&str] = &[
    "action",
    "automation",
    "build",
    "code",
    "command",
    "container",
    "cron",
    "deployment",
    "execution",
    "function",
    "hook",
    "job",
    "lambda",
    "machine",
    "pipeline",
    "pod",
    "query",
    "script",
    "task",
    "trigger",
    "webhook",
    "workflow",
];

/// Words of answers that let their holder in.
const SECRETS: &[&str] = &["secret", "secrets", "token", "tokens", "password", "credential", "credentials", "kubeconfig", "apikey", "privatekey"];

/// Marks an operation by the name of the call that does it.
#[must_use]
pub(crate) fn of_call(mut operation: Operation, name: &str) -> Operation {
    let all = words::split(name);
    let first = all.first().map_or("", String::as_str);
    let runs = RUNNING.contains(&first) && all.iter().skip(1).any(|word| PROGRAMS.contains(&words::singular(word)));
    let makes_runner = matches!(first, "create" | "put" | "update" | "register")
        && all.iter().skip(1).any(|word| matches!(words::singular(word), "webhook" | "function" | "hook" | "trigger" | "workflow" | "pipeline" | "cron"));
    if (runs || makes_runner) && operation.delegates.is_none() {
        let why = if runs { "somebody else's machine acts on it" } else { "it is run later, by somebody else" };
        operation.delegates = Some(Delegation { reach: Reach::Anywhere, why: why.to_owned() });
    }
    let yields = (first == "get"
        || first == "batch"
        || first == "create"
        || first == "generate"
        || first == "issue"
        || first == "assume"
        || first == "describe"
        || first == "list")
        && (all.iter().any(|word| SECRETS.contains(&word.as_str()))
            || (first == "assume" && all.iter().any(|word| word == "role"))
            || all.windows(2).any(|pair| matches!(pair, [a, b] if (a == "access" || a == "api" || a == "private") && words::singular(b) == "key")));
    // A list of names is not the secrets.
    let only_names = (first == "list" || first == "describe") && operation.effect == Effect::Read;
    operation.yields_credential |= yields && !only_names;
    operation
}

/// Paths whose answer lets its holder in.
const SECRET_PARTS: &[&str] = &[
    "secret",
    "secrets",
    "credentials",
    "kubeconfig",
    "kubeconfigs",
    "config-vars",
    "env",
    "environment-variables",
    "variables",
    "vars",
    "tokens",
    "token",
    "access_tokens",
    "service-account-keys",
    "apikeys",
];

/// Marks an operation of an unknown API by its path.
#[must_use]
pub(crate) fn of_path(mut operation: Operation, call: &Call<'_>) -> Operation {
    let segments: Vec<&str> = call.route.segments().collect();
    let near: Vec<&str> = segments.iter().rev().take(3).copied().collect();
    let reads = operation.effect == Effect::Read && call.head.method == http::Method::GET;
    let mints = call.head.method == http::Method::POST
        && segments.last().is_some_and(|last| matches!(*last, "tokens" | "token" | "access_tokens" | "apikeys" | "api_keys" | "kubeconfig"));
    operation.yields_credential |= mints || (reads && near.iter().any(|part| SECRET_PARTS.contains(&part.to_ascii_lowercase().as_str())));
    let posts = matches!(call.head.method.as_str(), "POST" | "PUT" | "PATCH") && operation.effect == Effect::Write;
    let is_runner = near.iter().any(|part| {
        matches!(
            *part,
            "dispatches"
                | "dispatch"
                | "hooks"
                | "webhooks"
                | "workflows"
                | "jobs"
                | "runs"
                | "builds"
                | "functions"
                | "deployments"
                | "deploys"
                | "triggers"
                | "crons"
                | "cronjobs"
                | "executions"
                | "invocations"
                | "invoke"
                | "exec"
                | "execute"
                | "pipelines"
                | "dynos"
                | "actions"
        )
    }) || near
        .first()
        .is_some_and(|last| last.split(':').next_back().is_some_and(|verb| matches!(verb, "run" | "execute" | "invoke" | "trigger" | "dispatch")));
    if posts && is_runner && paths::is_known(call.head.host.as_str()) && operation.delegates.is_none() {
        operation.delegates = Some(Delegation { reach: Reach::Anywhere, why: "what it makes or starts acts elsewhere".to_owned() });
    }
    operation
}
