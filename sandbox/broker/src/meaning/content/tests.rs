//! Bodies in all their wrappings.

use std::io::Write;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `hello` as one uncompressed meta-block, by hand from RFC 7932.
const BROTLI_HELLO: &[u8] = &[0x0b, 0x02, 0x80, b'h', b'e', b'l', b'l', b'o', 0x03];

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn decoded(encoding: &str, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    decode(&headers(&[("content-encoding", encoding)]), Body::Whole(bytes)).map(std::borrow::Cow::into_owned)
}

#[test]
fn takes_off_each_encoding() {
    assert_eq!(decoded("gzip", &gzip(b"hello")).unwrap(), b"hello");
    assert_eq!(decoded("X-GZIP", &gzip(b"hello")).unwrap(), b"hello");
    assert_eq!(decoded("deflate", &zlib(b"hello")).unwrap(), b"hello");
    assert_eq!(decoded("deflate", &raw_deflate(b"hello")).unwrap(), b"hello");
    assert_eq!(decoded("br", BROTLI_HELLO).unwrap(), b"hello");
    assert_eq!(decoded("zstd", &zstd(b"hello")).unwrap(), b"hello");
    assert_eq!(decoded("identity", b"hello").unwrap(), b"hello");
    assert_eq!(decoded("deflate, gzip", &gzip(&zlib(b"hello"))).unwrap(), b"hello");
}

#[test]
fn refuses_what_has_two_readings() {
    assert_eq!(decoded("gzip, gzip, gzip", &gzip(&gzip(&gzip(b"x")))), Err(Unreadable::Encoding));
    assert_eq!(decoded("compress", b"x"), Err(Unreadable::Encoding));
    assert_eq!(decoded("gzip", b"hello"), Err(Unreadable::Damaged));
    assert_eq!(decoded("gzip", &[gzip(b"a"), gzip(b"b")].concat()), Err(Unreadable::Trailing));
    assert_eq!(decoded("gzip", &[gzip(b"a"), b"b".to_vec()].concat()), Err(Unreadable::Trailing));
    assert_eq!(decoded("deflate", &[zlib(b"a"), b"b".to_vec()].concat()), Err(Unreadable::Trailing));
    assert_eq!(decoded("br", &[BROTLI_HELLO, b"b"].concat()), Err(Unreadable::Trailing));
    assert_eq!(decoded("zstd", &[zstd(b"a"), zstd(b"b")].concat()), Err(Unreadable::Trailing));
    let cut = gzip(b"hello hello hello");
    assert_eq!(decoded("gzip", &cut[..cut.len() - 4]), Err(Unreadable::Damaged));
}

#[test]
fn stops_a_bomb() {
    let zeros = vec![0; LONGEST_DECODED + 1];
    assert_eq!(decoded("gzip", &gzip(&zeros)), Err(Unreadable::Bomb));
    assert_eq!(decoded("deflate", &zlib(&zeros)), Err(Unreadable::Bomb));
}

fn whole(content_type: &str, bytes: &[u8]) -> Content {
    understand(&Media::of(&headers(&[("content-type", content_type)])), bytes)
}

#[test]
fn json_is_json_whatever_it_is_called() {
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.api+json",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "image/png",
        "",
    ] {
        assert!(matches!(whole(content_type, b"{\"a\":1}"), Content::Json(_)), "{content_type}");
    }
    assert!(matches!(understand(&Media::of(&HeaderMap::new()), b"[1]"), Content::Json(_)));
}

#[test]
fn other_character_sets_are_not_read() {
    assert_eq!(whole("application/json; charset=utf-16", b"{\"a\":1}"), Content::Unreadable(Unreadable::Charset));
    assert_eq!(whole("application/json; charset=utf-7", b"{\"a\":1}"), Content::Unreadable(Unreadable::Charset));
    let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(whole("application/json", &utf16), Content::Unreadable(_)));
    assert!(matches!(whole("text/plain", b"\xffabc"), Content::Unreadable(_)));
}

#[test]
fn two_content_types_are_none() {
    let media = Media::of(&headers(&[("content-type", "text/plain"), ("content-type", "application/json")]));
    assert_eq!(understand(&media, b"{}"), Content::Unreadable(Unreadable::TwoTypes));
    assert_eq!(whole("application/json, text/plain", b"{}"), Content::Unreadable(Unreadable::TwoTypes));
}

#[test]
fn forms() {
    assert_eq!(whole("application/x-www-form-urlencoded", b"a=1&b=%20"), Content::Form(vec![("a".into(), "1".into()), ("b".into(), " ".into())]));
    assert_eq!(whole("application/x-www-form-urlencoded", b"a=%ff"), Content::Unreadable(Unreadable::Form));
}

const FORM: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x;y\"\r\nContent-Type: image/png\r\n\r\n\xff\xd8\r\n--b--\r\n";

#[test]
fn multipart_forms() {
    let content = whole("multipart/form-data; boundary=b", FORM);
    let Content::Multipart(parts) = content else { panic!("{content:?}") };
    assert_eq!(parts, [Part { name: "a".into(), is_file: false, text: Some("1".into()) }, Part { name: "f".into(), is_file: true, text: None }]);
    for broken in [
        "--b\r\n\r\n\r\n--b--",
        "x--b--",
        "--b--",
        "--b\nContent-Disposition: form-data; name=a\n\nx\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n\r\n--b--",
    ] {
        assert_eq!(whole("multipart/form-data; boundary=b", broken.as_bytes()), Content::Unreadable(Unreadable::Form), "{broken}");
    }
    assert_eq!(whole("multipart/form-data", FORM), Content::Unreadable(Unreadable::Form));
    assert_eq!(whole("multipart/form-data; boundary=b; boundary=c", FORM), Content::Unreadable(Unreadable::TwoTypes));
}

#[test]
fn only_data_may_go_on_beyond_the_bound() {
    let none = HeaderMap::new();
    let of = |content_type: &str, first: &'static [u8]| beginning(&Media::of(&headers(&[("content-type", content_type)])), &none, Body::TooLong { first });
    assert_eq!(of("application/octet-stream", b"\x00\x01"), Content::Data);
    assert_eq!(of("application/octet-stream", b" {\"query\":"), Content::Unreadable(Unreadable::TooLong));
    assert_eq!(of("application/json", b"{"), Content::Unreadable(Unreadable::TooLong));
    assert_eq!(of("text/plain", b"a"), Content::Unreadable(Unreadable::TooLong));
    let gzipped = headers(&[("content-encoding", "gzip")]);
    assert_eq!(
        beginning(&Media::of(&headers(&[("content-type", "image/png")])), &gzipped, Body::TooLong { first: b"x" }),
        Content::Unreadable(Unreadable::TooLong)
    );
}

#[test]
fn lines_of_json_are_an_array() {
    assert!(matches!(whole("application/x-ndjson", b"{\"a\":1}\n{\"b\":2}\n"), Content::Json(serde_json::Value::Array(lines)) if lines.len() == 2));
    assert!(matches!(whole("application/x-ndjson", b"{\"a\":1}\n{\"b\":2,\"b\":3}\n"), Content::Unreadable(_)));
}

proptest! {
    #[test]
    fn decoders_never_panic(encoding in "(gzip|deflate|br|zstd|gzip, br)", bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decoded(&encoding, &bytes);
    }

    #[test]
    fn bodies_never_panic(content_type in "(application/json|multipart/form-data; boundary=b|application/x-www-form-urlencoded|text/plain|image/png|x)", bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = whole(&content_type, &bytes);
    }

    #[test]
    fn forms_never_panic(tail in "(\r\n|--b|--|:|;|=|name|\"|form-data|Content-Disposition| ){0,30}") {
        let _ = whole("multipart/form-data; boundary=b", format!("--b\r\nContent-Disposition: form-data{tail}").as_bytes());
    }

    #[test]
    fn gzip_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(decoded("gzip", &gzip(&bytes)).unwrap(), bytes);
    }
}
