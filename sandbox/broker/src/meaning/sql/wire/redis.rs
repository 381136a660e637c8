//! The inline form of Redis' commands, which people type; the frames around all forms are read by `crate::redis`.

use super::Malformed;

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
