//! Okta: the requests of its Python library.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Operations, Provider, from_pypi, pattern, sources};

pub(super) const OKTA: Provider = Provider { name: "okta", packages: &[("okta", "3.4.6")], taken: "2026-11-26", fetch: from_pypi, read };

const STYLE: sources::Style =
    sources::Style { name: &[("^    def _", "_serialize(")], path: &[("resource_path=\"", "\"")], method: &[("^            method=\"", "\"")] };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for file in sources::files(&folder.join("okta/api"), "_api.py")? {
        for request in sources::read(&fs::read_to_string(&file)?, &STYLE) {
            let path = pattern(&request.path);
            all.add(&sources::shelf(&path), &request.method, &path, &request.name);
        }
    }
    Ok(all)
}
