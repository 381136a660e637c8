//! Secrets: where they are read from, for which host and how long each may be used. Nothing here prints one.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use agentbox_core::{
    Destination, HostName,
    policy::settings::{CredentialRule, Source},
};

use crate::secrets::{Shape, placeholder, shape};

/// Longest secret in bytes: private keys and signed tokens are shorter.
const LONGEST: u64 = 64 * 1024;

/// How long a command may take to print a secret; some ask a desktop's keyring, which asks a person.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// How often a running command is looked after.
const COMMAND_STEP: Duration = Duration::from_millis(20);

/// A secret. It has no `Display`, and its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Only for the credential's header.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether some text of the far side repeats it.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }
}

/// One credential of the policy with its secret, or with why there is none.
pub(crate) struct Held {
    pub(crate) rule: CredentialRule,
    secret: Result<Secret, String>,
    /// What of the value that was read is the secret.
    shape: Shape,
    /// What the agent has instead; empty where there is no secret.
    pub(crate) stands: String,
    read_at: Instant,
}

impl Held {
    pub(crate) fn read(rule: &CredentialRule) -> Self {
        let read = read(&rule.source).and_then(valid).and_then(|Secret(value)| {
            let (shape, secret) = shape(&value);
            let stands = placeholder(&secret).ok_or_else(|| "the system gives no random bits for its placeholder".to_owned())?;
            Ok((shape, Secret(secret), stands))
        });
        let (shape, secret, stands) = match read {
            Ok((shape, secret, stands)) => (shape, Ok(secret), stands),
            Err(why) => (Shape::Whole, Err(why), String::new()),
        };
        Self { rule: rule.clone(), secret, shape, stands, read_at: Instant::now() }
    }

    /// The secret and its placeholder, where there are any.
    pub(crate) fn pair(&self) -> Option<(&str, &str)> {
        self.secret.as_ref().ok().map(|secret| (secret.reveal(), self.stands.as_str()))
    }

    /// The value that was read, with the placeholder in the secret's place.
    pub(crate) fn shown(&self) -> Option<String> {
        self.secret.as_ref().ok().map(|_| self.shape.with(&self.stands))
    }

    /// The secret for a request to this host, now.
    pub(crate) fn usable(&self, host: &HostName) -> Result<&Secret, String> {
        let name = &self.rule.name;
        match &self.secret {
            _ if !self.rule.hosts.contains(host) => Err(format!("credential `{name}` is not for {host}")),
            _ if self.is_over() => Err(format!("credential `{name}` has expired")),
            Ok(secret) => Ok(secret),
            Err(error) => Err(format!("credential `{name}` is not usable: {error}")),
        }
    }

    fn is_over(&self) -> bool {
        self.rule.expires.is_some_and(|life| self.read_at.elapsed() > life)
    }

    #[cfg(test)]
    pub(crate) fn with(rule: CredentialRule, secret: &str) -> Self {
        let stands = placeholder(secret).unwrap();
        Self { rule, secret: Ok(Secret(secret.to_owned())), shape: Shape::Whole, stands, read_at: Instant::now() }
    }

    pub(crate) fn warning(&self) -> Option<String> {
        self.secret.as_ref().err().map(|why| format!("credential `{}` is not usable: {why}", self.rule.name))
    }
}

/// The secret for a read-only question to this destination, with the credential's name.
pub(crate) fn for_reading<'a>(held: &'a [Held], destination: &Destination) -> Result<(&'a str, &'a Secret), String> {
    let host = &destination.host;
    let mut at_host = held.iter().filter(|held| held.rule.hosts.contains(host)).peekable();
    if at_host.peek().is_none() {
        return Err(format!("no credential looks at {host}: add [credential.NAME] with for = [\"{host}\"] and allow = [\"read\"]"));
    }
    let mut why = format!("no credential for {host} may read: add \"read\" to its `allow`");
    for held in at_host.filter(|held| held.rule.allow.iter().any(|allowed| allowed == "read")) {
        match held.usable(host) {
            Ok(secret) => return Ok((&held.rule.name, secret)),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn read(source: &Source) -> Result<String, String> {
    match source {
        Source::Env(name) => match std::env::var(name) {
            Ok(secret) => Ok(secret),
            Err(std::env::VarError::NotPresent) => Err(format!("the variable {name} is not set")),
            Err(std::env::VarError::NotUnicode(_)) => Err(format!("the variable {name} is not UTF-8")),
        },
        Source::File(path) => file(path),
        Source::Command(command) => run(command),
    }
}

/// A secret goes into a header: one line of visible ASCII.
fn valid(text: String) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else if text.len() as u64 > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        Err("it is not one line of visible ASCII".to_owned())
    } else {
        Ok(Secret(text.to_owned()))
    }
}

fn file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(format!("{} is no regular file", path.display()));
    }
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| format!("{}: {}", path.display(), error.kind()))?;
    Ok(text)
}

fn run(command: &str) -> Result<String, String> {
    let failed = |what: &str| format!("its command {what}");
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&format!("did not start: {error}")))?;
    let Some(stdout) = child.stdout.take() else { return Err(failed("has no output")) };
    // Read beside the wait: a command that prints more than a pipe holds would otherwise never end.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.take(LONGEST + 1).read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + COMMAND_DEADLINE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(COMMAND_STEP),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed("did not end in time"));
            }
        }
    };
    if !status.success() {
        return Err(failed(&format!("ended with {status}")));
    }
    // A grandchild may hold the pipe open; it is not waited for longer than the command itself may take.
    while !reader.is_finished() && Instant::now() < deadline {
        std::thread::sleep(COMMAND_STEP);
    }
    if !reader.is_finished() {
        return Err(failed("did not close its output"));
    }
    reader.join().ok().and_then(Result::ok).ok_or_else(|| failed("printed something that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn rule(source: Source, allow: &str) -> CredentialRule {
        CredentialRule {
            name: "c".into(),
            source,
            hosts: vec![HostName::parse("api.example").unwrap()],
            allow: vec![allow.into()],
            expires: None,
            env: Vec::new(),
            files: Vec::new(),
            environment: None,
        }
    }

    fn at(host: &str) -> Destination {
        Destination { host: HostName::parse(host).unwrap(), port: 443, addresses: Vec::new() }
    }

    #[test]
    fn reads_from_files_and_commands() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, " s3cret ").unwrap();
        let held = [Held::read(&rule(Source::File(file.path().to_owned()), "read"))];
        assert_eq!(for_reading(&held, &at("api.example")).unwrap().1.reveal(), "s3cret");
        let held = [Held::read(&rule(Source::Command("printf 'a%s' b".into()), "read"))];
        assert_eq!(for_reading(&held, &at("api.example")).unwrap().1.reveal(), "ab");
    }

    #[test]
    fn says_why_not_and_never_what() {
        for (source, word) in [
            (Source::File("/nonexistent/x".into()), "/nonexistent/x"),
            (Source::File("/".into()), "regular"),
            (Source::Command("echo s3cret; exit 3".into()), "ended with"),
            (Source::Command("printf 'two\\nlines'".into()), "one line"),
            (Source::Command("true".into()), "empty"),
            (Source::Env("AGENTBOX_TEST_SURELY_NOT_SET".into()), "not set"),
        ] {
            let held = Held::read(&rule(source, "read"));
            let warning = held.warning().unwrap();
            assert!(warning.contains(word) && !warning.contains("s3cret"), "{warning}");
        }
        assert_eq!(format!("{:?}", Secret("s3cret".into())), "Secret(…)");
    }

    #[test]
    fn only_for_its_host_its_use_and_its_time() {
        let good = || rule(Source::Env(String::new()), "read");
        let held = [Held::with(good(), "x")];
        assert!(for_reading(&held, &at("api.example")).is_ok());
        let error = for_reading(&held, &at("evil.example")).unwrap_err();
        assert!(error.contains("add [credential.NAME]") && error.contains("evil.example"), "{error}");
        let writes = [Held::with(rule(Source::Env(String::new()), "railway.customDomain*"), "x")];
        assert!(for_reading(&writes, &at("api.example")).unwrap_err().contains("may read"));
        let expired = [Held::with(CredentialRule { expires: Some(Duration::ZERO), ..good() }, "x")];
        std::thread::sleep(Duration::from_millis(2));
        assert!(for_reading(&expired, &at("api.example")).unwrap_err().contains("expired"));
    }
}
