//! The first packets: what the server says of itself, without what is not spoken here, and how the client answers.

use super::{
    packets::{Body, Malformed, counted, utf8},
    proofs::NONCE,
};

/// What client and server may agree on (`mysql_com.h`).
pub(super) mod can {
    pub(crate) const LONG_PASSWORD: u32 = 1;
    pub(crate) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(crate) const COMPRESS: u32 = 1 << 5;
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    pub(crate) const TLS: u32 = 1 << 11;
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(crate) const CONNECT_ATTRIBUTES: u32 = 1 << 20;
    pub(crate) const COUNTED_AUTH: u32 = 1 << 21;
    pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;
    /// All that is understood: not compression (bits 5 and 26), result sets without their columns (25), attributes of queries (27), further
    /// factors (28), and what is not given yet.
    pub(crate) const SPOKEN: u32 = ((1 << 25) - 1) & !COMPRESS;
    /// MariaDB's own: many values at once, and more on columns. Not: progress in errors, many commands at once, columns left out.
    pub(crate) const SPOKEN_BY_MARIADB: u32 = 0b1100;
}

/// Longest first packet, either way.
pub(super) const LONGEST: usize = 64 << 10;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The packet's body, with nothing offered that is not spoken.
    pub(super) body: Vec<u8>,
    /// What is offered to the client.
    pub(super) capabilities: u32,
    pub(super) plugin: String,
    /// What a password is proven with.
    pub(super) nonce: Vec<u8>,
}

impl Greeting {
    /// Reads the body of a server's first packet.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Body(body);
        if rest.byte()? != 10 {
            return Err(Malformed::Version);
        }
        rest.text()?;
        rest.take(4)?;
        let mut nonce = rest.take(8)?.to_vec();
        rest.take(1)?;
        let low_at = body.len() - rest.0.len();
        let low = rest.number(2)?;
        rest.take(3)?;
        let high = rest.number(2)?;
        let capabilities = u32::try_from(high << 16 | low).unwrap_or(0);
        if capabilities & can::PROTOCOL_41 == 0 || capabilities & can::SECURE_CONNECTION == 0 {
            return Err(Malformed::Version);
        }
        let scramble = usize::from(rest.byte()?);
        rest.take(6)?;
        let own_at = body.len() - rest.0.len();
        let own = rest.number(4)?;
        let more = rest.take(scramble.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(more.get(..NONCE - nonce.len()).unwrap_or_default());
        let plugin = if capabilities & can::PLUGIN_AUTH == 0 { "mysql_native_password" } else { utf8(rest.last_text())? };
        if !rest.0.is_empty() {
            return Err(Malformed::Long);
        }
        let offered = capabilities & can::SPOKEN;
        let own = u32::try_from(own).unwrap_or(0) & can::SPOKEN_BY_MARIADB;
        let mut body = body.to_vec();
        let bits = offered.to_le_bytes();
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = body.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(low_at, bits.get(..2).unwrap_or_default());
        put(low_at + 5, bits.get(2..).unwrap_or_default());
        // MySQL keeps these bytes empty, and says by a bit that it is MySQL.
        put(own_at, &if capabilities & can::LONG_PASSWORD == 0 { own.to_le_bytes() } else { [0; 4] });
        Ok(Self { body, capabilities: offered, plugin: plugin.to_owned(), nonce })
    }

    pub(super) fn has_tls(&self) -> bool {
        self.capabilities & can::TLS != 0
    }
}

/// What a client answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It wants TLS first.
    Tls,
    /// Who it is.
    Login(Box<Login>),
}

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) capabilities: u32,
    /// Most bytes of a packet, the number of its encoding, and MariaDB's own capabilities.
    largest: u32,
    pub(super) collation: u8,
    own: u32,
    pub(super) user: Vec<u8>,
    pub(super) proof: Vec<u8>,
    pub(super) database: Option<Vec<u8>>,
    pub(super) plugin: Option<String>,
    attributes: Vec<u8>,
}

/// The first 32 bytes of a client's answer.
fn front(capabilities: u32, largest: u32, collation: u8, own: u32) -> Vec<u8> {
    let mut bytes = capabilities.to_le_bytes().to_vec();
    bytes.extend_from_slice(&largest.to_le_bytes());
    bytes.push(collation);
    bytes.extend_from_slice(&[0; 19]);
    bytes.extend_from_slice(&own.to_le_bytes());
    bytes
}

impl Answer {
    /// Reads the body of a client's first packet to a server that offers `offered`.
    pub(super) fn read(body: &[u8], offered: u32) -> Result<Self, Malformed> {
        let mut rest = Body(body);
        let said = u32::try_from(rest.number(4)?).unwrap_or(0);
        if said & can::PROTOCOL_41 == 0 || said & can::SECURE_CONNECTION == 0 {
            return Err(Malformed::Version);
        }
        let largest = u32::try_from(rest.number(4)?).unwrap_or(0);
        let collation = rest.byte()?;
        rest.take(19)?;
        let own = u32::try_from(rest.number(4)?).unwrap_or(0);
        if rest.0.is_empty() {
            return if said & offered & can::TLS == 0 { Err(Malformed::Short) } else { Ok(Answer::Tls) };
        }
        let mut login = Login { capabilities: said & offered, largest, collation, ..Login::default() };
        if said & can::LONG_PASSWORD == 0 {
            login.own = own & can::SPOKEN_BY_MARIADB;
        }
        login.user = rest.text()?.to_vec();
        login.proof = if said & can::COUNTED_AUTH != 0 {
            rest.bytes()?.to_vec()
        } else {
            let length = usize::from(rest.byte()?);
            rest.take(length)?.to_vec()
        };
        if said & can::CONNECT_WITH_DB != 0 && !rest.0.is_empty() {
            login.database = Some(rest.last_text().to_vec()).filter(|name| !name.is_empty());
        }
        if said & can::PLUGIN_AUTH != 0 && !rest.0.is_empty() {
            login.plugin = Some(utf8(rest.last_text())?.to_owned());
        }
        if said & can::CONNECT_ATTRIBUTES != 0 && !rest.0.is_empty() {
            login.attributes = rest.bytes()?.to_vec();
        }
        Ok(Answer::Login(Box::new(login)))
    }
}

impl Login {
    /// The same of a client that has proven nothing.
    pub(super) fn without_proof(&self) -> Self {
        Self { proof: Vec::new(), ..self.clone() }
    }

    /// The body to send on: what was read, and nothing else.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut capabilities = self.capabilities & !(can::CONNECT_WITH_DB | can::PLUGIN_AUTH | can::CONNECT_ATTRIBUTES | can::COUNTED_AUTH);
        capabilities |= if self.database.is_some() { can::CONNECT_WITH_DB } else { 0 };
        capabilities |= if self.plugin.is_some() { can::PLUGIN_AUTH } else { 0 };
        let is_counted = self.capabilities & can::COUNTED_AUTH != 0;
        capabilities |= if is_counted { can::COUNTED_AUTH } else { 0 };
        let has_attributes = self.capabilities & can::CONNECT_ATTRIBUTES != 0;
        capabilities |= if has_attributes { can::CONNECT_ATTRIBUTES } else { 0 };
        let mut bytes = front(capabilities, self.largest, self.collation, self.own);
        bytes.extend_from_slice(&self.user);
        bytes.push(0);
        if is_counted {
            bytes.extend_from_slice(&counted(self.proof.len()));
        } else {
            bytes.push(u8::try_from(self.proof.len()).unwrap_or(u8::MAX));
        }
        bytes.extend_from_slice(&self.proof);
        for text in [self.database.as_deref(), self.plugin.as_deref().map(str::as_bytes)].into_iter().flatten() {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        if has_attributes {
            bytes.extend_from_slice(&counted(self.attributes.len()));
            bytes.extend_from_slice(&self.attributes);
        }
        bytes
    }
}

/// A wish for TLS in the name of a client whose own wish was this.
pub(super) fn tls_wish(body: &[u8], offered: u32) -> Result<Vec<u8>, Malformed> {
    let mut rest = Body(body);
    let said = u32::try_from(rest.number(4)?).unwrap_or(0);
    let largest = u32::try_from(rest.number(4)?).unwrap_or(0);
    let collation = rest.byte()?;
    rest.take(19)?;
    let own = u32::try_from(rest.number(4)?).unwrap_or(0) & can::SPOKEN_BY_MARIADB;
    Ok(front(said & offered, largest, collation, if said & can::LONG_PASSWORD == 0 { own } else { 0 }))
}

/// The character set of a collation's number, as far as it matters how bytes above 127 are read; `unknown` for all that are not listed.
pub(super) fn character_set(collation: u64) -> &'static str {
    match collation {
        33 | 76 | 83 | 192..=215 | 223 => "utf8mb3",
        45 | 46 | 224..=247 | 255..=323 => "utf8mb4",
        5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => "latin1",
        11 | 65 => "ascii",
        63 => "binary",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(capabilities: u32, own: u32) -> Vec<u8> {
        let mut body = vec![10];
        body.extend_from_slice(b"8.4.0\0");
        body.extend_from_slice(&7u32.to_le_bytes());
        body.extend_from_slice(b"12345678\0");
        body.extend_from_slice(&capabilities.to_le_bytes()[..2]);
        body.extend_from_slice(&[45, 2, 0]);
        body.extend_from_slice(&capabilities.to_le_bytes()[2..]);
        body.push(21);
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&own.to_le_bytes());
        body.extend_from_slice(b"123456789012\0caching_sha2_password\0");
        body
    }

    #[test]
    fn nothing_is_offered_that_is_not_spoken() {
        let found = Greeting::read(&greeting(!can::LONG_PASSWORD, u32::MAX)).unwrap();
        assert_eq!((found.capabilities, found.plugin.as_str()), (can::SPOKEN & !can::LONG_PASSWORD, "caching_sha2_password"));
        let again = Greeting::read(&found.body).unwrap();
        assert_eq!(again, found);
        assert_eq!(found.body, greeting(can::SPOKEN & !can::LONG_PASSWORD, can::SPOKEN_BY_MARIADB));
        for bit in [5, 25, 26, 27, 28, 29, 30, 31] {
            assert_eq!(found.capabilities & 1 << bit, 0, "{bit}");
        }
        assert_eq!(Greeting::read(&greeting(0, 0)), Err(Malformed::Version));
        assert_eq!(Greeting::read(&[9]), Err(Malformed::Version));
        assert_eq!(Greeting::read(&greeting(u32::MAX, 0)[..30]), Err(Malformed::Short));
    }

    #[test]
    fn a_login_is_sent_on_as_it_was_read() {
        let login = Login {
            capabilities: can::SPOKEN & !can::LONG_PASSWORD,
            largest: 1 << 24,
            collation: 45,
            own: 4,
            user: b"agent".to_vec(),
            proof: vec![7; 20],
            database: Some(b"shop".to_vec()),
            plugin: Some("mysql_native_password".to_owned()),
            attributes: b"\x03_os\x05Linux".to_vec(),
        };
        let Answer::Login(again) = Answer::read(&login.body(), u32::MAX).unwrap() else { panic!("a login") };
        assert_eq!(*again, login);
        // What was not offered is not agreed on.
        let mut wide = login.body();
        wide[..4].copy_from_slice(&(!can::LONG_PASSWORD).to_le_bytes());
        let Answer::Login(narrow) = Answer::read(&wide, can::SPOKEN).unwrap() else { panic!("a login") };
        assert_eq!(narrow.capabilities & !can::SPOKEN, 0);
        assert_eq!(Answer::read(&login.body()[..32], can::SPOKEN), Ok(Answer::Tls));
        assert_eq!(tls_wish(&login.body()[..32], can::SPOKEN).unwrap().len(), 32);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), offered in proptest::num::u32::ANY) {
            let _ = Greeting::read(&bytes);
            if let Ok(Answer::Login(login)) = Answer::read(&bytes, offered)
                && let Ok(Answer::Login(again)) = Answer::read(&login.body(), offered)
            {
                proptest::prop_assert_eq!(&again.user, &login.user);
                proptest::prop_assert_eq!(&again.database, &login.database);
            }
        }
    }
}
