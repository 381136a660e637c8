//! Secrets: where they are read from, for which host and how long each may be used. Nothing here prints one.

use std::{io::Read as _, path::Path, process::Command, sync::Arc, time::Instant};

use agentbox_core::{
    Destination, HostName,
    policy::{
        Policy,
        settings::{CredentialRule, Source},
    },
};

use super::{keyring, program, vault};
use crate::secrets::{
    Shape,
    certificate::{self, Identity},
    placeholder, shape,
};

/// Longest secret in bytes: private keys and signed tokens are shorter.
pub(super) const LONGEST: u64 = 64 * 1024;

/// A secret. It has no `Display`, and its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// One that a far side handed out.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

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
    /// Where it is a client certificate: it is shown in TLS, and has no other use.
    identity: Option<Arc<Identity>>,
    /// What of the value that was read is the secret.
    shape: Shape,
    /// What the agent has instead; empty where there is no secret.
    pub(crate) stands: String,
    read_at: Instant,
}

impl Held {
    pub(crate) fn read(rule: &CredentialRule, policy: &Arc<Policy>) -> Self {
        let text = read(&rule.source, policy);
        if let Some(text) = text.as_ref().ok().filter(|text| certificate::is_one(text)) {
            return Self::certificate(rule, Identity::read(text, &rule.name));
        }
        let read = text.and_then(valid).and_then(|Secret(value)| {
            let (shape, secret) = shape(&value);
            let stands = placeholder(&secret).ok_or_else(|| "the system gives no random bits for its placeholder".to_owned())?;
            Ok((shape, Secret(secret), stands))
        });
        let (shape, secret, stands) = match read {
            Ok((shape, secret, stands)) => (shape, Ok(secret), stands),
            Err(why) => (Shape::Whole, Err(why), String::new()),
        };
        Self { rule: rule.clone(), secret, identity: None, shape, stands, read_at: Instant::now() }
    }

    fn certificate(rule: &CredentialRule, identity: Result<Identity, String>) -> Self {
        let stands = identity.as_ref().map_or_else(|_| String::new(), |identity| identity.stands().to_owned());
        let secret = Err(identity.as_ref().err().cloned().unwrap_or_else(|| "it is a client certificate, which is shown in TLS alone".to_owned()));
        Self { rule: rule.clone(), secret, identity: identity.ok().map(Arc::new), shape: Shape::Whole, stands, read_at: Instant::now() }
    }

    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Whether it may be used towards this host now.
    pub(crate) fn may_be_shown(&self, host: &HostName) -> Result<(), String> {
        let name = &self.rule.name;
        if !self.rule.hosts.contains(host) {
            return Err(format!("credential `{name}` is not for {host}"));
        }
        if self.is_over() { Err(format!("credential `{name}` has expired")) } else { Ok(()) }
    }

    /// The secret and its placeholder, where there are any.
    pub(crate) fn pair(&self) -> Option<(&str, &str)> {
        self.secret.as_ref().ok().map(|secret| (secret.reveal(), self.stands.as_str()))
    }

    /// The value that was read, with the placeholder in the secret's place.
    pub(crate) fn shown(&self) -> Option<String> {
        match &self.identity {
            Some(identity) => Some(identity.shown()),
            None => self.secret.as_ref().ok().map(|_| self.shape.with(&self.stands)),
        }
    }

    /// The secret for a request to this host, now.
    pub(crate) fn usable(&self, host: &HostName) -> Result<&Secret, String> {
        self.may_be_shown(host)?;
        self.secret.as_ref().map_err(|error| format!("credential `{}` is not usable: {error}", self.rule.name))
    }

    fn is_over(&self) -> bool {
        self.rule.expires.is_some_and(|life| self.read_at.elapsed() > life)
    }

    #[cfg(test)]
    pub(crate) fn with(rule: CredentialRule, secret: &str) -> Self {
        let stands = placeholder(secret).unwrap();
        Self { rule, secret: Ok(Secret(secret.to_owned())), identity: None, shape: Shape::Whole, stands, read_at: Instant::now() }
    }

    pub(crate) fn warning(&self) -> Option<String> {
        self.secret.as_ref().err().filter(|_| self.identity.is_none()).map(|why| format!("credential `{}` is not usable: {why}", self.rule.name))
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

fn read(source: &Source, policy: &Arc<Policy>) -> Result<String, String> {
    match source {
        Source::Env(name) => match std::env::var(name) {
            Ok(secret) => Ok(secret),
            Err(std::env::VarError::NotPresent) => Err(format!("the variable {name} is not set")),
            Err(std::env::VarError::NotUnicode(_)) => Err(format!("the variable {name} is not UTF-8")),
        },
        Source::File(path) => file(path),
        Source::Command(line) => program::run(Command::new("/bin/sh").arg("-c").arg(line)).map_err(|failed| format!("its command {failed}")),
        Source::Keyring(attributes) => keyring::read(attributes),
        Source::Vault { mount, path, field } => vault::read(policy, mount, path, field),
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

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use super::*;

    fn no_policy() -> Arc<Policy> {
        Arc::new(Policy::load(Vec::new(), &agentbox_core::policy::Context::default(), &mut |name, _| Err(format!("no {name}"))).unwrap())
    }

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
        let held = [Held::read(&rule(Source::File(file.path().to_owned()), "read"), &no_policy())];
        assert_eq!(for_reading(&held, &at("api.example")).unwrap().1.reveal(), "s3cret");
        let held = [Held::read(&rule(Source::Command("printf 'a%s' b".into()), "read"), &no_policy())];
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
            let held = Held::read(&rule(source, "read"), &no_policy());
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
