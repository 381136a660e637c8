//! Azure: the requests of its management libraries for Python.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Operations, Provider, from_pypi, pattern, sources};

pub(super) const AZURE: Provider = Provider {
    name: "azure",
    packages: &[
        ("azure-mgmt-apimanagement", "5.0.0"),
        ("azure-mgmt-appcontainers", "5.1.0"),
        ("azure-mgmt-authorization", "4.0.0"),
        ("azure-mgmt-compute", "39.0.0"),
        ("azure-mgmt-containerregistry", "15.0.0"),
        ("azure-mgmt-containerservice", "41.8.0"),
        ("azure-mgmt-cosmosdb", "10.0.0"),
        ("azure-mgmt-dns", "9.0.0"),
        ("azure-mgmt-eventhub", "12.0.0"),
        ("azure-mgmt-keyvault", "14.1.0"),
        ("azure-mgmt-monitor", "7.0.0"),
        ("azure-mgmt-network", "33.1.0"),
        ("azure-mgmt-postgresqlflexibleservers", "3.0.0"),
        ("azure-mgmt-recoveryservices", "4.3.0"),
        ("azure-mgmt-recoveryservicesbackup", "11.2.0"),
        ("azure-mgmt-redis", "14.5.0"),
        ("azure-mgmt-resource", "26.0.0"),
        ("azure-mgmt-security", "7.0.0"),
        ("azure-mgmt-servicebus", "10.0.0"),
        ("azure-mgmt-sql", "4.0.0"),
        ("azure-mgmt-storage", "25.3.0"),
        ("azure-mgmt-web", "11.0.1"),
    ],
    taken: "2026-11-26",
    fetch: from_pypi,
    read,
};

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for file in sources::files(folder, "_operations.py")? {
        if file.components().any(|part| part.as_os_str() == "aio") {
            continue;
        }
        for request in sources::builders(&fs::read_to_string(&file)?) {
            // Paths of Azure are the same in any case.
            let path = any_scope(&request.path).to_ascii_lowercase();
            let parts: Vec<&str> = path.split('/').collect();
            let service = parts.iter().rposition(|part| *part == "providers").and_then(|at| parts.get(at + 1)).copied().unwrap_or("resources");
            if !service.contains('*') && path.matches("**").count() <= 1 {
                all.add(service, &request.method, &path, &request.name);
            }
        }
    }
    Ok(all)
}

/// `{scope}` and its kin are paths of their own.
fn any_scope(path: &str) -> String {
    let mut text = path.to_owned();
    for name in ["scope", "resourceUri", "resourceId", "roleAssignmentId", "roleId", "parentResourcePath", "linkId"] {
        text = text.replace(&format!("{{{name}}}"), &format!("{{{name}+}}"));
    }
    pattern(&text)
}
