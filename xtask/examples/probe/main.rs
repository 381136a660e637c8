//! What `cargo xtask bench` runs on both sides: loops over system calls and a client, in the box; a server and a plain relay, outside.

mod calls;
mod far;
mod files;
mod near;
mod relay;

use std::{collections::BTreeMap, io::Write as _};

use anyhow::{Result, bail};

/// Figures by name: nanoseconds, or bytes a second.
type Figures = BTreeMap<String, f64>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match words.as_slice() {
        ["calls"] => calls::measure()?,
        ["files"] => files::loops()?,
        ["work", stock] => files::work(stock.as_ref())?,
        ["far", folder] => return far::serve(folder.as_ref()),
        ["certificate", folder, name] => return far::certificate(folder.as_ref(), name),
        ["relay", to] => return relay::serve(to),
        ["near", address, name, authority, what @ ..] => near::measure(address, name, authority.as_ref(), what)?,
        _ => bail!(
            "probe calls | files | work STOCK | far FOLDER | certificate FOLDER NAME | relay ADDRESS | near ADDRESS NAME CA (new N | keep N | download BYTES | upload BYTES | delete)…"
        ),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &figures)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
