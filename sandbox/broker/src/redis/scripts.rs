//! The scripts that this box has shown to any server, by their digest: what a digest stands for is the same everywhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Scripts that are remembered, and how many bytes of them. Of further ones clients are asked for the text each time.
const MOST: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
struct Known {
    texts: HashMap<Vec<u8>, Bytes>,
    length: usize,
}

/// All of one box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripts(Arc<Mutex<Known>>);

impl Scripts {
    /// Takes in `EVAL` and `SCRIPT LOAD`.
    pub(super) fn learn(&self, words: &[&[u8]]) {
        let text = match words {
            [name, text, ..] if name.eq_ignore_ascii_case(b"eval") || name.eq_ignore_ascii_case(b"eval_ro") => text,
            [name, verb, text] if name.eq_ignore_ascii_case(b"script") && verb.eq_ignore_ascii_case(b"load") => text,
            _ => return,
        };
        let name = hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.texts.len() < MOST && known.length + text.len() <= MOST_BYTES && !known.texts.contains_key(&name) {
            known.length += text.len();
            known.texts.insert(name, Bytes::copy_from_slice(text));
        }
    }

    /// The text that a digest stands for.
    pub(super) fn text(&self, digest: &[u8]) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).texts.get(&digest.to_ascii_lowercase()).cloned()
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_by_its_digest() {
        let scripts = Scripts::default();
        scripts.learn(&[b"SCRIPT", b"load", b"return 1"]);
        assert_eq!(scripts.text(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB").as_deref(), Some(&b"return 1"[..]));
        assert_eq!(scripts.text(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8dc"), None);
        scripts.learn(&[b"GET", b"x"]);
        assert_eq!(scripts.0.lock().unwrap().texts.len(), 1);
    }
}
