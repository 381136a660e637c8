//! One frame's head (RFC 6455, section 5.2): read with exactly one reading, and written.

/// Longest head: two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;

/// Longest payload of a control frame (section 5.5).
pub(super) const LONGEST_CONTROL: u64 = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// Whose frames are read: a client masks each, a server none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Client,
    Server,
}

/// Whether a frame ends its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Last,
    More,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    pub(super) end: End,
    /// Of the payload, in bytes.
    pub(super) length: u64,
    pub(super) mask: Option<[u8; 4]>,
}

/// Reads a head at the beginning of `bytes`; `None` where more bytes are needed. Beside it the head's own length.
///
/// # Errors
/// One sentence on what a strict reader does not take.
pub(super) fn read(bytes: &[u8], from: From) -> Result<Option<(Head, usize)>, &'static str> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("a frame with reserved bits, of an extension that nobody agreed to");
    }
    let opcode = Opcode::read(first & 0x0f).ok_or("a frame of an unknown kind")?;
    let end = if first & 0x80 == 0 { End::More } else { End::Last };
    let (length, rest) = match second & 0x7f {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    let shortest = match length {
        0..=125 => second & 0x7f < 126,
        126..=0xffff => second & 0x7f == 126,
        _ => second & 0x7f == 127,
    };
    if !shortest || length > u64::MAX >> 1 {
        return Err("a frame's length in an odd form");
    }
    if opcode.is_control() && (length > LONGEST_CONTROL || end == End::More) {
        return Err("a control frame that is long or in pieces");
    }
    let (mask, rest) = match (from, second & 0x80 != 0) {
        (From::Client, true) => match rest.split_first_chunk::<4>() {
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        },
        (From::Server, false) => (None, rest),
        (From::Client, false) => return Err("a client's frame without a mask"),
        (From::Server, true) => return Err("a server's frame with a mask"),
    };
    Ok(Some((Head { opcode, end, length, mask }, bytes.len() - rest.len())))
}

/// Writes a frame behind what is in `out`, masked where there is a mask.
pub(super) fn write(out: &mut Vec<u8>, opcode: Opcode, end: End, payload: &[u8], mask: Option<[u8; 4]>) {
    out.reserve(LONGEST_HEAD + payload.len());
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(opcode.bits() | if end == End::Last { 0x80 } else { 0 });
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask.as_slice()));
    let from = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        unmask(out.get_mut(from..).unwrap_or_default(), mask, 0);
    }
}

/// Puts a mask on, or takes it off; `at` is where in the payload the bytes begin.
pub(super) fn unmask(bytes: &mut [u8], mut mask: [u8; 4], at: u64) {
    mask.rotate_left(usize::try_from(at % 4).unwrap_or(0));
    for chunk in bytes.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_samples_of_the_rfc() {
        // Section 5.7.
        let plain = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let head = Head { opcode: Opcode::Text, end: End::Last, length: 5, mask: None };
        assert_eq!(read(&plain, From::Server), Ok(Some((head, 2))));
        let (head, length) = read(&masked, From::Client).unwrap().unwrap();
        let mut payload = masked[length..].to_vec();
        unmask(&mut payload, head.mask.unwrap(), 0);
        assert_eq!((payload.as_slice(), length), (&b"Hello"[..], 6));
        let mut out = Vec::new();
        write(&mut out, Opcode::Text, End::Last, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, masked);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (bytes, from, word) in [
            (&[0xc1, 0x00][..], From::Server, "reserved bits"),
            (&[0x83, 0x00], From::Server, "unknown kind"),
            (&[0x8b, 0x00], From::Server, "unknown kind"),
            (&[0x81, 0x00], From::Client, "without a mask"),
            (&[0x81, 0x80, 0, 0, 0, 0], From::Server, "with a mask"),
            (&[0x81, 126, 0, 125], From::Server, "odd form"),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], From::Server, "odd form"),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], From::Server, "odd form"),
            (&[0x89, 126, 0, 126], From::Server, "control frame"),
            (&[0x09, 0x00], From::Server, "control frame"),
        ] {
            let error = read(bytes, from).unwrap_err();
            assert!(error.contains(word), "{bytes:?}: {error}");
        }
        for bytes in [&[][..], &[0x81], &[0x81, 126, 1], &[0x81, 127, 0, 0, 0, 0]] {
            assert_eq!(read(bytes, From::Server), Ok(None));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_written_is_read(length in prop_oneof![0usize..300, 65_530usize..65_545, Just(100_000usize)], mask: Option<[u8; 4]>, last: bool, cut in 0usize..14) {
            let payload: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let end = if last { End::Last } else { End::More };
            let from = if mask.is_some() { From::Client } else { From::Server };
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, end, &payload, mask);
            let (head, used) = read(&out, from).unwrap().unwrap();
            prop_assert_eq!(head, Head { opcode: Opcode::Binary, end, length: length as u64, mask });
            let mut body = out.split_off(used);
            // In two parts, as it may come.
            let cut = cut.min(body.len());
            let (front, back) = body.split_at_mut(cut);
            if let Some(mask) = mask {
                unmask(front, mask, 0);
                unmask(back, mask, cut as u64);
            }
            prop_assert_eq!(body, payload);
            for short in 0..used {
                prop_assert_eq!(read(&out[..short], from), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            for from in [From::Client, From::Server] {
                if let Ok(Some((head, used))) = read(&bytes, from) {
                    prop_assert!(used <= bytes.len() && head.mask.is_some() == (from == From::Client));
                }
            }
        }
    }
}
