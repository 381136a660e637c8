//! What the tests need of a machine, and the package that brings it.

use std::process::{Command, Stdio};

use crate::commands::find_for_all;

/// A tool that tests use.
pub(crate) struct Tool {
    /// What a person calls it.
    pub(crate) name: &'static str,
    /// How it is seen to be there.
    pub(crate) there: There,
    /// Debian's and Ubuntu's package; or one of npm's or pip's with its version, after `npm:` or `pip:`.
    pub(crate) package: &'static str,
    /// What it is for.
    pub(crate) why: &'static str,
}

/// How a tool is seen to be there.
pub(crate) enum There {
    /// A program in PATH.
    Program(&'static str),
    /// A command that ends with 0.
    Runs(&'static [&'static str]),
}

/// All of them.
pub(crate) const TOOLS: &[Tool] = &[
    Tool { name: "a C compiler", there: There::Program("cc"), package: "gcc", why: "links everything; ring brings assembly and C" },
    Tool { name: "the C library's headers", there: There::Runs(&["sh", "-c", "echo '#include <stdio.h>' | cc -E -"]), package: "libc6-dev", why: "as above" },
    Tool { name: "git", there: There::Program("git"), package: "git", why: "repositories in a box, pushes through the broker" },
    Tool { name: "curl", there: There::Program("curl"), package: "curl", why: "what agents reach the network with; the drill's agent" },
    Tool { name: "python3", there: There::Program("python3"), package: "python3", why: "scripts in the box that try to get out" },
    Tool { name: "python3's venv", there: There::Runs(&["python3", "-c", "import venv, ensurepip"]), package: "python3-venv", why: "pip as people use it" },
    Tool { name: "node", there: There::Program("node"), package: "nodejs", why: "fetch() as agents use it" },
    Tool { name: "javac, keytool", there: There::Program("javac"), package: "default-jdk-headless", why: "Java's own keystores of roots" },
    Tool { name: "openssl", there: There::Program("openssl"), package: "openssl", why: "certificates of stand-ins, and a TLS client of another make" },
    Tool {
        name: "CA certificates",
        there: There::Runs(&["test", "-s", "/etc/ssl/certs/ca-certificates.crt"]),
        package: "ca-certificates",
        why: "the bundle that a box's own covers",
    },
    Tool { name: "ssh-keygen, ssh-agent", there: There::Program("ssh-agent"), package: "openssh-client", why: "people's signatures, and the referee of ours" },
    Tool { name: "tmux", there: There::Program("tmux"), package: "tmux", why: "a real terminal around the box" },
    Tool { name: "setpriv, script, unshare", there: There::Program("setpriv"), package: "util-linux", why: "running as an ordinary user, and with a terminal" },
    Tool { name: "ps, pgrep", there: There::Program("ps"), package: "procps", why: "that nothing is left of a box" },
    Tool { name: "ip", there: There::Program("ip"), package: "iproute2", why: "the box's routes and the sockets of a network namespace" },
    Tool { name: "nft", there: There::Program("nft"), package: "nftables", why: "reading back the rules of a box" },
    Tool { name: "gdb", there: There::Program("gdb"), package: "gdb", why: "a debugger of its own children in a box" },
    Tool { name: "strace", there: There::Program("strace"), package: "strace", why: "that tracing is refused where it must be" },
    Tool { name: "podman", there: There::Program("podman"), package: "podman", why: "boxes inside other people's containers" },
    Tool { name: "runc", there: There::Program("runc"), package: "runc", why: "as podman" },
    Tool { name: "rsync", there: There::Program("rsync"), package: "rsync", why: "one of the ways in which people lose files" },
    Tool { name: "busybox", there: There::Program("busybox"), package: "busybox", why: "as rsync" },
    Tool { name: "ed", there: There::Program("ed"), package: "ed", why: "as rsync" },
    Tool { name: "ex", there: There::Program("ex"), package: "vim-tiny", why: "as rsync" },
    Tool { name: "sponge", there: There::Program("sponge"), package: "moreutils", why: "as rsync" },
    Tool { name: "toybox", there: There::Program("toybox"), package: "toybox", why: "as rsync" },
    Tool { name: "lua", there: There::Program("lua"), package: "lua5.4", why: "as rsync" },
    Tool { name: "ruby", there: There::Program("ruby"), package: "ruby", why: "as rsync" },
    Tool { name: "php", there: There::Program("php"), package: "php-cli", why: "as rsync" },
    Tool { name: "sqlite3", there: There::Program("sqlite3"), package: "sqlite3", why: "as rsync" },
    Tool { name: "make", there: There::Program("make"), package: "make", why: "as rsync" },
    Tool { name: "xz", there: There::Program("xz"), package: "xz-utils", why: "as rsync" },
    Tool { name: "unzip", there: There::Program("unzip"), package: "unzip", why: "as rsync" },
    Tool { name: "psql, pgbench, pg_dump", there: There::Program("pgbench"), package: "postgresql", why: "a real server and its clients" },
    Tool {
        name: "psycopg",
        there: There::Runs(&["/usr/bin/python3", "-c", "import psycopg"]),
        package: "python3-psycopg",
        why: "PostgreSQL's pipelines and prepared statements as programs use them",
    },
    Tool {
        name: "asyncpg",
        there: There::Runs(&["/usr/bin/python3", "-c", "import asyncpg"]),
        package: "python3-asyncpg",
        why: "PostgreSQL's pipelines and prepared statements as programs use them",
    },
    Tool {
        name: "websockets",
        there: There::Runs(&["/usr/bin/python3", "-c", "import websockets"]),
        package: "python3-websockets",
        why: "WebSocket servers and clients as programs use them",
    },
    Tool { name: "qemu", there: There::Program("qemu-system-x86_64"), package: "qemu-system-x86", why: "other kernels: `cargo xtask vm`" },
    Tool { name: "mke2fs", there: There::Program("mke2fs"), package: "e2fsprogs", why: "the disk that other kernels boot from" },
    Tool { name: "redis-server, redis-cli", there: There::Program("redis-server"), package: "redis-server", why: "a real server and its client" },
    Tool {
        name: "redis-py",
        there: There::Runs(&["/usr/bin/python3", "-c", "import redis"]),
        package: "python3-redis",
        why: "Redis's pipelines, transactions and scripts as programs use them",
    },
    Tool { name: "mariadbd", there: There::Program("mariadbd"), package: "mariadb-server", why: "a real server" },
    Tool { name: "mariadb, mariadb-dump", there: There::Program("mariadb-dump"), package: "mariadb-client", why: "its clients" },
    Tool { name: "pymongo", there: There::Runs(&["/usr/bin/python3", "-c", "import pymongo"]), package: "python3-pymongo", why: "MongoDB as programs use it" },
    Tool { name: "PyMySQL", there: There::Runs(&["/usr/bin/python3", "-c", "import pymysql"]), package: "python3-pymysql", why: "MySQL as programs use it" },
    Tool { name: "chromium", there: There::Program("chromium"), package: "chromium", why: "the page in a real browser" },
    Tool { name: "firefox-esr", there: There::Program("firefox-esr"), package: "firefox-esr", why: "a browser of another make" },
    Tool { name: "certutil", there: There::Program("certutil"), package: "libnss3-tools", why: "the referee of what browsers keep their roots in" },
    Tool { name: "kubectl", there: There::Program("kubectl"), package: "kubernetes-client", why: "Kubernetes as people use it" },
    Tool { name: "aws", there: There::Program("aws"), package: "awscli", why: "AWS as people use it" },
    Tool {
        name: "moto",
        there: There::Runs(&["test", "-x", "/usr/local/lib/agentbox-tools/bin/moto_server"]),
        package: "pip:moto[server]==5.1.4",
        why: "the far side of `aws`",
    },
    Tool {
        name: "requests-oauthlib",
        there: There::Runs(&["/usr/bin/python3", "-c", "import requests_oauthlib"]),
        package: "python3-requests-oauthlib",
        why: "a log-in as programs do it",
    },
    Tool {
        name: "aiosmtpd",
        there: There::Runs(&["/usr/bin/python3", "-c", "import aiosmtpd"]),
        package: "python3-aiosmtpd",
        why: "a mail relay with TLS and log-in",
    },
    Tool { name: "secret-tool", there: There::Program("secret-tool"), package: "libsecret-tools", why: "the desktop's keyring as a source of secrets" },
    Tool { name: "gnome-keyring-daemon", there: There::Program("gnome-keyring-daemon"), package: "gnome-keyring", why: "a real keyring" },
    Tool { name: "dbus-daemon", there: There::Program("dbus-daemon"), package: "dbus-daemon", why: "the bus on which a keyring is asked" },
    Tool { name: "dbus-send", there: There::Program("dbus-send"), package: "dbus-bin", why: "whether a desktop is at the bus" },
    Tool { name: "dunst", there: There::Program("dunst"), package: "dunst", why: "a real desktop's notifications" },
    Tool { name: "Xvfb", there: There::Program("Xvfb"), package: "xvfb", why: "a screen for it" },
    Tool {
        name: "grpcio",
        there: There::Runs(&["/usr/local/lib/agentbox-tools/bin/python3", "-c", "import grpc"]),
        package: "pip:grpcio==1.71.0",
        why: "gRPC's calls of each kind as programs use them",
    },
    Tool {
        name: "SQLAlchemy",
        there: There::Runs(&["/usr/local/lib/agentbox-tools/bin/python3", "-c", "import sqlalchemy"]),
        package: "pip:SQLAlchemy==2.0.40",
        why: "a mapper's work on PostgreSQL",
    },
    Tool {
        name: "psycopg of pip",
        there: There::Runs(&["/usr/local/lib/agentbox-tools/bin/python3", "-c", "import psycopg"]),
        package: "pip:psycopg[binary]==3.2.6",
        why: "what SQLAlchemy speaks through",
    },
    Tool { name: "npm", there: There::Program("npm"), package: "npm", why: "what agents install with, and are installed with" },
    Tool { name: "pnpm", there: There::Program("pnpm"), package: "npm:pnpm@10.34.8", why: "its cache in a box" },
    Tool { name: "yarn", there: There::Program("yarn"), package: "npm:yarn@1.22.22", why: "as pnpm" },
    Tool { name: "uv", there: There::Runs(&["test", "-x", "/usr/local/lib/agentbox-tools/bin/uv"]), package: "pip:uv==0.9.9", why: "as pnpm" },
    Tool { name: "go", there: There::Program("go"), package: "golang-go", why: "as pnpm" },
    Tool { name: "bun", there: There::Runs(&["bun", "--version"]), package: "npm:bun@1.3.3", why: "as pnpm" },
    Tool { name: "mvn", there: There::Program("mvn"), package: "maven", why: "as pnpm" },
    Tool {
        name: "maven-compiler-plugin",
        there: There::Runs(&["test", "-d", "/usr/share/maven-repo/org/apache/maven/plugins/maven-compiler-plugin"]),
        package: "libmaven-compiler-plugin-java",
        why: "what `mvn` builds with",
    },
    Tool {
        name: "JUnit's list of versions",
        there: There::Runs(&["test", "-d", "/usr/share/maven-repo/org/junit/junit-bom"]),
        package: "junit5",
        why: "which that plugin's own list of dependencies leans on",
    },
    Tool { name: "gradle", there: There::Program("gradle"), package: "gradle", why: "as pnpm" },
    Tool { name: "Claude Code", there: There::Program("claude"), package: "npm:@anthropic-ai/claude-code@2.1.197", why: "a day's work of a real agent" },
    Tool { name: "Codex", there: There::Program("codex"), package: "npm:@openai/codex@0.169.0", why: "as Claude Code" },
    Tool { name: "drizzle-kit", there: There::Program("drizzle-kit"), package: "npm:drizzle-kit@0.31.1", why: "a migration as in the incident" },
    Tool {
        name: "drizzle-orm",
        there: There::Runs(&["sh", "-c", "test -d \"$(npm root -g)/drizzle-orm\""]),
        package: "npm:drizzle-orm@0.44.2",
        why: "what drizzle-kit reads schemas with",
    },
    Tool { name: "node-postgres", there: There::Runs(&["sh", "-c", "test -d \"$(npm root -g)/pg\""]), package: "npm:pg@8.16.0", why: "as drizzle-orm" },
    Tool {
        name: "Apollo Client",
        there: There::Runs(&["sh", "-c", "test -d \"$(npm root -g)/@apollo/client\""]),
        package: "npm:@apollo/client@4.3.8",
        why: "persisted queries as an app sends them",
    },
    Tool { name: "bwrap", there: There::Program("bwrap"), package: "bubblewrap", why: "what `cargo xtask bench` compares with" },
];

impl Tool {
    pub(crate) fn is_there(&self) -> bool {
        match self.there {
            There::Program(program) => find_for_all(program).is_some(),
            There::Runs([program, arguments @ ..]) => {
                let run = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
                run.is_ok_and(|status| status.success())
            }
            There::Runs([]) => false,
        }
    }
}
