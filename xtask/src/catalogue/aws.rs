//! AWS: the service descriptions of its Python library. Only services whose requests are told apart by method and path.

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use serde_json::Value;

use super::{Operations, Provider, from_pypi, pattern};

pub(super) const AWS: Provider = Provider { name: "aws", packages: &[("botocore", "1.44.8")], taken: "2026-11-25", fetch: from_pypi, read };

fn read(folder: &Path) -> Result<Operations> {
    let mut all = Operations::default();
    for service in fs::read_dir(folder.join("botocore/data"))? {
        let service = service?.path();
        if !service.is_dir() {
            continue;
        }
        for version in fs::read_dir(&service)? {
            let file = version?.path().join("service-2.json.gz");
            if file.exists() {
                let mut text = String::new();
                GzDecoder::new(fs::File::open(&file)?).read_to_string(&mut text)?;
                add(&mut all, &serde_json::from_str(&text).with_context(|| file.display().to_string())?);
            }
        }
    }
    Ok(all)
}

fn add(all: &mut Operations, description: &Value) {
    let text = |pointer: &str| description.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    // S3's paths are made of its users' names, and it is judged by rules of its own.
    let host = text("/metadata/endpointPrefix");
    if !text("/metadata/protocol").starts_with("rest-") || host == "s3" {
        return;
    }
    for (name, operation) in description.get("operations").and_then(Value::as_object).into_iter().flatten() {
        let text = |pointer: &str| operation.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        // `{AccountId}.` stands for a label of the user's; `data-` is a part of the name.
        let prefix = text("/endpoint/hostPrefix");
        let prefix = if prefix.contains('{') { "" } else { prefix };
        all.add(&format!("{prefix}{host}"), text("/http/method"), &pattern(text("/http/requestUri")), name);
    }
}
