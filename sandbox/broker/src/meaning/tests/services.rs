//! APIs that nobody has described, and the providers whose requests say otherwise than their methods.

use agentbox_core::Effect::{Destroy, Opaque, Read, Write};

use super::{FORM, JSON, at};

#[test]
fn what_a_delete_takes() {
    for (host, target, wanted) in [
        ("api.acme.example", "/v1/sessions/current", Write),
        ("api.acme.example", "/v1/users/7/refresh-tokens", Write),
        ("api.acme.example", "/v1/posts/7/like", Write),
        ("api.acme.example", "/repos/a/b/issues/1/labels/bug", Write),
        ("api.acme.example", "/v1/users/7", Destroy),
        ("api.acme.example", "/v1/volumes/session", Destroy),
        ("api.acme.example", "/v1/databases/cache", Destroy),
        ("api.acme.example", "/v1/projects/3/backups/tags", Destroy),
        ("api.acme.example", "/v1/kv/session", Destroy),
        ("api.acme.example", "/v1/repositories/3/tags/v1", Destroy),
        ("api.acme.example", "/v1/a/../sessions/3", Destroy),
        // Files have names that people gave them.
        ("files.acme.example", "/bucket/tokens/a", Destroy),
        ("files.acme.example", "/sessions/3", Destroy),
    ] {
        assert_eq!(at(host, "DELETE", target, &[], None), wanted, "{host}{target}");
    }
    assert_eq!(at("vault.acme.example", "DELETE", "/v1/app/tokens/3", &[("x-vault-token", "s")], None), Destroy);
}

#[test]
fn what_a_path_calls() {
    for (method, target, wanted) in [
        ("POST", "/v1/volumes/3/wipe", Destroy),
        ("POST", "/v1/volumes/3/purge_build_cache", Write),
        ("POST", "/v1/projects/3/database/backups/restore-pitr", Destroy),
        ("POST", "/v1/projects/3/restore", Write),
        ("POST", "/v1/replication/dr/primary/disable", Destroy),
        ("POST", "/v1/servers/3/actions/disable_snapshot_plan", Destroy),
        ("POST", "/v1/servers/3/actions/reset", Write),
        ("POST", "/v1/databases/3/reset", Destroy),
        ("POST", "/v1/projects/7/delete/preview", Read.max(Write)),
        ("POST", "/api/chat.delete", Destroy),
        ("POST", "/api/deletePost.php", Destroy),
        ("POST", "/v1/deleteschedulingpolicy", Destroy),
        ("POST", "/cleanup", Destroy),
        ("PUT", "/docs/delete-me.txt", Write),
        ("GET", "/users/7/delete", Destroy),
        ("GET", "/docs/cli/delete", Read),
        ("GET", "/v1/audit?action=delete", Read),
        ("GET", "/index.php?action=delete", Destroy),
        ("GET", "/solr/x/update?stream.body=%3Cdelete%3E%3Cquery%3E*%3C/query%3E%3C/delete%3E", Destroy),
        ("GET", "/?query=DROP%20TABLE%20events", Destroy),
        ("GET", "/?query=SELECT%20%27DROP%20TABLE%20events%27", Read),
    ] {
        assert_eq!(at("app.acme.example", method, target, &[], None), wanted, "{method} {target}");
    }
}

#[test]
fn what_settings_take_away() {
    for (method, target, body, wanted) in [
        ("PATCH", "/v1/db/3", r#"{"retentionPolicy":null}"#, Destroy),
        ("PATCH", "/v1/db/3", r#"{"retentionDays":1}"#, Destroy),
        ("PATCH", "/v1/db/3", r#"{"retentionDays":30}"#, Write),
        ("PATCH", "/v1/db/3", r#"{"deletionProtectionEnabled":true}"#, Write),
        ("PATCH", "/v1/db/3", r#"{"deletionProtectionEnabled":false}"#, Destroy),
        ("POST", "/v1/databases/orders", r#"{"deletionProtection":false}"#, Destroy),
        ("POST", "/v1/databases/create", r#"{"name":"x","backups":{"enabled":false}}"#, Write),
        ("POST", "/v1/servers/3/actions/change_protection", r#"{"delete":true,"rebuild":true}"#, Write),
        ("POST", "/v1/servers/3/actions/change_protection", r#"{"delete":false}"#, Destroy),
        ("PUT", "/repos/a/b/branches/main/protection", r#"{"enforce_admins":false,"allow_force_pushes":true}"#, Destroy),
        ("POST", "/v1/topics/x/configs:alter", r#"{"data":[{"name":"retention.ms","value":"1000"}]}"#, Destroy),
        ("PUT", "/v1/zones/3/dns_records/4", r#"{"content":"198.51.100.4"}"#, Destroy),
        ("POST", "/v1/zones/3/dns_records", r#"{"content":"198.51.100.4"}"#, Write),
        ("POST", "/api/dashboards/db", r#"{"dashboard":{},"overwrite":true}"#, Destroy),
        ("PUT", "/orders/1", r#"{"_deleted":true}"#, Destroy),
        ("POST", "/v1/pools/3:setSize", r#"{"nodeCount":0}"#, Destroy),
        ("PUT", "/v1/env/KEY", r#"{"key":"KEY","values":[]}"#, Destroy),
        ("POST", "/v1/search", r#"{"q":"DROP TABLE users"}"#, Write),
        ("POST", "/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_command","arguments":{"command":"rm -rf /data"}}}"#, Destroy),
        ("POST", "/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_project","arguments":{}}}"#, Destroy),
        ("POST", "/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_projects","arguments":{}}}"#, Write),
    ] {
        assert_eq!(at("app.acme.example", method, target, &[JSON], Some(body.as_bytes())), wanted, "{method} {target} {body}");
    }
    let multicall = "<methodCall><methodName>system.multicall</methodName><params><struct><member><name>methodName</name><value>wp.deletePost</value></member></struct></params></methodCall>";
    assert_eq!(at("blog.acme.example", "POST", "/xmlrpc.php", &[("content-type", "text/xml")], Some(multicall.as_bytes())), Destroy);
}

#[test]
fn elastic_endpoints() {
    let bulk = ("content-type", "application/x-ndjson");
    for (method, target, body, wanted) in [
        ("POST", "/orders/_search", "{}", Read),
        ("POST", "/_bulk", "{\"create\":{\"_index\":\"logs\"}}\n{\"delete\":{\"a\":1}}\n", Write),
        ("POST", "/_bulk", "{\"delete\":{\"_id\":\"1\"}}\n", Destroy),
        ("POST", "/_bulk", "{\"index\":{}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"1\"}}\n", Destroy),
        ("POST", "/_bulk", "{\"index\":{}}\nnonsense\n", Opaque),
        ("POST", "/orders/_delete_by_query", "{}", Destroy),
        ("POST", "/orders/_cache/clear", "{}", Write),
        ("DELETE", "/_search/scroll", "{}", Write),
        ("DELETE", "/orders", "", Destroy),
        ("POST", "/_reindex", r#"{"dest":{"index":"orders"}}"#, Destroy),
        ("POST", "/_reindex", r#"{"dest":{"index":"orders","op_type":"create"}}"#, Write),
        ("POST", "/orders/_update/1", r#"{"script":{"source":"ctx.op='delete'"}}"#, Destroy),
        ("POST", "/orders/_update/1", r#"{"script":{"source":"ctx._source.n += 1"}}"#, Write),
        ("POST", "/_snapshot/s/x/_restore", "{}", Destroy),
    ] {
        assert_eq!(at("es.acme.example", method, target, &[bulk], Some(body.as_bytes())), wanted, "{method} {target} {body}");
    }
}

#[test]
fn providers_of_their_own_kind() {
    for (host, method, target, content, body, wanted) in [
        ("acme.firebaseio.com", "PUT", "/.json", JSON, "{}", Destroy),
        ("acme.firebaseio.com", "PATCH", "/users.json", JSON, r#"{"u1":null}"#, Destroy),
        ("acme.firebaseio.com", "PATCH", "/users.json", JSON, r#"{"u1":{"a":1}}"#, Write),
        ("x.supabase.co", "PATCH", "/rest/v1/orders", JSON, r#"{"total":0}"#, Destroy),
        ("x.supabase.co", "PATCH", "/rest/v1/orders?id=eq.1", JSON, r#"{"total":0}"#, Write),
        ("x.upstash.io", "GET", "/flushdb", JSON, "", Destroy),
        ("rqlite.acme.example", "POST", "/db/execute?transaction", JSON, r#"["SELECT 1",["DELETE FROM a WHERE b=?",7]]"#, Destroy),
        ("rqlite.acme.example", "POST", "/db/execute", JSON, r#"[["INSERT INTO a VALUES(?)","DELETE FROM a"]]"#, Write),
        ("api.netlify.com", "POST", "/api/v1/purge", JSON, r#"{"site_id":"s"}"#, Write),
        ("x.upstash.io", "GET", "/get/a", JSON, "", Read),
        ("x.upstash.io", "POST", "/pipeline", JSON, r#"[["GET","a"],["DEL","b"]]"#, Destroy),
        ("api.twilio.com", "POST", "/2010-04-01/Accounts/AC1/Messages/SM1.json", FORM, "Body=", Destroy),
        ("api.heroku.com", "PATCH", "/apps/shop/config-vars", JSON, r#"{"A":null}"#, Destroy),
        ("api.heroku.com", "PATCH", "/apps/shop/config-vars", JSON, r#"{"A":"b"}"#, Write),
        ("api.github.com", "DELETE", "/repos/a/b/contents/README.md", JSON, "{}", Write),
        ("api.github.com", "DELETE", "/repos/a/b", JSON, "", Destroy),
        ("api.github.com", "PATCH", "/repos/a/b/git/refs/heads/main", JSON, r#"{"sha":"a","force":true}"#, Destroy),
        ("app.terraform.io", "POST", "/api/v2/runs", JSON, r#"{"data":{"attributes":{"is-destroy":true}}}"#, Destroy),
        ("app.terraform.io", "POST", "/api/v2/runs", JSON, r#"{"data":{"attributes":{"is-destroy":true,"plan-only":true}}}"#, Read),
        ("api.pagerduty.com", "PUT", "/services/P1", JSON, r#"{"service":{"status":"disabled"}}"#, Destroy),
        ("kafka-rest.acme.example", "POST", "/topics/orders", JSON, r#"{"records":[{"key":"u1","value":null}]}"#, Destroy),
        ("kafka-rest.acme.example", "POST", "/topics/orders", JSON, r#"{"records":[{"key":"u1","value":{"op":"delete"}}]}"#, Write),
        ("api.linode.com", "POST", "/v4/linode/instances/123/backups/cancel", JSON, "", Destroy),
    ] {
        assert_eq!(at(host, method, target, &[content], Some(body.as_bytes())), wanted, "{method} {host}{target} {body}");
    }
}
