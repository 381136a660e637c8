//! Looking at Railway: which environments a thing lives in, and which backups would go with it.
//!
//! The public schema has no question for a volume by its id (only for an *instance* of one), so the projects that the
//! credential can see are gone through until the volume is found; then the project is asked for the volume's instances,
//! and all instances for their backups in one question.

mod query;
mod seen;

use agentbox_core::{Destination, ResourceId};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Asked, Bearing, Look, LookError, Question, Step,
    answer::{self, Connection},
};
use crate::meaning::is_railway;
use seen::{Backups, Facts};

/// Where the public API listens.
const TARGET: &str = "/graphql/v2";

/// Pages of projects that are gone through, of [`query::PROJECTS`]'s 100 each.
const MOST_PAGES: usize = 5;

/// Most instances of one volume, environments of one project and the like.
const MOST_INSTANCES: usize = 200;

/// The look.
pub(super) struct Railway;

/// What a resource's id names.
enum Thing<'a> {
    Volume(&'a str),
    Instance(&'a str),
    Backup { instance: &'a str, backup: &'a str },
    Environment(&'a str),
    Service(&'a str),
    Project(&'a str),
    Deployment(&'a str),
}

fn thing(resource: &ResourceId) -> Option<Thing<'_>> {
    if resource.scheme() != "railway" {
        return None;
    }
    let parts: Vec<&str> = resource.path().split('/').collect();
    // Only ids of Railway's own shape are asked for: what else an agent writes there, nothing is there.
    let is_id = |id: &str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !parts.iter().skip(1).all(|id| is_id(id)) {
        return None;
    }
    Some(match parts.as_slice() {
        ["volume", id] => Thing::Volume(id),
        ["volume-instance", id] => Thing::Instance(id),
        ["backup", instance, backup] => Thing::Backup { instance, backup },
        ["environment", id] => Thing::Environment(id),
        ["service", id] => Thing::Service(id),
        ["project", id] => Thing::Project(id),
        ["deployment", id] => Thing::Deployment(id),
        _ => return None,
    })
}

impl Look for Railway {
    fn applies(&self, resource: &ResourceId, destination: &Destination) -> bool {
        is_railway(destination.host.as_str()) && thing(resource).is_some()
    }

    fn next(&self, asked: &Asked<'_>, answers: &[Answer]) -> Result<Step, LookError> {
        let thing = thing(asked.resource).ok_or(LookError::NotFound("thing"))?;
        // A token of one project is refused as a bearer and wants its own header; everything is asked again with that.
        let (bearing, answers) = match answers.split_first() {
            Some((first, rest)) if answer::is_unauthorized(first) => (Bearing::Header("project-access-token"), rest),
            _ => (Bearing::Bearer, answers),
        };
        let asking = Asking { asked, bearing, answers };
        match thing {
            Thing::Volume(id) => asking.volume(id),
            Thing::Instance(id) => asking.instance(id, None),
            Thing::Backup { instance, backup } => asking.instance(instance, Some(backup)),
            Thing::Environment(id) => asking.environment(id),
            Thing::Service(id) => asking.service(id),
            Thing::Project(id) => asking.project(id),
            Thing::Deployment(id) => asking.deployment(id),
        }
    }
}

struct Asking<'a> {
    asked: &'a Asked<'a>,
    bearing: Bearing,
    answers: &'a [Answer],
}

impl Asking<'_> {
    fn ask(&self, query: &str, variables: &Value) -> Result<Step, LookError> {
        let body = json!({ "query": query, "variables": variables });
        let body = Bytes::from(body.to_string().into_bytes());
        Ok(Step::Ask(Question { method: http::Method::POST, target: TARGET.to_owned(), content_type: Some("application/json"), body, bearing: self.bearing }))
    }

    fn seen(&self, facts: Facts) -> Result<Step, LookError> {
        Ok(Step::Seen(Box::new(facts.into_seen(self.asked)?)))
    }

    fn volume(&self, id: &str) -> Result<Step, LookError> {
        let Some((project, rest)) = self.project_of_volume(id)? else {
            let after = self.answers.last().map(answer::data::<Projects>).transpose()?.and_then(|data| data.projects.page).and_then(|page| page.end_cursor);
            return self.ask(query::PROJECTS, &json!({ "after": after }));
        };
        let Some((detail, rest)) = rest.split_first() else { return self.ask(query::VOLUMES, &json!({ "project": project })) };
        let project = answer::data::<ProjectAnswer>(detail)?.project;
        let volume = project
            .volumes
            .nodes(MOST_INSTANCES, "volumes of one project")?
            .into_iter()
            .find(|volume| volume.id.eq_ignore_ascii_case(id))
            .ok_or(LookError::NotFound("volume"))?;
        let services = project.services.map(|services| services.nodes(MOST_INSTANCES, "services of one project")).transpose()?.unwrap_or_default();
        let instances = volume.volume_instances.nodes(MOST_INSTANCES, "instances of one volume")?;
        let Some(backups) = self.backups(&instances, rest)? else {
            return self.ask(&query::backups(instances.len()), &query::backup_variables(instances.iter().map(|i| i.id.as_str())));
        };
        let in_project = Named { id: project.id, name: project.name };
        self.seen(Facts::volume(volume.name, in_project, instances, services, backups))
    }

    /// The project that has the volume, and the answers after the one that told; `None` where another page must be asked for.
    fn project_of_volume(&self, id: &str) -> Result<Option<(String, &[Answer])>, LookError> {
        for (index, answer) in self.answers.iter().enumerate() {
            let projects = answer::data::<Projects>(answer)?.projects;
            let has = |project: &&ProjectVolumes| project.volumes.page_nodes().any(|volume| volume.id.eq_ignore_ascii_case(id));
            if let Some(project) = projects.page_nodes().find(has) {
                return Ok(Some((project.id.clone(), self.answers.get(index + 1..).unwrap_or_default())));
            }
            let more = projects.page.is_some_and(|page| page.has_next_page && page.end_cursor.is_some());
            match (more, index + 1 == MOST_PAGES) {
                (true, false) => {}
                (true, true) => return Err(LookError::TooMuch("projects")),
                (false, _) => return Err(LookError::NotFound("volume")),
            }
        }
        Ok(None)
    }

    /// The backups of all instances; `None` where they must be asked for.
    fn backups(&self, instances: &[Instance], rest: &[Answer]) -> Result<Option<Vec<Backups>>, LookError> {
        match rest.first() {
            _ if instances.is_empty() => Ok(Some(Vec::new())),
            None => Ok(None),
            Some(answer) => Ok(Some(seen::backups(answer, instances.len())?)),
        }
    }

    fn instance(&self, id: &str, backup: Option<&str>) -> Result<Step, LookError> {
        let Some((first, rest)) = self.answers.split_first() else { return self.ask(query::INSTANCE, &json!({ "id": id })) };
        let mut instance = answer::data::<InstanceAnswer>(first)?.volume_instance;
        let volume = instance.volume.take().ok_or(LookError::Unreadable("the instance has no volume"))?;
        let instances = vec![instance];
        let Some(backups) = self.backups(&instances, rest)? else { return self.ask(&query::backups(1), &query::backup_variables([id].into_iter())) };
        match backup {
            None => self.seen(Facts::volume(volume.name, volume.project, instances, Vec::new(), backups)),
            Some(backup) => self.seen(Facts::backup(backup, &volume.name, volume.project, instances, backups)?),
        }
    }

    fn environment(&self, id: &str) -> Result<Step, LookError> {
        let Some((first, rest)) = self.answers.split_first() else { return self.ask(query::ENVIRONMENT, &json!({ "id": id })) };
        let environment = answer::data::<EnvironmentAnswer>(first)?.environment;
        let Some(second) = rest.first() else { return self.ask(query::PROJECT, &json!({ "id": environment.project_id })) };
        let project = answer::data::<WholeProjectAnswer>(second)?.project;
        let volumes = environment.volume_instances.nodes(MOST_INSTANCES, "volumes of one environment")?;
        let services = environment.service_instances.nodes(MOST_INSTANCES, "services of one environment")?;
        self.seen(Facts::environment(
            Named { id: environment.id, name: environment.name },
            Named { id: project.id, name: project.name },
            volumes.len(),
            services.len(),
        ))
    }

    fn service(&self, id: &str) -> Result<Step, LookError> {
        let Some(first) = self.answers.first() else { return self.ask(query::SERVICE, &json!({ "id": id })) };
        let service = answer::data::<ServiceAnswer>(first)?.service;
        let environments = service.project.environments.nodes(MOST_INSTANCES, "environments of one project")?;
        let lives_in: Vec<String> =
            service.service_instances.nodes(MOST_INSTANCES, "instances of one service")?.into_iter().map(|instance| instance.environment_id).collect();
        let project = Named { id: service.project.id, name: service.project.name };
        self.seen(Facts::service(service.name, project, environments, &lives_in))
    }

    fn project(&self, id: &str) -> Result<Step, LookError> {
        let Some(first) = self.answers.first() else { return self.ask(query::PROJECT, &json!({ "id": id })) };
        let project = answer::data::<WholeProjectAnswer>(first)?.project;
        let environments = project.environments.nodes(MOST_INSTANCES, "environments of one project")?;
        let volumes = project.volumes.nodes(MOST_INSTANCES, "volumes of one project")?.len();
        let services = project.services.nodes(MOST_INSTANCES, "services of one project")?.len();
        self.seen(Facts::project(Named { id: project.id, name: project.name }, environments, volumes, services))
    }

    fn deployment(&self, id: &str) -> Result<Step, LookError> {
        let Some((first, rest)) = self.answers.split_first() else { return self.ask(query::DEPLOYMENT, &json!({ "id": id })) };
        let deployment = answer::data::<DeploymentAnswer>(first)?.deployment;
        let Some(second) = rest.first() else { return self.ask(query::PROJECT, &json!({ "id": deployment.project_id })) };
        let project = answer::data::<WholeProjectAnswer>(second)?.project;
        self.seen(Facts::deployment(deployment.service.name, deployment.environment, Named { id: project.id, name: project.name }))
    }
}

/// An id with its name for people. The name may be hostile.
#[derive(Clone, Debug, Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Id {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Projects {
    projects: Connection<ProjectVolumes>,
}

#[derive(Debug, Deserialize)]
struct ProjectVolumes {
    id: String,
    volumes: Connection<Id>,
}

#[derive(Debug, Deserialize)]
struct ProjectAnswer {
    project: Project,
}

#[derive(Debug, Deserialize)]
struct Project {
    id: String,
    name: String,
    volumes: Connection<Volume>,
    services: Option<Connection<Named>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    id: String,
    name: String,
    volume_instances: Connection<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: String,
    mount_path: String,
    #[serde(rename = "sizeMB")]
    size: f64,
    #[serde(rename = "currentSizeMB")]
    used: f64,
    service_id: Option<String>,
    environment: Named,
    volume: Option<InstanceVolume>,
}

#[derive(Debug, Deserialize)]
struct InstanceVolume {
    name: String,
    project: Named,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstanceAnswer {
    volume_instance: Instance,
}

#[derive(Debug, Deserialize)]
struct EnvironmentAnswer {
    environment: Environment,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    id: String,
    name: String,
    project_id: String,
    volume_instances: Connection<Id>,
    service_instances: Connection<Id>,
}

#[derive(Debug, Deserialize)]
struct ServiceAnswer {
    service: Service,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    name: String,
    project: ServiceProject,
    service_instances: Connection<ServiceInstance>,
}

#[derive(Debug, Deserialize)]
struct ServiceProject {
    id: String,
    name: String,
    environments: Connection<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceInstance {
    environment_id: String,
}

#[derive(Debug, Deserialize)]
struct WholeProjectAnswer {
    project: WholeProject,
}

#[derive(Debug, Deserialize)]
struct WholeProject {
    id: String,
    name: String,
    environments: Connection<Named>,
    services: Connection<Id>,
    volumes: Connection<Id>,
}

#[derive(Debug, Deserialize)]
struct DeploymentAnswer {
    deployment: Deployment,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    project_id: String,
    environment: Named,
    service: Named,
}

#[cfg(test)]
mod tests;
