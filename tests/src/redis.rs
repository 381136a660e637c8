//! A real Redis on loopback: a server of its own in a temporary folder, in the clear and over TLS.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{
    certificates, home,
    process::{Finished, Going, finish, until},
    skip::{self, PATH},
};

/// What the user `agent` logs in with.
pub const PASSWORD: &str = "a-password-of-twenty";

/// A running server. It ends with the test.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    server: Going,
    port: u16,
    tls: u16,
}

impl Redis {
    /// Starts one; `None` where this machine lacks what it takes, which is said.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !skip::have(&["openssl", "redis-server", "redis-cli"]) {
            return None;
        }
        let folder = home::folder();
        certificates::make(folder.path());
        let (port, tls) = (home::free_port(), home::free_port());
        let configuration = format!(
            "bind 127.0.0.1\nport {port}\ntls-port {tls}\nsave \"\"\nappendonly no\ntls-auth-clients no\ntls-cert-file cert.pem\ntls-key-file key.pem\n\
             tls-ca-cert-file ca.pem\nuser agent on >{PASSWORD} ~* &* +@all\n"
        );
        std::fs::write(folder.path().join("redis.conf"), configuration).expect("redis.conf");
        let mut command = Command::new("redis-server");
        command.env_clear().env("PATH", PATH).arg("redis.conf").current_dir(folder.path());
        let redis = Self { folder, server: Going::start(&mut command), port, tls };
        until("the server answers", || redis.cli(&["PING"]).out() == "PONG\n", || redis.server.out());
        Some(redis)
    }

    /// A policy in which `db.example:6379` leads here, and `tls.example:6379` over TLS. What destroys waits in database 0, and may be done in database 1.
    #[must_use]
    pub fn policy(&self, more: &str) -> String {
        let authority: PathBuf = self.folder.path().join("ca.pem");
        format!(
            "extends = \"default\"\nroots = [{authority:?}]\n[names]\n\"db.example\" = \"127.0.0.1:{}\"\n\"tls.example\" = \"127.0.0.1:{}\"\n\
             [place.databases]\nhosts = [\"db.example\", \"tls.example\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.production]\nresources = [\"redis:database/0\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"hold\"\n\
             [place.staging]\nresources = [\"redis:database/1\"]\nread = \"allow\"\nwrite = \"allow\"\ndestroy = \"allow\"\n{more}\n",
            self.port, self.tls,
        )
    }

    /// `redis-cli` outside any box.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new("redis-cli");
        command.env_clear().env("PATH", PATH).args(["-p", &self.port.to_string()]).args(arguments);
        finish(&mut command)
    }

    /// What a command gives, without its line's end.
    #[must_use]
    pub fn tells(&self, arguments: &[&str]) -> String {
        self.cli(arguments).ended(0).out().trim_end().to_owned()
    }
}
