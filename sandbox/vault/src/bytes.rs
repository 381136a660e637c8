//! Names and attribute values, which are bytes, as text in a journal: readable where they are UTF-8, hexadecimal otherwise.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// First character of the hexadecimal form. No path has it, and a value that begins with it is written in hexadecimal.
const HEX: char = '\0';

/// Bytes that are mostly text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// As a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<Bytes> for PathBuf {
    fn from(bytes: Bytes) -> Self {
        bytes.path().to_owned()
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0)
            && !text.starts_with(HEX)
        {
            return serializer.serialize_str(text);
        }
        let mut text = String::with_capacity(1 + self.0.len() * 2);
        text.push(HEX);
        for byte in &self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(hex) = text.strip_prefix(HEX) else { return Ok(Self(text.into_bytes())) };
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        hex.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>().map(Self).ok_or_else(|| D::Error::custom("no hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn every_byte_comes_back() {
        for bytes in [&b"a/b"[..], b"", b"\0", b"\0ab", b"\xff\xfe", "日本".as_bytes(), b"x\0y"] {
            let text = serde_json::to_string(&Bytes(bytes.to_vec())).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap().0, bytes, "{text}");
        }
        assert!(serde_json::from_str::<Bytes>("\"\\u0000abc\"").is_err());
        assert!(serde_json::from_str::<Bytes>("\"\\u0000zz\"").is_err());
    }
}
