//! Cloudflare: the requests of its JavaScript library.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Operations, Provider, from_npm, pattern, sources};

pub(super) const CLOUDFLARE: Provider = Provider { name: "cloudflare", packages: &[("cloudflare", "7.3.0")], taken: "2026-11-26", fetch: from_npm, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    let resources = folder.join("package/src/resources");
    for file in sources::files(&resources, ".ts")? {
        let text = fs::read_to_string(&file)?;
        let group = group(file.strip_prefix(&resources)?);
        let mut name = "";
        for line in text.lines() {
            // A method of the class: two spaces, a name, a bracket.
            if let Some(found) = line.strip_prefix("  ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name.split('<').next().unwrap_or(name))
                && !found.is_empty()
                && found.bytes().all(|byte| byte.is_ascii_alphanumeric())
            {
                name = found;
            }
            let Some((method, rest)) = line.split_once("this._client.").and_then(|(_, rest)| rest.split_once('(')) else { continue };
            let path = sources::between(rest, "^path`", "`").or_else(|| sources::between(rest, "^'", "'"));
            if let (Some(path), true) = (path, matches!(method, "get" | "post" | "put" | "patch" | "delete")) {
                let path = pattern(&format!("/client/v4{}", path.replace("${", "{")));
                all.add(&sources::shelf(&path), &method.to_ascii_uppercase(), &path, &format!("{group}.{name}"));
            }
        }
    }
    Ok(all)
}

/// `dns/records.ts` as `dns.records`; a folder's own file, `zones/zones.ts`, as `zones`.
fn group(file: &Path) -> String {
    let text = file.with_extension("").to_string_lossy().replace('-', "_");
    let mut parts: Vec<&str> = text.split('/').collect();
    if let [.., above, own] = parts.as_slice()
        && above == own
    {
        parts.pop();
    }
    parts.join(".")
}
