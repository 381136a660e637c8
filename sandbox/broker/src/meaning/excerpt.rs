//! What the card shows of a request's body: decoded, cut, and still hostile.

use serde_json::{Map, Value};

use super::{Body, call::Call, content::Content, graphql, grpc};

/// Longest excerpt in bytes: a card, not a page.
const LONGEST: usize = 4000;

/// Stands where a text was cut.
const CUT: &str = " … (cut)";

/// The excerpt of a request.
#[must_use]
pub(crate) fn of(call: &Call<'_>) -> String {
    let by_hash = graphql::documents_of(call);
    if !by_hash.is_empty() {
        let shown = by_hash.into_iter().map(|(document, variables)| with_variables(&document, &variables));
        return cut(&format!("(by its hash, which has passed by with this document)\n{}", shown.collect::<Vec<_>>().join("\n")));
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
                Some(Value::Object(variables)) => cut(&with_variables(query, variables)),
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

/// A document of GraphQL, and what it is sent with: there stands which thing it is about, so that a long document must not push it off the card.
fn with_variables(document: &str, variables: &Map<String, Value>) -> String {
    if variables.is_empty() {
        return document.to_owned();
    }
    let variables = format!("variables: {}", Value::Object(variables.clone()));
    let shown = super::words::head(document, LONGEST - CUT.len() - 1 - variables.len().min(LONGEST / 2));
    let cut = if shown.len() < document.len() { CUT } else { "" };
    format!("{shown}{cut}\n{variables}")
}

fn cut(text: &str) -> String {
    super::words::head(text, LONGEST).to_owned()
}
