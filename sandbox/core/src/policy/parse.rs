//! From a file's text to what it says: the one place that knows every key.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc, time::Duration};

use toml::de::DeTable;

use super::{
    Context, LayerKind, PolicyError, keys,
    pattern::{Glob, HostPattern, PathPattern, ResourcePattern, split_port},
    raw::{At, RawCredential, RawExample, RawLayer, RawPlace, RawRule},
    read::{Section, absolute},
    settings::{self, ApproverKey, CourierKind, CourierRule, KernelGate, Limits, Mail, MailCloth, Source as SecretSource, Spoken, Unsigned},
    source::{Source, nearest},
};
use crate::{Effect, HostName, Verdict, verdict::Confirm};

const VERDICTS: &[(&str, Verdict)] = &[("allow", Verdict::Allow), ("hold", Verdict::Hold), ("deny", Verdict::Deny)];
const EFFECTS: &[(&str, Effect)] = &[("read", Effect::Read), ("write", Effect::Write), ("destroy", Effect::Destroy), ("opaque", Effect::Opaque)];
const UNSIGNED: &[(&str, Unsigned)] = &[("everything", Unsigned::Everything), ("reversible", Unsigned::Reversible), ("nothing", Unsigned::Nothing)];
const CONFIRMS: &[(&str, Confirm)] = &[("plain", Confirm::Plain), ("name", Confirm::Name)];

/// The built-in place for what is near; no file can define it.
pub(super) const LOCAL: &str = "local";

/// Most paths of one file: each is compared with each other, and globs are compiled.
const MOST_PATHS: usize = 2_000;

/// Most entries of `approval.approver`.
const MOST_APPROVERS: usize = 64;

/// Most ports or sockets of one kind that a file may open.
const MOST_DOORS: usize = 16;

/// Most that a count can be.
const MOST: u64 = i64::MAX as u64;

struct Bases<'a> {
    /// What relative paths start from.
    base: &'a Path,
    home: &'a Path,
}

pub(super) fn parse(source: &Arc<Source>, context: &Context) -> Result<RawLayer, PolicyError> {
    let document = DeTable::parse(&source.text).map_err(|error| {
        let end = source.text.len();
        let message = error.message();
        let message = if message.is_empty() { "this is not TOML" } else { message };
        source.error(&error.span().unwrap_or(end..end), message, None)
    })?;
    let top = Section::top(source, &document);
    top.only(keys::TOP)?;
    let base = match source.kind {
        LayerKind::Repository { .. } => source.base.as_path(),
        LayerKind::Profile | LayerKind::User => context.workspace.as_path(),
    };
    let bases = Bases { base, home: &context.home };
    let pass_through = top.each("pass-through", HostPattern::parse)?;
    if let (Some(first), LayerKind::Profile | LayerKind::Repository { .. }) = (pass_through.first(), source.kind) {
        return Err(first.mark.error(
            "`pass-through` may stand only in the user's own policy",
            Some("what passes through is not understood: only the person whose machine it is may want that"),
        ));
    }
    let path = |text: &str| absolute(text, bases.base, bases.home);
    let plain = |at: At<std::path::PathBuf>| at.value;
    let approval = top.section("approval")?.map(|section| approval(&section, &bases)).transpose()?.unwrap_or_default();
    let (env_pass, env_set) = env(&top)?;
    let places: BTreeMap<String, RawPlace> =
        top.named_sections("place")?.into_iter().map(|(name, section)| Ok((name.clone(), place(&name, &section, &bases)?))).collect::<Result<_, _>>()?;
    few_paths(&places)?;
    Ok(RawLayer {
        source: Arc::clone(source),
        extends: top.text("extends")?,
        places,
        credentials: top
            .named_sections("credential")?
            .into_iter()
            .map(|(name, section)| Ok((name, credential(&section, &bases)?)))
            .collect::<Result<_, _>>()?,
        couriers: top
            .named_sections("channel")?
            .into_iter()
            .map(|(name, section)| Ok((name.clone(), courier(&name, &section, &bases)?)))
            .collect::<Result<_, _>>()?,
        rules: top.list_of_sections("rule")?.iter().map(rule).collect::<Result<_, _>>()?,
        examples: top.list_of_sections("example")?.iter().map(example).collect::<Result<_, _>>()?,
        patience: approval.patience,
        client_patience: approval.client_patience,
        hold_in_transaction: approval.hold_in_transaction,
        channels: channels(&top)?,
        approvers: approval.approvers,
        own: approval.own,
        unsigned: approval.unsigned,
        require: require(&top)?,
        limits: limits(&top)?,
        env_pass,
        env_set,
        names: names(&top)?,
        roots: top.each("roots", path)?.into_iter().map(plain).collect(),
        pass_through,
        protocols: protocols(&top)?,
        forward: doors(top.each("forward", settings::port)?)?,
        publish: doors(top.each("publish", settings::published)?)?,
        sockets: doors(top.each("sockets", path)?)?,
        caches: top.each("caches", path)?,
        folders: doors(top.each("folders", path)?)?,
        nested_userns: top.boolean("nested-userns")?.map(|at| at.value),
        kernel_gate: kernel_gate(&top)?,
    })
}

/// Without their marks; few enough for the descriptors that they take.
fn doors<T>(all: Vec<At<T>>) -> Result<Vec<T>, PolicyError> {
    match all.get(MOST_DOORS) {
        Some(beyond) => Err(beyond.mark.error(&format!("a file may name {MOST_DOORS} of these, and this one names more"), None)),
        None => Ok(all.into_iter().map(|at| at.value).collect()),
    }
}

fn few_paths(places: &BTreeMap<String, RawPlace>) -> Result<(), PolicyError> {
    let mut paths = places.values().flat_map(|place| &place.paths);
    match paths.nth(MOST_PATHS) {
        Some(beyond) => {
            Err(beyond.mark.error(&format!("a file may name {MOST_PATHS} paths, and this one names more"), Some("name a folder instead of what is in it")))
        }
        None => Ok(()),
    }
}

fn place(name: &str, section: &Section<'_, '_>, bases: &Bases<'_>) -> Result<RawPlace, PolicyError> {
    section.only(keys::PLACE)?;
    if name == LOCAL {
        return Err(section.mark.error(
            "`local` is the built-in place for loopback, private and metadata addresses",
            Some("to open one of them, name its host or its address in a place of your own"),
        ));
    }
    let approvers = section.number("approvers", 1, 16)?.map(|at| At { value: u8::try_from(at.value).unwrap_or(16), mark: at.mark });
    Ok(RawPlace {
        mark: section.mark.clone(),
        paths: section.each("paths", |text| PathPattern::parse(text, bases.base, bases.home))?,
        hosts: section.each("hosts", HostPattern::parse)?,
        resources: section.each("resources", ResourcePattern::parse)?,
        cells: [section.word("read", VERDICTS)?, section.word("write", VERDICTS)?, section.word("destroy", VERDICTS)?],
        protected: section.boolean("protected")?,
        approvers,
        confirm: section.word("confirm", CONFIRMS)?,
        somebody_else: section.boolean("somebody-else")?,
        lease: section.duration("lease")?,
        credentials: section.texts("credentials")?,
        environment: environment(section)?,
    })
}

/// The name of an environment: a word, as people type it after `--env`.
fn environment(section: &Section<'_, '_>) -> Result<Option<At<String>>, PolicyError> {
    let Some(name) = section.text("environment")? else { return Ok(None) };
    let is_word = name.value.len() <= 64 && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if is_word { Ok(Some(name)) } else { Err(name.mark.error("the name of an environment is letters, digits, `-`, `_` and `.`, 64 at most", None)) }
}

/// `service=github account=me`.
fn keyring(text: &str) -> Option<SecretSource> {
    let pairs: Option<Vec<(String, String)>> =
        text.split_whitespace().map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
    let pairs = pairs.filter(|pairs| !pairs.is_empty())?;
    // None of them may be taken for an option.
    let good = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains('\0');
    pairs.iter().all(|(name, value)| good(name) && good(value)).then_some(SecretSource::Keyring(pairs))
}

/// `secret/apps/github#token`.
fn vault(text: &str) -> Option<SecretSource> {
    let (way, field) = text.split_once('#')?;
    let (mount, path) = way.split_once('/')?;
    let good = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@:+".contains(&byte));
    let is_field = !field.is_empty() && !field.bytes().any(|byte| byte == b'#' || byte.is_ascii_control());
    let is_way = good(mount) && path.split('/').all(good);
    (is_field && is_way).then(|| SecretSource::Vault { mount: mount.to_owned(), path: path.to_owned(), field: field.to_owned() })
}

fn credential(section: &Section<'_, '_>, bases: &Bases<'_>) -> Result<RawCredential, PolicyError> {
    section.only(keys::CREDENTIAL)?;
    let text = section.needed("source", section.text("source")?)?;
    let source = match text.value.split_once(':') {
        Some(("env", name)) if !name.is_empty() && !name.contains('=') => SecretSource::Env(name.to_owned()),
        Some(("file", path)) if !path.is_empty() => SecretSource::File(absolute(path, bases.base, bases.home).map_err(|why| text.mark.error(&why, None))?),
        Some(("keyring", attributes)) => keyring(attributes).ok_or_else(|| {
            let hint = "write keyring:ATTRIBUTE=VALUE [ATTRIBUTE=VALUE …], as `secret-tool search` shows them: keyring:service=github account=me";
            text.mark.error_unseen("these are no attributes of an entry in a keyring", hint)
        })?,
        Some(("vault", path)) => vault(path).ok_or_else(|| {
            let hint = "write vault:MOUNT/PATH#FIELD, as for `vault kv get -field=FIELD MOUNT/PATH`; the server stands in VAULT_ADDR";
            text.mark.error_unseen("this is no field of a secret in a Vault", hint)
        })?,
        Some(("command", line)) if !line.trim().is_empty() => SecretSource::Command(line.to_owned()),
        // The value is not shown: somebody may have put the secret itself here.
        _ => {
            let hint = "write env:NAME, file:PATH, command:LINE, keyring:ATTRIBUTE=VALUE or vault:MOUNT/PATH#FIELD; the secret itself never stands in a policy";
            return Err(text.mark.error_unseen("this is no source of a credential", hint));
        }
    };
    let hosts = section.each("for", |text| {
        let name = HostName::parse(text).map_err(|why| format!("`{text}`: {why}; a credential is for exact names, without ports or wildcards"))?;
        Ok(name)
    })?;
    if hosts.is_empty() {
        return Err(section.mark.error("a credential needs `for`: the hosts that may see it", None));
    }
    let allow = match section.texts("allow")? {
        Some(words) => {
            for word in &words {
                Glob::parse(&word.value).map_err(|why| word.mark.error(&why, None))?;
            }
            Some(words.into_iter().map(|word| word.value).collect())
        }
        None => None,
    };
    Ok(RawCredential {
        mark: section.mark.clone(),
        source,
        hosts: hosts.into_iter().map(|at| at.value).collect(),
        allow,
        expires: section.duration("expires")?,
        env: section.each("env", variable)?.into_iter().map(|at| at.value).collect(),
        files: section.each("files", |path| absolute(path, bases.base, bases.home))?.into_iter().map(|at| at.value).collect(),
        environment: environment(section)?.map(|at| at.value),
    })
}

fn variable(name: &str) -> Result<String, String> {
    let good = !name.starts_with(|first: char| first.is_ascii_digit()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good && !name.is_empty() { Ok(name.to_owned()) } else { Err(format!("`{name}`: a variable is letters, digits and `_`")) }
}

fn rule(section: &Section<'_, '_>) -> Result<RawRule, PolicyError> {
    section.only(keys::RULE)?;
    let operation = section.text("operation")?.map(|text| Glob::parse(&text.value).map_err(|why| text.mark.error(&why, None))).transpose()?;
    let resource = section.text("resource")?.map(|text| ResourcePattern::parse(&text.value).map_err(|why| text.mark.error(&why, None))).transpose()?;
    if let (Some(text), true) = (section.text("resource")?, resource.as_ref().is_some_and(|resource| resource.scheme == "file")) {
        return Err(text.mark.error("a rule cannot name a file: files are fenced by places", Some("name the path in a place of its own")));
    }
    Ok(RawRule {
        mark: section.mark.clone(),
        name: section.needed("name", section.text("name")?)?.value,
        place: section.text("place")?,
        operation,
        effect: section.word("effect", EFFECTS)?.map(|at| at.value),
        resource,
        verdict: section.needed("verdict", section.word("verdict", VERDICTS)?)?.value,
        expires: section.duration("expires")?,
    })
}

fn example(section: &Section<'_, '_>) -> Result<RawExample, PolicyError> {
    section.only(keys::EXAMPLE)?;
    let operation = section.needed("operation", section.long_text("operation")?)?;
    let verdict = section.needed("verdict", section.word("verdict", VERDICTS)?)?;
    Ok(RawExample { mark: operation.mark, operation: operation.value, verdict: verdict.value })
}

#[derive(Default)]
struct RawApproval {
    patience: Option<Duration>,
    client_patience: Option<Duration>,
    hold_in_transaction: Option<Duration>,
    approvers: Vec<At<ApproverKey>>,
    own: Vec<At<ApproverKey>>,
    unsigned: Option<Unsigned>,
}

fn approval(section: &Section<'_, '_>, bases: &Bases<'_>) -> Result<RawApproval, PolicyError> {
    section.only(keys::APPROVAL)?;
    let keys = |key| {
        let found = section.each(key, |text| approver(text, bases))?;
        match section.find(key) {
            // Who writes an empty list wants signatures, and would get none.
            Some(value) if found.is_empty() => {
                Err(section.mark_of(value).error(&format!("`approval.{key}` names no key"), Some("name one, or take the line out")))
            }
            Some(_) | None if found.len() > MOST_APPROVERS => Err(section.mark.error(&format!("`approval.{key}` names more than {MOST_APPROVERS} keys"), None)),
            Some(_) | None => Ok(found),
        }
    };
    Ok(RawApproval {
        patience: section.duration("patience")?,
        client_patience: section.duration("client-patience")?,
        hold_in_transaction: section.duration("hold-in-transaction")?,
        approvers: keys("approver")?,
        own: keys("own")?,
        unsigned: section.word("unsigned", UNSIGNED)?.map(|at| at.value),
    })
}

/// A file's path, or the key itself.
fn approver(text: &str, bases: &Bases<'_>) -> Result<ApproverKey, String> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if text.contains(' ') && ["ssh-", "sk-ssh-", "ecdsa-", "sk-ecdsa-"].iter().any(|kind| first.starts_with(kind)) {
        return Ok(ApproverKey::Line(text.to_owned()));
    }
    absolute(text, bases.base, bases.home).map(ApproverKey::File)
}

/// Most people that one channel writes to.
const MOST_RECIPIENTS: usize = 50;

const COURIERS: &[(&str, CourierKind)] =
    &[("webhook", CourierKind::Webhook), ("ntfy", CourierKind::Ntfy), ("slack", CourierKind::Slack), ("email", CourierKind::Email)];

fn courier(name: &str, section: &Section<'_, '_>, bases: &Bases<'_>) -> Result<CourierRule, PolicyError> {
    section.only(keys::CHANNEL)?;
    if keys::CHANNELS.contains(&name) {
        return Err(section.mark.error(&format!("`{name}` is a channel already"), Some("give it another name")));
    }
    let kind = section.needed("type", section.word("type", COURIERS)?)?.value;
    let url = section.needed("url", section.text("url")?)?;
    // The URL is not shown: a chat's webhook is a secret as a whole.
    let (hint, schemes): (_, &[(&str, u16, MailCloth)]) = match kind {
        CourierKind::Email => (
            "write smtps://HOST[:PORT], or smtp://HOST[:PORT] for a relay that begins TLS on demand",
            &[("smtps://", 465, MailCloth::Tls), ("smtp://", 587, MailCloth::StartTls)],
        ),
        CourierKind::Webhook | CourierKind::Ntfy | CourierKind::Slack => {
            ("write https://HOST[:PORT]/PATH, without a user, a password or a fragment", &[("https://", 443, MailCloth::Tls)])
        }
    };
    let bad = || url.mark.error_unseen("this is no URL of a courier", hint);
    let known = schemes.iter().find_map(|(scheme, port, cloth)| Some((url.value.strip_prefix(scheme)?, *port, *cloth)));
    let (rest, usual, cloth) = known.ok_or_else(bad)?;
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') || (kind == CourierKind::Email && target.len() > 1) {
        return Err(bad());
    }
    let (host, port) = split_port(authority).map_err(|_| bad())?;
    let host = HostName::parse(host).map_err(|_| bad())?;
    let secret = match section.text("secret")? {
        None => None,
        Some(text) => Some(match text.value.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => SecretSource::Env(name.to_owned()),
            Some(("file", path)) if !path.is_empty() => SecretSource::File(absolute(path, bases.base, bases.home).map_err(|why| text.mark.error(&why, None))?),
            _ => {
                return Err(text.mark.error_unseen("this is no source of a secret", "write env:NAME or file:PATH; the secret itself never stands in a policy"));
            }
        }),
    };
    Ok(CourierRule {
        name: name.to_owned(),
        kind,
        destination: crate::Destination { host, port: port.unwrap_or(usual), addresses: Vec::new() },
        mail: mail(kind, cloth, section)?,
        target: if target.is_empty() { "/".to_owned() } else { target.to_owned() },
        secret,
    })
}

/// Who writes to whom, where letters are written; else these keys have no meaning.
fn mail(kind: CourierKind, cloth: MailCloth, section: &Section<'_, '_>) -> Result<Option<Mail>, PolicyError> {
    let (from, to, user) = (section.text("from")?, section.each("to", address)?, section.text("user")?);
    if kind != CourierKind::Email {
        let unmeant = from.as_ref().or(user.as_ref()).map(|at| &at.mark).or((!to.is_empty()).then_some(&section.mark));
        return match unmeant {
            Some(mark) => Err(mark.error("`from`, `to` and `user` are for channels of type \"email\"", None)),
            None => Ok(None),
        };
    }
    let from = section.needed("from", from)?;
    let sender = address(&from.value).map_err(|why| from.mark.error(&why, None))?;
    if to.is_empty() || to.len() > MOST_RECIPIENTS {
        return Err(section
            .mark
            .error(&format!("a channel of type \"email\" needs `to`: the addresses of those who are told, {MOST_RECIPIENTS} at most"), None));
    }
    if let Some(user) = user.as_ref().filter(|user| user.value.is_empty() || user.value.chars().any(char::is_control)) {
        return Err(user.mark.error("this is no name to log in with", None));
    }
    Ok(Some(Mail { cloth, from: sender, to: to.into_iter().map(|at| at.value).collect(), user: user.map(|at| at.value) }))
}

/// An address as a relay is told it, without a name before it.
fn address(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let is_address = text.split_once('@').is_some_and(|(local, domain)| {
        (1..=64).contains(&local.len()) && local.bytes().all(good) && HostName::parse(domain).is_ok_and(|name| name.address().is_none())
    });
    if is_address { Ok(text.to_owned()) } else { Err(format!("`{}` is no mail address: write name@example.com", crate::safe::line(text, 80))) }
}

fn channels(top: &Section<'_, '_>) -> Result<Vec<At<String>>, PolicyError> {
    match top.section("approval")? {
        Some(section) => Ok(section.texts("channels")?.unwrap_or_default()),
        None => Ok(Vec::new()),
    }
}

fn require(top: &Section<'_, '_>) -> Result<Vec<String>, PolicyError> {
    let all = top.texts("require")?.unwrap_or_default();
    for word in &all {
        let abi = word.value.strip_prefix("landlock>=").is_some_and(|abi| abi.parse::<u32>().is_ok_and(|abi| abi > 0));
        if !abi && !keys::LAYERS.contains(&word.value.as_str()) {
            let hint = match nearest(&word.value, keys::LAYERS.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("the layers are: {}, landlock>=N", keys::LAYERS.join(", ")),
            };
            return Err(word.mark.error(&format!("`{}` is no layer", word.value), Some(&hint)));
        }
    }
    Ok(all.into_iter().map(|at| at.value).collect())
}

fn kernel_gate(top: &Section<'_, '_>) -> Result<Option<KernelGate>, PolicyError> {
    let Some(word) = top.text("kernel-gate")? else { return Ok(None) };
    match word.value.as_str() {
        "refuse" => Ok(Some(KernelGate::Refuse)),
        "judge" => Ok(Some(KernelGate::Judge)),
        other => {
            let hint = match nearest(other, keys::KERNEL_GATES.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("it is one of: {}", keys::KERNEL_GATES.join(", ")),
            };
            Err(word.mark.error(&format!("`{other}` is nothing that the kernel gate does"), Some(&hint)))
        }
    }
}

fn limits(top: &Section<'_, '_>) -> Result<Limits, PolicyError> {
    let Some(section) = top.section("limits")? else { return Ok(Limits::default()) };
    section.only(keys::LIMITS)?;
    let count = |key| section.number(key, 1, MOST).map(|at| at.map(|at| at.value));
    Ok(Limits {
        processes: count("processes")?,
        open_files: count("open-files")?,
        memory: section.size("memory")?,
        file_size: section.size("file-size")?,
        connections: count("connections")?,
        holds: count("holds")?,
        alike: count("alike")?,
        burst: count("burst")?,
    })
}

fn env(top: &Section<'_, '_>) -> Result<(Vec<String>, BTreeMap<String, String>), PolicyError> {
    let Some(section) = top.section("env")? else { return Ok(Default::default()) };
    section.only(keys::ENV)?;
    let pass = section.texts("pass")?.unwrap_or_default();
    for pattern in &pass {
        if pattern.value.contains(['=', ' ']) {
            return Err(pattern.mark.error(&format!("`{}` is no name of a variable", pattern.value), Some("`pass` lists names; values are set in `env.set`")));
        }
    }
    let set = section.pairs("set")?.into_iter().map(|(name, value)| (name.value, value.value)).collect();
    Ok((pass.into_iter().map(|at| at.value).collect(), set))
}

fn names(top: &Section<'_, '_>) -> Result<BTreeMap<HostName, (IpAddr, Option<u16>)>, PolicyError> {
    let one = |(name, value): (At<String>, At<String>)| {
        let host = HostName::parse(&name.value).map_err(|why| name.mark.error(&format!("`{}`: {why}", name.value), None))?;
        let bad =
            || value.mark.error(&format!("`{}` is no address", value.value), Some("write ADDRESS or ADDRESS:PORT, like \"127.0.0.1:8443\" or \"[::1]:8443\""));
        let (address, port) = split_port(&value.value).map_err(|_| bad())?;
        let address = address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| bad())?;
        Ok((host, (address, port)))
    };
    top.pairs("names")?.into_iter().map(one).collect()
}

fn protocols(top: &Section<'_, '_>) -> Result<Vec<(HostPattern, Spoken)>, PolicyError> {
    let one = |(host, word): (At<String>, At<String>)| {
        let pattern = HostPattern::parse(&host.value).map_err(|why| host.mark.error(&why, None))?;
        let spoken = Spoken::named(&word.value).ok_or_else(|| {
            word.mark.error(&format!("`{}` is no protocol that must be named", word.value), Some("`mysql` or `redis`; others are known by their first bytes"))
        })?;
        Ok((pattern, spoken))
    };
    top.pairs("protocols")?.into_iter().map(one).collect()
}
