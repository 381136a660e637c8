//! The reader against rows: our own, and a larger set where one is named by the environment.

use std::fs;

use agentbox_broker::meaning;
use agentbox_core::Request;
use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

fn understood(row: &Value) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in row["headers"].as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "host" | "content-length" | "transfer-encoding") {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?,
                HeaderValue::from_str(value.as_str().unwrap_or_default()).map_err(|error| error.to_string())?,
            );
        }
    }
    let body = match (row["body"].as_str(), row["body_encoding"].as_str()) {
        (None, _) => None,
        (Some(text), Some("base64")) => Some(base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| error.to_string())?),
        (Some(text), _) => Some(text.as_bytes().to_vec()),
    };
    meaning::request(row["method"].as_str().unwrap_or_default(), row["url"].as_str().unwrap_or_default(), &headers, body.as_deref())
}

#[test]
fn our_own_rows() {
    let rows = include_str!("corpus.jsonl");
    assert!(rows.lines().count() > 40);
    for line in rows.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let request = understood(&row).unwrap();
        let worst = request.worst().unwrap();
        assert_eq!((worst.effect.word(), worst.action.as_str()), (row["effect"].as_str().unwrap(), row["action"].as_str().unwrap()), "{line}");
        if row["note"] == "delegates" {
            assert!(worst.delegates.is_some(), "{line}");
        }
    }
}

/// Least share of rows to hold that must be held, and most of rows to pass that may be, for each file of the larger set.
/// They are what this version reaches; a later one may only do better.
const REACHED: &[(&str, f64, f64)] = &[("api.jsonl", 0.99, 0.04), ("api_hard.jsonl", 0.99, 0.15), ("api_semantic.jsonl", 0.94, 0.135)];

#[test]
fn a_larger_set() {
    let Some(folder) = std::env::var_os("AGENTBOX_CORPORA") else {
        println!("SKIPPED: AGENTBOX_CORPORA names no folder with api.jsonl, api_hard.jsonl and api_semantic.jsonl");
        return;
    };
    for (file, recall, alarms) in REACHED {
        let text = fs::read_to_string(std::path::Path::new(&folder).join(file)).unwrap();
        let (mut hold, mut held, mut pass, mut alarmed) = (0.0, 0.0, 0.0, 0.0);
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let expect: Vec<&str> = row["expect"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let would_hold = understood(&row).map_or(true, |request| request.operations.iter().any(|o| o.effect.may_destroy() || o.delegates.is_some()));
            let one = f64::from(u8::from(would_hold));
            match expect.as_slice() {
                ["hold"] => (hold, held) = (hold + 1.0, held + one),
                ["pass"] => (pass, alarmed) = (pass + 1.0, alarmed + one),
                _ => {}
            }
        }
        println!("{file}: recall {:.3}, false alarms {:.3}", held / hold, alarmed / pass);
        assert!(held / hold >= *recall && alarmed / pass <= *alarms, "{file}");
    }
}
