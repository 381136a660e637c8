//! What a place or a rule can name: hosts, paths, resources, actions.

use std::{net::IpAddr, path::Path, sync::OnceLock};

use globset::{GlobBuilder, GlobMatcher};

use super::read::absolute;
use crate::{Destination, HostName};

/// Characters that make a pattern more than a literal.
const META: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];

/// A glob of the `globset` crate; what needs no machine for it is kept as plain text.
#[derive(Clone, Debug)]
pub(super) enum Glob {
    Exact(String),
    Prefix(String),
    Full(String, Box<Matcher>),
}

impl Glob {
    /// For names in which `*` crosses everything.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(META) {
            return Ok(Self::Exact(text.to_owned()));
        }
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.contains(META) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Ok(Self::Full(text.to_owned(), Box::new(compile(text, Crossing::Everything)?))),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(word) => word == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Full(_, glob) => glob.is_match(text),
        }
    }

    /// As in the file.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Exact(word) => word.clone(),
            Self::Prefix(prefix) => format!("{prefix}*"),
            Self::Full(text, _) => text.clone(),
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::Prefix(prefix) => prefix.is_empty(),
            Self::Full(text, _) => text.chars().all(|c| c == '*'),
        }
    }

    /// Whether everything that `other` matches is matched by this one too; `false` where it is not plain to see.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(mine), Self::Exact(theirs) | Self::Prefix(theirs)) => theirs.starts_with(mine.as_str()),
            (Self::Exact(_) | Self::Full(..), Self::Exact(theirs)) => self.matches(theirs),
            (Self::Full(mine, _), Self::Full(theirs, _)) => mine == theirs || self.is_everything(),
            (Self::Prefix(mine), Self::Full(theirs, _)) => {
                let literal = theirs.split(META).next().unwrap_or_default();
                literal.starts_with(mine.as_str())
            }
            (Self::Exact(_), Self::Prefix(_) | Self::Full(..)) => false,
            (Self::Full(..), Self::Prefix(_)) => self.is_everything(),
        }
    }
}

enum Crossing {
    /// `*` matches `/` as well.
    Everything,
    /// `*` stays within one part of a path.
    Part,
}

/// A glob that has been read. Its machine is made when something is matched, since most starts of a box match nothing.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    glob: globset::Glob,
    machine: OnceLock<GlobMatcher>,
}

impl Matcher {
    fn is_match(&self, text: &str) -> bool {
        self.machine.get_or_init(|| self.glob.compile_matcher()).is_match(text)
    }
}

fn compile(text: &str, crossing: Crossing) -> Result<Matcher, String> {
    let separator = matches!(crossing, Crossing::Part);
    GlobBuilder::new(text)
        .literal_separator(separator)
        .backslash_escape(true)
        .build()
        .map(|glob| Matcher { glob, machine: OnceLock::new() })
        .map_err(|error| format!("this glob cannot be read: {}", error.kind()))
}

/// A path as [`crate::ResourceId::file`] writes it.
pub(super) fn escaped_path(text: &[u8]) -> String {
    text.split(|byte| *byte == b'%').map(escaped).collect::<Vec<_>>().join("%25")
}

/// A name as [`crate::ResourceId::new`] writes it: every byte that is not printable ASCII is percent-escaped.
pub(super) fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_graphic() {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A file, or a tree, or a glob of them.
#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    /// Absolute, as the mounts need it.
    pub(super) whole: std::path::PathBuf,
    /// The literal part, escaped, without a slash at the end; empty for `/`.
    pub(super) prefix: String,
    /// How many parts the literal part has.
    pub(super) depth: u32,
    /// What matches the thing itself, and what matches below it.
    pub(super) globs: Option<Box<(Matcher, Matcher)>>,
}

impl PathPattern {
    pub(super) fn parse(text: &str, base: &Path, home: &Path) -> Result<Self, String> {
        // Only the pattern's own text is a glob; the folders that it starts from are literal, whatever their names hold.
        let is_glob = text.contains(META);
        let whole = absolute(text, base, home)?;
        if !is_glob {
            let prefix = escaped_path(whole.as_os_str().as_encoded_bytes());
            let prefix = prefix.trim_end_matches('/').to_owned();
            let depth = parts(&prefix);
            return Ok(Self { whole, prefix, depth, globs: None });
        }
        let start = literal_start(text);
        if text.get(start.len()..).is_some_and(|rest| rest.split('/').any(|part| part == "..")) {
            return Err(format!("`{text}`: `..` cannot follow a glob"));
        }
        let folder = absolute(if start.is_empty() { "." } else { start }, base, home)?;
        let prefix = escaped_path(folder.as_os_str().as_encoded_bytes()).trim_end_matches('/').to_owned();
        let rest = escaped_path(text.get(start.len()..).unwrap_or_default().trim_matches('/').as_bytes());
        let pattern = format!("{}/{rest}", globset::escape(&prefix));
        let globs = Box::new((compile(&pattern, Crossing::Part)?, compile(&format!("{pattern}/**"), Crossing::Part)?));
        let depth = parts(&prefix);
        Ok(Self { whole, prefix, depth, globs: Some(globs) })
    }

    /// Whether `path`, escaped and absolute, is what this names or lies below it.
    pub(super) fn matches(&self, path: &str) -> bool {
        if !is_below(path, &self.prefix) {
            return false;
        }
        match self.globs.as_deref() {
            None => true,
            // The name was too long to be kept whole: what cannot be told applies.
            Some(_) if path.len() >= LONGEST_PATH => true,
            Some((itself, below)) => itself.is_match(path) || below.is_match(path),
        }
    }
}

/// From this length on a resource's id ends in a digest instead of its last part.
const LONGEST_PATH: usize = 3 * 4096 - 32;

/// Whether `path` is `tree` or below it.
pub(super) fn is_below(path: &str, tree: &str) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parts(prefix: &str) -> u32 {
    u32::try_from(prefix.split('/').filter(|part| !part.is_empty()).count()).unwrap_or(u32::MAX)
}

/// The whole parts of a path before its first glob character.
fn literal_start(text: &str) -> &str {
    let meta = text.find(META).unwrap_or(text.len());
    let before = text.get(..meta).unwrap_or_default();
    before.rfind('/').and_then(|slash| text.get(..=slash)).unwrap_or_default()
}

/// A host, by name, by wildcard, or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    /// This very name.
    Name(String),
    /// Every name that ends in this, which starts with a dot.
    Below(String),
    /// Everything that is not near.
    Any,
    /// This address.
    Address(IpAddr),
    /// The addresses of which so many first bits are these.
    Range(IpAddr, u8),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    pub(super) kind: HostKind,
    pub(super) port: Option<u16>,
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err(format!("`{text}`: a host has no scheme and no path; write `name` or `name:port`"));
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr =
                address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| format!("`{text}` is no range of addresses, like 10.1.0.0/16"))?;
            let widest = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits
                .parse::<u8>()
                .ok()
                .filter(|bits| *bits <= widest)
                .ok_or_else(|| format!("`{text}`: after the slash comes a number from 0 to {widest}; a port cannot follow a range"))?;
            if masked(address, bits) != address {
                return Err(format!("`{text}` has bits set behind the slash's {bits}; the range is {}/{bits}", masked(address, bits)));
            }
            return Ok(Self { kind: HostKind::Range(address, bits), port: None });
        }
        let (host, port) = split_port(text)?;
        let kind = if host == "*" {
            HostKind::Any
        } else if let Some(rest) = host.strip_prefix("*.") {
            let name = HostName::parse(rest).map_err(|why| format!("`{text}`: {why}"))?;
            if name.address().is_some() {
                return Err(format!("`{text}`: for addresses write a range, like 10.1.0.0/16"));
            }
            HostKind::Below(format!(".{name}"))
        } else if host.contains(META) && !host.starts_with('[') {
            return Err(format!("`{text}`: in hosts a star stands alone or in front, as `*.example.com`"));
        } else {
            let name = HostName::parse(host).map_err(|why| format!("`{text}`: {why}"))?;
            match name.address() {
                Some(address) => HostKind::Address(address.to_canonical()),
                None => HostKind::Name(name.as_str().to_owned()),
            }
        };
        Ok(Self { kind, port })
    }

    /// Whether this is the destination's name or address, and its port.
    pub(super) fn fits(&self, destination: &Destination) -> bool {
        let name = destination.host.as_str();
        let theirs = || destination.host.address().map(|theirs| theirs.to_canonical());
        self.port_fits(destination.port)
            && match &self.kind {
                HostKind::Name(mine) => mine == name,
                HostKind::Below(suffix) => name.ends_with(suffix.as_str()),
                HostKind::Any => true,
                HostKind::Address(address) => theirs().is_some_and(|theirs| theirs == *address),
                HostKind::Range(range, bits) => theirs().is_some_and(|theirs| theirs.is_ipv4() == range.is_ipv4() && masked(theirs, *bits) == *range),
            }
    }

    pub(super) fn port_fits(&self, port: u16) -> bool {
        self.port.is_none_or(|mine| mine == port)
    }

    /// Larger is more specific.
    pub(super) fn rank(&self) -> u32 {
        let rank = match &self.kind {
            HostKind::Any => 0,
            HostKind::Range(address, bits) => 100 + u32::from(*bits) + if address.is_ipv4() { 96 } else { 0 },
            HostKind::Below(suffix) => 100 + u32::try_from(suffix.matches('.').count()).unwrap_or(100),
            HostKind::Name(_) | HostKind::Address(_) => 1000,
        };
        rank * 2 + u32::from(self.port.is_some())
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            HostKind::Name(name) => f.write_str(name)?,
            HostKind::Below(suffix) => write!(f, "*{suffix}")?,
            HostKind::Any => f.write_str("*")?,
            HostKind::Address(IpAddr::V6(address)) if self.port.is_some() => write!(f, "[{address}]")?,
            HostKind::Address(address) => write!(f, "{address}")?,
            HostKind::Range(address, bits) => write!(f, "{address}/{bits}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Takes a port off the end. A bare IPv6 address has none.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Ok((text, None)) };
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        // `[::1]` without a port has its last colon inside.
        return if text.starts_with('[') && text.ends_with(']') {
            Ok((text, None))
        } else {
            Err(format!("`{text}`: write an IPv6 address with a port as [ADDRESS]:PORT"))
        };
    }
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("`{text}`: a port is a number from 1 to 65535; write hosts without a scheme or a path"))?;
    Ok((host, Some(port)))
}

pub(super) fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0)).into()),
    }
}

/// A thing behind a host.
#[derive(Clone, Debug)]
pub(super) struct ResourcePattern {
    pub(super) scheme: String,
    pub(super) path: Glob,
}

impl ResourcePattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, path) = text.split_once(':').ok_or_else(|| format!("`{text}` is no resource: write scheme:path, like railway:environment/production"))?;
        let good = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !good {
            return Err(format!("`{text}`: a scheme has lower-case letters, digits and '-'"));
        }
        if path.is_empty() {
            return Err(format!("`{text}` has nothing behind its scheme; for all of it write {scheme}:*"));
        }
        Ok(Self { scheme: scheme.to_owned(), path: Glob::parse(&escaped(path.as_bytes()))? })
    }

    pub(super) fn matches(&self, scheme: &str, path: &str) -> bool {
        self.scheme == scheme && self.path.matches(path)
    }

    pub(super) fn text(&self) -> String {
        format!("{}:{}", self.scheme, self.path.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathPattern {
        PathPattern::parse(text, Path::new("/w"), Path::new("/home/u")).unwrap()
    }

    #[test]
    fn hosts_parse_or_say_why() {
        for good in [
            "example.com",
            "example.com:443",
            "*.example.com",
            "*.example.com:5432",
            "*",
            "*:53",
            "10.0.0.1",
            "10.0.0.1:80",
            "::1",
            "[::1]",
            "[::1]:443",
            "10.1.0.0/16",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            let pattern = HostPattern::parse(good).unwrap();
            assert_eq!(HostPattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern), "{good}");
        }
        for bad in [
            "",
            "https://example.com",
            "example.com/x",
            "a b",
            "ex*mple.com",
            "*.10.0.0.1",
            "example.com:0",
            "example.com:99999",
            "10.1.2.3/16",
            "10.0.0.0/33",
            "10.0.0.0/8:443",
            "2001:db8::1:99999999",
            "*.*",
            "**",
            "2130706433",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_covers_itself_and_below() {
        let tree = path("sub");
        assert!(tree.matches("/w/sub") && tree.matches("/w/sub/x/y"));
        assert!(!tree.matches("/w/subway") && !tree.matches("/w"));
        assert!(path("/").matches("/etc/passwd"));
        let keys = path("**/*.pem");
        assert!(keys.matches("/w/a.pem") && keys.matches("/w/x/y/a.pem") && keys.matches("/w/dir.pem/inside"));
        assert!(!keys.matches("/v/a.pem") && !keys.matches("/w/a.pemx"));
        assert_eq!((keys.depth, path("a/b/*.x").depth, path("~/.ssh").depth), (1, 3, 3));
        assert!(path("my docs").matches("/w/my%20docs/x"));
        assert!(!path("*.x").matches("/w/d/e.x"), "one star stays within one part");
    }

    #[test]
    fn globs_of_folders_with_odd_names_are_literal() {
        let odd = PathPattern::parse("*.x", Path::new("/w/[a]"), Path::new("/h")).unwrap();
        assert!(odd.matches("/w/[a]/b.x") && !odd.matches("/w/a/b.x"));
        let literal = PathPattern::parse(".", Path::new("/w/[a]{b}"), Path::new("/h")).unwrap();
        assert!(literal.matches("/w/[a]{b}/c"));
    }

    #[test]
    fn bad_globs_are_errors() {
        for bad in ["a[", "{a", "*/../x"] {
            assert!(PathPattern::parse(bad, Path::new("/w"), Path::new("/h")).is_err(), "{bad}");
        }
        assert!(Glob::parse("a[").is_err());
    }

    #[test]
    fn covering_is_only_said_where_it_is_plain() {
        let glob = |text| Glob::parse(text).unwrap();
        assert!(glob("*").covers(&glob("a*b*")) && glob("a*").covers(&glob("ab*")) && glob("a*").covers(&glob("abc")));
        assert!(!glob("ab*").covers(&glob("a*")) && !glob("a").covers(&glob("a*")) && !glob("*b").covers(&glob("a*")));
    }
}
