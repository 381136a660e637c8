//! Bodies of gRPC, gRPC-web and Connect's streams: messages, each behind a byte of flags and four of length.
//!
//! Such a call is judged by its method, before its messages come. So that nobody can send another tongue's request under that label, each
//! envelope must be one: its first byte is a control character, which neither JSON nor GraphQL nor SQL begins with.

/// A byte of flags and four of length.
const HEAD: usize = 5;

/// Not an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoEnvelope;

/// The reader: where in an envelope it is.
#[derive(Debug, Default)]
pub(crate) struct Envelopes {
    head: [u8; HEAD],
    have: usize,
    left: u32,
}

impl Envelopes {
    /// Takes what came.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), NoEnvelope> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= u32::try_from(skipped).unwrap_or(self.left);
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            // Compressed or not; a client has no other flag to set.
            if self.have == 0 && *first > 1 {
                return Err(NoEnvelope);
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == HEAD {
                let [_, length @ ..] = self.head;
                self.left = u32::from_be_bytes(length);
                self.have = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8], piece: usize) -> Result<(), NoEnvelope> {
        let mut envelopes = Envelopes::default();
        bytes.chunks(piece).try_for_each(|piece| envelopes.take(piece))
    }

    #[test]
    fn messages_follow_each_other() {
        let good = b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\0\x01{";
        for piece in 1..good.len() {
            assert_eq!(taken(good, piece), Ok(()), "{piece}");
            assert_eq!(taken(&[good, &b"{\"query\":1}"[..]].concat(), piece), Err(NoEnvelope), "{piece}");
        }
        for bad in [&b"{}"[..], b"\x02\0\0\0\0", b"\x80\0\0\0\0", b"DROP", b"\0\0\0\0\x01{{"] {
            assert_eq!(taken(bad, 3), Err(NoEnvelope), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(bytes in proptest::collection::vec(0u8..4, 0..200), piece in 1usize..20) {
            proptest::prop_assert_eq!(taken(&bytes, piece), taken(&bytes, bytes.len().max(1)));
        }
    }
}
