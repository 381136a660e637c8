//! The value of a string constant and of a quoted name.

/// What a string constant stands for. `raw` is a token with its prefix and quotes.
///
/// Backslash escapes are resolved where the constant says so itself (`E'…'`); else a backslash stays: for names of settings and for
/// statements in strings that is what the server sees, or it is not what it seems and cannot be read.
pub(super) fn of_string(raw: &[u8]) -> Vec<u8> {
    if raw.first() == Some(&b'$') {
        let tag = raw.iter().skip(1).position(|byte| *byte == b'$').map_or(0, |at| at + 2);
        return raw.get(tag..raw.len().saturating_sub(tag)).unwrap_or_default().to_vec();
    }
    let Some(quote_at) = raw.iter().take(4).position(|byte| matches!(byte, b'\'' | b'"')) else { return Vec::new() };
    let prefix = raw.get(..quote_at).unwrap_or_default();
    if prefix.last().is_some_and(|last| *last | 0x20 == b'q') {
        return raw.get(quote_at + 2..raw.len().saturating_sub(2)).unwrap_or_default().to_vec();
    }
    let escapes = prefix.first().is_some_and(|first| *first | 0x20 == b'e');
    let quote = raw.get(quote_at).copied().unwrap_or(b'\'');
    let triple = raw.get(quote_at..quote_at + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote)) && raw.len() >= quote_at + 6;
    let width = if triple { 3 } else { 1 };
    let body = raw.get(quote_at + width..raw.len().saturating_sub(width)).unwrap_or_default();
    unquoted(body, quote, escapes)
}

/// What a quoted name stands for.
pub(super) fn of_name(raw: &[u8]) -> Vec<u8> {
    let Some(at) = raw.iter().take(3).position(|byte| matches!(byte, b'"' | b'`' | b'[')) else { return raw.to_vec() };
    let close = match raw.get(at) {
        Some(b'[') => b']',
        Some(other) => *other,
        None => b'"',
    };
    unquoted(raw.get(at + 1..raw.len().saturating_sub(1)).unwrap_or_default(), close, false)
}

fn unquoted(body: &[u8], quote: u8, escapes: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'\\' {
            match (escapes, rest.peek().copied()) {
                (true, Some(next)) => {
                    rest.next();
                    out.extend(escaped(next, &mut rest));
                }
                // Whatever the mode: an escaped quote is a quote.
                (false, Some(next)) if next == quote => {
                    rest.next();
                    out.push(next);
                }
                _ => out.push(byte),
            }
        } else if byte == quote {
            if rest.peek() == Some(&quote) {
                rest.next();
                out.push(quote);
            } else {
                // The string goes on after a line's end: pass over what stands between.
                while rest.next_if(|byte| *byte != quote).is_some() {}
                rest.next();
            }
        } else {
            out.push(byte);
        }
    }
    out
}

fn escaped(letter: u8, rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>) -> Vec<u8> {
    let number = |radix: u32, first: u32, most: usize, rest: &mut std::iter::Peekable<_>| {
        let mut sum = first;
        for _ in 0..most {
            let digit = |byte: &u8| char::from(*byte).to_digit(radix);
            let Some(value) = Iterator::by_ref(rest).next_if(|byte| digit(byte).is_some()).as_ref().and_then(digit) else { break };
            sum = sum.wrapping_mul(radix).wrapping_add(value);
        }
        sum
    };
    let text = |code: u32| char::from_u32(code).map(|c| c.to_string().into_bytes()).unwrap_or_default();
    match letter {
        b'n' => vec![b'\n'],
        b't' => vec![b'\t'],
        b'r' => vec![b'\r'],
        b'b' => vec![8],
        b'f' => vec![12],
        b'x' => vec![u8::try_from(number(16, 0, 2, rest) & 0xff).unwrap_or(0)],
        b'u' => text(number(16, 0, 4, rest)),
        b'U' => text(number(16, 0, 8, rest)),
        b'0'..=b'7' => vec![u8::try_from(number(8, u32::from(letter - b'0'), 2, rest) & 0xff).unwrap_or(0)],
        other => vec![other],
    }
}
