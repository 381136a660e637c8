//! pgbench against a PostgreSQL on loopback: directly, through a relay that only copies, and through the broker, which judges every statement.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{
    ground::{Ground, Way, shown},
    series::Series,
    table::{Aim, Row, Table, Unit},
};
use crate::commands::{find, output, succeed};

/// PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// The server's answer to its start is waited for so often and so long.
const LOOKS: usize = 200;
const LOOK: Duration = Duration::from_millis(50);

/// Seconds of one run.
const SECONDS: &str = "1";

/// The name that leads to the server in the box.
const HOST: &str = "db.example";

/// The ways a statement may take.
const WAYS: [&str; 3] = ["direct", "plain relay", "agentbox"];

/// Of 100,000 accounts each.
const SCALE: &str = "5";

/// A kind of run: its name, and pgbench's words for it.
const RUNS: &[(&str, &[&str])] = &[("TPC-B", &["-b", "tpcb-like"]), ("select only", &["-S"])];

const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];

/// Clients at once, and whether the connection is in TLS.
const SETTINGS: &[(&str, &str, &[&str])] = &[("1", "disable", &PROTOCOLS), ("4", "disable", &PROTOCOLS), ("1", "require", &["prepared"])];

/// A running server, and a relay to it; both end with this value.
struct Server {
    folder: TempDir,
    programs: PathBuf,
    server: Option<Child>,
    relay: Option<Child>,
    port: u16,
    relay_port: u16,
}

/// Debian keeps the server's programs out of PATH.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).filter(|folder| folder.join("postgres").is_file()).max()
}

impl Server {
    fn start(ground: &Ground, programs: PathBuf) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-postgres-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        succeed(Command::new(&ground.probe).arg("certificate").arg(folder.path()).arg(HOST))?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        fs::set_permissions(folder.path().join("key.pem"), fs::Permissions::from_mode(0o600))?;
        if is_root()? {
            for path in [folder.path(), &data, &folder.path().join("key.pem")] {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut server = Self { folder, programs, server: None, relay: None, port, relay_port: 0 };
        let mut made = server.program("initdb")?;
        succeed(made.args(["--username=bench", "--encoding=UTF8", "--locale=C", "--auth=trust", "-D"]).arg(&data).stdout(Stdio::null()))?;
        // As it is shipped, but for where it listens.
        let mut configuration = fs::read_to_string(data.join("postgresql.conf"))?;
        configuration.push_str(&format!(
            "unix_socket_directories = ''\nlisten_addresses = '127.0.0.1'\nport = {port}\nssl = on\nssl_cert_file = '../cert.pem'\nssl_key_file = '../key.pem'\n"
        ));
        fs::write(data.join("postgresql.conf"), configuration)?;
        let log = fs::File::create(server.folder.path().join("log"))?;
        server.server = Some(server.program("postgres")?.arg("-D").arg(&data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let answers = |server: &Self| output(Command::new("psql").args(["-X", "-c", "SELECT 1"]).arg(server.at("disable"))).is_ok();
        let mut looks = 0;
        while !answers(&server) {
            looks += 1;
            ensure!(looks < LOOKS, "PostgreSQL does not answer: {}", fs::read_to_string(server.folder.path().join("log"))?);
            sleep(LOOK);
        }
        succeed(Command::new("pgbench").args(["-i", "-q", "-s", SCALE]).arg(server.at("disable")).stdout(Stdio::null()).stderr(Stdio::null()))?;
        let mut relay = Command::new(&ground.probe).arg("relay").arg(format!("127.0.0.1:{port}")).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(relay.stdout.take().context("no stdout")?).read_line(&mut line)?;
        server.relay = Some(relay);
        server.relay_port = line.trim().parse()?;
        Ok(server)
    }

    /// One of its programs, as an ordinary user.
    fn program(&self, name: &str) -> Result<Command> {
        let path = self.programs.join(name);
        let mut command = Command::new(if is_root()? { Path::new("setpriv") } else { &path });
        if is_root()? {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(path);
        }
        command.current_dir(self.folder.path());
        Ok(command)
    }

    fn at(&self, mode: &str) -> String {
        to("127.0.0.1", self.port, mode)
    }

    fn policy(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("policy.toml");
        let text = format!(
            "extends = \"default\"\nroots = [{:?}]\n[names]\n\"{HOST}\" = \"127.0.0.1:{}\"\n[place.bench]\nhosts = [\"{HOST}\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n",
            self.folder.path().join("ca.pem"),
            self.port
        );
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(relay) = &mut self.relay {
            let _ = relay.kill();
            let _ = relay.wait();
        }
        if let Some(mut server) = self.server.take() {
            // Its fast shutdown, so that none of its processes is left.
            let _ = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
            let _ = server.wait();
        }
    }
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

fn to(host: &str, port: u16, mode: &str) -> String {
    format!("host={host} port={port} user=bench dbname=postgres sslmode={mode}")
}

pub(crate) fn measure(ground: &Ground, rounds: usize) -> Result<Table> {
    let mut how = "Transactions in a second, by pgbench; PostgreSQL as it is shipped, on the same machine, so that client, server and whatever lies between them share its processors. \
The plain relay copies bytes on one thread, and reads nothing. Where a statement takes the server tens of microseconds, one more process on its way is what is measured."
        .to_owned();
    let (Some(programs), Some(_), Some(_)) = (programs(), find("pgbench"), find("setpriv")) else {
        how.push_str(" **Not measured here**: PostgreSQL, pgbench or setpriv is not installed.");
        return Ok(Table { title: "PostgreSQL", how, ways: WAYS.to_vec(), rows: Vec::new(), commands: Vec::new() });
    };
    let server = Server::start(ground, programs)?;
    let policy = server.policy()?;
    let mut rows = Vec::new();
    let mut commands = Vec::new();
    for (name, kind) in RUNS {
        for (clients, mode, protocols) in SETTINGS {
            for protocol in *protocols {
                let mut series = vec![Series::default(); WAYS.len()];
                for round in 0..rounds {
                    for (index, series) in in_turn(&mut series, round) {
                        let (way, address) = match index {
                            0 => (Way::Bare, server.at(mode)),
                            1 => (Way::Bare, to("127.0.0.1", server.relay_port, mode)),
                            _ => (Way::Agentbox, to(HOST, 5432, mode)),
                        };
                        let mut words = vec!["pgbench", "-n", "-M", protocol, "-c", clients, "-T", SECONDS];
                        words.extend(*kind);
                        words.push(&address);
                        let mut command = ground.command(way, Some(&policy), &words).context("no way")?;
                        if rows.is_empty() && round == 0 {
                            commands.push(shown(&command));
                        }
                        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
                        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
                        series.push(per_second(&String::from_utf8_lossy(&output.stdout)).with_context(|| format!("{command:?} tells no tps"))?);
                    }
                }
                let many = if *clients == "1" { "1 client" } else { "4 clients" };
                let cloth = if *mode == "disable" { "" } else { ", TLS" };
                rows.push(Row { what: format!("{name}, {protocol}, {many}{cloth}"), unit: Unit::PerSecond, series, aim: Some(Aim::TimesAtLeast(0.8)) });
            }
        }
    }
    Ok(Table { title: "PostgreSQL", how, ways: WAYS.to_vec(), rows, commands })
}

/// Each way once, beginning with another one in every round.
fn in_turn(series: &mut [Series], round: usize) -> Vec<(usize, &mut Series)> {
    let count = series.len().max(1);
    let mut all: Vec<(usize, &mut Series)> = series.iter_mut().enumerate().collect();
    all.rotate_left(round % count);
    all
}

/// `tps = 1408.5 (without initial connection time)`.
fn per_second(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_is_read() {
        assert_eq!(per_second("latency average = 0.1 ms\ntps = 8951.25 (without initial connection time)\n"), Some(8951.25));
        assert_eq!(per_second("pgbench: error"), None);
    }

    #[test]
    fn each_round_begins_with_another_way() {
        let mut series = vec![Series::default(); 3];
        let order = |series: &mut [Series], round| in_turn(series, round).into_iter().map(|(index, _)| index).collect::<Vec<_>>();
        assert_eq!((order(&mut series, 0), order(&mut series, 4)), (vec![0, 1, 2], vec![1, 2, 0]));
    }
}
