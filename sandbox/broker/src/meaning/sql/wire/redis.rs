//! RESP: arrays of bulk strings, and the inline form that people type.

use super::{Malformed, take};

/// Most commands of one packet.
const MOST_COMMANDS: usize = 10_000;

/// Most words of one command; the server's own bound (networking.c).
const MOST_WORDS: u64 = 1024 * 1024;

/// Longest word; the server's own bound (proto-max-bulk-len).
const LONGEST_WORD: u64 = 512 << 20;

/// The commands of a packet, each as its words.
pub(in super::super) fn commands(bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, Malformed> {
    let mut rest = bytes;
    let mut commands = Vec::new();
    // Each turn takes at least a line.
    while let Some(first) = rest.first() {
        if commands.len() == MOST_COMMANDS {
            return Err(Malformed("more commands than are read"));
        }
        if *first != b'*' {
            let words = words(line(&mut rest)?)?;
            if !words.is_empty() {
                commands.push(words);
            }
            continue;
        }
        let count = number(line(&mut rest)?, b'*')?;
        if count > MOST_WORDS {
            return Err(Malformed("a command has more words than a server takes"));
        }
        let mut command = Vec::new();
        for _ in 0..count {
            let size = number(line(&mut rest)?, b'$')?;
            if size > LONGEST_WORD {
                return Err(Malformed("a word is longer than a server takes"));
            }
            command.push(take(&mut rest, super::length(size)?)?.to_vec());
            if take(&mut rest, 2)? != b"\r\n" {
                return Err(Malformed("a word does not end where it says"));
            }
        }
        if !command.is_empty() {
            commands.push(command);
        }
    }
    Ok(commands)
}

/// A line without its end: the server cuts at the line feed and takes a carriage return before it off.
fn line<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], Malformed> {
    let length = rest.iter().position(|byte| *byte == b'\n').ok_or(Malformed("a line does not end"))?;
    let text = take(rest, length)?;
    take(rest, 1)?;
    Ok(text.strip_suffix(b"\r").unwrap_or(text))
}

fn number(line: &[u8], sign: u8) -> Result<u64, Malformed> {
    let digits = line.strip_prefix(&[sign]).ok_or(Malformed("a word has no length"))?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || digits.len() > 1 && digits.first() == Some(&b'0') {
        return Err(Malformed("a length is no number"));
    }
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed("a length is no number"))
}

/// The words of an inline command, with the server's quotes (sds.c, sdssplitargs).
pub(in super::super) fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut words = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        while rest.next_if(|byte| byte.is_ascii_whitespace() || matches!(byte, 0x0b)).is_some() {}
        let Some(first) = rest.peek().copied() else { return Ok(words) };
        let mut word = Vec::new();
        if matches!(first, b'"' | b'\'') {
            rest.next();
            loop {
                match rest.next().ok_or(Malformed("quotes do not pair"))? {
                    byte if byte == first => break,
                    b'\\' if first == b'"' => word.push(match rest.next().ok_or(Malformed("quotes do not pair"))? {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        b'x' => {
                            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(Malformed("an escape cannot be read"));
                            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                            u8::try_from(high * 16 + low).unwrap_or(0)
                        }
                        other => other,
                    }),
                    b'\\' if rest.peek() == Some(&b'\'') => word.push(rest.next().unwrap_or(b'\'')),
                    byte => word.push(byte),
                }
            }
            if rest.peek().is_some_and(|next| !next.is_ascii_whitespace()) {
                return Err(Malformed("quotes do not pair"));
            }
        } else {
            while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
                word.push(byte);
            }
        }
        words.push(word);
    }
}
