//! The questions, in the field names of Railway's public schema (railwayapp 5.71.0).

use serde_json::{Map, Value};

pub(super) const PROJECTS: &str = "query AgentboxProjects($after: String) { projects(first: 100, after: $after) { pageInfo { hasNextPage endCursor } edges { node { id volumes(first: 200) { edges { node { id } } } } } } }";

pub(super) const VOLUMES: &str = "query AgentboxVolumes($project: String!) { project(id: $project) { id name services(first: 200) { edges { node { id name } } } volumes(first: 200) { edges { node { id name volumeInstances(first: 200) { edges { node { id mountPath sizeMB currentSizeMB serviceId environment { id name } } } } } } } } }";

pub(super) const INSTANCE: &str = "query AgentboxInstance($id: String!) { volumeInstance(id: $id) { id mountPath sizeMB currentSizeMB serviceId environment { id name } volume { name project { id name } } } }";

pub(super) const ENVIRONMENT: &str = "query AgentboxEnvironment($id: String!) { environment(id: $id) { id name projectId volumeInstances(first: 200) { edges { node { id } } } serviceInstances(first: 200) { edges { node { id } } } } }";

pub(super) const SERVICE: &str = "query AgentboxService($id: String!) { service(id: $id) { name project { id name environments(first: 200) { edges { node { id name } } } } serviceInstances(first: 200) { edges { node { environmentId } } } } }";

pub(super) const PROJECT: &str = "query AgentboxProject($id: String!) { project(id: $id) { id name environments(first: 200) { edges { node { id name } } } services(first: 200) { edges { node { id } } } volumes(first: 200) { edges { node { id } } } } }";

pub(super) const DEPLOYMENT: &str = "query AgentboxDeployment($id: String!) { deployment(id: $id) { projectId environment { id name } service { id name } } }";

/// One question for the backups of `count` instances: `b0: volumeInstanceBackupList(volumeInstanceId: $i0) { … } …`.
pub(super) fn backups(count: usize) -> String {
    let variables: Vec<String> = (0..count).map(|n| format!("$i{n}: String!")).collect();
    let fields: Vec<String> = (0..count).map(|n| format!("b{n}: volumeInstanceBackupList(volumeInstanceId: $i{n}) {{ id name createdAt }}")).collect();
    format!("query AgentboxBackups({}) {{ {} }}", variables.join(", "), fields.join(" "))
}

/// The variables of [`backups`].
pub(super) fn backup_variables<'a>(ids: impl Iterator<Item = &'a str>) -> Value {
    Value::Object(ids.enumerate().map(|(n, id)| (format!("i{n}"), Value::String(id.to_owned()))).collect::<Map<_, _>>())
}
