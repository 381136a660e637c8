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
        ("PUT", "https://api.acme.example/v1/log-streams/1", r#"{"status":"paused"}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/video-streams/1", r#"{"status":"paused"}"#, Write),
        ("PATCH", "https://api.acme.example/v1/alertPolicies/1", r#"{"enabled":false}"#, Destroy),
        ("PATCH", "https://api.acme.example/v1/alertPolicies/1/comments/2", r#"{"enabled":false}"#, Write),
        ("PUT", "https://api.acme.example/v1/logs/main", r#"{"retention":{"days":0}}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/logs/main", r#"{"retention":{"days":90}}"#, Write),
        ("PUT", "https://api.acme.example/v1/stacks/1", r#"{"actionOnUnmanage":{"resources":"delete"}}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/stacks/1", r#"{"actionOnUnmanage":{"resources":"detach"}}"#, Write),
        ("POST", "https://api.acme.example/v1/databases?createMode=orReplace", r#"{"name":"d"}"#, Destroy),
        ("POST", "https://api.acme.example/v1/databases?createMode=ifNotExists", r#"{"name":"d"}"#, Write),
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
fn what_is_asked_for_or_only_a_name() {
    let tool =
        |name: &str, arguments: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#);
    for (name, arguments, wanted) in [
        ("filesystem_remove", "{}", Destroy),
        ("merge_and_purge_contacts", "{}", Destroy),
        ("search_code", r#"{"q":"DROP TABLE users"}"#, Write),
        ("run_sql", r#"{"q":"DROP TABLE users"}"#, Destroy),
        ("create_issue", r#"{"title":"delete all"}"#, Write),
    ] {
        assert_eq!(at("POST", "https://tools.acme.example/mcp", &tool(name, arguments)), wanted, "{name} {arguments}");
    }
    all(&[
        ("POST", "https://api.acme.example/v1/users/query", r#"{"filter":{"deleted":true}}"#, Write),
        ("POST", "https://api.acme.example/v1/users/update", r#"{"filter":{"id":1},"deleted":true}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/groups/1", r#"{"tags":{"delete":"soon"}}"#, Write),
        ("PUT", "https://api.acme.example/v1/groups/1", r#"{"tags":{"delete":["a"]}}"#, Destroy),
        ("POST", "https://api.acme.example/v1/branches", r#"{"branch":{"name":"delete-test"}}"#, Write),
        ("POST", "https://api.acme.example/v1/templates", r#"{"name":"delete_confirmation"}"#, Write),
        ("POST", "https://api.acme.example/v1/call", r#"{"name":"deleteUser","params":[3]}"#, Destroy),
        ("POST", "https://api.acme.example/v1/jobs/bulk", r#"{"jobs":[{"kind":"delete_user","id":3}]}"#, Destroy),
        ("POST", "https://api.acme.example/v1/jobs/bulk", r#"{"jobs":[{"kind":"export_user","id":3}]}"#, Write),
        ("PATCH", "https://api.acme.example/v1/tenants/3", r#"{"features":{"mfa":{"required":false}}}"#, Destroy),
        ("PATCH", "https://api.acme.example/v1/tenants/3", r#"{"features":{"beta":{"required":false}}}"#, Write),
        ("PATCH", "https://api.acme.example/v1/servers/3", r#"{"reinstall":true}"#, Destroy),
        ("POST", "https://api.acme.example/v1/reactions.remove", "{}", Write),
        ("POST", "https://api.acme.example/v1/files.remove", "{}", Destroy),
        ("DELETE", "https://api.acme.example/v1/entries/e1/published", "", Write),
        ("POST", "https://api.acme.example/v2/servers/7/action", r#"{"rebuild":{"imageRef":"x"}}"#, Destroy),
        ("POST", "https://api.acme.example/v2/servers/7/action", r#"{"os-force_delete":null}"#, Destroy),
        ("POST", "https://api.acme.example/v2/servers/7/action", r#"{"reboot":{"type":"HARD"}}"#, Write),
        ("POST", "https://api.acme.example/v3/clusters/7?action=restoreFromBackup", "{}", Destroy),
        ("POST", "https://api.acme.example/v3/clusters/7?action=backup", "{}", Write),
        ("PATCH", "https://api.acme.example/v2/buckets/7", r#"{"retentionRules":[{"everySeconds":3600}]}"#, Destroy),
        ("PATCH", "https://api.acme.example/v2/buckets/7", r#"{"retentionRules":[{"everySeconds":31536000}]}"#, Write),
        ("POST", "https://api.acme.example/cursor", r#"{"query":"FOR u IN users REMOVE u IN users"}"#, Destroy),
        ("POST", "https://api.acme.example/cursor", r#"{"query":"FOR u IN users RETURN u"}"#, Write),
        ("POST", "https://api.acme.example/cursor", r#"{"query":"remove background from image"}"#, Write),
        ("POST", "https://api.acme.example/v1/accounts/9/close", "{}", Destroy),
        ("POST", "https://api.acme.example/v1/tickets/9/close", "{}", Write),
        ("DELETE", "https://api.acme.example/v1/groups/9/users/3", "", Write),
        ("DELETE", "https://api.acme.example/v1/users/3", "", Destroy),
        ("GET", "https://api.acme.example/search/issues?q=delete+is:open", "", Read),
    ]);
    let xml = ("content-type", "text/xml");
    for (call, wanted) in [("RevertToSnapshot_Task", Destroy), ("PowerOffVM_Task", Write)] {
        let body = format!("<Envelope><Body><{call}/></Body></Envelope>");
        assert_eq!(super::at("vc.acme.example", "POST", "/sdk", &[xml], Some(body.as_bytes())), wanted, "{call}");
    }
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
