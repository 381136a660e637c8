//! `agentbox classify`: what each request on standard input would be taken for, one JSON line each.

use std::{
    io::{BufRead, BufReader, BufWriter, Read as _, Write},
    process::ExitCode,
};

use agentbox_broker::meaning::MessageKind;
use agentbox_core::{Digest, Effect, Evidence, Operation, Request, Verdict, policy::Policy};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy_files::{self, PolicyArguments};

/// Longest row in bytes: the longest body that is read to judge it, in base64, with its head.
const LONGEST_ROW: u64 = 64 << 20;

/// Arguments of `agentbox classify`.
///
/// Rows are JSON objects, one a line: `id`, `method`, `url`, `headers`, `body` and `body_encoding` (`utf8` or `base64`);
/// `EXEC` with an `ssh://` URL is a command line for another machine, in the header `x-ssh-exec` or the body;
/// `TEXT` or `BINARY` with a `ws://` or `wss://` URL is one message of a WebSocket, its subprotocol in the header;
/// or `id`, `engine` (`sql`, `redis`, `mongodb`), `dialect`, `sql` or `wire_base64`, and `context`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClassifyArguments {
    /// Say too in which place each is, and the verdict: a policy file or the name of a shipped profile
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
}

/// A request or a statement. What is not used here is passed over.
#[derive(Debug, Default, Deserialize)]
struct Row {
    #[serde(default)]
    id: Value,
    method: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: Option<serde_json::Map<String, Value>>,
    body: Option<String>,
    body_encoding: Option<String>,
    engine: Option<String>,
    dialect: Option<String>,
    sql: Option<String>,
    wire_base64: Option<String>,
    context: Option<String>,
}

/// One line of output.
#[derive(Debug, Serialize)]
struct Line {
    id: Value,
    #[serde(flatten)]
    worst: Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operations: Vec<Told>,
}

/// One operation.
#[derive(Clone, Debug, Serialize)]
struct Told {
    effect: Effect,
    action: String,
    resource: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegates: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    yields_credential: bool,
}

impl Told {
    fn of(operation: &Operation) -> Self {
        Self {
            effect: operation.effect,
            action: operation.action.as_str().to_owned(),
            resource: operation.resource.id.as_str().to_owned(),
            reason: operation.reason.clone(),
            delegates: operation.delegates.as_ref().map(|delegation| delegation.why.clone()),
            yields_credential: operation.yields_credential,
        }
    }

    fn opaque(reason: impl Into<String>) -> Self {
        Self { effect: Effect::Opaque, action: "unknown".to_owned(), resource: String::new(), reason: reason.into(), delegates: None, yields_credential: false }
    }
}

/// Reads rows to the end of standard input.
pub(crate) fn run(arguments: &ClassifyArguments) -> ExitCode {
    let policy = match policy(arguments) {
        Ok(policy) => policy,
        Err(error) => return failed(&error.to_string()),
    };
    let input = BufReader::new(std::io::stdin().lock());
    let output = BufWriter::new(std::io::stdout().lock());
    match classify(policy.as_ref(), input, output) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "agentbox: classify: {why}");
    ExitCode::from(crate::cli::FAILED)
}

fn policy(arguments: &ClassifyArguments) -> Result<Option<Policy>, policy_files::PolicyFilesError> {
    let Some(policy) = arguments.policy.clone() else { return Ok(None) };
    let wanted = PolicyArguments { policy: Some(policy), workspace: ".".into(), ..PolicyArguments::default() };
    Ok(Some(policy_files::load(&wanted, policy_files::decode)?.policy))
}

fn classify(policy: Option<&Policy>, mut input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if input.by_ref().take(LONGEST_ROW + 1).read_until(b'\n', &mut bytes)? == 0 {
            return output.flush();
        }
        if bytes.len() as u64 > LONGEST_ROW {
            return Err(std::io::Error::other(format!("a row is longer than {LONGEST_ROW} bytes")));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        serde_json::to_writer(&mut output, &line(policy, &bytes))?;
        output.write_all(b"\n")?;
    }
}

fn line(policy: Option<&Policy>, bytes: &[u8]) -> Line {
    let (id, request) = match serde_json::from_slice::<Row>(bytes) {
        Ok(row) => (row.id.clone(), told(&row)),
        Err(error) => (Value::Null, Err(format!("the row cannot be read: {error}"))),
    };
    match request {
        Ok(request) => of_request(policy, id, &request),
        Err(reason) => Line { id, worst: Told::opaque(reason), place: None, verdict: None, operations: Vec::new() },
    }
}

fn of_request(policy: Option<&Policy>, id: Value, request: &Request) -> Line {
    let operations: Vec<Told> = request.operations.iter().map(Told::of).collect();
    let worst = request.worst().map_or_else(|| Told::opaque("no operation was found"), Told::of);
    let (place, verdict) = policy.map(|policy| policy.preview(request)).map(|(verdict, because)| (because.place, verdict)).unzip();
    Line { id, worst, place, verdict, operations: if operations.len() > 1 { operations } else { Vec::new() } }
}

/// The row as a request, or why it is opaque.
fn told(row: &Row) -> Result<Request, String> {
    if let Some(engine) = &row.engine {
        return statement(row, engine);
    }
    let (Some(method), Some(url)) = (&row.method, &row.url) else { return Err("the row has no method and URL".to_owned()) };
    let body = match (&row.body, row.body_encoding.as_deref()) {
        (None, _) => None,
        (Some(text), Some("base64")) => Some(base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("the row's base64: {error}"))?),
        (Some(text), Some("utf8") | None) => Some(text.clone().into_bytes()),
        (Some(_), Some(_)) => return Err("the row's body_encoding is neither utf8 nor base64".to_owned()),
    };
    // What is run on another machine by SSH: the command line, and what is sent to it.
    if method == "EXEC" && url.starts_with("ssh://") {
        let header = row.headers.iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("x-ssh-exec")).and_then(|(_, value)| value.as_str());
        let text = body.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let command = header.or(text).ok_or("the row has no command line")?;
        return agentbox_broker::meaning::remote_command(url, command, body.as_deref());
    }
    if let Some(kind) = message_kind(method, url) {
        return agentbox_broker::meaning::websocket_message(url, &headers(row)?, kind, body.as_deref().unwrap_or_default());
    }
    agentbox_broker::meaning::request(method, url, &headers(row)?, body.as_deref())
}

/// A row with one message of a WebSocket.
fn message_kind(method: &str, url: &str) -> Option<MessageKind> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase())?;
    match (scheme.as_str(), method) {
        ("ws" | "wss", "TEXT") => Some(MessageKind::Text),
        ("ws" | "wss", "BINARY") => Some(MessageKind::Binary),
        _ => None,
    }
}

/// A row with a statement: `engine`, `dialect`, `sql` or `wire_base64`, and `context`.
fn statement(row: &Row, engine: &str) -> Result<Request, String> {
    let wire = match &row.wire_base64 {
        Some(text) => Some(base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("the row's wire_base64: {error}"))?),
        None => None,
    };
    if wire.is_none() && row.sql.is_none() {
        return Err("the row has neither sql nor wire_base64".to_owned());
    }
    let text = row.sql.as_deref().unwrap_or_default();
    let told = agentbox_broker::meaning::sql::Row {
        engine,
        dialect: row.dialect.as_deref().unwrap_or_default(),
        text,
        wire: wire.as_deref(),
        context: row.context.as_deref(),
    };
    Ok(Request {
        operations: agentbox_broker::meaning::sql::of_row(&told),
        destination: None,
        digest: Digest::of([engine.as_bytes(), text.as_bytes(), wire.as_deref().unwrap_or_default()]),
        evidence: Evidence { summary: engine.to_owned(), excerpt: text.to_owned(), ..Evidence::default() },
    })
}

/// The row's headers without those of the framing, which the broker takes off before it judges.
fn headers(row: &Row) -> Result<http::HeaderMap, String> {
    const FRAMING: &[&str] = &["host", "content-length", "transfer-encoding", "keep-alive", "te", "trailer"];
    let mut map = http::HeaderMap::new();
    for (name, value) in row.headers.iter().flatten() {
        let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header of the row has no valid name".to_owned())?;
        if FRAMING.contains(&name.as_str()) {
            continue;
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let value = http::HeaderValue::from_bytes(text.as_bytes()).map_err(|_| format!("the row's header {name} has no valid value"))?;
            map.append(name.clone(), value);
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(rows: &str) -> Vec<Value> {
        let mut out = Vec::new();
        classify(None, rows.as_bytes(), &mut out).unwrap();
        out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn one_line_for_each_row() {
        let rows = r#"
{"id":"a","method":"POST","url":"https://backboard.railway.com/graphql/v2","headers":{"content-type":"application/json","host":"x"},"body":"{\"query\":\"mutation{volumeDelete(volumeId:\\\"3d2c\\\")}\"}","body_encoding":"utf8"}
{"id":2,"method":"GET","url":"https://api.example.com/x","headers":{},"body":null,"body_encoding":null,"label":"read"}
{"id":"c","method":"POST","url":"https://api.example.com/graphql","headers":{"content-type":"application/json"},"body":"W3sicXVlcnkiOiJ7bWV9In0seyJxdWVyeSI6Im11dGF0aW9ue2RlbGV0ZU1lfSJ9XQ==","body_encoding":"base64"}
{"id":"d","engine":"sql","sql":"SELECT 1"}
{"id":"e","method":"TEXT","url":"wss://api.example.com/graphql","headers":{"sec-websocket-protocol":"graphql-ws"},"body":"{\"id\":\"1\",\"type\":\"start\",\"payload\":{\"query\":\"mutation{deleteMe}\"}}"}
{"id":"f","method":"BINARY","url":"wss://api.example.com/graphql","headers":{},"body":"x"}
nonsense
"#;
        let lines = classified(rows);
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[0]["effect"], "destroy");
        assert_eq!(lines[0]["action"], "railway.volumeDelete");
        assert_eq!(lines[0]["resource"], "railway:volume/3d2c");
        assert!(lines[0].get("operations").is_none());
        assert_eq!((lines[1]["id"].as_u64(), lines[1]["effect"].as_str()), (Some(2), Some("read")));
        assert_eq!(lines[2]["effect"], "destroy");
        assert_eq!(lines[2]["operations"].as_array().unwrap().len(), 2);
        assert_eq!(lines[3]["effect"], "read");
        assert_eq!((lines[4]["effect"].as_str(), lines[4]["action"].as_str()), (Some("destroy"), Some("graphql.deleteMe")));
        assert_eq!(lines[5]["effect"], "opaque");
        assert_eq!(lines[6]["effect"], "opaque");
    }
}
