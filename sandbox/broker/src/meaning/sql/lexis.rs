//! The lexical rules of each server: what is a comment, a string, a name. Where a session's setting decides and is not known, every reading is judged.

use super::{Dialect, Said};

/// What a double quote begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoubleQuotes {
    Name,
    Text,
}

/// Whether a backslash in a plain string takes the next character with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backslash {
    Plain,
    Escapes,
}

/// Which of MySQL's version comments are read as code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    /// Not this dialect: a comment is a comment.
    Comments,
    /// Those up to this version, `50500` for 5.5.0.
    UpTo(u32),
}

/// One way to read a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lexis {
    pub(super) dialect: Dialect,
    pub(super) double_quotes: DoubleQuotes,
    pub(super) backslash: Backslash,
    pub(super) versions: Versions,
}

/// Oldest MySQL that is thought to be still in use: version comments up to it are always code.
pub(super) const OLDEST_MYSQL: u32 = 50_500;

impl Lexis {
    const fn of(dialect: Dialect, double_quotes: DoubleQuotes, backslash: Backslash) -> Self {
        let versions = match dialect {
            Dialect::MySql => Versions::UpTo(u32::MAX),
            _ => Versions::Comments,
        };
        Self { dialect, double_quotes, backslash, versions }
    }

    /// Every way in which the server could read `text` after what was said; the likeliest first. Never empty, at most four.
    pub(super) fn all(dialect: Dialect, text: &[u8], said: &Said) -> Vec<Self> {
        let has_backslash = text.contains(&b'\\');
        let plain = Self::of(dialect, DoubleQuotes::Name, Backslash::Plain);
        let escaped = Self::of(dialect, DoubleQuotes::Name, Backslash::Escapes);
        match dialect {
            Dialect::PostgreSql => vec![if said.is_off("standard_conforming_strings") { escaped } else { plain }],
            Dialect::MySql => Self::mysql(text, said, has_backslash),
            Dialect::MsSql if said.is_off("quoted_identifier") => vec![Self::of(dialect, DoubleQuotes::Text, Backslash::Plain)],
            Dialect::Sqlite | Dialect::Oracle | Dialect::MsSql => vec![plain],
            Dialect::ClickHouse | Dialect::Snowflake => vec![escaped],
            Dialect::BigQuery => vec![Self::of(dialect, DoubleQuotes::Text, Backslash::Escapes)],
            Dialect::Other if has_backslash || text.contains(&b'"') => {
                vec![plain, escaped, Self::of(dialect, DoubleQuotes::Text, Backslash::Escapes)]
            }
            Dialect::Other => vec![plain],
        }
    }

    /// The likeliest way to read `text`.
    pub(super) fn first(dialect: Dialect, text: &[u8], said: &Said) -> Self {
        Self::all(dialect, text, said).first().copied().unwrap_or(Self::of(dialect, DoubleQuotes::Name, Backslash::Plain))
    }

    fn mysql(text: &[u8], said: &Said, has_backslash: bool) -> Vec<Self> {
        let mode = said.setting("sql_mode").map(str::to_ascii_uppercase);
        // Of several statements each is read after the one before has taken effect.
        let is_fixed = !contains_word(text, b"sql_mode");
        let ansi = mode.as_ref().is_some_and(|mode| mode.contains("ANSI"));
        let no_escapes = mode.as_ref().is_some_and(|mode| mode.contains("NO_BACKSLASH_ESCAPES"));
        let quotes = if ansi { DoubleQuotes::Name } else { DoubleQuotes::Text };
        let backslash = if no_escapes { Backslash::Plain } else { Backslash::Escapes };
        let first = Self::of(Dialect::MySql, quotes, backslash);
        if is_fixed && mode.is_some() || !has_backslash && !text.contains(&b'"') {
            return vec![first];
        }
        let mut readings = vec![first];
        if has_backslash {
            let other = if no_escapes { Backslash::Escapes } else { Backslash::Plain };
            readings.push(Self { backslash: other, ..first });
        }
        if text.contains(&b'"') {
            let other = if ansi { DoubleQuotes::Text } else { DoubleQuotes::Name };
            for index in 0..readings.len() {
                if let Some(reading) = readings.get(index).copied() {
                    readings.push(Self { double_quotes: other, ..reading });
                }
            }
        }
        readings
    }

    /// Block comments nest (PostgreSQL scan.l, Transact-SQL, ClickHouse's Lexer.cpp).
    pub(super) const fn comments_nest(self) -> bool {
        matches!(self.dialect, Dialect::PostgreSql | Dialect::MsSql | Dialect::ClickHouse)
    }

    /// `--` begins a comment only before a blank or a control character.
    pub(super) const fn dashes_want_blank(self) -> bool {
        matches!(self.dialect, Dialect::MySql)
    }

    /// `#` begins a comment up to the line's end.
    pub(super) const fn hash_comments(self) -> bool {
        matches!(self.dialect, Dialect::MySql | Dialect::BigQuery)
    }

    /// `//` begins a comment up to the line's end.
    pub(super) const fn slash_comments(self) -> bool {
        matches!(self.dialect, Dialect::Snowflake)
    }

    /// A carriage return ends a line comment, too.
    pub(super) const fn return_ends_comment(self) -> bool {
        matches!(self.dialect, Dialect::PostgreSql)
    }

    /// A block comment may go on to the end of the text.
    pub(super) const fn comment_may_stay_open(self) -> bool {
        matches!(self.dialect, Dialect::Sqlite)
    }

    /// `$tag$ … $tag$`.
    pub(super) const fn dollar_quotes(self) -> bool {
        matches!(self.dialect, Dialect::PostgreSql | Dialect::ClickHouse | Dialect::Snowflake | Dialect::Other)
    }

    /// `[name]`.
    pub(super) const fn bracket_names(self) -> bool {
        matches!(self.dialect, Dialect::MsSql | Dialect::Sqlite)
    }

    /// `` `name` ``. PostgreSQL has an operator of that letter; no statement of it that is valid has two readings.
    pub(super) const fn backtick_names(self) -> bool {
        !matches!(self.dialect, Dialect::PostgreSql | Dialect::MsSql | Dialect::Oracle)
    }

    /// `:name` stands for a value.
    pub(super) const fn colon_parameters(self) -> bool {
        matches!(self.dialect, Dialect::Sqlite | Dialect::Oracle | Dialect::Snowflake | Dialect::Other)
    }

    /// Python's triple quotes, and the prefixes `r` and `b`.
    pub(super) const fn python_strings(self) -> bool {
        matches!(self.dialect, Dialect::BigQuery)
    }

    /// A quote within a string is written twice.
    pub(super) const fn doubled_quotes(self) -> bool {
        !matches!(self.dialect, Dialect::BigQuery)
    }

    /// A name may begin with a digit.
    pub(super) const fn digits_begin_names(self) -> bool {
        matches!(self.dialect, Dialect::MySql)
    }
}

/// Whether `text` has `word` (in lower case) anywhere, in any case.
pub(super) fn contains_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}
