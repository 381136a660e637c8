//! What the answers say, in the words of the policy and of the card.

use agentbox_core::{
    ResourceId,
    look::{Loss, Seen, Undo},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{Answer, Asked, LookError, answer},
    Instance, Named,
};

/// Most backups of one instance.
const MOST_BACKUPS: usize = 1000;

/// Longest name of the provider's that is shown or matched.
const LONGEST_NAME: usize = 100;

/// Most details of one line on the card.
const MOST_DETAILS: usize = 8;

/// The backups of one instance.
#[derive(Debug, Default)]
pub(super) struct Backups(Vec<Backup>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    id: String,
    name: Option<String>,
    created_at: String,
}

/// Reads the answer to [`super::query::backups`].
pub(super) fn backups(answer: &Answer, count: usize) -> Result<Vec<Backups>, LookError> {
    let mut data: Map<String, Value> = answer::data(answer)?;
    let mut all = Vec::new();
    for n in 0..count {
        let list = data.remove(&format!("b{n}")).ok_or(LookError::Unreadable("it lacks the backups of an instance"))?;
        let list: Vec<Backup> = serde_json::from_value(list).map_err(|_| LookError::Unreadable("its list of backups"))?;
        if list.len() > MOST_BACKUPS {
            return Err(LookError::TooMuch("backups"));
        }
        all.push(Backups(list));
    }
    Ok(all)
}

/// What was found out.
pub(super) struct Facts {
    name: String,
    environments: Vec<Named>,
    project: Named,
    losses: Vec<Loss>,
    undo: Undo,
}

impl Facts {
    pub(super) fn volume(name: String, project: Named, instances: Vec<Instance>, services: Vec<Named>, backups: Vec<Backups>) -> Self {
        let details = instances.iter().map(|instance| {
            let service = instance
                .service_id
                .as_ref()
                .and_then(|id| services.iter().find(|service| &service.id == id))
                .map_or_else(String::new, |service| format!(" of {}", safe(&service.name)));
            format!("{}: {:.0} of {:.0} MB in use, at {}{service}", safe(&instance.environment.name), instance.used, instance.size, safe(&instance.mount_path))
        });
        let attached = Loss { what: "attached volumes".to_owned(), count: Some(instances.len() as u64), detail: several(details) };
        let kept = backup_loss(&instances, &backups);
        let undo = match kept.count {
            Some(0) => "there are no backups",
            Some(_) | None => "its backups lie in the volume and go with it",
        };
        Self {
            name,
            environments: instances.into_iter().map(|instance| instance.environment).collect(),
            project,
            losses: vec![attached, kept],
            undo: Undo::No(undo.to_owned()),
        }
    }

    pub(super) fn backup(id: &str, volume: &str, project: Named, instances: Vec<Instance>, backups: Vec<Backups>) -> Result<Self, LookError> {
        let all: Vec<&Backup> = backups.iter().flat_map(|backups| &backups.0).collect();
        let backup = all.iter().find(|backup| backup.id.eq_ignore_ascii_case(id)).ok_or(LookError::NotFound("backup"))?;
        let name = backup.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| backup.id.clone());
        let detail = format!("made {} of {}; {} would remain", safe(&backup.created_at), safe(volume), all.len() - 1);
        let losses = vec![Loss { what: "backups".to_owned(), count: Some(1), detail }];
        Ok(Self {
            name,
            environments: instances.into_iter().map(|i| i.environment).collect(),
            project,
            losses,
            undo: Undo::No("a deleted backup is gone".to_owned()),
        })
    }

    pub(super) fn environment(environment: Named, project: Named, volumes: usize, services: usize) -> Self {
        let undo = if volumes > 0 { Undo::No("its volumes go with it, and their backups with them".to_owned()) } else { Undo::Unknown };
        Self {
            name: environment.name.clone(),
            environments: vec![environment],
            project,
            losses: vec![counted("volumes", volumes), counted("services", services)],
            undo,
        }
    }

    pub(super) fn service(name: String, project: Named, environments: Vec<Named>, lives_in: &[String]) -> Self {
        // An instance in an environment that is not listed is kept by its id, so that nothing is left out.
        let missing =
            lives_in.iter().filter(|id| !environments.iter().any(|environment| &environment.id == *id)).map(|id| Named { id: id.clone(), name: String::new() });
        let missing: Vec<Named> = missing.collect();
        let mut environments: Vec<Named> = environments.into_iter().filter(|environment| lives_in.contains(&environment.id)).collect();
        environments.extend(missing);
        let losses = vec![counted("instances", lives_in.len())];
        Self { name, environments, project, losses, undo: Undo::Unknown }
    }

    pub(super) fn project(project: Named, environments: Vec<Named>, volumes: usize, services: usize) -> Self {
        let losses = vec![counted("environments", environments.len()), counted("volumes", volumes), counted("services", services)];
        let undo = if volumes > 0 { Undo::No("its volumes go with it, and their backups with them".to_owned()) } else { Undo::Unknown };
        Self { name: project.name.clone(), environments, project, losses, undo }
    }

    pub(super) fn deployment(service: String, environment: Named, project: Named) -> Self {
        Self { name: service, environments: vec![environment], project, losses: Vec::new(), undo: Undo::Unknown }
    }

    /// One line for each environment, each with ids by number and by name: a policy may speak of either.
    pub(super) fn into_seen(self, asked: &Asked<'_>) -> Result<Seen, LookError> {
        let mut names = Vec::new();
        let mut above = ids("project", &self.project, &mut names);
        let mut lineages = Vec::new();
        for environment in &self.environments {
            let mut line = ids("environment", environment, &mut names);
            line.extend(above.iter().cloned());
            // The thing itself is not among its own parents.
            line.retain(|id| id != asked.resource);
            lineages.push(line);
        }
        if lineages.is_empty() {
            above.retain(|id| id != asked.resource);
            lineages.push(above);
        }
        let destroys = crate::meaning::may_lose(asked.action);
        let (losses, undo) = if destroys { (self.losses, self.undo) } else { (Vec::new(), Undo::Unknown) };
        Ok(Seen { resource: asked.resource.clone(), name: safe(&self.name), lineages, names, losses, undo })
    }
}

/// `railway:environment/9f2…`, `railway:environment/Production`, `railway:environment/production`.
fn ids(kind: &str, thing: &Named, names: &mut Vec<(ResourceId, String)>) -> Vec<ResourceId> {
    let id = |text: &str| ResourceId::new("railway", &format!("{kind}/{}", text.replace('%', "%25").replace('/', "%2F")));
    let own = id(&thing.id.to_ascii_lowercase());
    let mut all = vec![own.clone()];
    let name: String = thing.name.chars().take(LONGEST_NAME).collect();
    if !name.is_empty() {
        let named = (own, safe(&name));
        if !names.contains(&named) {
            names.push(named);
        }
        for text in [name.clone(), name.to_lowercase()] {
            let by_name = id(&text);
            if !all.contains(&by_name) {
                all.push(by_name);
            }
        }
    }
    all
}

fn counted(what: &str, count: usize) -> Loss {
    Loss { what: what.to_owned(), count: Some(count as u64), detail: String::new() }
}

fn backup_loss(instances: &[Instance], backups: &[Backups]) -> Loss {
    let count: usize = backups.iter().map(|backups| backups.0.len()).sum();
    let details = instances.iter().zip(backups).filter(|(_, backups)| !backups.0.is_empty()).map(|(instance, backups)| {
        // ISO 8601 in one zone sorts as text.
        let oldest = backups.0.iter().map(|backup| backup.created_at.as_str()).min().unwrap_or_default();
        let newest = backups.0.iter().map(|backup| backup.created_at.as_str()).max().unwrap_or_default();
        format!("{}: {}, newest {}, oldest {}", safe(&instance.environment.name), backups.0.len(), safe(newest), safe(oldest))
    });
    let detail = if count == 0 { "there are none".to_owned() } else { format!("they lie in the volume itself; {}", several(details)) };
    Loss { what: "backups".to_owned(), count: Some(count as u64), detail }
}

fn several(details: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = details.collect();
    let more = all.len().saturating_sub(MOST_DETAILS);
    let mut text = all.into_iter().take(MOST_DETAILS).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn safe(text: &str) -> String {
    agentbox_core::safe::line(text, LONGEST_NAME)
}
