//! GitHub: its OpenAPI description, as its JavaScript library carries it.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::Value;

use super::{Operations, Provider, from_npm, pattern};

pub(super) const GITHUB: Provider = Provider { name: "github", packages: &[("@octokit/openapi", "23.0.2")], taken: "2026-11-25", fetch: from_npm, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    let document: Value = serde_json::from_str(&fs::read_to_string(folder.join("package/generated/api.github.com.json"))?)?;
    for (path, methods) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let name = operation.get("operationId").and_then(Value::as_str).unwrap_or_default().replace('/', ".");
            all.add("api", &method.to_ascii_uppercase(), &pattern(path), &name);
        }
    }
    Ok(all)
}
