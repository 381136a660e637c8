//! Requests that delete nothing by their names and still cost something: protections taken off, older states put back, what is
//! replaced; beside each its harmless neighbour.

use agentbox_core::Effect::{Destroy, Read, Write};

use super::{FORM, JSON, at};

const TARGET: &str = "x-amz-target";

#[test]
fn protections_that_are_taken_off() {
    for (host, method, target, body, wanted) in [
        ("api.acme.example", "PATCH", "/v1/vaults/3", r#"{"properties":{"enableSoftDelete":false}}"#, Destroy),
        ("api.acme.example", "PATCH", "/v1/vaults/3", r#"{"properties":{"enableSoftDelete":true}}"#, Write),
        ("api.acme.example", "PATCH", "/v1/machines/3", r#"{"disableTermination":false}"#, Destroy),
        ("api.acme.example", "PATCH", "/v1/machines/3", r#"{"disableTermination":true}"#, Write),
        ("api.acme.example", "PATCH", "/v1/zones/3/settings/waf", r#"{"value":"off"}"#, Destroy),
        ("api.acme.example", "PATCH", "/v1/zones/3/settings/waf", r#"{"value":"on"}"#, Write),
        ("api.acme.example", "PATCH", "/v1/databases/3", r#"{"deleteProtectionState":"DELETE_PROTECTION_DISABLED"}"#, Destroy),
        ("api.acme.example", "PATCH", "/v1/databases/3", r#"{"deleteProtectionState":"DELETE_PROTECTION_ENABLED"}"#, Write),
        ("api.acme.example", "PATCH", "/v1/repos/3", r#"{"secret_scanning":{"status":"disabled"}}"#, Destroy),
        ("api.acme.example", "POST", "/v2/servers/3/actions", r#"{"type":"disable_backups"}"#, Destroy),
        ("api.acme.example", "POST", "/v2/servers/3/actions", r#"{"type":"enable_backups"}"#, Write),
        ("api.acme.example", "PUT", "/v1/registries/3", r#"{"expiration_policy":{"enabled":true,"older_than":"1d"}}"#, Destroy),
        ("api.acme.example", "PUT", "/v1/registries/3", r#"{"expiration_policy":{"enabled":false}}"#, Write),
        ("api.acme.example", "POST", "/v1/users/3/lifecycle/suspend", "{}", Write),
        ("k8s.acme.example", "PATCH", "/apis/batch/v1/namespaces/a/cronjobs/backup", r#"{"spec":{"suspend":true}}"#, Destroy),
        ("k8s.acme.example", "PATCH", "/apis/batch/v1/namespaces/a/cronjobs/newsletter", r#"{"spec":{"suspend":true}}"#, Write),
        ("k8s.acme.example", "PATCH", "/api/v1/persistentvolumes/a", r#"{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}"#, Destroy),
        ("k8s.acme.example", "PATCH", "/api/v1/persistentvolumes/a", r#"{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}"#, Write),
        ("compute.googleapis.com", "POST", "/compute/v1/projects/p/zones/z/disks/d/removeResourcePolicies", "{}", Destroy),
    ] {
        assert_eq!(at(host, method, target, &[JSON], Some(body.as_bytes())), wanted, "{method} {host}{target} {body}");
    }
    for (body, wanted) in [
        ("Action=ModifyInstanceAttribute&InstanceId=i&DisableApiTermination.Value=false", Destroy),
        ("Action=ModifyInstanceAttribute&InstanceId=i&DisableApiTermination.Value=true", Write),
        ("Action=CreateReplaceRootVolumeTask&InstanceId=i", Destroy),
    ] {
        assert_eq!(at("ec2.eu-west-1.amazonaws.com", "POST", "/", &[FORM], Some(body.as_bytes())), wanted, "{body}");
    }
    for (target, name, body, wanted) in [
        ("kms", "TrentService.DisableKeyRotation", r#"{"KeyId":"k"}"#, Destroy),
        ("kinesis", "Kinesis_20131202.IncreaseStreamRetentionPeriod", r#"{"RetentionPeriodHours":48}"#, Write),
        ("ecr", "A_1.PutLifecyclePolicy", r#"{"lifecyclePolicyText":"{\"rules\":[{\"action\":{\"type\":\"expire\"}}]}"}"#, Destroy),
    ] {
        let host = format!("{target}.eu-west-1.amazonaws.com");
        assert_eq!(at(&host, "POST", "/", &[("content-type", "application/x-amz-json-1.1"), (TARGET, name)], Some(body.as_bytes())), wanted, "{name}");
    }
    let xml = ("content-type", "application/xml");
    for (target, body, wanted) in [
        ("/a?legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>", Destroy),
        ("/a?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>", Write),
        ("/?object-lock", "<ObjectLockConfiguration/>", Destroy),
        ("/?replication", "<ReplicationConfiguration><Rule><Status>Disabled</Status></Rule></ReplicationConfiguration>", Destroy),
        ("/?replication", "<ReplicationConfiguration><Rule><Status>Enabled</Status></Rule></ReplicationConfiguration>", Write),
    ] {
        assert_eq!(at("b.s3.amazonaws.com", "PUT", target, &[xml], Some(body.as_bytes())), wanted, "{target} {body}");
    }
}

#[test]
fn what_takes_the_place_of_something() {
    for (host, method, target, body, wanted) in [
        ("api.acme.example", "POST", "/v2/projects/3/branches/4/restore", r#"{"source_branch_id":"b"}"#, Destroy),
        ("api.acme.example", "POST", "/v2/projects/3/branches/4/restore", r#"{"source_branch_id":"b","new_name":"c"}"#, Write),
        ("api.acme.example", "POST", "/v2/projects/3/restore", "{}", Write),
        ("bigquery.googleapis.com", "POST", "/bigquery/v2/projects/p/jobs", r#"{"configuration":{"load":{"writeDisposition":"WRITE_TRUNCATE"}}}"#, Destroy),
        ("bigquery.googleapis.com", "POST", "/bigquery/v2/projects/p/jobs", r#"{"configuration":{"load":{"writeDisposition":"WRITE_APPEND"}}}"#, Write),
        ("pubsub.googleapis.com", "POST", "/v1/projects/p/subscriptions/s:seek", r#"{"time":"2030-01-01T00:00:00Z"}"#, Destroy),
        ("api.acme.example", "PATCH", "/v1/pages/3", r#"{"in_trash":true}"#, Destroy),
        ("api.acme.example", "PATCH", "/v1/pages/3", r#"{"in_trash":false}"#, Write),
        ("api.acme.example", "POST", "/v1/zones/3/purge_cache", r#"{"purge_everything":true}"#, Write),
        ("api.acme.example", "POST", "/v1/tables/3", r#"{"modifications":[{"id":"a","drop":true}]}"#, Destroy),
        ("api.acme.example", "POST", "/v1/aliases", r#"{"actions":[{"remove_index":{"index":"old"}}]}"#, Destroy),
        ("api.acme.example", "POST", "/v1/aliases", r#"{"actions":[{"removeLabels":["old"]}]}"#, Write),
        ("api.acme.example", "POST", "/v1/metadata", r#"{"type":"bulk","args":[{"type":"pg_drop_source"}]}"#, Destroy),
        ("api.acme.example", "POST", "/api/ds/query", r#"{"queries":[{"rawSql":"DELETE FROM t"}]}"#, Destroy),
        ("api.acme.example", "POST", "/data/v1/action/find", r#"{"filter":{}}"#, Write),
        ("api.acme.example", "POST", "/containers/web/kill", "{}", Write),
        ("app.terraform.io", "POST", "/api/v2/runs/r/actions/discard", "{}", Write),
    ] {
        assert_eq!(at(host, method, target, &[JSON], Some(body.as_bytes())), wanted, "{method} {host}{target} {body}");
    }
    let data = ("content-type", "application/octet-stream");
    assert_eq!(at("consul.acme.example", "PUT", "/v1/snapshot", &[data], Some(b"\x01\xff")), Destroy);
    assert_eq!(at("solr.acme.example", "GET", "/solr/admin/cores?action=UNLOAD&deleteInstanceDir=true", &[], None), Destroy);
    assert_eq!(at("solr.acme.example", "GET", "/solr/admin/cores?action=STATUS&deleteInstanceDir=false", &[], None), Read);
}

#[test]
fn a_mutation_that_runs_later() {
    let of = |inner: &str| format!(r#"{{"query":"mutation {{ bulkRun(mutation: \"{inner}\") {{ id }} }}"}}"#);
    for (inner, wanted) in [("mutation { productDelete(id: 1) { id } }", Destroy), ("mutation { productCreate(id: 1) { id } }", Write)] {
        assert_eq!(at("api.acme.example", "POST", "/graphql", &[JSON], Some(of(inner).as_bytes())), wanted, "{inner}");
    }
}
