//! What the card shows of a request's body: decoded, cut, and still hostile.

use serde_json::Value;

use super::{Body, call::Call, content::Content, graphql, grpc};

/// Longest excerpt in bytes: a card, not a page.
const LONGEST: usize = 4000;

/// The excerpt of a request.
#[must_use]
pub(crate) fn of(call: &Call<'_>) -> String {
    if let Some(document) = graphql::document_of(call) {
        return cut(&format!("(by its hash, which has passed by with this document)\n{document}"));
    }
    if call.has_no_body() {
        return call.route.values("query").next().map(cut).unwrap_or_default();
    }
    if matches!(call.raw(), Body::TooLong { .. }) && grpc::is_enveloped(call.head) {
        return "(its messages follow while it runs, and are not read)".to_owned();
    }
    match call.content_if_read() {
        Some(Content::Json(Value::Object(object))) if object.get("query").is_some_and(Value::is_string) => {
            let query = object.get("query").and_then(Value::as_str).unwrap_or_default();
            match object.get("variables") {
                Some(Value::Object(variables)) if !variables.is_empty() => cut(&format!("{query}\nvariables: {}", Value::Object(variables.clone()))),
                _ => cut(query),
            }
        }
        Some(Content::Data) => "(data)".to_owned(),
        Some(Content::Unreadable(why)) => format!("({why})"),
        _ => match call.bytes() {
            Ok(bytes) => {
                let first = bytes.get(..bytes.len().min(LONGEST + 1)).unwrap_or_default();
                cut(&String::from_utf8_lossy(first))
            }
            Err(why) => format!("({why})"),
        },
    }
}

fn cut(text: &str) -> String {
    super::words::head(text, LONGEST).to_owned()
}
