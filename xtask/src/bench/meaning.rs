//! How long it takes to tell what a request means: `agentbox classify` over many rows, without its start.

use std::{fs::File, io::Write as _, path::Path, process::Stdio, time::Instant};

use anyhow::{Context, Result, ensure};

use super::{
    ground::{Ground, shown},
    series::Series,
    table::{Aim, Row, Table, Unit},
};

/// Rows of one run.
const ROWS: usize = 20_000;

/// Kinds of requests, each made different from row to row.
const KINDS: &[(&str, Kind, f64)] = &[
    (
        "plain HTTP",
        |number| serde_json::json!({ "method": "PUT", "url": format!("https://api.example.com/v1/things/{number}?dry=1"), "headers": { "content-type": "application/json" }, "body": format!("{{\"name\":\"thing {number}\",\"tags\":[\"a\",\"b\"],\"size\":{number}}}") }),
        20e3,
    ),
    (
        "GraphQL mutation",
        |number| serde_json::json!({ "method": "POST", "url": "https://backboard.railway.com/graphql/v2", "headers": { "content-type": "application/json" }, "body": serde_json::json!({ "query": "mutation Delete($id: String!) { volumeDelete(volumeId: $id) }", "variables": { "id": format!("3d2c-{number}") } }).to_string() }),
        20e3,
    ),
    (
        "model request, 4 KiB",
        |number| serde_json::json!({ "method": "POST", "url": "https://api.anthropic.com/v1/messages", "headers": { "content-type": "application/json" }, "body": serde_json::json!({ "model": "m", "max_tokens": 100, "messages": [{ "role": "user", "content": format!("{number} {}", "word ".repeat(800)) }] }).to_string() }),
        20e3,
    ),
];

type Kind = fn(usize) -> serde_json::Value;

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let mut rows = Vec::new();
    for (what, kind, most) in KINDS {
        let (many, one) = (ground.folder().join("rows.jsonl"), ground.folder().join("row.jsonl"));
        write(&many, *kind, ROWS)?;
        write(&one, *kind, 1)?;
        let mut series = Series::default();
        for _ in 0..rounds {
            let start = classify(ground, &one)?;
            let all = classify(ground, &many)?;
            series.push((all - start) / (ROWS - 1) as f64);
        }
        rows.push(Row { what: (*what).to_owned(), unit: Unit::Nanoseconds, series: vec![series], aim: Some(Aim::AtMost(*most)) });
    }
    Ok(Table {
        title: "Meaning",
        how: format!("A run over {ROWS} rows less a run over one, for each row: reading its JSON, deciding what it is, and writing the answer."),
        ways: vec!["agentbox"],
        rows,
        commands: vec![format!("{} < ROWS", shown(&ground.own(&["classify"])))],
    })
}

fn write(path: &Path, kind: Kind, count: usize) -> Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for number in 0..count {
        let mut row = kind(number);
        if let Some(row) = row.as_object_mut() {
            row.insert("id".to_owned(), number.into());
        }
        writeln!(file, "{row}")?;
    }
    Ok(file.flush()?)
}

fn classify(ground: &Ground, rows: &Path) -> Result<f64> {
    let mut command = ground.own(&["classify"]);
    let begin = Instant::now();
    let status = command.stdin(File::open(rows)?).stdout(Stdio::null()).stderr(Stdio::null()).status().context("classify")?;
    ensure!(status.success(), "classify ended with {status}");
    Ok(begin.elapsed().as_secs_f64() * 1e9)
}
