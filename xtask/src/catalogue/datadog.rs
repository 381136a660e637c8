//! Datadog: the requests of its Python library.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Operations, Provider, from_pypi, pattern, sources};

pub(super) const DATADOG: Provider = Provider { name: "datadog", packages: &[("datadog-api-client", "2.62.0")], taken: "2026-11-26", fetch: from_pypi, read };

const STYLE: sources::Style =
    sources::Style { name: &[("\"operation_id\": \"", "\"")], path: &[("\"endpoint_path\": \"", "\"")], method: &[("\"http_method\": \"", "\"")] };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for file in sources::files(&folder.join("datadog_api_client"), "_api.py")? {
        // The path stands before the name.
        let text = fs::read_to_string(&file)?;
        for request in sources::read(&name_first(&text), &STYLE) {
            let path = pattern(&request.path);
            all.add(&sources::shelf(&path), &request.method, &path, &request.name);
        }
    }
    Ok(all)
}

/// Puts the line with the name before that with the path.
fn name_first(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let at: Vec<usize> = lines
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| matches!(pair, [path, name] if path.contains("\"endpoint_path\"") && name.contains("\"operation_id\"")))
        .map(|(at, _)| at)
        .collect();
    for at in at {
        lines.swap(at, at + 1);
    }
    lines.join("\n")
}
