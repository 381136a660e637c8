//! How a no is told, so that the tool that asked shows it to the agent and does not try again.

use agentbox_core::{Refusal, RefusalKind};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::refusal_clouds::{AwsAnswer, DENIED, aws, kubernetes};

/// The tongue of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStyle {
    /// HTTP 403 with a JSON object: understood by most, readable by all.
    Json,
    /// The same object, which is a GraphQL answer with one error too.
    GraphQl,
    /// The same by the media type of GraphQL over HTTP: clients read its errors whatever the status is, where they otherwise show the status alone.
    GraphQlResponse,
    /// An `ERR` pkt-line that git prints as `fatal: remote error: …`.
    Git(GitAnswer),
    /// Status 7 in the head of an answer without a body, as gRPC and gRPC-web have it.
    Grpc,
    /// The one message that ends a stream of Connect.
    ConnectStream,
    /// Connect's error object.
    ConnectUnary,
    /// Kubernetes' `Status`.
    Kubernetes,
    /// An error of AWS.
    Aws(AwsAnswer),
}

/// Which answer of git's smart HTTP a refusal stands in for: git shows it only in the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitAnswer {
    /// To `GET info/refs?service=git-upload-pack`.
    UploadPackAdvertisement,
    /// To `GET info/refs?service=git-receive-pack`.
    ReceivePackAdvertisement,
    /// To `POST git-upload-pack`.
    UploadPackResult,
    /// To `POST git-receive-pack` of a client that did not ask for a side band.
    ReceivePackResult,
    /// To `POST git-receive-pack` of a client that takes errors on side band 3.
    ReceivePackSideBand,
}

impl GitAnswer {
    const fn content_type(self) -> &'static str {
        match self {
            GitAnswer::UploadPackAdvertisement => "application/x-git-upload-pack-advertisement",
            GitAnswer::ReceivePackAdvertisement => "application/x-git-receive-pack-advertisement",
            GitAnswer::UploadPackResult => "application/x-git-upload-pack-result",
            GitAnswer::ReceivePackResult | GitAnswer::ReceivePackSideBand => "application/x-git-receive-pack-result",
        }
    }
}

/// Longest message that git is sent, in characters: a terminal's few lines, far below a pkt-line's 65,516 bytes.
const LONGEST_MESSAGE: usize = 900;

/// The media type of GraphQL over HTTP's answers.
pub(super) const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";

/// gRPC's number for it.
const PERMISSION_DENIED: &str = "7";

/// What `grpc-message` has to escape (gRPC over HTTP/2, "Responses"): the percent sign and all that is not printable ASCII.
const GRPC_MESSAGE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// The whole answer to the client.
#[must_use]
pub fn refusal_response(style: ReplyStyle, refusal: &Refusal) -> Response<Bytes> {
    match style {
        ReplyStyle::Json => answer(status(refusal.kind), "application/json", object(refusal).to_string().into_bytes()),
        ReplyStyle::GraphQl => answer(status(refusal.kind), "application/json", graphql(refusal).to_string().into_bytes()),
        ReplyStyle::GraphQlResponse => answer(status(refusal.kind), GRAPHQL_RESPONSE, graphql(refusal).to_string().into_bytes()),
        // git reads a body only behind status 200; with 403 it would say nothing but the number.
        ReplyStyle::Git(which) => answer(StatusCode::OK, which.content_type(), git(which, refusal)),
        ReplyStyle::Grpc => {
            let mut response = answer(StatusCode::OK, "application/grpc", Vec::new());
            response.headers_mut().insert("grpc-status", HeaderValue::from_static(PERMISSION_DENIED));
            let message = percent_encoding::utf8_percent_encode(&sentence(refusal), GRPC_MESSAGE).to_string();
            response.headers_mut().insert("grpc-message", HeaderValue::try_from(message).unwrap_or_else(|_| HeaderValue::from_static("agentbox")));
            response
        }
        // A stream's client looks for the error in its last message only, behind status 200.
        ReplyStyle::ConnectStream => answer(StatusCode::OK, "application/connect+json", end_of_stream(&json!({ "error": connect(refusal) }))),
        ReplyStyle::Kubernetes => answer(status(refusal.kind), "application/json", kubernetes(refusal).to_string().into_bytes()),
        ReplyStyle::Aws(which) => {
            let mut response = answer(status(refusal.kind), which.content_type(), aws(which, refusal));
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(DENIED));
            response
        }
        ReplyStyle::ConnectUnary => answer(status(refusal.kind), "application/json", connect(refusal).to_string().into_bytes()),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The clients of several vendors ask again on their own unless this says no.
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
    response
}

pub(super) const fn status(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::AlreadyDone => StatusCode::CONFLICT,
        RefusalKind::Pending | RefusalKind::Denied | RefusalKind::Failed => StatusCode::FORBIDDEN,
    }
}

const fn word(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Pending => "agentbox_held",
        RefusalKind::Denied | RefusalKind::Failed => "agentbox_denied",
        RefusalKind::AlreadyDone => "already_done",
    }
}

pub(super) fn object(refusal: &Refusal) -> Value {
    json!({
        "error": word(refusal.kind),
        "operation": refusal.operation,
        "place": refusal.place,
        "reason": refusal.reason,
        "guidance": refusal.guidance,
        "approval_id": refusal.approval_id,
    })
}

/// One error of GraphQL.
pub(super) fn graphql_error(refusal: &Refusal) -> Value {
    json!({ "message": sentence(refusal), "extensions": object(refusal) })
}

/// An error of JSON-RPC; of the codes that its specification leaves to servers.
pub(super) fn rpc_error(refusal: &Refusal) -> Value {
    json!({ "code": -32001, "message": sentence(refusal), "data": object(refusal) })
}

/// The event by which OpenAI's Responses tell of an error, with ours beside it.
pub(super) fn model_error(refusal: &Refusal) -> Value {
    let mut whole = json!({ "type": "error", "status": 403 });
    if let (Some(whole), Value::Object(fields)) = (whole.as_object_mut(), object(refusal)) {
        whole.extend(fields);
        let error = json!({ "type": "invalid_request_error", "code": whole.get("error"), "message": sentence(refusal) });
        whole.insert("error".to_owned(), error);
    }
    whole
}

pub(super) fn graphql(refusal: &Refusal) -> Value {
    let extensions = object(refusal);
    let mut whole = json!({ "data": null, "errors": [graphql_error(refusal)] });
    // A caller that looks for the plain object finds it beside the errors.
    if let (Some(whole), Value::Object(fields)) = (whole.as_object_mut(), extensions) {
        whole.extend(fields);
    }
    whole
}

/// Connect's error object, with ours beside it for whoever looks.
fn connect(refusal: &Refusal) -> Value {
    let mut whole = object(refusal);
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("code".to_owned(), json!("permission_denied"));
        fields.insert("message".to_owned(), json!(sentence(refusal)));
    }
    whole
}

/// Connect's envelope: the flag of a stream's end, four bytes of length, JSON.
fn end_of_stream(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut bytes = vec![2];
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub(super) fn sentence(refusal: &Refusal) -> String {
    let id = refusal.approval_id.as_deref().map_or_else(String::new, |id| format!(" [{id}]"));
    let text = format!("agentbox: {}{id} {}", refusal.reason, refusal.guidance);
    agentbox_core::safe::line(text.trim_end(), LONGEST_MESSAGE)
}

fn git(which: GitAnswer, refusal: &Refusal) -> Vec<u8> {
    let message = sentence(refusal);
    match which {
        GitAnswer::UploadPackAdvertisement | GitAnswer::ReceivePackAdvertisement | GitAnswer::UploadPackResult | GitAnswer::ReceivePackResult => {
            pkt_line(format!("ERR {message}\n").as_bytes())
        }
        GitAnswer::ReceivePackSideBand => {
            let mut line = vec![3];
            line.extend_from_slice(message.as_bytes());
            line.push(b'\n');
            let mut bytes = pkt_line(&line);
            bytes.extend_from_slice(b"0000");
            bytes
        }
    }
}

/// Four hexadecimal digits of length, themselves included, then the payload.
fn pkt_line(payload: &[u8]) -> Vec<u8> {
    let mut line = format!("{:04x}", payload.len() + 4).into_bytes();
    line.extend_from_slice(payload);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: RefusalKind) -> Refusal {
        Refusal {
            kind,
            operation: "railway.volumeDelete".into(),
            place: "production".into(),
            reason: "deleting a volume waits for a person.".into(),
            guidance: "Do not retry; work on something else.".into(),
            approval_id: Some("h-1".into()),
        }
    }

    #[test]
    fn json_says_all_and_asks_not_to_be_retried() {
        let response = refusal_response(ReplyStyle::Json, &refusal(RefusalKind::Pending));
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["x-should-retry"], "false");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"], "agentbox_held");
        assert_eq!(body["operation"], "railway.volumeDelete");
        assert_eq!(body["place"], "production");
        assert_eq!(body["approval_id"], "h-1");
    }

    #[test]
    fn a_joined_request_is_told_that_it_was_done() {
        let response = refusal_response(ReplyStyle::Json, &refusal(RefusalKind::AlreadyDone));
        assert_eq!(response.status(), 409);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"], "already_done");
    }

    #[test]
    fn graphql_has_errors_with_extensions_and_the_plain_object() {
        let response = refusal_response(ReplyStyle::GraphQlResponse, &refusal(RefusalKind::Denied));
        assert_eq!(response.headers()["content-type"], "application/graphql-response+json");
        let response = refusal_response(ReplyStyle::GraphQl, &refusal(RefusalKind::Denied));
        assert_eq!(response.headers()["content-type"], "application/json");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["errors"][0]["extensions"]["error"], "agentbox_denied");
        assert!(body["errors"][0]["message"].as_str().unwrap().contains("waits for a person"));
        assert_eq!(body["error"], "agentbox_denied");
        assert!(body["data"].is_null());
    }

    #[test]
    fn grpc_and_connect_say_permission_denied() {
        let response = refusal_response(ReplyStyle::Grpc, &refusal(RefusalKind::Denied));
        assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"], response.body().len()), (200, &HeaderValue::from_static("7"), 0));
        assert!(response.headers()["grpc-message"].to_str().unwrap().contains("waits for a person"));
        let odd = Refusal { reason: "50% für\nnichts".into(), ..refusal(RefusalKind::Denied) };
        let message = refusal_response(ReplyStyle::Grpc, &odd).headers()["grpc-message"].to_str().unwrap().to_owned();
        assert!(message.contains("50%25 f%C3%BCr") && message.is_ascii(), "{message}");
        let response = refusal_response(ReplyStyle::ConnectUnary, &refusal(RefusalKind::Denied));
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), body["code"].as_str()), (403, Some("permission_denied")));
        let response = refusal_response(ReplyStyle::ConnectStream, &refusal(RefusalKind::Denied));
        let (head, text) = response.body().split_at(5);
        assert_eq!(head, [&[2u8][..], &u32::try_from(text.len()).unwrap().to_be_bytes()].concat());
        assert_eq!(serde_json::from_slice::<Value>(text).unwrap()["error"]["code"], "permission_denied");
    }

    #[test]
    fn git_gets_a_pkt_line_of_the_right_length() {
        let response = refusal_response(ReplyStyle::Git(GitAnswer::ReceivePackAdvertisement), &refusal(RefusalKind::Denied));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-git-receive-pack-advertisement");
        let body = response.body();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..4]).unwrap(), 16).unwrap();
        assert_eq!(length, body.len());
        assert!(body[4..].starts_with(b"ERR agentbox: "));
        let side = refusal_response(ReplyStyle::Git(GitAnswer::ReceivePackSideBand), &refusal(RefusalKind::Denied));
        assert_eq!(side.body()[4], 3);
        assert!(side.body().ends_with(b"0000"));
    }
}
