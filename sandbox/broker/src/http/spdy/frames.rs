//! A client's frames (SPDY/3.1, section 2.2), read as far as it takes to know that none of them brings data.
//!
//! Which stream is which stands in compressed headers. They need not be read: where a command has no input and no terminal, a client
//! opens its streams and ends them, and has no byte to send on any.

/// A frame's head: the word that tells control frames from data, then flags and the length.
const HEAD: usize = 8;

/// Longest control frame: headers of a stream are a few words, and settings a few numbers.
const LONGEST: u32 = 64 << 10;

/// The first two bytes of a control frame of version 3.
const CONTROL: [u8; 2] = [0x80, 0x03];

/// `SYN_STREAM`, `SYN_REPLY`, `RST_STREAM`, `SETTINGS`, `PING`, `GOAWAY`, `HEADERS`, `WINDOW_UPDATE`.
const KINDS: &[u16] = &[1, 2, 3, 4, 6, 7, 8, 9];

/// The reader: where in a frame it is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    have: usize,
    left: u32,
}

impl Frames {
    /// Takes what came.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= u32::try_from(skipped).unwrap_or(self.left);
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == HEAD {
                self.have = 0;
                self.left = length(self.head)?;
            }
        }
        Ok(())
    }
}

/// How long the frame with this head is.
fn length(head: [u8; HEAD]) -> Result<u32, &'static str> {
    let [first, second, third, fourth, _flags, length @ ..] = head;
    let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
    if first & 0x80 == 0 {
        return if length == 0 { Ok(0) } else { Err("it would bring data into the container, and was permitted without an input") };
    }
    if [first, second] != CONTROL || !KINDS.contains(&u16::from_be_bytes([third, fourth])) {
        return Err("a frame that SPDY/3.1 does not have");
    }
    if length > LONGEST { Err("a control frame that is too long") } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&CONTROL[..], &kind.to_be_bytes(), &[0], &length[1..], payload].concat()
    }

    fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&stream.to_be_bytes()[..], &[1], &length[1..], payload].concat()
    }

    fn taken(bytes: &[u8], piece: usize) -> Result<(), &'static str> {
        let mut frames = Frames::default();
        bytes.chunks(piece).try_for_each(|piece| frames.take(piece))
    }

    #[test]
    fn streams_may_be_opened_and_ended_but_carry_nothing() {
        // A payload that looks like data is skipped with its frame.
        let quiet = [control(1, &data(1, b"rm")), data(1, b""), control(6, &[0, 0, 0, 1]), control(9, &[0; 8]), data(3, b"")].concat();
        let loud = [quiet.clone(), data(3, b"r")].concat();
        for piece in 1..quiet.len() {
            assert_eq!(taken(&quiet, piece), Ok(()), "{piece}");
            assert!(taken(&loud, piece).is_err(), "{piece}");
        }
    }

    #[test]
    fn what_is_no_spdy_ends_it() {
        assert!(taken(b"\x80\x02\x00\x01\x00\x00\x00\x00", 8).is_err(), "another version");
        assert!(taken(&control(5, b""), 8).is_err(), "a kind that there is not");
        assert!(taken(&control(10, b""), 8).is_err(), "certificates");
        assert!(taken(b"\x80\x03\x00\x01\x00\xff\xff\xff", 8).is_err(), "too long");
        assert!(taken(b"GET / HTTP/1.1\r\n\r\n", 3).is_err(), "another protocol");
    }

    proptest::proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), piece in 1usize..20) {
            proptest::prop_assert_eq!(taken(&bytes, piece), taken(&bytes, bytes.len().max(1)));
        }
    }
}
