//! Railway's mutations, told as operations.

use agentbox_core::{Effect, Lineage, Operation, Reach};
use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::meaning::{example, request};

const URL: &str = "https://backboard.railway.com/graphql/v2";
const VOLUME: &str = "3d2c1b0a-1111-2222-3333-444455556666";

fn all(query: &str, variables: Value) -> Vec<Operation> {
    example("POST", URL, Some(&json!({ "query": query, "variables": variables }).to_string())).unwrap().operations
}

fn only(query: &str, variables: Value) -> Operation {
    let mut operations = all(query, variables);
    assert_eq!(operations.len(), 1, "{query}");
    operations.remove(0)
}

fn told(operation: &Operation) -> String {
    format!("{} {} {}", operation.effect, operation.action, operation.resource.id)
}

#[test]
fn the_incident() {
    let want = format!("destroy railway.volumeDelete railway:volume/{VOLUME}");
    let literal = only(&format!("mutation {{ volumeDelete(volumeId: \"{VOLUME}\") }}"), json!({}));
    assert_eq!(told(&literal), want);
    assert_eq!(literal.resource.lineage, Lineage::Unknown);
    assert_eq!(told(&only("mutation M($v: String!) { volumeDelete(volumeId: $v) }", json!({ "v": VOLUME }))), want);
    assert_eq!(told(&only(&format!("mutation M($v: String = \"{VOLUME}\") {{ volumeDelete(volumeId: $v) }}"), json!({}))), want);
    assert_eq!(told(&only("mutation M($v: String!) { x: volumeDelete(volumeId: $v) }", json!({ "v": VOLUME.to_uppercase() }))), want);
    assert_eq!(told(&only("mutation { volumeDelete(volumeId: \"a/../b%\") }", json!({}))), "destroy railway.volumeDelete railway:volume/a%2F..%2Fb%25");
    assert_eq!(told(&only("mutation { volumeDelete }", json!({}))), "destroy railway.volumeDelete railway:volume/?");
}

#[test]
fn the_table_is_sorted_and_sound() {
    assert_eq!(MUTATIONS.len(), 233);
    assert!(MUTATIONS.windows(2).all(|pair| pair[0].field < pair[1].field));
    for row in MUTATIONS {
        assert!(!row.targets.is_empty() && !row.reason.is_empty(), "{}", row.field);
        // A name that destroys and is not in the table as such must have been thought about: these are what can be made again.
        let destroys = crate::meaning::words::effect_of(row.field) == Some(Effect::Destroy);
        if destroys && row.effects == table::Effects::Always(Effect::Write) {
            let again = [
                "Token",
                "Key",
                "Session",
                "session",
                "passkey",
                "Member",
                "User",
                "Invitation",
                "FeatureFlag",
                "featureFlag",
                "Flags",
                "Auth",
                "Binding",
                "Limit",
                "Allowlist",
                "Credentials",
                "purgeServiceCache",
                "clearPitr",
                "templateUnpublish",
                "PITRRestore",
                "Remove",
            ];
            assert!(again.iter().any(|word| row.field.contains(word)), "{}", row.field);
        }
    }
}

#[test]
fn arguments_decide_too() {
    let effect = |query: &str| only(query, json!({})).effect;
    assert_eq!(effect("mutation { volumeInstanceUpdate(volumeId: \"v\", input: {mountPath: \"/x\"}) }"), Effect::Write);
    assert_eq!(effect("mutation { volumeInstanceUpdate(volumeId: \"v\", input: {state: DELETED}) }"), Effect::Destroy);
    assert_eq!(effect("mutation { workspaceTwoFactorEnforcementUpdate(workspaceId: \"w\", enabled: false) }"), Effect::Destroy);
    assert_eq!(effect("mutation { workspaceTwoFactorEnforcementUpdate(workspaceId: \"w\", enabled: true) }"), Effect::Write);
    assert_eq!(effect("mutation { variableCollectionUpsert(input: {environmentId: \"e\", variables: {}}) }"), Effect::Write);
    assert_eq!(effect("mutation { variableCollectionUpsert(input: {environmentId: \"e\", replace: true, variables: {}}) }"), Effect::Destroy);
    assert_eq!(effect("mutation { environmentPatchCommit(environmentId: \"e\", patch: {volumes: {v: {isDeleted: true}}}) }"), Effect::Destroy);
    assert_eq!(effect("mutation { environmentPatchCommit(environmentId: \"e\", patch: {services: {s: {a: 1}}}) }"), Effect::Write);
    assert_eq!(effect("mutation { environmentPatchCommit(environmentId: \"e\") }"), Effect::Destroy);
    assert_eq!(effect("mutation { environmentPatchCommitStaged(environmentId: \"e\") }"), Effect::Opaque);
}

#[test]
fn resources_are_named_and_not_placed_by_the_agents_word() {
    for (query, want) in [
        ("mutation { volumeInstanceUpdate(volumeId: \"v\", environmentId: \"e\", input: {}) }", "railway:environment/e"),
        ("mutation { volumeInstanceBackupDelete(volumeInstanceId: \"i\", volumeInstanceBackupId: \"b\") }", "railway:backup/i/b"),
        ("mutation { volumeInstanceBackupRestore(volumeInstanceId: \"i\", volumeInstanceBackupId: \"b\") { workflowId } }", "railway:volume-instance/i"),
        ("mutation { environmentDelete(id: \"e\") }", "railway:environment/e"),
        ("mutation { serviceDelete(id: \"s\", environmentId: \"staging\") }", "railway:service/s"),
        ("mutation { projectDelete(id: \"p\") }", "railway:project/p"),
        ("mutation { customDomainCreate(input: {domain: \"d\", environmentId: \"e\", projectId: \"p\", serviceId: \"s\"}) { id } }", "railway:environment/e"),
        ("mutation { customDomainDelete(id: \"d\") }", "railway:custom-domain/d"),
        ("mutation { customDomainUpdate(id: \"d\", environmentId: \"staging\") }", "railway:custom-domain/d"),
        ("mutation { variableUpsert(input: {environmentId: \"e\", projectId: \"p\", name: \"A\", value: \"1\"}) }", "railway:environment/e"),
        ("mutation { userDelete }", "railway:account"),
        ("query { environment(id: \"e\") { name } }", "railway:environment/e"),
        ("query { variables(environmentId: \"e\", projectId: \"p\") }", "railway:environment/e"),
        ("query { me { id } }", "railway:api"),
    ] {
        let operation = only(query, json!({}));
        assert_eq!(operation.resource.id.as_str(), want, "{query}");
        assert_eq!(operation.resource.lineage, Lineage::Unknown, "{query}");
    }
    let telemetry = only("mutation { cliEventTrack(input: {command: \"x\"}) }", json!({}));
    assert_eq!(telemetry.resource, rooted("telemetry"));
}

#[test]
fn facts() {
    assert!(only("mutation { apiTokenCreate(input: {name: \"x\"}) }", json!({})).yields_credential);
    assert!(only("query { variables(environmentId: \"e\", projectId: \"p\") }", json!({})).yields_credential);
    assert!(only("query { environment(id: \"e\") { config(decryptVariables: true) } }", json!({})).yields_credential);
    assert!(!only("query { environment(id: \"e\") { name } }", json!({})).yields_credential);
    let runs = |query: &str| only(query, json!({})).delegates.map(|delegation| delegation.reach);
    assert_eq!(runs("mutation { serviceInstanceDeployV2(environmentId: \"e\", serviceId: \"s\", commitSha: \"c\") }"), Some(Reach::Anywhere));
    assert_eq!(runs("mutation { serviceCreate(input: {projectId: \"p\", source: {image: \"i\"}}) { id } }"), Some(Reach::Anywhere));
    assert_eq!(runs("mutation { serviceCreate(input: {projectId: \"p\"}) { id } }"), None);
    assert_eq!(runs("mutation { deploymentRestart(id: \"d\") }"), None);
    assert_eq!(runs("mutation { webhookTest(url: \"https://x.example/y\", payload: \"{}\") }"), Some(Reach::Hosts(vec!["x.example:443".into()])));
    assert_eq!(runs("mutation { webhookTest(url: \"nonsense\", payload: \"{}\") }"), Some(Reach::Anywhere));
}

#[test]
fn unknown_is_opaque_and_introspection_is_not() {
    assert_eq!(told(&only("mutation { volumeShred(volumeId: \"v\") }", json!({}))), "opaque railway.volumeShred railway:volume/v");
    assert_eq!(only("mutation { __typename }", json!({})).effect, Effect::Read);
    assert_eq!(only("{ __schema { types { name } } }", json!({})).effect, Effect::Read);
    // What cannot be read is placed nowhere, so that the strictest place decides and not the host's.
    let broken = only("mutation { volumeDelete(", json!({}));
    assert_eq!((told(&broken).as_str(), &broken.resource.lineage), ("opaque railway.opaque railway:api", &Lineage::Unknown));
    let batch = json!([{ "query": "{ me { id } }" }, { "query": "mutation { volumeDelete(volumeId: \"v\") }" }]);
    let operations = example("POST", URL, Some(&batch.to_string())).unwrap().operations;
    assert_eq!(operations.iter().map(told).collect::<Vec<_>>(), ["read railway.me railway:api", "destroy railway.volumeDelete railway:volume/v"]);
}

#[test]
fn any_path_and_any_carrier_of_its_host() {
    let of = |method: &str, url: &str, body: Option<&str>| example(method, url, body).unwrap().operations.iter().map(told).collect::<Vec<_>>();
    let destroyed = ["destroy railway.volumeDelete railway:volume/v"];
    let body = r#"{"query":"mutation{volumeDelete(volumeId:\"v\")}"}"#;
    for path in ["/graphql/v2", "/graphql/internal", "/", "/graphql/v2/", "/x/../graphql/v2"] {
        assert_eq!(of("POST", &format!("https://backboard.railway.app{path}"), Some(body)), destroyed, "{path}");
    }
    assert_eq!(of("GET", &format!("{URL}?query=mutation%7BvolumeDelete(volumeId:%22v%22)%7D"), None), destroyed);
    assert_eq!(of("POST", URL, Some("nonsense")), ["opaque railway.opaque railway:api"]);
    assert_eq!(of("POST", URL, Some("{}")), ["opaque railway.opaque railway:api"]);
    assert_eq!(of("POST", URL, None), ["opaque railway.opaque railway:api"]);
    assert_eq!(of("DELETE", "https://backboard.railway.com/x", None), ["opaque railway.opaque railway:api"]);
    assert_eq!(of("GET", "https://backboard.railway.com/health", None)[0], "read http.get http:backboard.railway.com:443/health");
    let gzip = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("content-encoding", "gzip".parse().unwrap());
    let operations = request("POST", URL, &headers, Some(&gzip)).unwrap().operations;
    assert_eq!(operations.iter().map(told).collect::<Vec<_>>(), destroyed);
}

#[test]
fn an_upload_is_a_deploy() {
    let operation = example("POST", "https://backboard.railway.com/project/p/environment/e/up?serviceId=s", Some("x")).unwrap().operations.remove(0);
    assert_eq!(told(&operation), "write railway.up railway:environment/e");
    assert!(operation.delegates.is_some());
}
