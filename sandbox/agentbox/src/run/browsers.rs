//! How the box's authority reaches the browsers in it, which read neither the system's bundle nor a variable.
//!
//! Chromium and its kin, those of Playwright and Puppeteer as well, read their users' roots from NSS's database in the home. The policy hides
//! the folder in which that lies, since people keep client certificates there; what the box sees in its place is a database of its own. Firefox
//! reads its administrator's policy, in `/etc` or beside its program; Playwright's own Firefox that which a variable names.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder},
    io::Read as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use agentbox_kernel::mounts::{Entry, FileFence, Furnished, Provided, Rest};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Map, Value, json};

use super::nss;

/// Where NSS keeps what is a user's, below the home.
const NSS: &str = ".pki";

/// In it, the database; and where that lies in the box's own memory.
const DATABASE: &str = "nssdb";
const DATABASE_OF_THE_BOX: &str = "/run/nssdb";

/// Programs that read it, or that fetch one which does.
const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "brave-browser", "npx", "playwright"];

/// Where Firefox looks for a policy first, as it is told when it is built.
const FIREFOX_OF_ETC: &str = "/etc/firefox/policies/policies.json";

/// Folders of Firefox where distributions have it; where the program of a person's PATH leads is looked at as well.
const FIREFOX: &[&str] = &["/usr/lib/firefox", "/usr/lib64/firefox", "/usr/lib/firefox-esr", "/opt/firefox", "/usr/local/lib/firefox", "/usr/local/firefox"];
const FIREFOX_PROGRAMS: &[&str] = &["firefox", "firefox-esr"];

/// What each of them has in it.
const FIREFOX_MARK: &str = "application.ini";

/// The policy, and the folder beside the program in which it is looked for otherwise.
const POLICIES: &str = "policies.json";
const DISTRIBUTION: &str = "distribution";

/// Where the box's lies for those who are told by a variable.
pub(super) const POLICIES_OF_THE_BOX: &str = "/run/agentbox/firefox-policies.json";

/// Longest policy of an administrator's that is read.
const LONGEST: u64 = 1 << 20;

/// Makes NSS's folder as any such browser would, where there is one and the folder is not: what is not there cannot be covered.
pub(super) fn make_missing(home: &Path, path: &OsStr) {
    let is_installed = |program: &str| std::env::split_paths(path).any(|folder| folder.join(program).is_file());
    let folder = home.join(NSS);
    if fs::symlink_metadata(&folder).is_err() && CHROMIUM.iter().any(|program| is_installed(program)) {
        // Where it cannot be made, such a browser refuses the box's certificates.
        let _ = DirBuilder::new().mode(0o700).create(folder);
    }
}

/// Has the fence show browsers whom to trust. `ours` is where the box sees our files.
pub(super) fn tell(fence: &mut FileFence, certificate: &str, ours: &Path, variables: &[(OsString, OsString)]) {
    let variable = |name: &str| variables.iter().find_map(|(known, value)| (known == name).then_some(value.as_os_str()));
    fence.furnished.extend(variable("HOME").and_then(|home| database(Path::new(home), certificate)));
    let authority = ours.join("ca.pem");
    fence.provided.push(Provided { path: POLICIES_OF_THE_BOX.into(), contents: Arc::new(policies(None, &authority).into()) });
    let etc = Path::new(FIREFOX_OF_ETC);
    if let Some(of_etc) = read(etc) {
        fence.provided.push(Provided { path: etc.into(), contents: Arc::new(policies(Some(&of_etc), &authority).into()) });
        return;
    }
    for folder in firefoxes(FIREFOX, variable("PATH")) {
        match firefox(&folder, &authority) {
            Shown::Over(provided) => fence.provided.push(provided),
            Shown::Beside(furnished) => fence.furnished.push(furnished),
        }
    }
}

fn database(home: &Path, certificate: &str) -> Option<Furnished> {
    let folder = fs::canonicalize(home.join(NSS)).ok()?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let entry = Entry::Own { folder: DATABASE_OF_THE_BOX.into(), name: "cert9.db", contents: Arc::new(nss::database(&certificate)?) };
    Some(Furnished { folder, rest: Rest::Hidden, at: DATABASE.into(), entry })
}

/// The folders of those that are here, each once.
fn firefoxes(known: &[&str], path: Option<&OsStr>) -> Vec<PathBuf> {
    let of_path = path.into_iter().flat_map(std::env::split_paths);
    let programs = of_path.flat_map(|folder| FIREFOX_PROGRAMS.iter().map(move |program| folder.join(program)));
    let beside = programs.filter_map(|program| Some(fs::canonicalize(program).ok()?.parent()?.to_owned()));
    let mut folders: Vec<PathBuf> = known.iter().filter_map(|folder| fs::canonicalize(folder).ok()).chain(beside).collect();
    folders.retain(|folder| folder.join(FIREFOX_MARK).is_file());
    folders.sort();
    folders.dedup();
    folders
}

enum Shown {
    /// In the place of one that is there.
    Over(Provided),
    /// With what else is in a folder.
    Beside(Furnished),
}

fn firefox(folder: &Path, authority: &Path) -> Shown {
    let beside =
        |folder: PathBuf, at: PathBuf| Shown::Beside(Furnished { folder, rest: Rest::Shown, at, entry: Entry::File(Arc::new(policies(None, authority))) });
    // Debian has a link there.
    let Ok(distribution) = fs::canonicalize(folder.join(DISTRIBUTION)) else {
        return beside(folder.to_owned(), Path::new(DISTRIBUTION).join(POLICIES));
    };
    match read(&distribution.join(POLICIES)) {
        Some(of_distribution) => {
            Shown::Over(Provided { path: distribution.join(POLICIES), contents: Arc::new(policies(Some(&of_distribution), authority).into()) })
        }
        None => beside(distribution, POLICIES.into()),
    }
}

fn read(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A policy of Firefox's that says what an administrator's says, and adds our authority. Names come from the broker, and nobody has to be asked for
/// what a browser wants to tell its makers.
fn policies(others: Option<&str>, authority: &Path) -> Vec<u8> {
    let mut whole = others.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut policies = taken(&mut whole, "policies");
    let mut certificates = taken(&mut policies, "Certificates");
    let mut install = match certificates.remove("Install") {
        Some(Value::Array(list)) => list,
        Some(_) | None => Vec::new(),
    };
    install.push(json!(authority.to_string_lossy()));
    certificates.insert("Install".to_owned(), install.into());
    policies.insert("Certificates".to_owned(), certificates.into());
    policies.insert("DNSOverHTTPS".to_owned(), json!({ "Enabled": false, "Locked": true }));
    policies.insert("DisableTelemetry".to_owned(), true.into());
    whole.insert("policies".to_owned(), policies.into());
    Value::Object(whole).to_string().into_bytes()
}

fn taken(of: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match of.remove(name) {
        Some(Value::Object(inner)) => inner,
        Some(_) | None => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(contents: &[u8]) -> Value {
        serde_json::from_slice(contents).unwrap()
    }

    #[test]
    fn what_an_administrator_says_stays() {
        let theirs = r#"{ "policies": { "DisableTelemetry": false, "Homepage": { "URL": "https://a.example/" }, "Certificates": { "ImportEnterpriseRoots": true, "Install": ["corp.pem"] } } }"#;
        let policies = said(&policies(Some(theirs), Path::new("/run/agentbox/ca.pem")));
        let policies = &policies["policies"];
        assert_eq!(policies["Homepage"]["URL"], "https://a.example/");
        assert_eq!(policies["Certificates"], json!({ "ImportEnterpriseRoots": true, "Install": ["corp.pem", "/run/agentbox/ca.pem"] }));
        assert_eq!(policies["DisableTelemetry"], json!(true));
    }

    #[test]
    fn what_is_no_policy_is_replaced_by_ours() {
        for theirs in ["", "[]", "{\"policies\": 3}", "{\"policies\": {\"Certificates\": []}}", "{"] {
            let said = said(&policies(Some(theirs), Path::new("/ca.pem")));
            assert_eq!(said["policies"]["Certificates"]["Install"], json!(["/ca.pem"]), "{theirs}");
        }
    }

    #[test]
    fn a_firefox_is_told_where_it_looks() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let made = |name: &str| {
            fs::create_dir_all(real.join(name)).unwrap();
            fs::write(real.join(name).join(FIREFOX_MARK), b"").unwrap();
            real.join(name)
        };
        let (bare, full, linked) = (made("bare"), made("full"), made("linked"));
        fs::create_dir_all(full.join(DISTRIBUTION)).unwrap();
        fs::write(full.join(DISTRIBUTION).join(POLICIES), b"{}").unwrap();
        fs::create_dir(real.join("shared")).unwrap();
        std::os::unix::fs::symlink(real.join("shared"), linked.join(DISTRIBUTION)).unwrap();
        fs::create_dir(real.join("bin")).unwrap();
        fs::write(bare.join("firefox"), b"").unwrap();
        std::os::unix::fs::symlink(bare.join("firefox"), real.join("bin/firefox")).unwrap();
        let known = [full.to_str().unwrap(), linked.to_str().unwrap(), "/none/at/all"];
        let found = firefoxes(&known, Some(real.join("bin").as_os_str()));
        assert_eq!(found, [bare.clone(), full.clone(), linked.clone()]);
        let authority = Path::new("/ca.pem");
        assert!(matches!(firefox(&full, authority), Shown::Over(over) if over.path == full.join("distribution/policies.json")));
        let beside = |folder: &Path| match firefox(folder, authority) {
            Shown::Beside(beside) => (beside.folder, beside.at),
            Shown::Over(over) => panic!("{over:?}"),
        };
        assert_eq!(beside(&bare), (bare.clone(), "distribution/policies.json".into()));
        assert_eq!(beside(&linked), (real.join("shared"), "policies.json".into()));
    }

    #[test]
    fn the_folder_is_made_where_a_browser_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let (home, bin) = (folder.path().join("home"), folder.path().join("bin"));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&bin).unwrap();
        make_missing(&home, bin.as_os_str());
        assert!(!home.join(NSS).exists());
        fs::write(bin.join("chromium"), b"").unwrap();
        make_missing(&home, bin.as_os_str());
        assert!(home.join(NSS).is_dir());
        assert!(database(&home, "no certificate").is_none());
    }
}
