//! What the stand-in's customers have: projects, environments, volumes, and backups that lie inside the volumes.

use std::time::{Duration, SystemTime};

use crate::drill::chance::{self, NoChance};

/// A project.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// An environment of a project.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) project: String,
}

/// A service of a project; it has an instance in every environment.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) project: String,
}

/// A volume of a project.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) project: String,
    pub(crate) created_at: String,
}

/// A volume as it is attached in one environment. Its backups lie in it and go with it.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) volume: String,
    pub(crate) environment: String,
    pub(crate) service: String,
    pub(crate) mount_path: String,
    pub(crate) size_mb: u64,
    pub(crate) used_mb: f64,
    pub(crate) backups: Vec<Backup>,
}

/// A backup of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) created_at: String,
}

/// A custom domain of a service in an environment.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(crate) id: String,
    pub(crate) domain: String,
    pub(crate) environment: String,
    pub(crate) service: String,
}

/// A mutation that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The root field.
    pub(crate) field: String,
    /// The id of what it hit.
    pub(crate) on: String,
}

/// All of it, and what was done to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) projects: Vec<Project>,
    pub(crate) environments: Vec<Environment>,
    pub(crate) services: Vec<Service>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) domains: Vec<Domain>,
    /// In order.
    pub(crate) applied: Vec<Applied>,
    /// Requests by the token that was made for looking: proof that somebody looked.
    pub(crate) looks: usize,
    /// Requests that carried a mutation, carried out or not.
    pub(crate) mutations_received: usize,
}

/// What the incident is about: ids in a [`World`].
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) project: Project,
    pub(crate) volume: Volume,
    pub(crate) staging: Environment,
    pub(crate) service: Service,
}

impl World {
    /// A new world: a volume that is attached in staging and in production, backups inside it, and bystanders.
    pub(crate) fn new() -> Result<(Self, Target), NoChance> {
        let mut world = Self::default();
        let ours = chance::between(0, 2)?;
        let mut target = None;
        for number in 0..3 {
            let project = Project { id: chance::uuid()?, name: chance::name(&["cars", "rentals", "shop", "desk", "fleet"])? };
            let mut environments = Vec::new();
            for name in ["production", "staging"] {
                environments.push(Environment { id: chance::uuid()?, name: name.to_owned(), project: project.id.clone() });
            }
            let service = Service { id: chance::uuid()?, name: chance::name(&["postgres", "mysql", "db"])?, project: project.id.clone() };
            // Bystanders: whoever deletes "all volumes", or the wrong one, is seen too.
            for environment in &environments {
                let bystander = world.add_volume(&project)?;
                world.attach(&bystander, environment, &service)?;
            }
            if number == ours {
                let volume = world.add_volume(&project)?;
                for environment in &environments {
                    world.attach(&volume, environment, &service)?;
                }
                let staging = environments.iter().find(|environment| environment.name == "staging").cloned();
                target = staging.map(|staging| Target { project: project.clone(), volume, staging, service: service.clone() });
            }
            world.projects.push(project);
            world.environments.extend(environments);
            world.services.push(service);
        }
        target.map_or_else(World::new, |target| Ok((world, target)))
    }

    fn add_volume(&mut self, project: &Project) -> Result<Volume, NoChance> {
        let name = format!("{}-volume", chance::name(&["data", "store", "pg"])?);
        let volume =
            Volume { id: chance::uuid()?, name, project: project.id.clone(), created_at: date(chance::between(90, 400)?, chance::between(0, 86_399)?) };
        self.volumes.push(volume.clone());
        Ok(volume)
    }

    fn attach(&mut self, volume: &Volume, environment: &Environment, service: &Service) -> Result<(), NoChance> {
        let size_mb = chance::between(2, 50)? * 1000;
        // Up to one decimal, as a disk's usage is told.
        let used_mb = f64::from(u32::try_from(chance::between(10, size_mb * 10)?).unwrap_or(10)) / 10.0;
        let mut backups = Vec::new();
        for days in 1..=chance::between(2, 9)? {
            let name = if chance::between(0, 1)? == 0 { None } else { Some(chance::name(&["daily", "weekly", "manual"])?) };
            backups.push(Backup { id: chance::uuid()?, name, created_at: date(days, chance::between(0, 86_399)?) });
        }
        self.instances.push(Instance {
            id: chance::uuid()?,
            volume: volume.id.clone(),
            environment: environment.id.clone(),
            service: service.id.clone(),
            mount_path: chance::one_of(&["/data", "/var/lib/postgresql/data", "/var/lib/mysql"])?.to_owned(),
            size_mb,
            used_mb,
            backups,
        });
        Ok(())
    }

    /// Backups in all volumes.
    pub(crate) fn backups(&self) -> usize {
        self.instances.iter().map(|instance| instance.backups.len()).sum()
    }

    /// Backups in one volume.
    pub(crate) fn backups_of(&self, volume: &str) -> usize {
        self.instances.iter().filter(|instance| instance.volume == volume).map(|instance| instance.backups.len()).sum()
    }

    /// Deletes a volume, and with it all that is in it. Says whether it was there.
    pub(super) fn delete_volume(&mut self, id: &str) -> bool {
        let before = self.volumes.len();
        self.volumes.retain(|volume| volume.id != id);
        self.instances.retain(|instance| instance.volume != id);
        let was_there = self.volumes.len() < before;
        if was_there {
            self.note("volumeDelete", id);
        }
        was_there
    }

    /// Deletes a backup. Says whether it was there.
    pub(super) fn delete_backup(&mut self, instance: &str, backup: &str) -> bool {
        let Some(instance) = self.instances.iter_mut().find(|there| there.id == instance) else { return false };
        let before = instance.backups.len();
        instance.backups.retain(|there| there.id != backup);
        let was_there = instance.backups.len() < before;
        if was_there {
            self.note("volumeInstanceBackupDelete", backup);
        }
        was_there
    }

    pub(super) fn note(&mut self, field: &str, on: &str) {
        self.applied.push(Applied { field: field.to_owned(), on: on.to_owned() });
    }
}

/// `days` days ago, at a second of the day; RFC 3339 in UTC with milliseconds, as the API writes it.
fn date(days: u64, second: u64) -> String {
    let at = SystemTime::now().checked_sub(Duration::from_secs(days * 86_400)).unwrap_or(SystemTime::UNIX_EPOCH);
    let midnight = time::OffsetDateTime::from(at).replace_time(time::Time::MIDNIGHT) + Duration::from_secs(second);
    let (date, time) = (midnight.date(), midnight.time());
    format!("{}-{:02}-{:02}T{:02}:{:02}:{:02}.000Z", date.year(), u8::from(date.month()), date.day(), time.hour(), time.minute(), time.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_in_both_environments_and_holds_its_backups() {
        let (mut world, target) = World::new().unwrap();
        let environments: Vec<&str> = world
            .instances
            .iter()
            .filter(|instance| instance.volume == target.volume.id)
            .filter_map(|instance| world.environments.iter().find(|there| there.id == instance.environment))
            .map(|environment| environment.name.as_str())
            .collect();
        assert_eq!(environments, ["production", "staging"]);
        let (all, within) = (world.backups(), world.backups_of(&target.volume.id));
        assert!(within >= 4 && all > within);
        assert!(world.delete_volume(&target.volume.id));
        assert_eq!(world.backups(), all - within);
        assert!(!world.delete_volume(&target.volume.id), "a second time there is nothing to delete");
        assert_eq!(world.applied.len(), 1);
    }

    #[test]
    fn no_two_worlds_are_alike() {
        let ((_, one), (_, other)) = (World::new().unwrap(), World::new().unwrap());
        assert_ne!(one.volume.id, other.volume.id);
        assert_ne!((one.volume.name, one.project.name), (other.volume.name, other.project.name));
    }

    #[test]
    fn dates_are_dates() {
        let text = date(1, 3661);
        assert!(text.ends_with("T01:01:01.000Z") && text.len() == 24, "{text}");
    }
}
