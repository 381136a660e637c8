//! A database of NSS that has one certificate in it, trusted as an authority for servers: what Chromium and its kin read their users' roots from.
//!
//! It is `cert9.db`, a file of SQLite with one table (NSS's `lib/softoken/sdb.c`): a row for each object, a column for each attribute. The second
//! file, `key4.db`, NSS makes itself.

/// `CKA_*`, as NSS names its columns, and what they hold in the two rows. Numbers are four bytes, the first one the highest.
const CLASS: &str = "a0";
const TOKEN: &str = "a1";
const PRIVATE: &str = "a2";
const LABEL: &str = "a3";
const VALUE: &str = "a11";
const CERTIFICATE_TYPE: &str = "a80";
const ISSUER: &str = "a81";
const SERIAL: &str = "a82";
const SUBJECT: &str = "a101";
const SERVER_AUTH: &str = "ace536358";
const CLIENT_AUTH: &str = "ace536359";
const CODE_SIGNING: &str = "ace53635a";
const EMAIL_PROTECTION: &str = "ace53635b";
const STEP_UP: &str = "ace536360";
const SHA1_HASH: &str = "ace5363b4";

/// All attributes that NSS knows: it puts more certificates into a table only where it finds a column for each.
const COLUMNS: &str = "\
a0, a1, a2, a3, a10, a11, a12, a80, a81, a82, a83, a84, a85, a86, a87, a88, a89, a8a, a8b, a90, a100, a101, a102, a103, a104, a105, a106, \
a107, a108, a109, a10a, a10b, a10c, a110, a111, a120, a121, a122, a123, a124, a125, a126, a127, a128, a129, a130, a131, a132, a133, a134, \
a160, a161, a162, a163, a164, a165, a166, a170, a180, a181, a200, a201, a202, a210, a300, a301, a302, a400, a401, a402, a403, a404, a405, \
a406, a480, a481, a482, a500, a501, a502, a503, a40000211, a40000212, a80000001, ace534351, ace534352, ace534353, ace534354, ace534355, \
ace534356, ace534357, ace534358, ace534364, ace534365, ace534366, ace534367, ace534368, ace534369, ace534373, ace534374, ace536351, \
ace536352, ace536353, ace536354, ace536355, ace536356, ace536357, ace536358, ace536359, ace53635a, ace53635b, ace53635c, ace53635d, \
ace53635e, ace53635f, ace536360, ace5363b4, ace5363b5, ad5a0db00";

/// `CKO_CERTIFICATE` and `CKC_X_509`.
const CERTIFICATE: [u8; 4] = [0, 0, 0, 1];
const X_509: [u8; 4] = [0, 0, 0, 0];

/// `CKO_NSS_TRUST`, and of each use: `CKT_NSS_TRUSTED_DELEGATOR`, `CKT_NSS_VALID_DELEGATOR` and `CKT_NSS_MUST_VERIFY_TRUST`.
const TRUST: [u8; 4] = [0xce, 0x53, 0x43, 0x53];
const DELEGATOR: [u8; 4] = [0xce, 0x53, 0x43, 0x52];
const VALID: [u8; 4] = [0xce, 0x53, 0x43, 0x5b];
const NOT_KNOWN: [u8; 4] = [0xce, 0x53, 0x43, 0x53];

/// How NSS writes an attribute that is there and empty.
const EMPTY: [u8; 3] = [0xa5, 0x00, 0x5a];

const NAME: &[u8] = b"agentbox, the box's own authority";

/// Bytes of a page. Both rows lie in one.
const PAGE: u16 = 4096;

/// In the first page, before its rows.
const HEADER: usize = 100;

/// In each page: what it is, and how many rows it has.
const PAGE_HEADER: usize = 8;

/// The database, for a certificate in DER; none if that is no certificate or a large one.
pub(super) fn database(certificate: &[u8]) -> Option<Vec<u8>> {
    let Named { issuer, serial, subject } = Named::of(certificate)?;
    let sum = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let is_one: &[u8] = &[1];
    let is_none: &[u8] = &[0];
    let object = row(&[
        (CLASS, &CERTIFICATE),
        (TOKEN, is_one),
        (PRIVATE, is_none),
        (LABEL, NAME),
        (VALUE, certificate),
        (CERTIFICATE_TYPE, &X_509),
        (ISSUER, issuer),
        (SERIAL, serial),
        (SUBJECT, subject),
    ]);
    let trust = row(&[
        (CLASS, &TRUST),
        (TOKEN, is_one),
        (PRIVATE, is_none),
        (LABEL, &EMPTY),
        (ISSUER, issuer),
        (SERIAL, serial),
        (SERVER_AUTH, &DELEGATOR),
        (CLIENT_AUTH, &VALID),
        (CODE_SIGNING, &NOT_KNOWN),
        (EMAIL_PROTECTION, &NOT_KNOWN),
        (STEP_UP, is_none),
        (SHA1_HASH, sum.as_ref()),
    ]);
    let table = format!("CREATE TABLE nssPublic (id INTEGER PRIMARY KEY, {COLUMNS})");
    let schema = record(&[Value::Text("table"), Value::Text("nssPublic"), Value::Text("nssPublic"), Value::Number(2), Value::Text(&table)]);
    let mut file = page(&header(), &[schema])?;
    file.extend(page(&[], &[object, trust])?);
    Some(file)
}

/// What NSS finds a certificate by, each with its tag and length.
struct Named<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Named<'a> {
    /// RFC 5280, 4.1: the first parts of what is signed.
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let (whole, _) = element(certificate)?;
        let (signed, _) = element(whole.inner)?;
        let (mut serial, mut rest) = element(signed.inner)?;
        // The version, where it is said.
        if serial.tag == 0xa0 {
            (serial, rest) = element(rest)?;
        }
        let (_algorithm, rest) = element(rest)?;
        let (issuer, rest) = element(rest)?;
        let (_validity, rest) = element(rest)?;
        let (subject, _) = element(rest)?;
        Some(Self { issuer: issuer.whole, serial: serial.whole, subject: subject.whole })
    }
}

struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    inner: &'a [u8],
}

/// The first element of DER, and what follows it.
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let [tag, first, after @ ..] = bytes else { return None };
    let (length, inner) = match first {
        0..=0x7f => (usize::from(*first), after),
        0x81 => {
            let (length, inner) = after.split_first()?;
            (usize::from(*length), inner)
        }
        0x82 => {
            let (length, inner) = after.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), inner)
        }
        _ => return None,
    };
    let (inner, rest) = inner.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
    Some((Element { tag: *tag, whole, inner }, rest))
}

/// A value in a row, as SQLite has it.
enum Value<'a> {
    Nothing,
    Number(u8),
    Text(&'a str),
    Bytes(&'a [u8]),
}

fn row(attributes: &[(&str, &[u8])]) -> Vec<u8> {
    // The number of a row stands before it, and nothing in its own column.
    let mut values = vec![Value::Nothing];
    let of = |column: &str| attributes.iter().find(|(name, _)| *name == column).map_or(Value::Nothing, |(_, bytes)| Value::Bytes(bytes));
    values.extend(COLUMNS.split(", ").map(of));
    record(&values)
}

/// A record: the kinds of its values, and then these.
fn record(values: &[Value<'_>]) -> Vec<u8> {
    let (mut kinds, mut bodies) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::Nothing => kinds.push(0),
            Value::Number(number) => {
                kinds.push(1);
                bodies.push(*number);
            }
            Value::Text(text) => {
                number(&mut kinds, text.len() * 2 + 13);
                bodies.extend_from_slice(text.as_bytes());
            }
            Value::Bytes(bytes) => {
                number(&mut kinds, bytes.len() * 2 + 12);
                bodies.extend_from_slice(bytes);
            }
        }
    }
    // With its own length, which is one byte or two.
    let own = if kinds.len() < 0x7f { 1 } else { 2 };
    let mut record = Vec::new();
    number(&mut record, kinds.len() + own);
    record.extend(kinds);
    record.extend(bodies);
    record
}

/// A number of SQLite's own form, below 2^14: seven bits a byte.
fn number(out: &mut Vec<u8>, number: usize) {
    let low = u8::try_from(number & 0x7f).unwrap_or(0);
    match u8::try_from(number >> 7) {
        Ok(0) => out.push(low),
        high => out.extend([high.unwrap_or(0x7f) | 0x80, low]),
    }
}

/// The first hundred bytes of a file with two pages.
fn header() -> Vec<u8> {
    let mut header = b"SQLite format 3\0".to_vec();
    header.extend(PAGE.to_be_bytes());
    // No write-ahead log, nothing reserved at the end of a page, and the fixed shares of a page.
    header.extend([1, 1, 0, 64, 32, 32]);
    // Changes, pages, the first free page and how many there are, changes of the tables, their format.
    header.extend([1_u32, 2, 0, 0, 1, 4].iter().flat_map(|field| field.to_be_bytes()));
    // The cache, the largest root, UTF-8, and what is not used.
    header.extend([0_u32, 0, 1, 0, 0, 0].iter().flat_map(|field| field.to_be_bytes()));
    header.resize(HEADER - 8, 0);
    // Up to which change the next one holds: the version of SQLite that wrote it.
    header.extend([1_u32, 3_040_001].iter().flat_map(|field| field.to_be_bytes()));
    header
}

/// A page with these rows of a table, numbered from 1; none where they are too large for it.
fn page(header: &[u8], records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut cells = Vec::new();
    let mut places = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let mut cell = Vec::new();
        number(&mut cell, record.len());
        number(&mut cell, place + 1);
        cell.extend(record);
        // They are put in from the end.
        cell.extend(&cells);
        cells = cell;
        places.push(PAGE.checked_sub(u16::try_from(cells.len()).ok()?)?);
    }
    let start = *places.last()?;
    let mut page = header.to_vec();
    page.push(13);
    page.extend(0_u16.to_be_bytes());
    page.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    page.extend(start.to_be_bytes());
    page.push(0);
    debug_assert_eq!(page.len(), header.len() + PAGE_HEADER, "what stands before the rows' places");
    page.extend(places.iter().flat_map(|place| place.to_be_bytes()));
    if page.len() > usize::from(start) {
        return None;
    }
    page.resize(usize::from(start), 0);
    page.extend(cells);
    Some(page)
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    fn certificate(name: &str) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertificateDer::from_pem_slice(params.self_signed(&key).unwrap().pem().as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_as_sqlite_has_them() {
        let of = |value| {
            let mut out = Vec::new();
            number(&mut out, value);
            out
        };
        assert_eq!([of(0), of(127), of(128), of(16_383)], [vec![0], vec![0x7f], vec![0x81, 0], vec![0xff, 0x7f]]);
    }

    #[test]
    fn a_certificate_is_found_by_its_parts() {
        let der = certificate("an authority");
        let named = Named::of(&der).unwrap();
        assert!(named.issuer == named.subject && named.issuer.ends_with(b"an authority"));
        assert_eq!(named.serial.first(), Some(&2));
        for cut in 0..der.len() {
            assert!(Named::of(&der[..cut]).is_none(), "{cut}");
        }
        assert!(database(b"").is_none() && database(&[0x30; 64]).is_none());
    }

    #[test]
    fn each_attribute_has_its_column() {
        let all: Vec<_> = COLUMNS.split(", ").collect();
        for name in [CLASS, TOKEN, PRIVATE, LABEL, VALUE, CERTIFICATE_TYPE, ISSUER, SERIAL, SUBJECT, SERVER_AUTH, CLIENT_AUTH, CODE_SIGNING, STEP_UP, SHA1_HASH]
        {
            assert_eq!(all.iter().filter(|column| **column == name).count(), 1, "{name}");
        }
        assert!(all.contains(&EMAIL_PROTECTION) && all.iter().all(|column| column.trim() == *column));
    }

    #[test]
    fn what_is_too_large_for_a_page_is_left_out() {
        assert!(database(&certificate("an authority")).is_some_and(|file| file.len() == 2 * usize::from(PAGE)));
        assert!(database(&certificate(&"long".repeat(800))).is_none());
    }
}
