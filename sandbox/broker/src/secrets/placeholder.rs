//! Makes what the agent has instead of a secret: of the same length and alphabet, with the beginning that clients look for.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::formats::{claims, prefix_of};

/// With fewer characters of its own a placeholder could be met by chance: it is made longer.
const LEAST: usize = 12;

/// What stands in a URL without being encoded (RFC 3986, unreserved).
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// As it stands in a URL.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_URL).to_string()
}

/// What of a value is the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All of it.
    Whole,
    /// The password of a URL, which stands between these.
    Url(String, String),
}

impl Shape {
    /// The value with something else in the secret's place.
    pub(crate) fn with(&self, text: &str) -> String {
        match self {
            Self::Whole => text.to_owned(),
            Self::Url(before, after) => format!("{before}{}{after}", encoded(text)),
        }
    }
}

/// Finds the secret in a value: the password of `scheme://user:password@host/…`, or all of it.
pub(crate) fn shape(value: &str) -> (Shape, String) {
    let whole = || (Shape::Whole, value.to_owned());
    let Some((scheme, rest)) = value.split_once("://") else { return whole() };
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return whole();
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((authority, _)) = rest.split_at_checked(end) else { return whole() };
    let Some((user, _)) = authority.rsplit_once('@') else { return whole() };
    let Some((name, password)) = user.split_once(':').filter(|(_, password)| !password.is_empty()) else { return whole() };
    let Ok(secret) = percent_decode_str(password).decode_utf8() else { return whole() };
    let start = scheme.len() + 3 + name.len() + 1;
    let (Some(before), Some(after)) = (value.get(..start), value.get(start + password.len()..)) else { return whole() };
    (Shape::Url(before.to_owned(), after.to_owned()), secret.into_owned())
}

/// A placeholder for `secret`. `None` where the system gives no random bits.
pub(crate) fn placeholder(secret: &str) -> Option<String> {
    // A token whose claims can be read by anybody keeps them: clients ask them when it expires. Only the signature is a secret.
    let kept = match claims(secret) {
        Some(_) => secret.rfind('.').map_or(0, |at| at + 1),
        None => prefix_of(secret).len(),
    };
    let (before, own) = secret.split_at_checked(kept)?;
    let hex = own.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || !byte.is_ascii_alphanumeric());
    let mut made = String::with_capacity(secret.len());
    made.push_str(before);
    let mut random = Random::default();
    for byte in own.bytes() {
        let alphabet: &[u8] = match byte {
            b'0'..=b'9' | b'a'..=b'f' if hex => b"0123456789abcdef",
            b'0'..=b'9' => b"0123456789",
            b'a'..=b'z' => b"abcdefghijklmnopqrstuvwxyz",
            b'A'..=b'Z' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            _ => {
                made.push(char::from(byte));
                continue;
            }
        };
        made.push(random.one_of(alphabet)?);
    }
    if own.bytes().filter(u8::is_ascii_alphanumeric).count() >= LEAST && made != secret {
        return Some(made);
    }
    let mut longer = before.to_owned();
    for _ in 0..LEAST + 8 {
        longer.push(random.one_of(b"abcdefghijklmnopqrstuvwxyz0123456789")?);
    }
    Some(longer)
}

/// Random bytes, taken from the system in portions.
#[derive(Default)]
struct Random {
    bytes: [u8; 32],
    left: usize,
}

impl Random {
    fn one_of(&mut self, alphabet: &[u8]) -> Option<char> {
        // Even: what is above the largest multiple is drawn again. The bound is never met by a system that gives random bits.
        for _ in 0..256 {
            if self.left == 0 {
                getrandom::fill(&mut self.bytes).ok()?;
                self.left = self.bytes.len();
            }
            self.left -= 1;
            let byte = usize::from(*self.bytes.get(self.left)?);
            if byte < 256 - 256 % alphabet.len() {
                return alphabet.get(byte % alphabet.len()).map(|byte| char::from(*byte));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_what_clients_look_for() {
        let made = placeholder("ghp_0123456789abcdefghijklmnopqrstuvwxyz").unwrap();
        assert!(made.starts_with("ghp_") && made.len() == 40 && made != "ghp_0123456789abcdefghijklmnopqrstuvwxyz", "{made}");
        let made = placeholder("0123456789abcdef0123456789abcdef").unwrap();
        assert!(made.bytes().all(|byte| byte.is_ascii_hexdigit()) && made.len() == 32, "{made}");
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEzMDA4MTkzODB9.dBjftJeZ4CVPmB92K27uhbUJU1p1rwW1gFWFOEjXk";
        let made = placeholder(token).unwrap();
        assert!(made.starts_with("eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEzMDA4MTkzODB9.") && made != token && made.len() == token.len(), "{made}");
        assert_eq!(placeholder("s3cret").unwrap().len(), 20, "a short one is not met by chance");
    }

    #[test]
    fn the_secret_of_a_url_is_its_password() {
        let (of, secret) = shape("postgres://app:p%40ss:w@db.example:5432/shop?sslmode=require");
        assert_eq!(secret, "p@ss:w");
        assert_eq!(of.with("x@y"), "postgres://app:x%40y@db.example:5432/shop?sslmode=require");
        for plain in ["token", "https://host/path", "https://user@host", "://a:b@c", "x y://a:b@c", "a://b:@c"] {
            assert_eq!(shape(plain), (Shape::Whole, plain.to_owned()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_another_of_the_same_kind(secret in "[ -~]{1,80}") {
            let made = placeholder(&secret).unwrap();
            prop_assert_ne!(&made, &secret);
            prop_assert!(made.len() == secret.len() || secret.bytes().filter(u8::is_ascii_alphanumeric).count() < LEAST + 20);
            let (of, inner) = shape(&secret);
            if let Shape::Url(before, after) = of {
                prop_assert!(secret.starts_with(&before) && secret.ends_with(&after) && !inner.is_empty());
            }
        }
    }
}
