//! From bytes to tokens, by the server's own lexical rules: no statement may hide in what we would take for a comment or a string.

use super::{
    Dialect,
    lexis::{Backslash, DoubleQuotes, Lexis, OLDEST_MYSQL, Versions},
};

/// Most tokens of one text (16 MiB of them).
pub(super) const MOST_TOKENS: usize = 1 << 20;

/// Most different versions in the comments of one MySQL text: each is one more reading.
pub(super) const MOST_VERSIONS: usize = 6;

/// Longest tag of a dollar quote; PostgreSQL cuts names at 63 bytes, but not tags.
const LONGEST_TAG: usize = 256;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A quoted name.
    Quoted,
    /// A string constant.
    Text,
    /// A number.
    Number,
    /// `$1`, `?`, `:name`, `@name`.
    Parameter,
    /// Brackets, commas and operators.
    Mark,
}

/// One token: where it lies in the text, and for a bracket the index of its partner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the partner of a bracket; of any other token its own.
    pub(super) mate: u32,
}

/// Why a text has no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    #[error("a string, a name or a comment does not end")]
    Open,
    #[error("brackets do not pair")]
    Unpaired,
    #[error("the text holds a zero byte")]
    Zero,
    #[error("the text has more tokens than are read")]
    Long,
    #[error("the text has comments for more versions than are read")]
    Versions,
}

/// The tokens of a text in one reading.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    /// Versions of comments of which it is not sure that the server reads them as code; ascending.
    pub(super) versions: Vec<u32>,
    /// Optimizer hints (`/*+ … */`), by where they lie.
    pub(super) hints: Vec<(u32, u32)>,
}

/// Reads `text`, which is shorter than 4 GiB.
///
/// # Errors
/// See [`Unread`].
pub(super) fn lex(text: &[u8], lexis: Lexis) -> Result<Lexed, Unread> {
    let mut lexer = Lexer { text, at: 0, lexis, open: Vec::new(), in_version: 0, out: Lexed::default() };
    lexer.out.tokens.reserve(text.len().min(4096) / 4 + 4);
    lexer.run()?;
    Ok(lexer.out)
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    lexis: Lexis,
    open: Vec<(u8, usize)>,
    in_version: u32,
    out: Lexed,
}

/// Whether a byte may stand in a plain name after its first.
pub(super) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[allow(clippy::cast_possible_truncation, reason = "the text is shorter than 4 GiB, and so is the number of its tokens")]
    fn push(&mut self, kind: Kind, start: usize) -> Result<(), Unread> {
        if self.out.tokens.len() >= MOST_TOKENS {
            return Err(Unread::Long);
        }
        let mate = self.out.tokens.len() as u32;
        self.out.tokens.push(Token { kind, start: start as u32, end: self.at as u32, mate });
        Ok(())
    }

    fn run(&mut self) -> Result<(), Unread> {
        // Every turn takes at least one byte.
        while let Some(&byte) = self.text.get(self.at) {
            let start = self.at;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                0 => return Err(Unread::Zero),
                b'-' if self.begins_line_comment() => self.line_comment(),
                b'#' if self.lexis.hash_comments() => self.line_comment(),
                b'#' if self.lexis.dialect == Dialect::ClickHouse && matches!(self.peek(1), b' ' | b'!') => self.line_comment(),
                b'/' if self.peek(1) == b'/' && self.lexis.slash_comments() => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                b'*' if self.in_version > 0 && self.peek(1) == b'/' => {
                    self.in_version -= 1;
                    self.at += 2;
                }
                b'\'' => self.string(b'\'', self.lexis.backslash, start)?,
                b'"' => self.double_quoted(start)?,
                b'`' if self.lexis.backtick_names() => self.quoted_name(b'`', start)?,
                b'[' if self.lexis.bracket_names() => self.quoted_name(b']', start)?,
                b'$' => self.dollar(start)?,
                b'0'..=b'9' => self.number(start)?,
                b'.' if self.peek(1).is_ascii_digit() && !self.follows_name() => self.number(start)?,
                b'?' => {
                    self.at += 1;
                    self.push(Kind::Parameter, start)?;
                }
                b'@' => self.variable(start)?,
                b':' if (self.peek(1).is_ascii_alphabetic() || self.peek(1) == b'_') && !self.follows_colon() && self.lexis.colon_parameters() => {
                    self.at += 1;
                    self.skip_name();
                    self.push(Kind::Parameter, start)?;
                }
                b'#' if self.lexis.dialect == Dialect::MsSql => self.word(start)?,
                _ if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 => self.word(start)?,
                _ => self.mark(byte, start)?,
            }
        }
        if self.in_version > 0 {
            return Err(Unread::Open);
        }
        if self.open.is_empty() { Ok(()) } else { Err(Unread::Unpaired) }
    }

    fn follows_name(&self) -> bool {
        self.out.tokens.last().is_some_and(|last| last.end as usize == self.at && matches!(last.kind, Kind::Word | Kind::Quoted))
    }

    fn follows_colon(&self) -> bool {
        self.at.checked_sub(1).and_then(|before| self.text.get(before)) == Some(&b':')
    }

    fn begins_line_comment(&self) -> bool {
        if self.peek(1) != b'-' {
            return false;
        }
        if !self.lexis.dashes_want_blank() {
            return true;
        }
        self.text.get(self.at + 2).is_none_or(|next| *next == b' ' || next.is_ascii_control())
    }

    fn line_comment(&mut self) {
        let return_ends = self.lexis.return_ends_comment();
        let length = self.rest().iter().position(|byte| *byte == b'\n' || return_ends && *byte == b'\r');
        self.at = length.map_or(self.text.len(), |length| self.at + length);
    }

    #[allow(clippy::cast_possible_truncation, reason = "the text is shorter than 4 GiB")]
    fn block_comment(&mut self) -> Result<(), Unread> {
        let start = self.at;
        if let Versions::UpTo(newest) = self.lexis.versions {
            let for_mariadb = self.peek(2) == b'M' && self.peek(3) == b'!';
            if self.peek(2) == b'!' || for_mariadb {
                self.at += if for_mariadb { 4 } else { 3 };
                let digits = self.rest().iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
                let mut version = 0u32;
                if digits >= 5 {
                    version = self.rest().iter().take(digits).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
                    self.at += digits;
                }
                if for_mariadb {
                    version = version.max(OLDEST_MYSQL + 1);
                }
                if version > OLDEST_MYSQL && !self.out.versions.contains(&version) {
                    if self.out.versions.len() == MOST_VERSIONS {
                        return Err(Unread::Versions);
                    }
                    self.out.versions.push(version);
                    self.out.versions.sort_unstable();
                }
                if version <= newest {
                    self.in_version += 1;
                    return Ok(());
                }
                // What is passed over may hold comments of its own.
                return self.skip_comment(true);
            }
        }
        self.at += 2;
        self.skip_comment(self.lexis.comments_nest())?;
        if self.text.get(start + 2) == Some(&b'+') {
            self.out.hints.push((start as u32, self.at as u32));
        }
        Ok(())
    }

    fn skip_comment(&mut self, nest: bool) -> Result<(), Unread> {
        let mut depth = 1u32;
        while self.at < self.text.len() {
            if self.peek(0) == b'*' && self.peek(1) == b'/' {
                self.at += 2;
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            } else if nest && self.peek(0) == b'/' && self.peek(1) == b'*' {
                self.at += 2;
                depth += 1;
            } else {
                self.at += 1;
            }
        }
        if self.lexis.comment_may_stay_open() { Ok(()) } else { Err(Unread::Open) }
    }

    /// A string from its opening quote at `self.at`; the token begins at `start`, which is before it where there is a prefix.
    fn string(&mut self, quote: u8, backslash: Backslash, start: usize) -> Result<(), Unread> {
        let triple = self.lexis.python_strings() && self.peek(1) == quote && self.peek(2) == quote;
        let width = if triple { 3 } else { 1 };
        self.at += width;
        loop {
            let Some(&byte) = self.text.get(self.at) else { return Err(Unread::Open) };
            if byte == b'\\' && backslash == Backslash::Escapes {
                self.at += 2;
            } else if byte == quote && (!triple || self.peek(1) == quote && self.peek(2) == quote) {
                self.at += width;
                if !triple && self.lexis.doubled_quotes() && self.peek(0) == quote {
                    self.at += 1;
                    continue;
                }
                if self.goes_on() {
                    continue;
                }
                break;
            } else if byte == 0 && self.lexis.dialect != Dialect::MySql {
                return Err(Unread::Zero);
            } else {
                self.at += 1;
            }
        }
        self.push(Kind::Text, start)
    }

    /// PostgreSQL: a string goes on, with the escapes it began with, in the next pair of quotes when a line ends between them (scan.l, `quotecontinue`).
    fn goes_on(&mut self) -> bool {
        if self.lexis.dialect != Dialect::PostgreSql {
            return false;
        }
        let before = self.at;
        let mut line_ended = false;
        loop {
            match self.peek(0) {
                b'\n' | b'\r' => line_ended = true,
                b' ' | b'\t' | 0x0b | 0x0c => {}
                b'-' if self.peek(1) == b'-' => {
                    self.line_comment();
                    continue;
                }
                b'\'' if line_ended => {
                    self.at += 1;
                    return true;
                }
                _ => break,
            }
            self.at += 1;
        }
        self.at = before;
        false
    }

    fn double_quoted(&mut self, start: usize) -> Result<(), Unread> {
        match self.lexis.double_quotes {
            DoubleQuotes::Text => self.string(b'"', self.lexis.backslash, start),
            DoubleQuotes::Name => self.quoted_name(b'"', start),
        }
    }

    fn quoted_name(&mut self, close: u8, start: usize) -> Result<(), Unread> {
        self.at += 1;
        let escapes = matches!(self.lexis.dialect, Dialect::ClickHouse | Dialect::BigQuery);
        loop {
            match self.text.get(self.at) {
                None => return Err(Unread::Open),
                Some(0) => return Err(Unread::Zero),
                Some(b'\\') if escapes => self.at += 2,
                Some(byte) if *byte == close => {
                    self.at += 1;
                    if self.peek(0) != close {
                        break;
                    }
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
        }
        self.push(Kind::Quoted, start)
    }

    fn dollar(&mut self, start: usize) -> Result<(), Unread> {
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            self.at += self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
            return self.push(Kind::Parameter, start);
        }
        let tag = self.rest().iter().take(LONGEST_TAG).take_while(|byte| is_name_byte(**byte) && **byte != b'$').count();
        if self.lexis.dollar_quotes() && self.text.get(self.at + tag) == Some(&b'$') {
            let body = self.at + tag + 1;
            let mark = self.text.get(start..body).unwrap_or_default();
            let after = self.text.get(body..).unwrap_or_default();
            let length = find(after, mark).ok_or(Unread::Open)?;
            if after.get(..length).unwrap_or_default().contains(&0) {
                return Err(Unread::Zero);
            }
            self.at = body + length + mark.len();
            return self.push(Kind::Text, start);
        }
        if self.lexis.dollar_quotes() && tag == LONGEST_TAG {
            return Err(Unread::Open);
        }
        self.at += tag;
        self.push(Kind::Parameter, start)
    }

    fn number(&mut self, start: usize) -> Result<(), Unread> {
        if self.peek(0) == b'0' && matches!(self.peek(1) | 0x20, b'x' | b'b' | b'o') {
            self.at += 2;
            self.at += self.rest().iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'_').count();
            return self.push(Kind::Number, start);
        }
        let digits = |lexer: &Self| lexer.rest().iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'_').count();
        self.at += digits(self);
        let is_whole = self.peek(0) != b'.';
        if !is_whole {
            self.at += 1;
            self.at += digits(self);
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.at += digits(self);
                return self.push(Kind::Number, start);
            }
        }
        if is_whole && self.lexis.digits_begin_names() && is_name_byte(self.peek(0)) {
            self.skip_name();
            return self.push(Kind::Word, start);
        }
        self.push(Kind::Number, start)
    }

    fn variable(&mut self, start: usize) -> Result<(), Unread> {
        if self.lexis.dialect == Dialect::PostgreSql {
            return self.mark(b'@', start);
        }
        self.at += 1;
        if self.peek(0) == b'@' {
            self.at += 1;
        }
        match self.peek(0) {
            // `@'x'`, `@"x"`, @`x`: the name follows as a token of its own.
            b'\'' | b'"' | b'`' => {}
            _ => self.at += self.rest().iter().take_while(|byte| is_name_byte(**byte) || matches!(**byte, b'#' | b'@')).count(),
        }
        self.push(Kind::Parameter, start)
    }

    fn skip_name(&mut self) {
        let with_hash = matches!(self.lexis.dialect, Dialect::MsSql | Dialect::Oracle);
        self.at += self.rest().iter().take_while(|byte| is_name_byte(**byte) || with_hash && matches!(**byte, b'#' | b'@')).count();
    }

    fn word(&mut self, start: usize) -> Result<(), Unread> {
        let first = self.peek(0) | 0x20;
        let second = self.peek(1);
        match self.lexis.dialect {
            Dialect::PostgreSql | Dialect::Other if first == b'e' && second == b'\'' => {
                self.at += 1;
                return self.string(b'\'', Backslash::Escapes, start);
            }
            Dialect::PostgreSql if first == b'u' && second == b'&' && self.peek(2) == b'\'' => {
                self.at += 2;
                return self.string(b'\'', Backslash::Plain, start);
            }
            Dialect::PostgreSql if first == b'u' && second == b'&' && self.peek(2) == b'"' => {
                self.at += 2;
                return self.quoted_name(b'"', start);
            }
            // The server's own: bits and hexadecimal digits take no escapes.
            Dialect::PostgreSql if matches!(first, b'b' | b'x') && second == b'\'' => {
                self.at += 1;
                return self.string(b'\'', Backslash::Plain, start);
            }
            Dialect::Oracle => {
                let nchar = usize::from(first == b'n');
                if (first == b'q' || nchar == 1 && second | 0x20 == b'q') && self.peek(nchar + 1) == b'\'' {
                    return self.oracle_quote(start, nchar + 2);
                }
            }
            Dialect::BigQuery => {
                let prefix = self.rest().iter().take(2).take_while(|byte| matches!(**byte | 0x20, b'r' | b'b')).count();
                let quote = self.peek(prefix);
                if prefix > 0 && matches!(quote, b'\'' | b'"') {
                    self.at += prefix;
                    // In a raw string a backslash stays, and still takes the quote behind it.
                    return self.string(quote, Backslash::Escapes, start);
                }
            }
            _ => {}
        }
        if second == b'\'' && matches!(first, b'n' | b'x' | b'b') {
            self.at += 1;
            return self.string(b'\'', self.lexis.backslash, start);
        }
        if self.peek(0) == b'#' {
            self.at += 1;
        }
        self.skip_name();
        self.push(Kind::Word, start)
    }

    /// `q'[ … ]'`.
    fn oracle_quote(&mut self, start: usize, prefix: usize) -> Result<(), Unread> {
        self.at += prefix;
        let close = match self.peek(0) {
            b'[' => b']',
            b'(' => b')',
            b'{' => b'}',
            b'<' => b'>',
            0 => return Err(Unread::Open),
            other => other,
        };
        let length = find(self.text.get(self.at + 1..).unwrap_or_default(), &[close, b'\'']).ok_or(Unread::Open)?;
        self.at += 1 + length + 2;
        self.push(Kind::Text, start)
    }

    #[allow(clippy::cast_possible_truncation, reason = "there are at most MOST_TOKENS")]
    fn mark(&mut self, byte: u8, start: usize) -> Result<(), Unread> {
        const PAIRS: [&[u8; 2]; 11] = [b"::", b"||", b"&&", b"<>", b"!=", b"<=", b">=", b":=", b"=>", b"->", b"=="];
        let pair = [byte, self.peek(1)];
        self.at += if PAIRS.contains(&&pair) { 2 } else { 1 };
        let index = self.out.tokens.len();
        self.push(Kind::Mark, start)?;
        match byte {
            b'(' => self.open.push((b')', index)),
            b'[' => self.open.push((b']', index)),
            b'{' => self.open.push((b'}', index)),
            b')' | b']' | b'}' => {
                let Some((close, partner)) = self.open.pop() else { return Err(Unread::Unpaired) };
                if close != byte {
                    return Err(Unread::Unpaired);
                }
                if let Some(token) = self.out.tokens.get_mut(partner) {
                    token.mate = index as u32;
                }
                if let Some(token) = self.out.tokens.get_mut(index) {
                    token.mate = partner as u32;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where `needle` first lies in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    // Each turn goes on behind the last candidate.
    while let Some(step) = hay.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + step;
        if hay.get(at..at + needle.len()) == Some(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
