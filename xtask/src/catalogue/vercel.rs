//! Vercel: the requests of its JavaScript library.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Operations, Provider, any_version, from_npm, pattern, sources};

pub(super) const VERCEL: Provider = Provider { name: "vercel", packages: &[("@vercel/sdk", "1.28.35")], taken: "2026-11-26", fetch: from_npm, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for file in sources::files(&folder.join("package/src/funcs"), ".ts")? {
        let text = fs::read_to_string(&file)?;
        let one = |before: &str, after: &str| text.lines().find_map(|line| sources::between(line, before, after));
        if let (Some(path), Some(name), Some(method)) = (one("pathToFunc(\"", "\""), one("operationID: \"", "\""), one("method: \"", "\"")) {
            let path = any_version(&pattern(path));
            all.add(&sources::shelf(&path.replacen("/*/", "/v1/", 1)), method, &path, name);
        }
    }
    Ok(all)
}
