//! Orders that only a path's shape gives, and what only tells of one.

use agentbox_core::Effect::{self, Destroy, Read, Write};

use crate::meaning::example;

fn all(rows: &[(&str, &str, &str, Effect)]) {
    for (method, url, body, wanted) in rows {
        let request = example(method, url, (!body.is_empty()).then_some(body)).unwrap();
        assert_eq!(request.worst().unwrap().effect, *wanted, "{method} {url} {body}");
    }
}

#[test]
fn a_verb_may_stand_above_its_arguments() {
    all(&[
        ("POST", "https://vault.acme.example:8200/v1/secret/destroy/prod/db", r#"{"versions":[1]}"#, Destroy),
        ("POST", "https://vault.acme.example:8200/v1/secret/data/prod/destroy/a/db", r#"{"data":{"a":"b"}}"#, Write),
        ("POST", "https://api.acme.example/dns/deleteByNameType/example.com/A/www", "", Destroy),
        ("POST", "https://api.acme.example/dns/retrieveByNameType/example.com/A/www", "", Write),
        ("POST", "https://api.acme.example/api/delete/session/3", "", Write),
        ("PUT", "https://api.acme.example/v1/files/team/delete/a/readme.md", "", Write),
        ("POST", "https://mdm.acme.example/JSSResource/computercommands/command/EraseDevice/id/1", "", Destroy),
        ("POST", "https://mdm.acme.example/JSSResource/computercommands/command/BlankPush/id/1", "", Write),
        ("POST", "https://api.acme.example/v2/keys/7/schedule-destruction", "", Destroy),
        ("POST", "https://api.acme.example/v2/keys/7/schedule-maintenance", "", Write),
        ("POST", "https://api.acme.example/v2/streams/7/trim", "", Destroy),
        ("POST", "https://files.acme.example/b2api/v3/b2_delete_bucket", r#"{"bucketId":"1"}"#, Destroy),
        ("POST", "https://files.acme.example/b2api/v3/b2_get_upload_url", r#"{"bucketId":"1"}"#, Write),
        ("POST", "https://api.acme.example/rpc/can_delete_bucket", r#"{"bucketId":"1"}"#, Write),
        ("POST", "https://jobs.acme.example/savepoint-disposal", r#"{"path":"x"}"#, Destroy),
        ("POST", "https://api.acme.example/v3/logs/1/stop-recording", "", Destroy),
        ("POST", "https://api.acme.example/v3/calls/1/stop-recording", "", Write),
        ("POST", "https://ceph.acme.example/api/block/image/i/snap/s/rollback", "", Destroy),
        ("PATCH", "https://nas.acme.example/api/storage/volumes/1?restore_to.snapshot.name=s", "{}", Destroy),
        ("POST", "https://api.acme.example/v3/carts/1/empty", "", Write),
        ("POST", "https://api.acme.example/v3/folders/1/empty", "", Destroy),
        ("POST", "https://api.acme.example/v2/images/7/trim", "", Write),
        ("POST", "http://pd.acme.example/pd/api/v1/store/1/state?state=Tombstone", "", Destroy),
        ("POST", "http://pd.acme.example/pd/api/v1/store/1/state?state=Up", "", Write),
    ]);
}

#[test]
fn a_collection_may_be_made_of_losses() {
    all(&[
        ("POST", "https://api.acme.example/v1/deletions/users", r#"{"user_ids":["1"]}"#, Destroy),
        ("POST", "https://api.acme.example/v1/erasure-requests", r#"{"email":"a"}"#, Destroy),
        ("POST", "https://api.acme.example/v1/erasure-requests/3/cancel", "", Write),
        ("GET", "https://api.acme.example/v1/deletions", "", Read),
        ("POST", "https://api.acme.example/v1/retentions/1/executions", "", Destroy),
        ("POST", "https://api.acme.example/v1/workflows/1/executions", "", Write),
        ("POST", "http://alerts.acme.example:9093/api/v2/silences", r#"{"matchers":[]}"#, Destroy),
        ("DELETE", "http://alerts.acme.example:9093/api/v2/silences/3", "", Write),
    ]);
}

#[test]
fn of_two_that_are_merged_one_is_gone() {
    all(&[
        ("PUT", "https://api.acme.example/v2/users/1/merge.json", r#"{"user":{"id":2}}"#, Destroy),
        ("POST", "https://api.acme.example/crm/contacts/merge", r#"{"a":"1","b":"2"}"#, Destroy),
        ("PUT", "https://api.acme.example/repos/a/b/pulls/3/merge", "", Write),
        ("POST", "https://api.acme.example/repos/a/b/merges", r#"{"base":"main","head":"x"}"#, Write),
        ("PUT", "https://api.acme.example/collections/docs/snapshots/recover", r#"{"location":"x"}"#, Destroy),
        ("POST", "https://api.acme.example/deletedsecrets/db/recover", "", Write),
    ]);
}

#[test]
fn calls_that_travel_by_get() {
    all(&[
        ("GET", "http://mq.acme.example/api/jolokia/exec/a:type=Broker,destinationName=orders/purge", "", Destroy),
        ("GET", "http://mq.acme.example/api/jolokia/read/java.lang:type=Memory/HeapMemoryUsage", "", Read),
        ("GET", "https://api.acme.example/xml.response?Command=acme.domains.delete", "", Destroy),
        ("GET", "https://api.acme.example/xml.response?Command=acme.domains.getList", "", Read),
    ]);
}

#[test]
fn clusters_keep_their_members_and_doors_their_locks() {
    all(&[
        ("POST", "http://etcd.acme.example:2379/v3/cluster/member/remove", r#"{"ID":"1"}"#, Destroy),
        ("POST", "https://api.acme.example/teams/3/member/remove", r#"{"id":"1"}"#, Write),
        ("POST", "http://etcd.acme.example:2379/v3/auth/disable", "{}", Destroy),
        ("POST", "https://api.acme.example/features/darkmode/disable", "{}", Write),
        ("DELETE", "https://api.acme.example/v2/registrar/domains/a.example/transfer_lock", "", Destroy),
        ("DELETE", "https://api.acme.example/v2/deploys/locks/main", "", Write),
    ]);
}

#[test]
fn what_is_built_checked_or_started_again_is_not_lost() {
    all(&[
        ("POST", "https://api.acme.example/v1/repositories/npm/rebuild-index", "", Write),
        ("POST", "https://api.acme.example/v1/servers/3/rebuild", "", Destroy),
        ("POST", "https://api.acme.example/v1/pool/1/scrub", "", Write),
        ("POST", "https://api.acme.example/v1/users/1/scrub", "", Destroy),
        ("POST", "https://bmc.acme.example/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", r#"{"ResetType":"GracefulRestart"}"#, Write),
        ("POST", "https://bmc.acme.example/redfish/v1/Managers/1/Actions/Manager.ResetToDefaults", r#"{"ResetType":"ResetAll"}"#, Destroy),
        ("DELETE", "https://vcenter.acme.example/api/session", "", Write),
        ("DELETE", "https://sso.acme.example/admin/realms/prod/users/u/groups/g", "", Write),
        ("DELETE", "https://sso.acme.example/admin/realms/prod/users/u", "", Destroy),
        ("DELETE", "https://api.acme.example/v2/tickets/1/tags.json", r#"{"tags":["x"]}"#, Write),
    ]);
}

#[test]
fn what_asks_or_tells_orders_nothing() {
    all(&[
        ("POST", "https://api.acme.example/v1/orders/search", r#"{"filter":{"status":"deleted"}}"#, Write),
        ("POST", "https://api.acme.example/v1/orders/3", r#"{"status":"deleted"}"#, Destroy),
        ("POST", "https://api.acme.example/v1/backups/list", r#"{"retention":0}"#, Write),
        ("POST", "https://api.acme.example/v1/list", r#"{"action":"delete","ids":[1]}"#, Destroy),
        ("POST", "https://api.acme.example/v1/rules/evaluate", r#"{"input":{"action":"delete"}}"#, Write),
        ("POST", "https://api.acme.example/v1/rules/run", r#"{"input":{"action":"delete"}}"#, Destroy),
        ("POST", "https://api.acme.example/v1/orders/search", r#"{"action":"delete","id":3}"#, Destroy),
        ("POST", "https://api.acme.example/v1/orders/search", r#"{"query":{"action":"delete"}}"#, Write),
        ("POST", "https://api.acme.example/v1/search", r#"{"sql":"DROP TABLE a"}"#, Destroy),
        ("POST", "https://api.acme.example/track", r#"{"event":"delete"}"#, Write),
        ("POST", "https://api.acme.example/track", r#"{"action":"delete"}"#, Destroy),
        ("POST", "https://api.acme.example/v1/jobs", r#"{"event":"delete"}"#, Destroy),
        ("PATCH", "https://api.acme.example/v1/flags/1", r#"[{"op":"remove","path":"/tags/0"}]"#, Write),
        ("PATCH", "https://api.acme.example/v1/clusters/1", r#"[{"op":"remove","path":"/backups"}]"#, Destroy),
        ("PATCH", "https://api.acme.example/v1/clusters/1", r#"[{"op":"remove","path":"/backup/tags"}]"#, Destroy),
        ("POST", "https://api.acme.example/v1/rows", r#"{"records":[{"fields":{"Status":"Deleted","delete":true}}]}"#, Write),
    ]);
}

#[test]
fn settings_that_let_something_happen() {
    all(&[
        ("PUT", "https://api.acme.example/v1/projects/lib", r#"{"metadata":{"prevent_vul":"false"}}"#, Destroy),
        ("PUT", "https://api.acme.example/v1/projects/lib", r#"{"metadata":{"prevent_vul":"true"}}"#, Write),
        ("PATCH", "https://api.acme.example/v1/branches/main", r#"{"safe_migrations":false}"#, Destroy),
        ("PUT", "https://api.acme.example/config/orders", r#"{"compatibility":"NONE"}"#, Destroy),
        ("PUT", "https://api.acme.example/config/orders", r#"{"compatibility":"BACKWARD"}"#, Write),
        ("POST", "https://api.acme.example/topics/a/configs", r#"{"data":[{"name":"retention.bytes","value":"1"}]}"#, Destroy),
        ("POST", "https://api.acme.example/topics/a/configs", r#"{"data":[{"name":"retention.ms","value":"-1"}]}"#, Write),
        ("PUT", "https://api.acme.example/policies/ttl", r#"{"definition":{"message-ttl":1}}"#, Destroy),
        ("PUT", "https://api.acme.example/zones/1", r#"{"ttl":300}"#, Write),
        ("PATCH", "https://api.acme.example/v2/users/7", r#"{"lifecycle_state":"TERMINATED"}"#, Destroy),
        ("PATCH", "https://api.acme.example/v2/users/7", r#"{"previous_state":"TERMINATED"}"#, Write),
        ("PUT", "https://api.acme.example/v2/hosts/7/alerting", r#"{"muted_until":"2030-01-01"}"#, Destroy),
        ("PUT", "https://api.acme.example/v2/hosts/7/alerting", r#"{"muted_until":null}"#, Write),
        ("PATCH", "https://api.acme.example/v2/pools/7", r#"{"ha":false}"#, Destroy),
        ("PATCH", "https://nas.acme.example/api/storage/volumes/1", r#"{"snapshot_policy":{"name":"none"}}"#, Destroy),
        ("PATCH", "https://nas.acme.example/api/storage/volumes/1", r#"{"snapshot_policy":{"name":"daily"}}"#, Write),
        ("PUT", "https://api.acme.example/2.0/retention_policies/1", r#"{"status":"retired"}"#, Destroy),
        ("POST", "https://files.acme.example/b2_update_bucket", r#"{"lifecycleRules":[{"daysFromHidingToDeleting":1}]}"#, Destroy),
        ("POST", "https://files.acme.example/b2_update_bucket", r#"{"lifecycleRules":[{"daysFromHidingToDeleting":90}]}"#, Write),
        ("POST", "https://logs.acme.example/services/search/jobs", r#"{"search":"index=main | delete"}"#, Destroy),
        ("POST", "https://logs.acme.example/services/search/jobs", r#"{"search":"index=main delete | stats count"}"#, Write),
        ("POST", "https://api.acme.example/jobs/ingest", r#"{"operation":"hardDelete"}"#, Destroy),
        ("POST", "https://api.acme.example/v2/device/1/key", r#"{"keyExpiryDisabled":true}"#, Destroy),
        ("POST", "https://api.acme.example/v2/device/1/key", r#"{"keyExpiryDisabled":false}"#, Write),
        ("POST", "https://api.acme.example/v2/tailnet/acl", r#"{"acls":[]}"#, Destroy),
        ("PUT", "https://api.acme.example/issues/1", r#"{"status":"ignored","discard":true}"#, Destroy),
        ("PATCH", "http://dns.acme.example/api/v1/zones/a.example.", r#"{"rrsets":[{"name":"a","changetype":"REPLACE"}]}"#, Destroy),
    ]);
}

#[test]
fn a_body_may_be_nothing_but_a_setting_s_value() {
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    let at = |name: &str, body: &str| {
        let url = format!("https://mq.acme.example/admin/v2/namespaces/t/n/{name}");
        crate::meaning::request("POST", &url, &headers, Some(body.as_bytes())).unwrap().worst().unwrap().effect
    };
    assert_eq!(at("messageTTL", "60"), Destroy);
    assert_eq!(at("maxConsumers", "60"), Write);
    assert_eq!(at("deduplication", "false"), Write);
}
