//! The request's target taken apart, for matching only: what is sent on is what came.

use percent_encoding::percent_decode_str;

/// Longest target that is taken apart; a longer one matches nothing.
const LONGEST: usize = 64 * 1024;

/// Most pairs of a query that are looked at; more make the query unreadable.
const MOST_PAIRS: usize = 1000;

/// A target, decoded and normalised.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    segments: Vec<String>,
    plain: bool,
    query: Option<Vec<(String, String)>>,
}

impl Route {
    /// Takes a target as sent.
    #[must_use]
    pub(crate) fn of(target: &str) -> Self {
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if target.len() > LONGEST {
            return Self { segments: Vec::new(), plain: false, query: None };
        }
        // Two readings of one path (a decoded slash, a dot segment, a backslash, an empty segment, `;` parameters) are no
        // plain path: rules that make a request less strict do not apply to it.
        let mut plain = path.starts_with('/') && !path.contains("//");
        let mut segments: Vec<String> = Vec::new();
        for raw in path.split('/').filter(|raw| !raw.is_empty()) {
            let text = percent_decode_str(raw).decode_utf8_lossy();
            plain &= !text.contains(['/', '\\', ';', '%', '\u{fffd}']) && !text.chars().any(char::is_control);
            for part in text.split(['/', '\\']) {
                match part {
                    "" => {}
                    "." => plain = false,
                    ".." => {
                        plain = false;
                        segments.pop();
                    }
                    other => segments.push(other.to_owned()),
                }
            }
        }
        Self { segments, plain, query: pairs(query) }
    }

    /// The path's segments, decoded, without dot segments and empty ones.
    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.segments.iter().map(String::as_str)
    }

    /// The last segment.
    #[must_use]
    pub(crate) fn last(&self) -> &str {
        self.segments.last().map_or("", String::as_str)
    }

    /// Whether the path has exactly one reading.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The normalised path.
    #[must_use]
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// Whether the path ends in these segments.
    #[must_use]
    pub(crate) fn ends_with(&self, tail: &[&str]) -> bool {
        self.segments.len() >= tail.len() && self.segments().rev().zip(tail.iter().rev()).all(|(a, b)| a == *b)
    }

    /// The query's pairs; `None` where they cannot be read.
    #[must_use]
    pub(crate) fn query(&self) -> Option<&[(String, String)]> {
        self.query.as_deref()
    }

    /// All values of one name in the query.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().flatten().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads `a=1&b=2`, as form bodies and queries have it.
#[must_use]
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for piece in text.split('&').filter(|piece| !piece.is_empty()) {
        if found.len() == MOST_PAIRS {
            return None;
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        found.push((decode(name)?, decode(value)?));
    }
    Some(found)
}

fn decode(text: &str) -> Option<String> {
    let spaced;
    let text = if text.contains('+') {
        spaced = text.replace('+', " ");
        spaced.as_str()
    } else {
        text
    };
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> String {
        Route::of(target).path()
    }

    #[test]
    fn normalises_for_matching() {
        assert_eq!(path("/a/./b/../c?x=1"), "/a/c");
        assert_eq!(path("/%67raphql"), "/graphql");
        assert_eq!(path("/a%2Fb"), "/a/b");
        assert_eq!(path("//a//b/"), "/a/b");
        assert_eq!(path("/../../a"), "/a");
        assert_eq!(path("*"), "/*");
    }

    #[test]
    fn only_one_reading_is_plain() {
        for target in ["/", "/a/b", "/a/b/", "/a%20b?x=%2F", "/@scope/name", "/a:b"] {
            assert!(Route::of(target).is_plain(), "{target}");
        }
        for target in ["/a/../b", "/a/./b", "/a%2fb", "/a//b", "/a;x=1/b", "/a\\b", "/%2e%2e/a", "//a", "/a%00", "/a%252fb", "*", "/%ff"] {
            assert!(!Route::of(target).is_plain(), "{target}");
        }
    }

    #[test]
    fn reads_pairs() {
        let route = Route::of("/x?a=1&a=2&b+c=d%20e&&f");
        assert_eq!(route.values("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(route.values("b c").collect::<Vec<_>>(), ["d e"]);
        assert_eq!(route.values("f").collect::<Vec<_>>(), [""]);
        assert!(Route::of("/x?a=%ff").query().is_none());
        assert!(pairs(&"a&".repeat(2000)).is_none());
    }
}
