//! Readers fed with noise: they answer or refuse, and never fall over.

use proptest::prelude::*;

use super::super::{
    id::{Hash, Id},
    object::{self, Kind, Node, Object},
    pack::{self, Index},
    refs,
    slot::Slot,
};

/// A plain index of these names, each with an offset.
fn index(ids: &[Id]) -> Vec<u8> {
    let mut bytes = vec![0xff, b't', b'O', b'c', 0, 0, 0, 2];
    for first in 0..=255_u8 {
        let upto = ids.iter().filter(|id| id.raw()[0] <= first).count();
        bytes.extend(u32::try_from(upto).unwrap().to_be_bytes());
    }
    ids.iter().for_each(|id| bytes.extend(id.raw()));
    bytes.extend(std::iter::repeat_n(0, ids.len() * 4));
    (0..ids.len()).for_each(|row| bytes.extend(u32::try_from(row).unwrap().to_be_bytes()));
    bytes.extend([0; 40]);
    bytes
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..2048)
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(bytes in some_bytes()) {
        for hash in [Hash::Sha1, Hash::Sha256] {
            let _ = refs::value(hash, &bytes);
            let _ = refs::packed(hash, &bytes);
            let _ = refs::log(hash, &bytes);
            let _ = object::tree(hash, &bytes);
            let _ = Index::parse(hash, bytes.clone());
        }
        let _ = object::loose(&bytes);
        let _ = pack::apply(&bytes, &bytes);
        for kind in [Kind::Commit, Kind::Tag, Kind::Tree, Kind::Blob] {
            let _ = Node::of(&Object { kind, content: bytes.clone() });
        }
    }

    #[test]
    fn a_damaged_index_is_never_read_past_its_end(raw in proptest::collection::btree_set(any::<[u8; 20]>(), 0..40), at in 0_usize..2000, byte in any::<u8>(), cut in 0_usize..200) {
        let ids: Vec<Id> = raw.iter().map(|raw| Id::from_raw(Hash::Sha1, raw).unwrap()).collect();
        let whole = index(&ids);
        let parsed = Index::parse(Hash::Sha1, whole.clone()).unwrap();
        for (row, id) in ids.iter().enumerate() {
            prop_assert_eq!(parsed.id(row), Some(*id));
            prop_assert_eq!(parsed.offset(id), u64::try_from(row).ok());
        }
        let mut damaged = whole;
        let length = damaged.len();
        if let Some(hit) = damaged.get_mut(at) {
            *hit = byte;
        }
        damaged.truncate(length.saturating_sub(cut));
        if let Ok(index) = Index::parse(Hash::Sha1, damaged) {
            for id in &ids {
                let _ = index.offset(id);
            }
            for row in 0..index.len().min(100) {
                let _ = (index.id(row), index.row_offset(row));
            }
        }
    }

    #[test]
    fn differences_that_are_damaged_make_nothing_longer_than_they_say(base in some_bytes(), difference in some_bytes()) {
        let mut whole = vec![u8::try_from(base.len() & 0x7f).unwrap() | 0x80, u8::try_from(base.len() >> 7).unwrap(), 64];
        whole.extend(difference);
        if let Ok(made) = pack::apply(&base, &whole) {
            prop_assert_eq!(made.len(), 64);
        }
    }

    #[test]
    fn packed_refs_come_back_as_they_were(names in proptest::collection::btree_set("[a-z]{1,8}(/[a-z]{1,8}){0,2}", 0..20), raw in any::<[u8; 20]>()) {
        let id = Id::from_raw(Hash::Sha1, &raw).unwrap();
        let names: std::collections::BTreeSet<String> = names.iter().map(|name| format!("refs/{name}")).collect();
        let text: String = names.iter().map(|name| format!("{} {name}\n", id.hex())).collect();
        let read = refs::packed(Hash::Sha1, text.as_bytes()).unwrap();
        prop_assert_eq!(read.keys().cloned().collect::<std::collections::BTreeSet<_>>(), names);
    }

    #[test]
    fn every_path_has_a_slot(path in "[a-zA-Z0-9._/-]{0,80}") {
        let slot = Slot::of(std::path::Path::new(&path));
        // Nothing that holds history is ever fleeting.
        let held = path.starts_with("refs/heads/") || path.starts_with("logs/") || path == "packed-refs" || path.ends_with(".pack");
        let temporary = path.ends_with(".lock") || path.contains("tmp_") || path.contains(".tmp-") || path.contains("incoming-");
        if held && !temporary && std::path::Path::new(&path).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            prop_assert!(!slot.is_fleeting() || path.contains("rebase-") || path.contains("sequencer") || path.contains("rr-cache") || path.contains("NOTES_") || path.starts_with("objects/info"), "{path}: {slot:?}");
        }
    }
}

#[test]
fn values_are_read_as_git_reads_them() {
    let hex = "1".repeat(40);
    let id = Id::from_hex(hex.as_bytes()).unwrap();
    for good in [hex.clone(), format!("{hex}\n"), format!("{hex} and more")] {
        assert_eq!(refs::value(Hash::Sha1, good.as_bytes()).unwrap(), refs::Value::Object(id));
    }
    for bad in [String::new(), hex[1..].to_owned(), format!("{hex}1"), "0".repeat(40), "ref: elsewhere".to_owned(), "ref: refs/../x".to_owned(), "1".repeat(64)]
    {
        assert!(refs::value(Hash::Sha1, bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(refs::value(Hash::Sha1, b"ref: refs/heads/x\n").unwrap(), refs::Value::Symbolic("refs/heads/x".to_owned()));
}
