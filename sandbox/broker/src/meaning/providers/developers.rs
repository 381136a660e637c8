//! Forges and platforms of developers: GitHub, Heroku, Terraform Cloud.

use agentbox_core::Effect;
use serde_json::Value;

use super::{Found, Provider, is_below};
use crate::meaning::{Head, call::Call, content::Content, shell};

pub(super) const GITHUB: Provider = Provider { name: "github", is_at: |head| head.host.as_str() == "api.github.com", judge: github };
pub(super) const HEROKU: Provider = Provider { name: "heroku", is_at: |head| head.host.as_str() == "api.heroku.com", judge: heroku };
pub(super) const TERRAFORM: Provider = Provider { name: "terraform", is_at: is_terraform, judge: terraform };

fn github(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    match (call.head.method.as_str(), segments.as_slice()) {
        ("DELETE", ["repos", _, _, "contents", ..]) => Some((Effect::Write, "it removes a file in a new commit; the history keeps it".to_owned())),
        ("DELETE", ["repos", _, _, "subscription"] | ["user", "starred" | "following", ..]) => {
            Some((Effect::Write, "it takes a mark of one's own back".to_owned()))
        }
        ("DELETE", ["orgs", _, "organization-roles", "users" | "teams", ..]) => Some((Effect::Write, "it takes a role from somebody".to_owned())),
        _ => None,
    }
}

fn heroku(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    if let ("DELETE", ["apps", _, "dynos", ..]) = (call.head.method.as_str(), segments.as_slice()) {
        return Some((Effect::Write, "it restarts dynos".to_owned()));
    }
    let Content::Json(Value::Object(fields)) = call.content() else { return None };
    match (call.head.method.as_str(), segments.as_slice()) {
        ("PATCH", ["apps", _, "config-vars"]) if fields.values().any(Value::is_null) => Some((Effect::Destroy, "it removes variables".to_owned())),
        ("POST", ["apps", _, "dynos"]) => {
            let line = fields.get("command").and_then(Value::as_str)?;
            let (effect, why) = shell::judge(line);
            let says = crate::meaning::words::split(line).iter().any(|word| crate::meaning::words::destroys(word));
            Some(if says {
                (Effect::Destroy, "its command names a loss".to_owned())
            } else {
                (effect.max(Effect::Write), format!("on a machine of its own it {why}"))
            })
        }
        _ => None,
    }
}

fn is_terraform(head: &Head<'_>) -> bool {
    is_below(head, "terraform.io")
}

fn terraform(call: &Call<'_>) -> Option<Found> {
    let segments: Vec<&str> = call.route.segments().collect();
    if let ("POST", [.., "runs", _, "actions", "discard" | "cancel"]) = (call.head.method.as_str(), segments.as_slice()) {
        return Some((Effect::Write, "it gives up a plan that was not applied".to_owned()));
    }
    let Content::Json(body) = call.content() else { return None };
    let yes = |name: &str| body.pointer(&format!("/data/attributes/{name}")) == Some(&Value::Bool(true));
    (yes("plan-only") && call.head.method == http::Method::POST && call.route.last() == "runs").then(|| (Effect::Read, "it only plans".to_owned()))
}
