//! Netlify: its description, as its JavaScript package carries it.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::Value;

use super::{Operations, Provider, from_npm, pattern, sources};

pub(super) const NETLIFY: Provider = Provider { name: "netlify", packages: &[("@netlify/open-api", "2.60.0")], taken: "2026-11-26", fetch: from_npm, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    let document: Value = serde_json::from_str(&fs::read_to_string(folder.join("package/dist/swagger.json"))?)?;
    let base = document.get("basePath").and_then(Value::as_str).unwrap_or_default();
    for (path, methods) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
        let path = pattern(&format!("{base}{path}"));
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let name = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
            all.add(&sources::shelf(&path), &method.to_ascii_uppercase(), &path, name);
        }
    }
    Ok(all)
}
