//! Where a vault lies: on the file system of what it keeps, and outside every place that a box may write to.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::error::VaultError;

/// Longest list of vaults that is read, in bytes.
const LONGEST_LIST: u64 = 1 << 20;

/// What a vault can do for a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is on the same mount: reflinks and links are possible.
    Same,
    /// It is on another: everything is copied, within limits. Why none of the same is to be had.
    CopiesOnly(String),
}

/// A place for a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The vault's folder; `Vault::open` makes it. No box may see it.
    pub folder: PathBuf,
    /// What it can do.
    pub reach: Reach,
}

/// Chooses the vault's folder for a workspace. `state` is `$XDG_STATE_HOME/agentbox`; `writable` are all places that the box may write
/// to, the workspace among them.
///
/// # Errors
/// Not even `state` will do, and why.
pub fn choose(workspace: &Path, state: &Path, writable: &[PathBuf]) -> Result<Site, VaultError> {
    let own = state.join("vault");
    let nowhere = |why: String| VaultError::Nowhere(why);
    if let Some(place) = writable.iter().find(|place| own.starts_with(place)) {
        let fix = "start the box in the folder of a project below it, or let XDG_STATE_HOME name a folder elsewhere";
        return Err(nowhere(format!("{} is inside {}, which the box may write to\nfix: {fix}", own.display(), place.display())));
    }
    let mount = mount_of(workspace).map_err(|error| nowhere(format!("{} cannot be looked at: {error}", workspace.display())))?;
    let existing = own.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    if mount_of(existing).is_ok_and(|other| other == mount) {
        return Ok(Site { folder: own, reach: Reach::Same });
    }
    // From the top of the workspace's mount downwards: the nearer to the top, the fewer places may ever lie above it.
    let mut above: Vec<&Path> = workspace.ancestors().skip(1).take_while(|above| mount_of(above).is_ok_and(|other| other == mount)).collect();
    above.reverse();
    let mut problems = Vec::new();
    for parent in above {
        let folder = parent.join(format!(".agentbox-vault-{}", rustix::process::geteuid().as_raw()));
        match fits(parent, &folder, writable) {
            Ok(()) => {
                remember(state, &folder)?;
                return Ok(Site { folder, reach: Reach::Same });
            }
            Err(problem) => problems.push(problem),
        }
    }
    let why = if problems.is_empty() { format!("the workspace {} is the whole of its file system", workspace.display()) } else { problems.join("; ") };
    Ok(Site { folder: own, reach: Reach::CopiesOnly(why) })
}

/// All vaults of this user that exist, the one in `state` first.
#[must_use]
pub fn known(state: &Path) -> Vec<PathBuf> {
    let mut folders = vec![state.join("vault")];
    for line in listed(state).lines() {
        let folder = PathBuf::from(line);
        if folder.is_absolute() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

fn listed(state: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = fs::File::open(state.join("vaults")) {
        let _ = file.take(LONGEST_LIST).read_to_string(&mut text);
    }
    text
}

/// Puts a vault on the list that people's commands read.
fn remember(state: &Path, folder: &Path) -> Result<(), VaultError> {
    let failed =
        |error: std::io::Error| VaultError::Nowhere(format!("{} cannot be put on the list of vaults in {}: {error}", folder.display(), state.display()));
    let line = folder.to_str().filter(|line| !line.contains('\n'));
    let line = line.ok_or_else(|| VaultError::Nowhere(format!("{} is no text in one line", folder.display())))?;
    if listed(state).lines().any(|known| known == line) {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(failed)?;
    let mut list = OpenOptions::new().append(true).create(true).mode(0o600).open(state.join("vaults")).map_err(failed)?;
    list.write_all(format!("{line}\n").as_bytes()).map_err(failed)
}

/// Whether a vault may lie in a folder. The words say why not.
fn fits(parent: &Path, folder: &Path, writable: &[PathBuf]) -> Result<(), String> {
    if let Some(place) = writable.iter().find(|place| parent.starts_with(place)) {
        return Err(format!("{} is inside {}, which the box may write to", parent.display(), place.display()));
    }
    let at = |what: &str| format!("{} {what}", parent.display());
    let meta = fs::symlink_metadata(parent).map_err(|error| at(&format!("cannot be looked at: {error}")))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(at(&format!("belongs to uid {}", meta.uid())));
    }
    // Without the sticky bit, whoever may write there may put another folder in its place.
    if meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
        return Err(at("can be written to by others"));
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(folder).map_err(|error| format!("{} cannot be looked at: {error}", folder.display()))?;
            if meta.is_dir() && meta.uid() == me && meta.mode() & 0o077 == 0 {
                return Ok(());
            }
            Err(format!("{} is somebody else's, or open to others", folder.display()))
        }
        Err(error) => Err(format!("no folder can be made in {}: {error}", parent.display())),
    }
}

/// Which mount a path is on: links never lead from one to another.
fn mount_of(path: &Path) -> rustix::io::Result<u64> {
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scene() -> (tempfile::TempDir, PathBuf) {
        let owner = tempfile::tempdir().unwrap();
        let folder = owner.path().canonicalize().unwrap();
        fs::create_dir_all(folder.join("state")).unwrap();
        fs::create_dir_all(folder.join("a/work")).unwrap();
        (owner, folder)
    }

    /// Another file system than that of temporary files.
    fn elsewhere() -> Option<tempfile::TempDir> {
        let shm = tempfile::tempdir_in("/dev/shm").ok()?;
        (mount_of(shm.path()) != mount_of(&std::env::temp_dir())).then_some(shm)
    }

    #[test]
    fn in_the_state_folder_where_that_is_on_the_same_mount() {
        let (_owner, folder) = scene();
        let (work, state) = (folder.join("a/work"), folder.join("state/agentbox"));
        let site = choose(&work, &state, std::slice::from_ref(&work)).unwrap();
        assert_eq!(site, Site { folder: state.join("vault"), reach: Reach::Same });
    }

    #[test]
    fn never_where_the_box_may_write() {
        let (_owner, folder) = scene();
        let error = choose(&folder.join("a/work"), &folder.join("state"), std::slice::from_ref(&folder)).unwrap_err().to_string();
        assert!(error.contains("which the box may write to"), "{error}");
    }

    #[test]
    fn near_the_top_of_the_workspaces_mount_otherwise() {
        let Some(shm) = elsewhere() else {
            println!("SKIPPED: no second file system to write to");
            return;
        };
        let (_owner, folder) = scene();
        let (work, state) = (shm.path().join("a/work"), folder.join("state"));
        fs::create_dir_all(&work).unwrap();
        let site = choose(&work, &state, &[work.clone(), PathBuf::from("/dev/shm/other")]).unwrap();
        assert_eq!(site.reach, Reach::Same);
        let vault = site.folder.clone();
        assert_eq!(vault.parent(), Some(Path::new("/dev/shm")));
        assert_eq!(fs::metadata(&vault).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(choose(&work, &state, std::slice::from_ref(&work)).unwrap().folder, vault);
        fs::create_dir_all(state.join("vault")).unwrap();
        assert_eq!(known(&state), [state.join("vault"), vault]);
        // The top is writable: the next below it that is not.
        let site = choose(&work, &state, &[work.clone(), PathBuf::from("/dev/shm")]).unwrap();
        assert_eq!(site.folder, state.join("vault"));
        assert!(matches!(site.reach, Reach::CopiesOnly(why) if why.contains("which the box may write to")));
    }
}
