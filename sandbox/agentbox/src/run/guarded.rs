//! The policy's guarded paths as they really are; what an agent could slip from under its guard refuses the start.
//!
//! A guard is a mount on a path, made when a box starts. An agent that may write the folder around it cannot move the guard, but it could
//! prepare the next box: replace a link by something else, or make a folder unreadable so that nobody finds what is in it. Nothing of
//! that may lead to a box without the guard.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use agentbox_core::safe;
use nix::unistd::geteuid;

use super::globs;

/// Characters of a path that are shown.
const SHOWN: usize = 300;

/// Why a path cannot be guarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Loose {
    /// A link in a place that the agent may write.
    #[error("{} is a link, which the agent could replace: put the real thing there, or name in the policy what it leads to", shown(.0))]
    Link(PathBuf),
    /// A folder in the way cannot be entered, but the agent could make it so.
    #[error("{} cannot be looked into, and what the policy guards may lie in it: give yourself the right to read and enter it (chmod u+rx)", shown(.0))]
    Closed(PathBuf),
    /// Something else is in the way.
    #[error("{}: {source}", shown(.path))]
    Look {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pattern cannot be spelt out.
    #[error(transparent)]
    Pattern(#[from] globs::TooMuch),
}

fn shown(path: &Path) -> String {
    safe::line(&path.to_string_lossy(), SHOWN)
}

/// What guarding a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// It stays as it is: what matters is the name.
    ReadOnly,
    /// It is not seen: what matters is the content.
    Masked,
}

/// What patterns name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The real paths of all that is there.
    pub(crate) found: Vec<PathBuf>,
    /// The paths at which nothing is, or nothing that this user sees, as they are named.
    pub(crate) absent: Vec<PathBuf>,
}

/// Looks for all that these patterns name.
///
/// # Errors
/// Something that is named could be slipped from under its guard.
pub(crate) fn guarded<'a>(patterns: impl IntoIterator<Item = &'a Path>, guard: Guard, writable: &[PathBuf]) -> Result<Named, Loose> {
    let mut walk = Walk { guard, writable, folders: HashSet::new(), found: Vec::new(), absent: Vec::new(), links: Vec::new() };
    for pattern in patterns {
        for path in globs::matches(pattern)? {
            if walk.down(&path)? == Seen::Nothing {
                walk.absent.push(path);
            }
        }
    }
    let Walk { mut found, absent, links, .. } = walk;
    found.sort();
    found.dedup();
    // A masked content that has a name of its own in the policy is masked, whatever becomes of the link.
    let named = |target: &Path| guard == Guard::Masked && found.iter().any(|place| target.starts_with(place));
    match links.into_iter().find(|link| !fs::canonicalize(link).is_ok_and(|target| named(&target))) {
        Some(link) => Err(Loose::Link(link)),
        None => Ok(Named { found, absent }),
    }
}

/// What is found on the way down the paths.
struct Walk<'a> {
    guard: Guard,
    writable: &'a [PathBuf],
    /// Real folders that were met: most paths of a policy go through the same ones.
    folders: HashSet<PathBuf>,
    found: Vec<PathBuf>,
    absent: Vec<PathBuf>,
    /// Links that the agent could replace.
    links: Vec<PathBuf>,
}

/// Whether there is something at a path's own name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Something,
    Nothing,
}

impl Walk<'_> {
    fn is_the_agents(&self, folder: &Path) -> bool {
        self.writable.iter().any(|tree| folder.starts_with(tree))
    }

    /// Walks down a path, and notes every link on it that the agent could replace.
    fn down(&mut self, path: &Path) -> Result<Seen, Loose> {
        let mut at = PathBuf::from("/");
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            let name = match part {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => {
                    at.pop();
                    continue;
                }
                Component::Normal(name) => name,
            };
            let next = at.join(name);
            if self.folders.contains(&next) {
                at = next;
                continue;
            }
            let meta = match fs::symlink_metadata(&next) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::Nothing),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return closed(&at),
                Err(source) => return Err(Loose::Look { path: next, source }),
            };
            // Of a link, and of what stands in the place of a folder, it is to be asked what lies behind.
            let behind = || if fs::symlink_metadata(path).is_ok() { Seen::Something } else { Seen::Nothing };
            if meta.is_symlink() {
                if self.is_the_agents(&at) {
                    self.links.push(next);
                    return Ok(behind());
                }
                match fs::canonicalize(&next) {
                    Ok(real) => at = real,
                    // A link outside of the agent's reach that leads nowhere.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(behind()),
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return closed(&at),
                    Err(source) => return Err(Loose::Look { path: next, source }),
                }
            } else if meta.is_dir() {
                self.folders.insert(next.clone());
                at = next;
            } else if parts.peek().is_none() {
                at = next;
            } else {
                // `.git` of a worktree is a file that says where `config` and `hooks` are: it decides, so it is what is guarded.
                if self.guard == Guard::ReadOnly && self.is_the_agents(&at) {
                    self.found.push(next);
                }
                return Ok(behind());
            }
        }
        self.found.push(at);
        Ok(Seen::Something)
    }
}

/// A folder that this user may not enter: the agent neither, unless it may change the folder's mode.
fn closed(folder: &Path) -> Result<Seen, Loose> {
    match fs::symlink_metadata(folder) {
        Ok(meta) if meta.uid() != geteuid().as_raw() => Ok(Seen::Nothing),
        Ok(_) => Err(Loose::Closed(folder.to_owned())),
        // Not to be seen: a folder above it is closed, and that one is another's.
        Err(_) => Ok(Seen::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ground {
        _folder: tempfile::TempDir,
        work: PathBuf,
    }

    fn ground() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().canonicalize().unwrap().join("work");
        for name in ["work/.git/hooks", "work/config", "outside"] {
            fs::create_dir_all(work.with_file_name(name)).unwrap();
        }
        fs::write(work.join("config/key"), "secret").unwrap();
        fs::write(work.with_file_name("outside/key"), "secret").unwrap();
        Ground { _folder: folder, work }
    }

    fn of(ground: &Ground, names: &[&str], guard: Guard) -> Result<Vec<PathBuf>, String> {
        let paths: Vec<PathBuf> = names.iter().map(|name| ground.work.join(name)).collect();
        guarded(paths.iter().map(PathBuf::as_path), guard, std::slice::from_ref(&ground.work)).map(|named| named.found).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_passed_over() {
        let ground = ground();
        assert_eq!(of(&ground, &[".git/hooks", ".git/config", "none/at/all"], Guard::ReadOnly), Ok(vec![ground.work.join(".git/hooks")]));
    }

    #[test]
    fn what_is_not_there_is_told() {
        let ground = ground();
        let at = |name: &str| ground.work.with_file_name(name);
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let paths = ["work/config/key", "work/config/other", "none/x", "dangling", "dangling/x", "outside/key/x"].map(at);
        let Named { found, absent } = guarded(paths.iter().map(PathBuf::as_path), Guard::Masked, std::slice::from_ref(&ground.work)).unwrap();
        assert_eq!(found, [at("work/config/key")]);
        // The link's own name is taken.
        assert_eq!(absent, ["work/config/other", "none/x", "dangling/x", "outside/key/x"].map(at));
    }

    #[test]
    fn a_link_that_the_agent_could_replace_is_refused() {
        let ground = ground();
        std::os::unix::fs::symlink("config", ground.work.join(".vscode")).unwrap();
        std::os::unix::fs::symlink("nothing", ground.work.join(".envrc")).unwrap();
        for name in [".vscode", ".vscode/tasks.json", ".envrc"] {
            assert!(of(&ground, &[name], Guard::ReadOnly).unwrap_err().contains("is a link"), "{name}");
        }
        // The target's being guarded does not keep the name.
        assert!(of(&ground, &[".vscode", "config"], Guard::ReadOnly).is_err());
    }

    #[test]
    fn a_masked_content_may_have_links_if_it_is_named_itself() {
        let ground = ground();
        std::os::unix::fs::symlink("../outside/key", ground.work.join(".env")).unwrap();
        assert!(of(&ground, &[".env"], Guard::Masked).unwrap_err().contains("is a link"));
        assert_eq!(of(&ground, &[".env", "../outside"], Guard::Masked), Ok(vec![ground.work.with_file_name("outside")]));
    }

    #[test]
    fn a_link_out_of_reach_is_followed() {
        let ground = ground();
        let link = ground.work.with_file_name("link");
        std::os::unix::fs::symlink("outside", &link).unwrap();
        assert_eq!(of(&ground, &["../link/key"], Guard::Masked), Ok(vec![ground.work.with_file_name("outside/key")]));
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_itself_guarded() {
        let ground = ground();
        fs::remove_dir_all(ground.work.join(".git")).unwrap();
        fs::write(ground.work.join(".git"), "gitdir: ../common").unwrap();
        assert_eq!(of(&ground, &[".git/config", ".git/hooks"], Guard::ReadOnly), Ok(vec![ground.work.join(".git")]));
    }

    #[test]
    fn a_folder_of_ones_own_that_is_closed_is_said() {
        if geteuid().is_root() {
            // Nothing is closed to root; the attack is made as an ordinary user by tests/escapes/closed-folder.
            return;
        }
        use std::os::unix::fs::PermissionsExt as _;
        let ground = ground();
        fs::set_permissions(ground.work.join("config"), fs::Permissions::from_mode(0o000)).unwrap();
        assert!(of(&ground, &["config/key"], Guard::Masked).unwrap_err().contains("cannot be looked into"));
        assert!(of(&ground, &["**/key"], Guard::Masked).unwrap_err().contains("cannot be looked into"));
        fs::set_permissions(ground.work.join("config"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}
