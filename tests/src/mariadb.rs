//! A real MariaDB on loopback: a server of its own in a temporary folder, run by an ordinary user.

use std::{
    fs,
    os::unix::fs::chown,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    certificates, home,
    process::{Finished, Going, finish, until},
    skip::{self, PATH},
};

/// MariaDB refuses to run as root.
const NOBODY: u32 = 65534;

/// What the user `agent` logs in with.
pub const PASSWORD: &str = "a password of twenty";

/// What the server is started with besides its folder and port.
const OPTIONS: &[&str] = &[
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-fast-shutdown=2",
    "--max-allowed-packet=256M",
    "--plugin-maturity=alpha",
];

/// A running server. It ends with the test.
#[derive(Debug)]
pub struct MariaDb {
    folder: TempDir,
    _template: Arc<TempDir>,
    server: Option<Going>,
    port: u16,
}

/// The system's tables as they are made once for all tests of a program; gone when the last of them has ended.
static TEMPLATE: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());

fn template() -> Arc<TempDir> {
    let mut known = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = known.upgrade() {
        return template;
    }
    let template = home::folder();
    let data = template.path().join("data");
    fs::create_dir(&data).expect("data/");
    if nix::unistd::geteuid().is_root() {
        for path in [template.path(), &data] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give away");
        }
    }
    let mut made = program("mariadb-install-db");
    made.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M"]);
    finish(made.arg(format!("--datadir={}", data.display())).current_dir(template.path())).ended(0);
    let template = Arc::new(template);
    *known = Arc::downgrade(&template);
    template
}

impl MariaDb {
    /// Starts one with the databases `shop` and `other`, which `agent` may do everything in; `None` where this machine lacks what it takes, which is said.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !skip::have(&["openssl", "setpriv", "mariadbd", "mariadb", "mariadb-install-db"]) {
            return None;
        }
        let folder = home::folder();
        certificates::make(folder.path());
        let data = folder.path().join("data");
        let template = template();
        finish(Command::new("cp").arg("-a").arg(template.path().join("data")).arg(&data)).ended(0);
        if nix::unistd::geteuid().is_root() {
            for name in ["", "key.pem", "cert.pem", "ca.pem"] {
                chown(folder.path().join(name), Some(NOBODY), Some(NOBODY)).expect("root may give away");
            }
        }
        let port = home::free_port();
        let mut command = program("mariadbd");
        command.args(OPTIONS).arg("--datadir").arg(&data).arg("--port").arg(port.to_string()).arg("--socket").arg(data.join("socket"));
        for (option, name) in [("--ssl-cert", "cert.pem"), ("--ssl-key", "key.pem")] {
            command.arg(option).arg(folder.path().join(name));
        }
        command.current_dir(folder.path()).stdin(Stdio::null());
        let database = Self { server: Some(Going::start(&mut command)), folder, _template: template, port };
        until("the server answers", || database.owner("SELECT 1").code == 0, || database.server.as_ref().map_or_else(String::new, Going::err));
        let text = format!(
            "CREATE DATABASE shop; CREATE DATABASE other; CREATE USER agent@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON shop.* TO agent@'%'; \
             GRANT ALL ON other.* TO agent@'%'; GRANT ALL ON doomed.* TO agent@'%'; GRANT RELOAD, PROCESS, BINLOG MONITOR, SET USER ON *.* TO agent@'%'; \
             INSTALL SONAME 'auth_ed25519'; CREATE USER modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}'); GRANT ALL ON shop.* TO modern@'%'"
        );
        database.owner(&text).ended(0);
        Some(database)
    }

    /// The port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A policy in which `db.example:3306` leads here. What destroys waits in the database `shop`, and may be done in `other`. `more` comes at the end.
    #[must_use]
    pub fn policy(&self, more: &str) -> String {
        let authority: PathBuf = self.folder.path().join("ca.pem");
        format!(
            "extends = \"default\"\nroots = [{authority:?}]\n[names]\n\"db.example\" = \"127.0.0.1:{}\"\n\
             [place.databases]\nhosts = [\"db.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.production]\nresources = [\"mysql:database/shop\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.staging]\nresources = [\"mysql:database/other\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n{more}\n",
            self.port,
        )
    }

    /// The environment of a client in the box, and the client as `$M`.
    #[must_use]
    pub fn client(database: &str) -> String {
        format!("export MYSQL_PWD='{PASSWORD}' DATABASE={database}; M='mariadb --no-defaults -h db.example -u agent -N -B {database}'; ")
    }

    /// A client outside any box, as `agent`, by TCP.
    #[must_use]
    pub fn outside(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs([("PATH", PATH), ("LANG", "C.UTF-8"), ("MYSQL_PWD", PASSWORD)]);
        command.args(["--no-defaults", "-h", "127.0.0.1", "-u", "agent", "-P", &self.port.to_string()]).args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a text as the owner of all, by the socket.
    #[must_use]
    pub fn owner(&self, text: &str) -> Finished {
        let mut command = Command::new("mariadb");
        command
            .env_clear()
            .env("PATH", PATH)
            .args(["--no-defaults", "-u", "root", "-N", "-B", "-e", text, "--socket"])
            .arg(self.folder.path().join("data/socket"));
        finish(&mut command)
    }

    /// What a query of the owner gives, without its line's end.
    #[must_use]
    pub fn tells(&self, text: &str) -> String {
        self.owner(text).ended(0).out().trim_end().to_owned()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal(nix::sys::signal::Signal::SIGTERM);
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while std::time::Instant::now() < end && !home::is_gone(server.pid()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A program of the server's, as an ordinary user.
fn program(name: &str) -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", name]);
        command
    } else {
        Command::new(name)
    };
    command.env_clear().envs([("PATH", PATH), ("LANG", "C"), ("TZ", "UTC")]);
    command
}
