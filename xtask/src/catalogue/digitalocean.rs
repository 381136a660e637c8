//! DigitalOcean: the requests of its Python library.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Operations, Provider, from_pypi, pattern, sources};

pub(super) const DIGITALOCEAN: Provider = Provider { name: "digitalocean", packages: &[("pydo", "0.44.0")], taken: "2026-11-26", fetch: from_pypi, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for request in sources::builders(&fs::read_to_string(folder.join("pydo/operations/_operations.py"))?) {
        let path = pattern(&request.path);
        all.add(&sources::shelf(&path), &request.method, &path, &request.name);
    }
    Ok(all)
}
