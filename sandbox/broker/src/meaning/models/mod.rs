//! Model APIs: inference is a write at the model's host; tools that the provider itself runs are delegations.

mod skim;
mod tools;

use agentbox_core::{Effect, Operation};
use http::Method;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    call::Call,
    content::{Kind, Media},
    http_rules,
    route::Route,
};

/// Most bytes of a model request that are read: conversations with pictures grow long.
const LONGEST: usize = 32 << 20;

/// Inference of all vendors, by path and shape: the host's place decides whether it may be used.
pub(crate) struct Models;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A model answers.
    Infer,
    /// Tokens are counted; no model answers.
    Count,
}

/// The paths of Anthropic, OpenAI and those who speak like them, Ollama, Google (also on its cloud), and Bedrock.
fn step(head: &Head<'_>, route: &Route) -> Option<Step> {
    if *head.method != Method::POST || !route.is_plain() || Media::of(head.headers).kind != Kind::Json {
        return None;
    }
    let segments: Vec<&str> = route.segments().collect();
    let google = route.last().rsplit_once(':').map(|(_, verb)| verb);
    match (google, segments.as_slice()) {
        (Some("generateContent" | "streamGenerateContent" | "embedContent" | "batchEmbedContents" | "rawPredict" | "streamRawPredict"), _) => Some(Step::Infer),
        (Some("countTokens"), _) | (_, [.., "messages", "count_tokens"]) | (_, [.., "responses", "input_tokens"]) => Some(Step::Count),
        (_, [.., "v1", "messages"] | [.., "v1", "messages", "batches"] | [.., "chat", "completions"] | [.., "v1", "completions" | "complete"])
        | (
            _,
            [.., "responses"]
            | [.., "responses", "compact"]
            | [.., "v1", "embeddings" | "moderations"]
            | [.., "api", "chat" | "generate" | "embed" | "embeddings"],
        )
        | (_, [.., "deployments", _, "completions" | "embeddings"])
        | (_, [.., "model", _, "invoke" | "invoke-with-response-stream" | "converse" | "converse-stream"]) => Some(Step::Infer),
        _ => None,
    }
}

impl Api for Models {
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        step(head, route).map(|_| BodyWant::UpTo(LONGEST))
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        let step = step(call.head, &call.route)?;
        let make = |effect, action: &str, why: &str| Operation::new(effect, action, http_rules::resource(call), why);
        let bytes = match call.bytes() {
            Ok(bytes) => bytes,
            Err(why) => return Some(Reading::one(make(Effect::Opaque, "model.infer", &format!("a model request that cannot be read: {why}")))),
        };
        let skimmed = match skim::skim(bytes) {
            Ok(skimmed) => skimmed,
            Err(why) => return Some(Reading::one(make(Effect::Opaque, "model.infer", &format!("a model request that cannot be read: {why}")))),
        };
        // Without what every model request has it is something else on a path that looks alike.
        let names_model_in_path = call.route.last().contains(':') || call.route.segments().any(|s| matches!(s, "model" | "deployments"));
        if !names_model_in_path && !skimmed.has_any(&["model", "requests"]) {
            return None;
        }
        if step == Step::Count {
            return Some(Reading::one(make(Effect::Read, "model.count", "counts the tokens of a model request")));
        }
        let found = tools::find(&skimmed);
        let mut operation = make(Effect::Write, "model.infer", found.reason());
        operation.delegates = found.into_delegation();
        Some(Reading::one(operation))
    }
}

#[cfg(test)]
mod tests;
