//! Reads TOML values with their spots, so that every complaint has a line, a caret and a hint.

use std::{path::PathBuf, sync::Arc, time::Duration};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    PolicyError,
    raw::At,
    source::{Mark, Source, nearest},
};

/// A name and its text.
type Pair = (At<String>, At<String>);

type Value<'i> = Spanned<DeValue<'i>>;

/// Most entries of one list.
const MOST_ITEMS: usize = 10_000;

/// Most places, credentials, rules or examples of one file: some checks compare each with each.
const MOST_SECTIONS: usize = 1_000;

/// Longest single text value, but for examples.
const LONGEST_TEXT: usize = 1024;

/// Longest example: a request with its body.
const LONGEST_EXAMPLE: usize = 64 * 1024;

/// Longest name of a place, a credential, or a variable.
const LONGEST_NAME: usize = 64;

/// No wait or allowance is longer: 30 days.
const LONGEST_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);

/// A table of the file, with its name for people.
pub(super) struct Section<'a, 'i> {
    pub(super) source: &'a Arc<Source>,
    /// `place.production`, or empty at the top.
    name: String,
    table: &'a DeTable<'i>,
    pub(super) mark: Mark,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn top(source: &'a Arc<Source>, table: &'a Spanned<DeTable<'i>>) -> Self {
        Self { source, name: String::new(), table: table.get_ref(), mark: source.mark(0..0) }
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Refuses what is not in `keys`.
    pub(super) fn only(&self, keys: &[&str]) -> Result<(), PolicyError> {
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if keys.contains(&word) {
                continue;
            }
            let place = if self.name.is_empty() { "at the top of a policy".to_owned() } else { format!("in `{}`", self.name) };
            let hint = match nearest(word, keys.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("the keys here are: {}", keys.join(", ")),
            };
            return Err(self.source.error(&key.span(), &format!("unknown key `{word}` {place}"), Some(&hint)));
        }
        Ok(())
    }

    pub(super) fn find(&self, key: &str) -> Option<&'a Value<'i>> {
        self.table.get(key)
    }

    pub(super) fn mark_of(&self, value: &Value<'_>) -> Mark {
        self.source.mark(value.span())
    }

    /// The section under `key`, if it is there.
    pub(super) fn section(&self, key: &str) -> Result<Option<Section<'a, 'i>>, PolicyError> {
        self.find(key).map(|value| self.as_section(self.full(key), value, None)).transpose()
    }

    fn as_section(&self, name: String, value: &'a Value<'i>, key: Option<&Spanned<DeString<'i>>>) -> Result<Section<'a, 'i>, PolicyError> {
        match value.get_ref() {
            DeValue::Table(table) => {
                Ok(Section { source: self.source, name, table, mark: key.map_or_else(|| self.mark_of(value), |key| self.source.mark(key.span())) })
            }
            _ => Err(self.wrong(value, &name, "a table")),
        }
    }

    /// All named sections under `key`, e.g. the places.
    pub(super) fn named_sections(&self, key: &str) -> Result<Vec<(String, Section<'a, 'i>)>, PolicyError> {
        let Some(sections) = self.section(key)? else { return Ok(Vec::new()) };
        self.few_sections(key, sections.table.len(), &sections.mark)?;
        let mut all = Vec::new();
        for (name, value) in sections.table {
            let word: &str = name.get_ref();
            let good = !word.is_empty() && word.len() <= LONGEST_NAME && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !good {
                return Err(self.source.error(
                    &name.span(),
                    &format!("`{word}` is no name for a {key}"),
                    Some("a name has 1 to 64 letters, digits, '-' or '_'"),
                ));
            }
            all.push((word.to_owned(), self.as_section(format!("{key}.{word}"), value, Some(name))?));
        }
        Ok(all)
    }

    /// All tables of an array of tables.
    pub(super) fn list_of_sections(&self, key: &str) -> Result<Vec<Section<'a, 'i>>, PolicyError> {
        let Some(value) = self.find(key) else { return Ok(Vec::new()) };
        let DeValue::Array(items) = value.get_ref() else { return Err(self.wrong(value, key, &format!("an array of tables, written [[{key}]]"))) };
        self.few_sections(key, items.len(), &self.mark_of(value))?;
        items.iter().map(|item| self.as_section(key.to_owned(), item, None)).collect()
    }

    fn wrong(&self, value: &Value<'_>, name: &str, wanted: &str) -> PolicyError {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.source.error(&value.span(), &format!("`{name}` wants {wanted}, this is {found}"), None)
    }

    fn few_sections(&self, key: &str, count: usize, mark: &Mark) -> Result<(), PolicyError> {
        if count > MOST_SECTIONS { Err(mark.error(&format!("a file may have {MOST_SECTIONS} of `{key}`, this one has {count}"), None)) } else { Ok(()) }
    }

    fn bounded(&self, value: &Value<'_>, count: usize) -> Result<(), PolicyError> {
        if count > MOST_ITEMS {
            Err(self.source.error(&value.span(), &format!("a list may have {MOST_ITEMS} entries, this one has {count}"), None))
        } else {
            Ok(())
        }
    }

    fn text_of(&self, key: &str, value: &Value<'_>, longest: usize) -> Result<At<String>, PolicyError> {
        let DeValue::String(text) = value.get_ref() else { return Err(self.wrong(value, &self.full(key), "a string")) };
        if text.is_empty() {
            return Err(self.source.error(&value.span(), &format!("`{}` is empty", self.full(key)), None));
        }
        if text.len() > longest {
            return Err(self.source.error(&value.span(), &format!("`{}` is longer than {longest} bytes", self.full(key)), None));
        }
        if text.contains('\0') {
            return Err(self.source.error(&value.span(), &format!("`{}` holds a NUL byte", self.full(key)), None));
        }
        Ok(At { value: text.clone().into_owned(), mark: self.mark_of(value) })
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<At<String>>, PolicyError> {
        self.find(key).map(|value| self.text_of(key, value, LONGEST_TEXT)).transpose()
    }

    /// A string that may be a whole request.
    pub(super) fn long_text(&self, key: &str) -> Result<Option<At<String>>, PolicyError> {
        self.find(key).map(|value| self.text_of(key, value, LONGEST_EXAMPLE)).transpose()
    }

    /// What must be there.
    pub(super) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, PolicyError> {
        value.ok_or_else(|| self.mark.error(&format!("`{}` needs `{key}`", self.name), None))
    }

    /// A list of strings, if it is there.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<At<String>>>, PolicyError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let DeValue::Array(items) = value.get_ref() else { return Err(self.wrong(value, &self.full(key), "an array of strings")) };
        self.bounded(value, items.len())?;
        items.iter().map(|item| self.text_of(key, item, LONGEST_TEXT)).collect::<Result<_, _>>().map(Some)
    }

    /// A list of strings, each turned into something.
    pub(super) fn each<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<At<T>>, PolicyError> {
        let parse = |text: At<String>| match read(&text.value) {
            Ok(value) => Ok(At { value, mark: text.mark }),
            Err(why) => Err(text.mark.error(&why, None)),
        };
        self.texts(key)?.unwrap_or_default().into_iter().map(parse).collect()
    }

    /// All strings of a table of strings.
    pub(super) fn pairs(&self, key: &str) -> Result<Vec<Pair>, PolicyError> {
        let Some(section) = self.section(key)? else { return Ok(Vec::new()) };
        let one = |(name, value): (&Spanned<DeString<'i>>, &Value<'i>)| {
            let word: &str = name.get_ref();
            if word.is_empty() || word.len() > 256 || word.contains(['\0', '=']) {
                return Err(self.source.error(&name.span(), &format!("`{word}` is no name here"), None));
            }
            let DeValue::String(text) = value.get_ref() else { return Err(section.wrong(value, &section.full(word), "a string")) };
            if text.len() > LONGEST_EXAMPLE || text.contains('\0') {
                return Err(self.source.error(&value.span(), "this value is too long, or holds a NUL byte", None));
            }
            Ok((At { value: word.to_owned(), mark: self.source.mark(name.span()) }, At { value: text.clone().into_owned(), mark: self.mark_of(value) }))
        };
        section.table.iter().map(one).collect()
    }

    /// True or false.
    pub(super) fn boolean(&self, key: &str) -> Result<Option<At<bool>>, PolicyError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(yes) => Ok(Some(At { value: *yes, mark: self.mark_of(value) })),
            _ => Err(self.wrong(value, &self.full(key), "true or false")),
        }
    }

    /// A whole number between `least` and `most`.
    pub(super) fn number(&self, key: &str, least: u64, most: u64) -> Result<Option<At<u64>>, PolicyError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let DeValue::Integer(number) = value.get_ref() else { return Err(self.wrong(value, &self.full(key), "a whole number")) };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(At { value: number, mark: self.mark_of(value) })),
            _ => Err(self.source.error(&value.span(), &format!("`{}` is a whole number from {least} to {most}", self.full(key)), None)),
        }
    }

    /// One of the words of a table.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<At<T>>, PolicyError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Ok(Some(At { value: *value, mark: text.mark }));
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = nearest(&text.value, all.iter().copied()).map(|meant| format!("did you mean \"{meant}\"?"));
        Err(text.mark.error(&format!("`{}` is one of {}", self.full(key), all.join(", ")), hint.as_deref()))
    }

    /// `15m`
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, PolicyError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match duration(&text.value) {
            Some(duration) if !duration.is_zero() && duration <= LONGEST_DURATION => Ok(Some(duration)),
            _ => Err(text.mark.error(&format!("`{}` is no duration", self.full(key)), Some("write a number and ms, s, m, h or d, like \"15m\"; at most 30d"))),
        }
    }

    /// `8GiB`
    pub(super) fn size(&self, key: &str) -> Result<Option<u64>, PolicyError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match size(&text.value) {
            Some(bytes) if bytes > 0 => Ok(Some(bytes)),
            _ => Err(text
                .mark
                .error(&format!("`{}` is no size", self.full(key)), Some("write a number of bytes, or one with KiB, MiB, GiB or TiB, like \"8GiB\""))),
        }
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// An absolute path without `.`, `..` or doubled slashes; `~` is `home`, what is relative starts at `base`.
pub(super) fn absolute(text: &str, base: &std::path::Path, home: &std::path::Path) -> Result<PathBuf, String> {
    use std::path::Component;
    let start = match text.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => home.join(rest.trim_start_matches('/')),
            None => return Err(format!("`{text}`: only your own home can be named, as `~/…`")),
        },
        None => base.join(text),
    };
    if !start.is_absolute() {
        return Err(format!("`{text}` does not lead to an absolute path"));
    }
    let mut path = PathBuf::from("/");
    for part in start.components() {
        match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(part) => path.push(part),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("15m"), Some(Duration::from_secs(900)));
        assert_eq!(duration("100s"), Some(Duration::from_secs(100)));
        for bad in ["", "15", "m", "-1s", "1w", "1.5h", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(size("8GiB"), Some(8 << 30));
        assert_eq!(size("17"), Some(17));
        assert_eq!(size("99999999999TiB"), None);
        assert_eq!(size("1GB"), None);
    }

    #[test]
    fn paths_become_absolute() {
        let at = |text| absolute(text, Path::new("/w/s"), Path::new("/home/u"));
        assert_eq!(at("."), Ok("/w/s".into()));
        assert_eq!(at("a/../../b/"), Ok("/w/b".into()));
        assert_eq!(at("~/.ssh"), Ok("/home/u/.ssh".into()));
        assert_eq!(at("~//etc"), Ok("/home/u/etc".into()));
        assert_eq!(at("/../../x"), Ok("/x".into()));
        assert!(at("~root/x").is_err());
    }
}
