//! A real PostgreSQL on loopback: a cluster of its own in a temporary folder, run by an ordinary user.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    certificates,
    process::{Finished, Going, finish, until},
    skip::{self, PATH},
};

/// PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// What the user `agent` logs in with, by SCRAM.
pub const PASSWORD: &str = "a password of twenty";

const CONFIGURATION: &str = "unix_socket_directories = '.'\nlisten_addresses = '127.0.0.1'\nssl = on\nssl_cert_file = '../cert.pem'\nssl_key_file = '../key.pem'\nssl_ca_file = '../ca.pem'\n\
fsync = off\nfull_page_writes = off\nshared_buffers = 16MB\nmax_connections = 40\nmax_prepared_transactions = 2\nautovacuum = off\ntimezone = 'UTC'\n";

/// The owner comes in by the socket, everybody else by password; `plain` only in the clear.
const ADMISSION: &str = "local all owner trust\nhost shop tricky 127.0.0.1/32 trust\nhost shop all 127.0.0.1/32 scram-sha-256\nhostssl certs all 127.0.0.1/32 cert\nhostnossl plain all 127.0.0.1/32 scram-sha-256\nhost other all 127.0.0.1/32 scram-sha-256\n";

/// A running server. It ends with the test.
#[derive(Debug)]
pub struct Database {
    folder: TempDir,
    server: Option<Going>,
    port: u16,
}

impl Database {
    /// Starts one with the databases `shop`, `plain` and `other`, owned by `agent`; `None` where this machine lacks what it takes, which is said.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !skip::have(&["openssl", "psql", "setpriv"]) {
            return None;
        }
        if programs().is_none() {
            skip::skip("not installed: postgresql");
            return None;
        }
        let folder = crate::home::folder();
        certificates::make(folder.path());
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("data/");
        if nix::unistd::geteuid().is_root() {
            for path in [folder.path(), &data, &folder.path().join("key.pem"), &folder.path().join("cert.pem")] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give away");
            }
        }
        fs::set_permissions(folder.path().join("key.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
        let mut made = server_program("initdb");
        made.args(["--no-sync", "--username=owner", "--encoding=UTF8", "--locale=C", "--auth=trust", "-D"]).arg(&data);
        finish(made.current_dir(folder.path())).ended(0);
        let port = crate::home::free_port();
        // The first is what initdb wrote.
        let mut configuration = fs::read_to_string(data.join("postgresql.conf")).expect("postgresql.conf");
        configuration.push_str(CONFIGURATION);
        configuration.push_str(&format!("port = {port}\n"));
        fs::write(data.join("postgresql.conf"), configuration).expect("postgresql.conf");
        fs::write(data.join("pg_hba.conf"), ADMISSION).expect("pg_hba.conf");
        let mut command = server_program("postgres");
        command.arg("-D").arg(&data).current_dir(folder.path()).stdin(Stdio::null());
        let server = Going::start(&mut command);
        let database = Self { folder, server: Some(server), port };
        until("the server answers", || database.owner("postgres", "SELECT 1").code == 0, || database.server.as_ref().map_or_else(String::new, Going::err));
        database.owner("postgres", &format!("CREATE ROLE agent LOGIN PASSWORD '{PASSWORD}'")).ended(0);
        database.owner("postgres", "CREATE ROLE tricky LOGIN IN ROLE agent").ended(0);
        for name in ["shop", "plain", "other", "certs"] {
            database.owner("postgres", &format!("CREATE DATABASE {name} OWNER agent")).ended(0);
        }
        Some(database)
    }

    /// The port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that vouches for it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate with its key, in PEM, that the authority has given to this user: the database `certs` lets nobody in without one.
    ///
    /// # Panics
    /// `openssl` fails.
    #[must_use]
    pub fn certificate_of(&self, user: &str) -> (String, String) {
        let made = |arguments: String| {
            let mut command = Command::new("openssl");
            finish(command.args(arguments.split(' ')).current_dir(self.folder.path())).ended(0);
        };
        fs::write(self.folder.path().join("client.cnf"), "basicConstraints = CA:FALSE\nextendedKeyUsage = clientAuth\n").expect("client.cnf");
        made(format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={user} -config openssl.cnf -keyout {user}.key -out {user}.csr"
        ));
        made(format!("x509 -req -days 2 -in {user}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile client.cnf -out {user}.crt"));
        let read = |name: String| fs::read_to_string(self.folder.path().join(name)).expect("PEM");
        (read(format!("{user}.crt")), read(format!("{user}.key")))
    }

    /// A policy in which `db.example:5432` leads here. What destroys waits in the database `shop`, and may be done in `other`. `more` comes at the end.
    #[must_use]
    pub fn policy(&self, more: &str) -> String {
        format!(
            "extends = \"default\"\nroots = [{:?}]\n[names]\n\"db.example\" = \"127.0.0.1:{}\"\n\
             [place.databases]\nhosts = [\"db.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.production]\nresources = [\"postgres:database/shop\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.staging]\nresources = [\"postgres:database/other\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n{more}\n",
            self.authority(),
            self.port,
        )
    }

    /// The environment of a client in the box.
    #[must_use]
    pub fn client(database: &str) -> String {
        format!("export PGHOST=db.example PGUSER=agent PGDATABASE={database} PGPASSWORD='{PASSWORD}' PGCONNECT_TIMEOUT=30; ")
    }

    /// A client outside any box, as `agent`, by TCP.
    #[must_use]
    pub fn outside(&self, program: &str, database: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs([("PATH", PATH), ("LANG", "C.UTF-8"), ("PGPASSWORD", PASSWORD), ("PGHOST", "127.0.0.1"), ("PGUSER", "agent")]);
        command.env("PGPORT", self.port.to_string()).env("PGDATABASE", database).args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a statement as the owner of all, by the socket.
    #[must_use]
    pub fn owner(&self, database: &str, text: &str) -> Finished {
        let mut command = Command::new("psql");
        command.env_clear().env("PATH", PATH).current_dir(self.folder.path());
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "owner", "-d", database, "-c", text, "-h"]).arg(self.folder.path().join("data"));
        command.arg("-p").arg(self.port.to_string());
        finish(&mut command)
    }

    /// What a query of the owner gives, without its line's end.
    #[must_use]
    pub fn tells(&self, database: &str, text: &str) -> String {
        self.owner(database, text).ended(0).out().trim_end().to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Fast shutdown, so that none of its processes is left.
        if let Some(server) = self.server.take() {
            server.signal(nix::sys::signal::Signal::SIGINT);
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while std::time::Instant::now() < end && !crate::home::is_gone(server.pid()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Where the server's programs lie: Debian keeps them out of PATH.
#[must_use]
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).filter(|folder| folder.join("postgres").is_file()).max()
}

/// One of them, as an ordinary user.
fn server_program(name: &str) -> Command {
    let path = programs().unwrap_or_else(|| Path::new("/usr/bin").to_owned()).join(name);
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.env_clear().envs([("PATH", PATH), ("LANG", "C"), ("TZ", "UTC")]);
    command
}
