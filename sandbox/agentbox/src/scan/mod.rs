//! Finds secrets in a text: by the formats that their makers published first, by where they stand second; randomness is only a hint.

pub(crate) mod files;

use agentbox_broker::secrets::formats::{self, FORMATS, Format};

/// Finds of one file.
const MOST: usize = 100;

/// Longest line that is read; what is longer was written by a program.
const LONGEST_LINE: usize = 16 << 10;

/// A random value of so many characters could be a secret.
const LEAST_RANDOM: usize = 20;

/// Bits a character from which a text counts as random: English has about 4 with its spaces, hexadecimal digits at most 4.
const RANDOM_BITS: f64 = 3.5;

/// Words in the name of a setting that holds a secret.
const WORDS: &[&str] = &["token", "secret", "password", "passwd", "api_key", "apikey", "api-key", "access_key", "private_key", "auth_key", "credential"];

/// Values that stand for a secret that is not there.
const EXAMPLES: &[&str] = &["example", "placeholder", "changeme", "change_me", "your", "xxxx", "<", "${", "{{", "$(", "process.env", "os.environ", "getenv"];

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Of a published format.
    Token(&'static Format),
    /// PEM.
    PrivateKey,
    /// Signed claims.
    WebToken,
    /// `scheme://user:password@host`.
    UrlPassword,
    /// A setting's name says so, and its value is random.
    Random,
}

impl Kind {
    /// Whether its form alone says that it is one.
    pub(crate) fn is_certain(self) -> bool {
        match self {
            Self::Token(_) | Self::PrivateKey | Self::WebToken | Self::UrlPassword => true,
            Self::Random => false,
        }
    }
}

/// What a token says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Unix time in seconds.
    pub(crate) expires: Option<u64>,
    /// In its own words.
    pub(crate) scope: Option<String>,
}

/// One find. The secret is not in it.
#[derive(Clone, Debug)]
pub(crate) struct Find {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// Its last four characters.
    pub(crate) ends: String,
    /// The setting that it is the value of, or the one that its tools read.
    pub(crate) variable: String,
    /// Where it is used, where that is known.
    pub(crate) hosts: Vec<String>,
    pub(crate) claims: Claims,
}

/// All in a text, at most [`MOST`].
pub(crate) fn find(text: &str) -> Vec<Find> {
    let mut found: Vec<Find> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if found.len() >= MOST {
            break;
        }
        let line = line.get(..line.floor_char_boundary(LONGEST_LINE)).unwrap_or(line);
        let name = setting(line).map(|(name, _)| name.to_owned());
        let mut here: Vec<Find> = Vec::new();
        let of = |kind, secret: &str, variable: &str, hosts: Vec<String>, claims| {
            let ends: String = secret.chars().skip(secret.chars().count().saturating_sub(4)).collect();
            let variable = name.as_deref().filter(|name| is_variable(name)).unwrap_or(variable).to_owned();
            Find { line: index + 1, kind, ends, variable, hosts, claims }
        };
        for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).filter(|word| word.len() >= 16) {
            if let Some(format) = token(word) {
                here.push(of(Kind::Token(format), word, format.variable, format.hosts.iter().map(|host| (*host).to_owned()).collect(), Claims::default()));
            } else if let Some((_, payload)) = formats::claims(word) {
                here.push(of(Kind::WebToken, word, "TOKEN", Vec::new(), of_payload(&payload)));
            }
        }
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----") {
            here.push(of(Kind::PrivateKey, "", "PRIVATE_KEY", Vec::new(), Claims::default()));
        }
        if let Some((password, host)) = in_url(line) {
            here.push(of(Kind::UrlPassword, password, "DATABASE_URL", vec![host.to_owned()], Claims::default()));
        }
        if here.is_empty()
            && let Some((name, value)) = setting(line)
            && WORDS.iter().any(|word| name.to_ascii_lowercase().contains(word))
            && is_random(value)
        {
            here.push(of(Kind::Random, value, "TOKEN", Vec::new(), Claims::default()));
        }
        found.append(&mut here);
    }
    found.truncate(MOST);
    found
}

/// The format of a whole word.
fn token(word: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| {
        word.strip_prefix(format.prefix)
            .is_some_and(|rest| (format.least..=format.most).contains(&rest.len()) && rest.bytes().all(|byte| format.alphabet.has(byte)) && !is_example(word))
    })
}

fn of_payload(payload: &serde_json::Value) -> Claims {
    let text = |name: &str| match payload.get(name) {
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        Some(serde_json::Value::Array(all)) => Some(all.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(" ")),
        Some(_) | None => None,
    };
    Claims {
        expires: payload.get("exp").and_then(serde_json::Value::as_u64),
        scope: ["scope", "scp", "scopes", "permissions", "role"].iter().find_map(|name| text(name)),
    }
}

/// `NAME=value`, `name: value`, `"name": "value"`; the value without its quotes.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_start_matches("export ");
    let (name, value) = line.split_once(['=', ':'])?;
    let bare = |text: &'_ str| -> usize { text.len() - text.trim_start_matches(['"', '\'', ' ']).len() };
    let name = name.get(bare(name)..)?.trim_end_matches(['"', '\'', ' ']);
    let value = value.trim_start_matches(['=', ' ', '"', '\'']);
    let value = value.split(['"', '\'', ' ', ',', ';']).next()?;
    (!name.is_empty() && name.len() <= 100 && !value.is_empty()).then_some((name, value))
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The password and the host of the first URL that has both.
fn in_url(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("://")?;
    let authority = rest.split(['/', '?', '#', ' ', '"', '\'', '`', '<', '>']).next()?;
    let (user, host) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    let host = host.split(':').next()?;
    let good =
        password.len() >= 4 && !is_example(password) && !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    good.then_some((password, host))
}

fn is_example(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    EXAMPLES.iter().any(|word| text.contains(word)) || text.bytes().collect::<std::collections::BTreeSet<u8>>().len() < 4
}

fn is_random(value: &str) -> bool {
    let fits = value.len() >= LEAST_RANDOM && value.len() <= 512 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-.".contains(&byte));
    fits && !is_example(value)
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        && bits(value) >= RANDOM_BITS
}

/// Shannon's entropy of the text's own bytes, in bits a byte.
#[allow(clippy::cast_precision_loss, reason = "a line has few bytes")]
fn bits(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let all = text.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / all).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests;
