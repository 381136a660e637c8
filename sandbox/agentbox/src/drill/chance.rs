//! Chance: names, numbers and secrets that are new at each run, so that nothing a drill shows can be written down beforehand.

/// No randomness from the kernel: nothing can then be proven.
#[derive(Debug, thiserror::Error)]
#[error("the kernel gives no random bytes: {0}")]
pub(crate) struct NoChance(getrandom::Error);

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoChance> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoChance)?;
    Ok(bytes)
}

/// A number from `low` up to and including `high`.
pub(crate) fn between(low: u64, high: u64) -> Result<u64, NoChance> {
    let span = high.saturating_sub(low).saturating_add(1);
    // The bias of a remainder does not matter for stage props.
    Ok(low + u64::from_le_bytes(bytes()?) % span)
}

/// One of `words`; the empty text of an empty list.
pub(crate) fn one_of(words: &[&'static str]) -> Result<&'static str, NoChance> {
    let index = between(0, words.len().saturating_sub(1) as u64)?;
    Ok(usize::try_from(index).ok().and_then(|index| words.get(index)).copied().unwrap_or_default())
}

/// `one-other-7f`: a name as people give.
pub(crate) fn name(second: &[&'static str]) -> Result<String, NoChance> {
    const FIRST: &[&str] =
        &["amber", "brisk", "cedar", "delta", "ember", "fjord", "grove", "heron", "indigo", "juniper", "kelp", "lunar", "maple", "nova", "opal", "pine"];
    Ok(format!("{}-{}-{}", one_of(FIRST)?, one_of(second)?, hex(&bytes::<1>()?)))
}

/// A version 4 UUID (RFC 9562).
pub(crate) fn uuid() -> Result<String, NoChance> {
    let mut bytes: [u8; 16] = bytes()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_every_time_and_of_the_right_shape() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]));
        for _ in 0..200 {
            let number = between(3, 5).unwrap();
            assert!((3..=5).contains(&number));
        }
        assert_eq!(one_of(&[]).unwrap(), "");
        assert_eq!(name(&["db"]).unwrap().split('-').count(), 3);
    }
}
