//! HTTPS on loopback: directly, through a relay that only ends TLS, and through the broker, which reads and judges every request.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    table::{Aim, Row, Table, Unit},
};

/// The far side; it ends with this value.
pub(crate) struct FarSide {
    child: Child,
    port: u16,
    relay: u16,
    /// Its authority.
    authority: PathBuf,
    /// A policy that leads its names to it.
    pub(crate) policy: PathBuf,
}

impl FarSide {
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        let folder = ground.folder();
        let mut child = std::process::Command::new(&ground.probe).arg("far").arg(folder).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let mut ports = line.split_whitespace().map(str::parse::<u16>);
        let (port, relay) = (ports.next().context("no port")??, ports.next().context("no second port")??);
        let (authority, policy) = (folder.join("ca.pem"), folder.join("policy.toml"));
        let text = format!(
            r#"extends = "default"
roots = ["{}"]
[names]
"far.example" = "127.0.0.1:{port}"
"held.example" = "127.0.0.1:{port}"
[place.far]
hosts = ["far.example"]
read = "allow"
write = "allow"
destroy = "allow"
[place.held]
hosts = ["held.example"]
read = "allow"
write = "allow"
destroy = "hold"
"#,
            authority.display()
        );
        fs::write(&policy, text)?;
        Ok(Self { child, port, relay, authority, policy })
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ways a request may take.
const WAYS: [&str; 3] = ["direct", "plain TLS relay", "agentbox"];

/// What is asked of the client: the word, how often or how many bytes, its name, and what is aimed at.
const ASKED: &[(&str, u64, &str, Unit, Option<Aim>)] = &[
    ("new", 200, "new HTTPS connection, one request", Unit::Nanoseconds, Some(Aim::AtMost(600e3))),
    ("keep", 2000, "request on a connection that is kept", Unit::Nanoseconds, Some(Aim::AddedAtMost(60e3))),
    ("download", 1 << 30, "download of 1 GiB", Unit::BytesPerSecond, Some(Aim::OfPeerAtLeast(0.5))),
    ("upload", 1 << 30, "upload of 1 GiB", Unit::BytesPerSecond, Some(Aim::OfPeerAtLeast(0.5))),
];

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let far = FarSide::start(ground)?;
    let mut found: Vec<Vec<Series>> = vec![vec![Series::default(); WAYS.len()]; ASKED.len()];
    let mut commands = Vec::new();
    let authority = far.authority.display().to_string();
    let (direct, relay) = (format!("127.0.0.1:{}", far.port), format!("127.0.0.1:{}", far.relay));
    for round in 0..rounds {
        for (index, _) in WAYS.iter().enumerate().cycle().skip(round % WAYS.len()).take(WAYS.len()) {
            let (way, address, authority) = match index {
                0 => (Way::Bare, direct.as_str(), authority.as_str()),
                1 => (Way::Bare, relay.as_str(), authority.as_str()),
                _ => (Way::Agentbox, "far.example:443", "/run/agentbox/ca.pem"),
            };
            let mut words = vec![ground.probe.display().to_string(), "near".into(), address.into(), "far.example".into(), authority.into()];
            words.extend(ASKED.iter().flat_map(|(word, number, ..)| [(*word).to_owned(), number.to_string()]));
            let mut command = ground.command(way, Some(&far.policy), &words).context("no way")?;
            if round == 0 {
                commands.push(shown(&command));
            }
            let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            let figures: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
            for ((word, ..), series) in ASKED.iter().zip(&mut found) {
                if let Some(series) = series.get_mut(index) {
                    series.push(*figures.get(*word).with_context(|| format!("no {word}"))?);
                }
            }
        }
    }
    let rows = ASKED.iter().zip(found).map(|((_, _, what, unit, aim), series)| Row { what: (*what).to_owned(), unit: *unit, series, aim: *aim });
    Ok(Table {
        title: "The network",
        how: "Client and server are one Rust program on this machine (rustls, ECDSA P-256, no session resumption, HTTP/1.1), so both of their costs are in every column. The plain relay ends TLS on both sides and copies; it reads nothing.".to_owned(),
        ways: WAYS.to_vec(),
        rows: rows.collect(),
        commands,
    })
}
