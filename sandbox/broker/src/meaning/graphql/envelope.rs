//! Where a GraphQL request keeps its document: JSON, form, multipart, bare text, or the URL; alone or in a batch.

use serde_json::{Map, Value};

use crate::meaning::{
    call::Call,
    content::{Content, Kind, parse_json},
    route::Route,
};

/// Most requests of one batch.
const MOST_IN_BATCH: usize = 64;

/// Names under which servers look up a stored document instead of reading the one that was sent.
const STORED: &[&str] = &["id", "documentId", "doc_id", "docId", "queryId", "query_id", "queryHash", "operationId", "hash"];

/// One request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Envelope {
    /// The document; absent where only a hash was sent.
    pub(crate) query: Option<String>,
    /// `operationName`.
    pub(crate) operation_name: Option<String>,
    /// `variables`.
    pub(crate) variables: Map<String, Value>,
    /// `extensions.persistedQuery.sha256Hash`.
    pub(crate) sha256: Option<String>,
    /// Whether a stored document is named in another way.
    pub(crate) names_stored: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// Nothing that GraphQL would recognise.
    Nothing,
    /// These.
    Envelopes(Vec<Envelope>),
    /// Something that some servers would run; why it cannot be told what.
    Unclear(String),
}

/// Whether the path is one of those that GraphQL servers listen on.
#[must_use]
pub(crate) fn path_says_graphql(call: &Call<'_>) -> bool {
    route_says_graphql(&call.route)
}

/// The same, before there is a body.
#[must_use]
pub(crate) fn route_says_graphql(route: &Route) -> bool {
    route.segments().any(|segment| {
        let segment = segment.to_ascii_lowercase();
        matches!(segment.as_str(), "graphql" | "gql" | "graphql.json" | "graphql.php" | "graphiql")
    })
}

/// Looks in the URL and in the body.
#[must_use]
pub(crate) fn find(call: &Call<'_>) -> Found {
    let url = in_url(call);
    let body = in_body(call);
    match (url, body) {
        (Found::Unclear(why), _) | (_, Found::Unclear(why)) => Found::Unclear(why),
        (Found::Nothing, found) => found,
        (Found::Envelopes(url), Found::Nothing) => Found::Envelopes(url),
        (Found::Envelopes(url), Found::Envelopes(body)) => merge(url, body),
    }
}

/// Both places have something: servers differ in which one they take, so parts must not contradict, and all documents are judged.
fn merge(url: Vec<Envelope>, body: Vec<Envelope>) -> Found {
    let unclear = || Found::Unclear("the URL and the body say different things".to_owned());
    let mut all = body;
    for from_url in url {
        if from_url.query.is_some() {
            if from_url.operation_name.is_some() || !from_url.variables.is_empty() || all.iter().any(|e| e.operation_name.is_some()) {
                return unclear();
            }
            all.push(from_url);
        } else {
            for envelope in &mut all {
                let same_name = from_url.operation_name.is_none() || envelope.operation_name.is_none() || envelope.operation_name == from_url.operation_name;
                if !same_name || !from_url.variables.is_empty() || from_url.sha256.is_some() || from_url.names_stored {
                    return unclear();
                }
                if from_url.operation_name.is_some() && envelope.operation_name.is_none() {
                    // The server may or may not look there: without a name all operations are judged.
                    envelope.operation_name = None;
                }
            }
        }
    }
    Found::Envelopes(all)
}

fn in_url(call: &Call<'_>) -> Found {
    let Some(pairs) = call.route.query() else {
        return if path_says_graphql(call) { Found::Unclear("the URL's query cannot be read".to_owned()) } else { Found::Nothing };
    };
    from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())), path_says_graphql(call))
}

fn in_body(call: &Call<'_>) -> Found {
    if call.has_no_body() {
        return Found::Nothing;
    }
    let at_home = path_says_graphql(call) || call.media.kind == Kind::GraphQl || call.media.essence == "application/graphql+json";
    match call.content() {
        Content::Empty | Content::Data => Found::Nothing,
        Content::Json(value) => from_json(value),
        Content::Form(pairs) => from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())), at_home),
        Content::Multipart(parts) => {
            let fields = parts.iter().filter_map(|part| Some((part.name.as_str(), part.text.as_deref()?)));
            let operations: Vec<_> = fields.clone().filter(|(name, _)| *name == "operations").collect();
            match operations.as_slice() {
                [] => from_pairs(fields, at_home),
                // The multipart request specification: one JSON field, files mapped into its variables.
                [(_, text)] => parse_json(text.as_bytes()).map_or_else(|why| Found::Unclear(why.to_string()), |value| from_json(&value)),
                _ => Found::Unclear("the form has more than one `operations`".to_owned()),
            }
        }
        Content::Text(text) if call.media.kind == Kind::GraphQl || (at_home && looks_like_document(text)) => {
            Found::Envelopes(vec![Envelope { query: Some(text.clone()), ..Envelope::default() }])
        }
        Content::Text(text) if starts_with_operation(text) => Found::Envelopes(vec![Envelope { query: Some(text.clone()), ..Envelope::default() }]),
        Content::Text(_) => Found::Nothing,
        Content::Unreadable(why) => Found::Unclear(why.to_string()),
    }
}

fn from_json(value: &Value) -> Found {
    match value {
        Value::Object(object) => match envelope(object) {
            Ok(Some(envelope)) => Found::Envelopes(vec![envelope]),
            Ok(None) => Found::Nothing,
            Err(why) => Found::Unclear(why.to_owned()),
        },
        Value::Array(items) => {
            let mut envelopes = Vec::new();
            for item in items {
                let Value::Object(object) = item else { continue };
                match envelope(object) {
                    Ok(Some(_)) if envelopes.len() == MOST_IN_BATCH => return Found::Unclear(format!("a batch of more than {MOST_IN_BATCH} requests")),
                    Ok(Some(envelope)) => envelopes.push(envelope),
                    Ok(None) => {}
                    Err(why) => return Found::Unclear(why.to_owned()),
                }
            }
            match envelopes.len() {
                0 => Found::Nothing,
                found if found == items.len() => Found::Envelopes(envelopes),
                _ => Found::Unclear("a batch in which some are GraphQL and some are not".to_owned()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Found::Nothing,
    }
}

fn envelope(object: &Map<String, Value>) -> Result<Option<Envelope>, &'static str> {
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err("`query` or `operationName` is not a string"),
    };
    // Search engines have a `query` object: that is not ours.
    if object.get("query").is_some_and(|query| !query.is_string() && !query.is_null()) {
        return Ok(None);
    }
    let query = text("query")?;
    let sha256 = persisted(object.get("extensions"))?;
    let stored = STORED.iter().any(|name| object.get(*name).is_some_and(|value| !value.is_null()));
    // Without a document only what is surely GraphQL counts: `id` alone is a field of everything.
    let sure_without =
        sha256.is_some() || ["documentId", "doc_id", "queryHash"].iter().any(|name| object.contains_key(*name)) || object.contains_key("operationName");
    if query.is_none() && !sure_without {
        return Ok(None);
    }
    let variables = match object.get("variables") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(variables)) => variables.clone(),
        // Some clients send them as a string, and some servers take it.
        Some(Value::String(text)) if text.is_empty() => Map::new(),
        Some(Value::String(text)) => match parse_json(text.as_bytes()) {
            Ok(Value::Object(variables)) => variables,
            Ok(_) | Err(_) => return Err("`variables` is not an object"),
        },
        Some(_) => return Err("`variables` is not an object"),
    };
    Ok(Some(Envelope { query, operation_name: text("operationName")?, variables, sha256, names_stored: stored }))
}

fn persisted(extensions: Option<&Value>) -> Result<Option<String>, &'static str> {
    const WRONG: &str = "`extensions.persistedQuery` cannot be read";
    match extensions {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(extensions)) => match extensions.get("persistedQuery") {
            None | Some(Value::Null) => Ok(None),
            Some(persisted) => persisted.get("sha256Hash").and_then(Value::as_str).map(|hash| Some(hash.to_owned())).ok_or(WRONG),
        },
        Some(_) => Err(WRONG),
    }
}

fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone, at_home: bool) -> Found {
    let all = |name: &str| pairs.clone().filter(|(key, _)| *key == name).map(|(_, value)| value).collect::<Vec<_>>();
    let (queries, names, variables, extensions) = (all("query"), all("operationName"), all("variables"), all("extensions"));
    let documents = queries.iter().filter(|text| at_home || starts_with_operation(text)).count();
    if documents == 0 && !at_home {
        return Found::Nothing;
    }
    if [&queries, &names, &variables, &extensions].iter().any(|values| values.len() > 1) {
        return Found::Unclear("a GraphQL parameter stands twice".to_owned());
    }
    let parse = |texts: &[&str]| match texts.first().filter(|text| !text.is_empty()) {
        None => Ok(Value::Null),
        Some(text) => parse_json(text.as_bytes()),
    };
    let (Ok(variables), Ok(extensions)) = (parse(&variables), parse(&extensions)) else {
        return Found::Unclear("`variables` or `extensions` is not strict JSON".to_owned());
    };
    let Ok(sha256) = persisted(Some(&extensions)) else { return Found::Unclear("`extensions.persistedQuery` cannot be read".to_owned()) };
    let variables = match variables {
        Value::Null => Map::new(),
        Value::Object(variables) => variables,
        _ => return Found::Unclear("`variables` is not an object".to_owned()),
    };
    let query = queries.first().filter(|text| !text.is_empty()).map(|text| (*text).to_owned());
    let names_stored = pairs.clone().any(|(name, value)| STORED.contains(&name) && name != "id" && !value.is_empty());
    if query.is_none() && sha256.is_none() && !names_stored && names.is_empty() {
        return Found::Nothing;
    }
    Found::Envelopes(vec![Envelope { query, operation_name: names.first().map(|name| (*name).to_owned()), variables, sha256, names_stored }])
}

/// Whether text begins as a document does, the short form included.
#[must_use]
pub(crate) fn looks_like_document(text: &str) -> bool {
    beginning(text).starts_with('{') || starts_with_operation(text)
}

/// Whether text begins with a word of GraphQL and goes on like it.
#[must_use]
pub(crate) fn starts_with_operation(text: &str) -> bool {
    let text = beginning(text);
    ["mutation", "query", "subscription", "fragment"].iter().any(|word| {
        text.strip_prefix(word).is_some_and(|rest| {
            let brace = rest.find('{');
            // `query string of words` is not one: a brace must come, after at most a name, variables and directives.
            brace.is_some_and(|_| rest.starts_with(|c: char| c.is_whitespace() || matches!(c, '{' | '(' | '@' | '#' | ',')))
        })
    })
}

/// Without what GraphQL ignores: blanks, commas, comments, a byte-order mark.
fn beginning(text: &str) -> &str {
    const MOST_COMMENTS: usize = 1000;
    let mut text = text;
    for _ in 0..MOST_COMMENTS {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == '\u{feff}');
        match text.strip_prefix('#') {
            Some(comment) => text = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest),
            None => return text,
        }
    }
    text
}
