//! A whole look, question by question, against answers in the schema's shape.

use agentbox_core::{HostName, look::Undo};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::*;
use crate::{
    look::find,
    meaning::{Body, Head, Scheme, understand},
};

const VOLUME: &str = "3d2c1b0a-1111-2222-3333-444455556666";

fn answer(value: Value) -> Answer {
    Answer { status: StatusCode::OK, body: Bytes::from(value.to_string().into_bytes()) }
}

fn data(value: Value) -> Answer {
    answer(json!({ "data": value }))
}

fn edges(nodes: Value) -> Value {
    json!({ "edges": nodes.as_array().unwrap().iter().map(|node| json!({ "node": node })).collect::<Vec<_>>() })
}

fn next(resource: &str, answers: &[Answer]) -> Result<Step, LookError> {
    act(resource, "railway.volumeDelete", answers)
}

fn act(resource: &str, action: &str, answers: &[Answer]) -> Result<Step, LookError> {
    let id = ResourceId::new("railway", resource);
    Railway.next(&Asked { resource: &id, action }, answers)
}

fn asks(step: Result<Step, LookError>) -> (String, Value, Bearing) {
    let Ok(Step::Ask(question)) = step else { panic!("{step:?}") };
    // Every question must be a read in the eyes of the very reader that judges the agent.
    let host = HostName::parse("backboard.railway.com").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let head = Head { method: &Method::POST, scheme: Scheme::Https, host: &host, port: 443, target: &question.target, headers: &headers };
    for operation in understand(&head, Body::Whole(&question.body)).operations {
        assert_eq!((operation.effect, operation.yields_credential), (agentbox_core::Effect::Read, false), "{operation:?}");
    }
    let body: Value = serde_json::from_slice(&question.body).unwrap();
    (body["query"].as_str().unwrap().to_owned(), body["variables"].clone(), question.bearing)
}

fn seen(step: Result<Step, LookError>) -> agentbox_core::look::Seen {
    let Ok(Step::Seen(seen)) = step else { panic!("{step:?}") };
    *seen
}

fn projects(more: bool) -> Answer {
    let volumes = if more { json!([]) } else { json!([{ "id": VOLUME }]) };
    let mut projects = edges(json!([{ "id": "p1", "volumes": edges(volumes) }]));
    projects["pageInfo"] = json!({ "hasNextPage": more, "endCursor": "c1" });
    data(json!({ "projects": projects }))
}

fn detail() -> Answer {
    let instances = json!([
        { "id": "i1", "mountPath": "/data", "sizeMB": 5000, "currentSizeMB": 812.4, "serviceId": "s1", "environment": { "id": "E1", "name": "Production" } },
        { "id": "i2", "mountPath": "/data", "sizeMB": 500, "currentSizeMB": 3.0, "serviceId": null, "environment": { "id": "e2", "name": "staging" } },
    ]);
    data(json!({ "project": {
        "id": "p1", "name": "shop", "services": edges(json!([{ "id": "s1", "name": "postgres" }])),
        "volumes": edges(json!([{ "id": VOLUME, "name": "pgdata", "volumeInstances": edges(instances) }])),
    } }))
}

fn backups() -> Answer {
    data(json!({
        "b0": [{ "id": "k1", "name": null, "createdAt": "2026-04-23T02:00:00Z" }, { "id": "k2", "name": "n", "createdAt": "2026-04-24T02:00:00Z" }],
        "b1": [],
    }))
}

#[test]
fn a_volume_in_two_environments() {
    let resource = format!("volume/{VOLUME}");
    let (query, variables, bearing) = asks(next(&resource, &[]));
    assert!(query.contains("projects(first: 100"));
    assert_eq!((variables, bearing), (json!({ "after": null }), Bearing::Bearer));
    assert_eq!(asks(next(&resource, &[projects(true)])).1, json!({ "after": "c1" }));
    assert_eq!(asks(next(&resource, &[projects(true), projects(false)])).1, json!({ "project": "p1" }));
    let (query, variables, _) = asks(next(&resource, &[projects(false), detail()]));
    assert!(query.contains("b1: volumeInstanceBackupList(volumeInstanceId: $i1)"), "{query}");
    assert_eq!(variables, json!({ "i0": "i1", "i1": "i2" }));
    let seen = seen(next(&resource, &[projects(false), detail(), backups()]));
    assert_eq!(seen.name, "pgdata");
    let lines: Vec<Vec<&str>> = seen.lineages.iter().map(|line| line.iter().map(ResourceId::as_str).collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["railway:environment/e1", "railway:environment/Production", "railway:environment/production", "railway:project/p1", "railway:project/shop"],
            vec!["railway:environment/e2", "railway:environment/staging", "railway:project/p1", "railway:project/shop"],
        ]
    );
    assert_eq!(seen.losses[0].count, Some(2));
    assert!(seen.losses[0].detail.contains("Production: 812 of 5000 MB in use, at /data of postgres"), "{}", seen.losses[0].detail);
    assert_eq!((seen.losses[1].what.as_str(), seen.losses[1].count), ("backups", Some(2)));
    assert!(seen.losses[1].detail.contains("newest 2026-04-24T02:00:00Z, oldest 2026-04-23T02:00:00Z"), "{}", seen.losses[1].detail);
    assert_eq!(seen.undo, Undo::No("its backups lie in the volume and go with it".into()));
}

#[test]
fn what_only_writes_loses_nothing() {
    let seen = seen(act(&format!("volume/{VOLUME}"), "railway.volumeUpdate", &[projects(false), detail(), backups()]));
    assert!(seen.losses.is_empty());
    assert_eq!(seen.lineages.len(), 2);
}

#[test]
fn a_project_token_is_tried_in_its_own_header() {
    let refused = answer(json!({ "errors": [{ "message": "Not Authorized" }], "data": null }));
    let resource = format!("volume/{VOLUME}");
    assert_eq!(asks(next(&resource, std::slice::from_ref(&refused))).2, Bearing::Header("project-access-token"));
    assert_eq!(next(&resource, &[refused.clone(), refused]), Err(LookError::Provider("Not Authorized".into())));
}

#[test]
fn errors_and_absurdities() {
    let resource = format!("volume/{VOLUME}");
    let hostile = answer(json!({ "errors": [{ "message": "a\u{1b}[2Jb".repeat(500) }] }));
    let Err(LookError::Provider(message)) = next(&resource, &[hostile]) else { panic!() };
    assert!(!message.contains('\u{1b}') && message.chars().count() < 700);
    let none = data(json!({ "projects": edges(json!([])) }));
    assert_eq!(next(&resource, &[none]), Err(LookError::NotFound("volume")));
    assert_eq!(next(&resource, &vec![projects(true); 5]), Err(LookError::TooMuch("projects")));
    for odd in [json!({}), json!({ "data": null }), json!([]), json!({ "data": { "projects": 7 } })] {
        assert!(matches!(next(&resource, &[answer(odd)]), Err(LookError::Unreadable(_))));
    }
    let long = Answer { status: StatusCode::OK, body: Bytes::from(vec![b' '; super::super::LONGEST_ANSWER + 1]) };
    assert_eq!(next(&resource, &[long]), Err(LookError::TooMuch("the answer's size")));
    let page = Answer { status: StatusCode::BAD_GATEWAY, body: Bytes::from_static(b"<html>") };
    assert_eq!(next(&resource, &[page]), Err(LookError::Provider("status 502".into())));
    let many: Vec<Value> = (0..1001).map(|n| json!({ "id": n.to_string(), "name": null, "createdAt": "" })).collect();
    let too_many = data(json!({ "b0": many, "b1": [] }));
    assert_eq!(next(&resource, &[projects(false), detail(), too_many]), Err(LookError::TooMuch("backups")));
    let missing = data(json!({ "b0": [] }));
    assert!(matches!(next(&resource, &[projects(false), detail(), missing]), Err(LookError::Unreadable(_))));
}

#[test]
fn hostile_names_stay_in_their_place() {
    let environment = data(
        json!({ "environment": { "id": "e1", "name": "x/../production\u{202e}", "projectId": "p1", "volumeInstances": edges(json!([{ "id": "i" }])), "serviceInstances": edges(json!([])) } }),
    );
    let project =
        data(json!({ "project": { "id": "p1", "name": "", "environments": edges(json!([])), "services": edges(json!([])), "volumes": edges(json!([])) } }));
    let seen = seen(act("environment/e1", "railway.environmentDelete", &[environment, project]));
    assert_eq!(seen.lineages[0].iter().map(ResourceId::as_str).collect::<Vec<_>>(), ["railway:environment/x%2F..%2Fproduction%E2%80%AE", "railway:project/p1"]);
    assert!(!seen.name.contains('\u{202e}'));
    assert!(matches!(seen.undo, Undo::No(_)));
}

#[test]
fn the_other_things() {
    let project = || {
        data(
            json!({ "project": { "id": "p1", "name": "shop", "environments": edges(json!([{ "id": "e1", "name": "production" }, { "id": "e2", "name": "staging" }])), "services": edges(json!([{ "id": "s" }])), "volumes": edges(json!([{ "id": "v" }])) } }),
        )
    };
    let seen_project = seen(act("project/p1", "railway.projectDelete", &[project()]));
    assert_eq!(seen_project.lineages.len(), 2, "a project hits every environment in it");
    assert_eq!(seen_project.lineages[0][1].as_str(), "railway:environment/production");
    let service = data(
        json!({ "service": { "name": "api", "project": { "id": "p1", "name": "shop", "environments": edges(json!([{ "id": "e1", "name": "production" }, { "id": "e2", "name": "staging" }])) }, "serviceInstances": edges(json!([{ "environmentId": "e1" }, { "environmentId": "e9" }])) } }),
    );
    let lines: Vec<String> = seen(act("service/s", "railway.serviceDelete", &[service])).lineages.iter().map(|line| line[0].to_string()).collect();
    assert_eq!(lines, ["railway:environment/e1", "railway:environment/e9"]);
    let instance = data(
        json!({ "volumeInstance": { "id": "i1", "mountPath": "/d", "sizeMB": 1, "currentSizeMB": 1, "serviceId": null, "environment": { "id": "e1", "name": "production" }, "volume": { "name": "v", "project": { "id": "p1", "name": "shop" } } } }),
    );
    assert!(asks(act("backup/i1/k1", "railway.volumeInstanceBackupDelete", std::slice::from_ref(&instance))).0.contains("BackupList"));
    let list = data(json!({ "b0": [{ "id": "k1", "name": "nightly", "createdAt": "2026-01-01" }] }));
    let backup = seen(act("backup/i1/k1", "railway.volumeInstanceBackupDelete", &[instance, list]));
    assert_eq!((backup.name.as_str(), backup.losses[0].count), ("nightly", Some(1)));
    let deployment =
        data(json!({ "deployment": { "projectId": "p1", "environment": { "id": "e1", "name": "production" }, "service": { "id": "s", "name": "api" } } }));
    assert_eq!(seen(act("deployment/d", "railway.deploymentRemove", &[deployment, project()])).lineages[0][0].as_str(), "railway:environment/e1");
}

#[test]
fn applies_to_what_it_knows_only() {
    let destination = |host: &str| Destination { host: HostName::parse(host).unwrap(), port: 443, addresses: Vec::new() };
    let at = |resource: &str, host: &str| find(&ResourceId::new("railway", resource), &destination(host)).is_some();
    assert!(at("volume/3d2c", "backboard.railway.com"));
    assert!(!at("volume/3d2c", "evil.example"));
    assert!(!at("volume/?", "backboard.railway.com"));
    assert!(!at("volume/a%2Fb", "backboard.railway.com"));
    assert!(!at("account", "backboard.railway.com"));
    assert!(find(&ResourceId::new("http", "volume/3d2c"), &destination("backboard.railway.com")).is_none());
}
