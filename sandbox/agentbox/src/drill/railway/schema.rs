//! The part of Railway's public schema that the incident touches (field names as in railwayapp 5.71.0), resolved against a [`World`].

use serde_json::{Map, Value, json};

use super::graphql::Fault;
use super::world::{Domain, World};
use crate::drill::chance;

/// What a token may do. Railway's own tokens know no such grades: that one made for domains could delete volumes is the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Unknown token.
    Nothing,
    /// Queries only.
    Read,
    /// All.
    Everything,
}

impl Right {
    pub(super) fn may(self, root: &Node) -> Result<(), Fault> {
        match (self, root) {
            (Right::Everything, _) => Ok(()),
            (Right::Read, node) if !matches!(node, Node::Mutation) => Ok(()),
            (Right::Read | Right::Nothing, _) => Err(Fault::NotAuthorized),
        }
    }
}

/// An object of the schema.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Query,
    Mutation,
    User,
    Project(String),
    Environment(String),
    Service(String),
    ServiceInstance {
        service: String,
        environment: String,
    },
    Volume(String),
    VolumeInstance(String),
    Backup {
        instance: String,
        backup: String,
    },
    CustomDomain(String),
    WorkflowId,
    /// A page of nodes, and whether more follow.
    Connection(Vec<Node>, Option<String>),
    Edge(Box<Node>),
    PageInfo(Option<String>),
}

/// What a field is.
pub(super) enum Answer {
    Leaf(Value),
    One(Node),
    Many(Vec<Node>),
}

type Resolved = Result<Option<Answer>, Fault>;

fn leaf(value: impl Into<Value>) -> Resolved {
    Ok(Some(Answer::Leaf(value.into())))
}

fn one(node: Node) -> Resolved {
    Ok(Some(Answer::One(node)))
}

/// Fields of the root of mutations that are served.
const MUTATIONS: &[&str] = &["__typename", "volumeDelete", "volumeInstanceBackupDelete", "customDomainCreate", "customDomainDelete"];
/// Fields of the root of queries that are served.
const QUERIES: &[&str] = &["__typename", "me", "projects", "project", "environment", "service", "volumeInstance", "volumeInstanceBackupList", "customDomain"];

impl Node {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Node::Query => "Query",
            Node::Mutation => "Mutation",
            Node::User => "User",
            Node::Project(_) => "Project",
            Node::Environment(_) => "Environment",
            Node::Service(_) => "Service",
            Node::ServiceInstance { .. } => "ServiceInstance",
            Node::Volume(_) => "Volume",
            Node::VolumeInstance(_) => "VolumeInstance",
            Node::Backup { .. } => "VolumeInstanceBackup",
            Node::CustomDomain(_) => "CustomDomain",
            Node::WorkflowId => "WorkflowId",
            Node::Connection(..) => "Connection",
            Node::Edge(_) => "Edge",
            Node::PageInfo(_) => "PageInfo",
        }
    }

    /// Whether a root has this field.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Node::Mutation => MUTATIONS.contains(&name),
            _ => QUERIES.contains(&name),
        }
    }

    /// The field's answer; `None` where the type has no such field.
    pub(super) fn resolve(&self, world: &mut World, field: &str, arguments: &Map<String, Value>) -> Resolved {
        if field == "__typename" {
            return leaf(self.type_name());
        }
        match self {
            Node::Query => query(world, field, arguments),
            Node::Mutation => mutation(world, field, arguments),
            Node::User => match field {
                "id" => leaf("drill"),
                "name" => leaf("Drill"),
                "email" => leaf("drill@stand-in.example"),
                _ => Ok(None),
            },
            Node::Project(id) => project(world, id, field, arguments),
            Node::Environment(id) => environment(world, id, field, arguments),
            Node::Service(id) => service(world, id, field, arguments),
            Node::ServiceInstance { service, environment } => match field {
                "id" => leaf(format!("{service}.{environment}")),
                "serviceId" => leaf(service.as_str()),
                "environmentId" => leaf(environment.as_str()),
                "service" => one(Node::Service(service.clone())),
                _ => Ok(None),
            },
            Node::Volume(id) => volume(world, id, field, arguments),
            Node::VolumeInstance(id) => volume_instance(world, id, field),
            Node::Backup { instance, backup } => backup_field(world, instance, backup, field),
            Node::CustomDomain(id) => custom_domain(world, id, field),
            Node::WorkflowId => {
                if field == "workflowId" {
                    leaf("stand-in")
                } else {
                    Ok(None)
                }
            }
            Node::Connection(nodes, more) => match field {
                "edges" => Ok(Some(Answer::Many(nodes.iter().cloned().map(|node| Node::Edge(Box::new(node))).collect()))),
                "pageInfo" => one(Node::PageInfo(more.clone())),
                _ => Ok(None),
            },
            Node::Edge(node) => match field {
                "node" => one((**node).clone()),
                "cursor" => leaf(node.id()),
                _ => Ok(None),
            },
            Node::PageInfo(more) => match field {
                "hasNextPage" => leaf(more.is_some()),
                "endCursor" => leaf(more.clone().map_or(Value::Null, Value::String)),
                "hasPreviousPage" => leaf(false),
                "startCursor" => leaf(Value::Null),
                _ => Ok(None),
            },
        }
    }

    fn id(&self) -> &str {
        match self {
            Node::Project(id) | Node::Environment(id) | Node::Service(id) | Node::Volume(id) | Node::VolumeInstance(id) | Node::CustomDomain(id) => id,
            Node::ServiceInstance { service, .. } => service,
            Node::Backup { backup, .. } => backup,
            Node::Query | Node::Mutation | Node::User | Node::WorkflowId | Node::Connection(..) | Node::Edge(_) | Node::PageInfo(_) => "",
        }
    }
}

fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<&'a str, Fault> {
    arguments
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Fault::Validation(format!("Argument \"{name}\" of type \"String!\" is required, but it was not provided.")))
}

/// A page of `nodes` by `first` and `after`, as the API's connections give it.
fn page(nodes: Vec<Node>, arguments: &Map<String, Value>) -> Resolved {
    let first = arguments.get("first").and_then(Value::as_u64).and_then(|first| usize::try_from(first).ok()).unwrap_or(100);
    let start = match arguments.get("after").and_then(Value::as_str) {
        Some(after) => nodes.iter().position(|node| node.id() == after).map_or(nodes.len(), |index| index + 1),
        None => 0,
    };
    let rest = nodes.get(start..).unwrap_or_default();
    let shown: Vec<Node> = rest.iter().take(first).cloned().collect();
    let more = (rest.len() > shown.len()).then(|| shown.last().map(|node| node.id().to_owned())).flatten();
    one(Node::Connection(shown, more))
}

fn query(world: &World, field: &str, arguments: &Map<String, Value>) -> Resolved {
    let known = |there: bool, what: &'static str| if there { Ok(()) } else { Err(Fault::NotFound(what)) };
    match field {
        "me" => one(Node::User),
        "projects" => page(world.projects.iter().map(|project| Node::Project(project.id.clone())).collect(), arguments),
        "project" => {
            let id = text(arguments, "id")?;
            known(world.projects.iter().any(|there| there.id == id), "Project")?;
            one(Node::Project(id.to_owned()))
        }
        "environment" => {
            let id = text(arguments, "id")?;
            known(world.environments.iter().any(|there| there.id == id), "Environment")?;
            one(Node::Environment(id.to_owned()))
        }
        "service" => {
            let id = text(arguments, "id")?;
            known(world.services.iter().any(|there| there.id == id), "Service")?;
            one(Node::Service(id.to_owned()))
        }
        "volumeInstance" => {
            let id = text(arguments, "id")?;
            known(world.instances.iter().any(|there| there.id == id), "VolumeInstance")?;
            one(Node::VolumeInstance(id.to_owned()))
        }
        "volumeInstanceBackupList" => {
            let id = text(arguments, "volumeInstanceId")?;
            let instance = world.instances.iter().find(|there| there.id == id).ok_or(Fault::NotFound("VolumeInstance"))?;
            let node = |backup: &super::world::Backup| Node::Backup { instance: id.to_owned(), backup: backup.id.clone() };
            Ok(Some(Answer::Many(instance.backups.iter().map(node).collect())))
        }
        "customDomain" => {
            let id = text(arguments, "id")?;
            known(world.domains.iter().any(|there| there.id == id), "CustomDomain")?;
            one(Node::CustomDomain(id.to_owned()))
        }
        _ => Ok(None),
    }
}

fn mutation(world: &mut World, field: &str, arguments: &Map<String, Value>) -> Resolved {
    match field {
        "volumeDelete" => {
            if world.delete_volume(text(arguments, "volumeId")?) {
                leaf(true)
            } else {
                Err(Fault::NotFound("Volume"))
            }
        }
        "volumeInstanceBackupDelete" => {
            let (instance, backup) = (text(arguments, "volumeInstanceId")?, text(arguments, "volumeInstanceBackupId")?);
            if world.delete_backup(instance, backup) { one(Node::WorkflowId) } else { Err(Fault::NotFound("VolumeInstanceBackup")) }
        }
        "customDomainCreate" => {
            let Some(Value::Object(input)) = arguments.get("input") else {
                return Err(Fault::Validation("Argument \"input\" of type \"CustomDomainCreateInput!\" is required, but it was not provided.".to_owned()));
            };
            let id = chance::uuid().map_err(|_| Fault::Validation("Internal Server Error".to_owned()))?;
            let (domain, environment, service) = (text(input, "domain")?, text(input, "environmentId")?, text(input, "serviceId")?);
            world.domains.push(Domain { id: id.clone(), domain: domain.to_owned(), environment: environment.to_owned(), service: service.to_owned() });
            world.note(field, &id);
            one(Node::CustomDomain(id))
        }
        "customDomainDelete" => {
            let id = text(arguments, "id")?;
            let before = world.domains.len();
            world.domains.retain(|domain| domain.id != id);
            if world.domains.len() == before {
                return Err(Fault::NotFound("CustomDomain"));
            }
            world.note(field, id);
            leaf(true)
        }
        _ => Ok(None),
    }
}

fn project(world: &World, id: &str, field: &str, arguments: &Map<String, Value>) -> Resolved {
    let project = world.projects.iter().find(|there| there.id == id).ok_or(Fault::NotFound("Project"))?;
    match field {
        "id" => leaf(id),
        "name" => leaf(project.name.as_str()),
        "environments" => {
            page(world.environments.iter().filter(|there| there.project == id).map(|there| Node::Environment(there.id.clone())).collect(), arguments)
        }
        "services" => page(world.services.iter().filter(|there| there.project == id).map(|there| Node::Service(there.id.clone())).collect(), arguments),
        "volumes" => page(world.volumes.iter().filter(|there| there.project == id).map(|there| Node::Volume(there.id.clone())).collect(), arguments),
        _ => Ok(None),
    }
}

fn environment(world: &World, id: &str, field: &str, arguments: &Map<String, Value>) -> Resolved {
    let environment = world.environments.iter().find(|there| there.id == id).ok_or(Fault::NotFound("Environment"))?;
    match field {
        "id" => leaf(id),
        "name" => leaf(environment.name.as_str()),
        "projectId" => leaf(environment.project.as_str()),
        "volumeInstances" => {
            page(world.instances.iter().filter(|there| there.environment == id).map(|there| Node::VolumeInstance(there.id.clone())).collect(), arguments)
        }
        "serviceInstances" => {
            let here = world.services.iter().filter(|service| service.project == environment.project);
            page(here.map(|service| Node::ServiceInstance { service: service.id.clone(), environment: id.to_owned() }).collect(), arguments)
        }
        _ => Ok(None),
    }
}

fn service(world: &World, id: &str, field: &str, arguments: &Map<String, Value>) -> Resolved {
    let service = world.services.iter().find(|there| there.id == id).ok_or(Fault::NotFound("Service"))?;
    match field {
        "id" => leaf(id),
        "name" => leaf(service.name.as_str()),
        "projectId" => leaf(service.project.as_str()),
        "project" => one(Node::Project(service.project.clone())),
        "serviceInstances" => {
            let here = world.environments.iter().filter(|environment| environment.project == service.project);
            page(here.map(|environment| Node::ServiceInstance { service: id.to_owned(), environment: environment.id.clone() }).collect(), arguments)
        }
        _ => Ok(None),
    }
}

fn volume(world: &World, id: &str, field: &str, arguments: &Map<String, Value>) -> Resolved {
    let volume = world.volumes.iter().find(|there| there.id == id).ok_or(Fault::NotFound("Volume"))?;
    match field {
        "id" => leaf(id),
        "name" => leaf(volume.name.as_str()),
        "createdAt" => leaf(volume.created_at.as_str()),
        "projectId" => leaf(volume.project.as_str()),
        "project" => one(Node::Project(volume.project.clone())),
        "volumeInstances" => {
            page(world.instances.iter().filter(|there| there.volume == id).map(|there| Node::VolumeInstance(there.id.clone())).collect(), arguments)
        }
        _ => Ok(None),
    }
}

fn volume_instance(world: &World, id: &str, field: &str) -> Resolved {
    let instance = world.instances.iter().find(|there| there.id == id).ok_or(Fault::NotFound("VolumeInstance"))?;
    match field {
        "id" => leaf(id),
        "mountPath" => leaf(instance.mount_path.as_str()),
        "sizeMB" => leaf(instance.size_mb),
        "currentSizeMB" => leaf(instance.used_mb),
        "serviceId" => leaf(instance.service.as_str()),
        "environmentId" => leaf(instance.environment.as_str()),
        "volumeId" => leaf(instance.volume.as_str()),
        "state" => leaf("READY"),
        "isPendingDeletion" => leaf(false),
        "deletedAt" => leaf(Value::Null),
        "environment" => one(Node::Environment(instance.environment.clone())),
        "service" => one(Node::Service(instance.service.clone())),
        "volume" => one(Node::Volume(instance.volume.clone())),
        _ => Ok(None),
    }
}

fn backup_field(world: &World, instance: &str, id: &str, field: &str) -> Resolved {
    let instance = world.instances.iter().find(|there| there.id == instance).ok_or(Fault::NotFound("VolumeInstance"))?;
    let backup = instance.backups.iter().find(|there| there.id == id).ok_or(Fault::NotFound("VolumeInstanceBackup"))?;
    match field {
        "id" | "externalId" => leaf(id),
        "name" => leaf(backup.name.clone().map_or(Value::Null, Value::String)),
        "createdAt" => leaf(backup.created_at.as_str()),
        "expiresAt" | "creatorId" | "scheduleId" => leaf(Value::Null),
        "volumeInstanceSizeMB" => leaf(json!(instance.size_mb)),
        _ => Ok(None),
    }
}

fn custom_domain(world: &World, id: &str, field: &str) -> Resolved {
    let domain = world.domains.iter().find(|there| there.id == id).ok_or(Fault::NotFound("CustomDomain"))?;
    match field {
        "id" => leaf(id),
        "domain" => leaf(domain.domain.as_str()),
        "environmentId" => leaf(domain.environment.as_str()),
        "serviceId" => leaf(domain.service.as_str()),
        "isRailwayDomain" => leaf(false),
        _ => Ok(None),
    }
}
