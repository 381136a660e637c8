//! Google: the discovery documents that its Python library carries.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Operations, Provider, any_version, from_pypi, pattern};

pub(super) const GOOGLE: Provider = Provider { name: "gcp", packages: &[("google-api-python-client", "2.202.0")], taken: "2026-11-25", fetch: from_pypi, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for file in fs::read_dir(folder.join("googleapiclient/discovery_cache/documents"))? {
        let file = file?.path();
        if file.extension().is_some_and(|ending| ending == "json") {
            let document: Value = serde_json::from_str(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())?;
            let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
            let host = text("rootUrl").trim_start_matches("https://").trim_end_matches('/');
            if let Some(service) = host.strip_suffix(".googleapis.com") {
                walk(&mut all, service, text("servicePath"), &document);
            }
        }
    }
    Ok(all)
}

fn walk(all: &mut Operations, service: &str, base: &str, resource: &Value) {
    let members = |name: &str| resource.get(name).and_then(Value::as_object).into_iter().flatten();
    for (_, method) in members("methods") {
        let text = |pointer: &str| method.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let flat = text("/flatPath");
        let path = if flat.is_empty() { text("/path") } else { flat };
        let (name, verb) = (text("/id"), text("/httpMethod"));
        all.add(service, verb, &any_version(&pattern(&format!("/{base}{path}"))), name);
        // Names of one segment, which the older services write as if they might be more.
        let upload = text("/mediaUpload/protocols/simple/path");
        all.add(service, verb, &any_version(&pattern(upload).replace("**", "*")), name);
    }
    for (_, below) in members("resources") {
        walk(all, service, base, below);
    }
}
