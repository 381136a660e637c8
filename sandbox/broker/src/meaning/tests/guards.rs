//! What guards, switched off in the many ways of writing it down; and what only looks like it.

use agentbox_core::Effect::{self, Destroy, Read, Write};

use crate::meaning::example;

fn at(method: &str, url: &str, body: &str) -> Effect {
    example(method, url, (!body.is_empty()).then_some(body)).unwrap().worst().unwrap().effect
}

fn all(rows: &[(&str, &str, &str, Effect)]) {
    for (method, url, body, wanted) in rows {
        assert_eq!(at(method, url, body), *wanted, "{method} {url} {body}");
    }
}

#[test]
fn a_guard_s_switch_may_lie_deep() {
    all(&[
        (
            "POST",
            "https://eks.eu-west-1.amazonaws.com/clusters/c/update-config",
            r#"{"logging":{"clusterLogging":[{"types":["audit"],"enabled":false}]}}"#,
            Destroy,
        ),
        (
            "POST",
            "https://eks.eu-west-1.amazonaws.com/clusters/c/update-config",
            r#"{"logging":{"clusterLogging":[{"types":["audit"],"enabled":true}]}}"#,
            Write,
        ),
        ("PATCH", "https://api.acme.example/v1/c/1", r#"{"logging":{"componentConfig":{"enableComponents":[]}}}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/servers/1/auditingSettings/default", r#"{"properties":{"state":"Disabled"}}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/servers/1/auditingSettings/default", r#"{"properties":{"state":"Enabled"}}"#, Write),
        ("PUT", "https://api.acme.example/v1/items/1", r#"{"properties":{"protectionState":"ProtectionStopped"}}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/firewalls/1", r#"{"inbound_rules":[]}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/firewalls/1", r#"{"tags":[],"inbound_rules":[{"port":22}]}"#, Write),
        ("PATCH", "https://api.acme.example/v1/projects/1", r#"{"notifications":[{"enabled":false}]}"#, Write),
        ("PATCH", "https://api.acme.example/v1/posts/1", r#"{"backup_note":"the backup is off"}"#, Write),
    ]);
}

#[test]
fn orders_within_texts_and_elements() {
    all(&[
        (
            "POST",
            "https://api.acme.example/graphql",
            r#"{"query":"mutation{runMany(mutation:\"mutation m($i:I!){productDelete(input:$i){id}}\"){id}}"}"#,
            Destroy,
        ),
        (
            "POST",
            "https://api.acme.example/graphql",
            r#"{"query":"mutation{runMany(mutation:\"mutation m($i:I!){productUpdate(input:$i){id}}\"){id}}"}"#,
            Write,
        ),
        ("POST", "https://api.acme.example/v1/servers/1/actions", r#"{"type":"disable_backups"}"#, Destroy),
        ("POST", "https://api.acme.example/v1/servers/1/actions", r#"{"type":"enable_backups"}"#, Write),
        ("POST", "https://api.acme.example/v1/indices/change", r#"{"actions":[{"remove_index":{"index":"orders"}}]}"#, Destroy),
        ("POST", "https://api.acme.example/v1/indices/change", r#"{"actions":[{"remove_label":{"index":"orders"}}]}"#, Write),
    ]);
}

#[test]
fn one_s_own_marks_and_uploads() {
    all(&[
        ("DELETE", "https://api.github.com/user/starred/acme/shop", "", Write),
        ("DELETE", "https://acme.auth0.com/api/v2/users/u1/roles", "", Write),
        ("DELETE", "https://registry.acme.example/v2/app/blobs/uploads/7f", "", Write),
        ("DELETE", "https://registry.acme.example/v2/app/manifests/sha256:00", "", Destroy),
        (
            "POST",
            "https://k8s.acme.example/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            r#"{"spec":{"resourceAttributes":{"verb":"delete"}}}"#,
            Read,
        ),
        ("POST", "https://acme.okta.com/api/v1/users/7/lifecycle/suspend", "{}", Write),
        ("POST", "https://compute.googleapis.com/compute/v1/projects/p/zones/z/instanceGroupManagers/m/resize?size=0", "{}", Destroy),
        ("POST", "https://compute.googleapis.com/compute/v1/projects/p/zones/z/instanceGroupManagers/m/resize?size=3", "{}", Write),
    ]);
}
