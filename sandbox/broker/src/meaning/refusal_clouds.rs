//! A no in the tongues of Kubernetes and AWS, whose clients show nobody what is in any other.

use agentbox_core::Refusal;
use serde_json::{Value, json};

use super::refusal::{object, sentence, status};

/// Which of AWS's protocols a refusal is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsAnswer {
    /// JSON of all kinds.
    Json,
    /// S3.
    S3,
    /// The query protocol, and services that have XML behind paths.
    Xml,
    /// EC2's own XML.
    Ec2,
}

impl AwsAnswer {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            AwsAnswer::Json => "application/json",
            AwsAnswer::S3 | AwsAnswer::Xml | AwsAnswer::Ec2 => "application/xml",
        }
    }
}

/// The name of the error in AWS's JSON, also in a header.
pub(super) const DENIED: &str = "AccessDeniedException";

/// A `Status`, of which `kubectl` prints the message.
pub(super) fn kubernetes(refusal: &Refusal) -> Value {
    let mut whole = object(refusal);
    if let Some(fields) = whole.as_object_mut() {
        // Kubernetes has a `reason` of its own; ours stands in the message.
        for (name, value) in [
            ("kind", json!("Status")),
            ("apiVersion", json!("v1")),
            ("metadata", json!({})),
            ("status", json!("Failure")),
            ("message", json!(sentence(refusal))),
            ("reason", json!("Forbidden")),
            ("code", json!(status(refusal.kind).as_u16())),
        ] {
            fields.insert(name.to_owned(), value);
        }
    }
    whole
}

/// An error of AWS.
pub(super) fn aws(which: AwsAnswer, refusal: &Refusal) -> Vec<u8> {
    let message = sentence(refusal);
    if which == AwsAnswer::Json {
        let mut whole = object(refusal);
        if let Some(fields) = whole.as_object_mut() {
            fields.insert("__type".to_owned(), json!(DENIED));
            fields.insert("message".to_owned(), json!(message));
        }
        return whole.to_string().into_bytes();
    }
    let error = format!("<Code>AccessDenied</Code><Message>{}</Message>", escaped(&message));
    let whole = match which {
        AwsAnswer::S3 => format!("<Error>{error}</Error>"),
        AwsAnswer::Ec2 => format!("<Response><Errors><Error>{error}</Error></Errors></Response>"),
        AwsAnswer::Xml | AwsAnswer::Json => format!("<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"),
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{whole}").into_bytes()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use agentbox_core::RefusalKind;

    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            kind: RefusalKind::Denied,
            operation: "k8s.delete".into(),
            place: "p".into(),
            reason: "a <b> & c".into(),
            guidance: "Do not.".into(),
            approval_id: None,
        }
    }

    #[test]
    fn a_status_says_why() {
        let told = kubernetes(&refusal());
        assert_eq!((&told["kind"], &told["reason"], &told["code"]), (&json!("Status"), &json!("Forbidden"), &json!(403)));
        assert_eq!(told["message"], "agentbox: a <b> & c Do not.");
        assert_eq!(told["error"], "agentbox_denied");
    }

    #[test]
    fn aws_has_four_shapes() {
        let text = |which| String::from_utf8(aws(which, &refusal())).unwrap();
        let message = "<Code>AccessDenied</Code><Message>agentbox: a &lt;b&gt; &amp; c Do not.</Message>";
        assert!(text(AwsAnswer::S3).ends_with(&format!("<Error>{message}</Error>")));
        assert!(text(AwsAnswer::Ec2).contains(&format!("<Errors><Error>{message}</Error></Errors>")));
        assert!(text(AwsAnswer::Xml).contains(&format!("<Type>Sender</Type>{message}")));
        let json: Value = serde_json::from_str(&text(AwsAnswer::Json)).unwrap();
        assert_eq!((&json["__type"], &json["error"]), (&json!("AccessDeniedException"), &json!("agentbox_denied")));
    }
}
