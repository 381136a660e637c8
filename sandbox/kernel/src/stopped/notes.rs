//! Which call a thread was at that the kernel gate has sent here: the kernel restarts it as `restart_syscall`, and only a note says what it was.

use std::os::fd::OwnedFd;

use agentbox_ebpf::Note;
use aya::maps::{HashMap, Map, MapData, MapError};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use crate::sys::notify::Stopped;

/// After so many notes it is looked through what is left of threads that died on their way here.
const SWEEP_AFTER: u32 = 1024;

/// The map that the programs write.
#[derive(Debug)]
pub(super) struct Notes {
    map: HashMap<MapData, u32, [u8; size_of::<Note>()]>,
    taken: u32,
}

impl Notes {
    /// # Errors
    /// It is no such map.
    pub(super) fn of(map: OwnedFd) -> Result<Self, MapError> {
        Ok(Self { map: HashMap::try_from(Map::HashMap(MapData::from_fd(map)?))?, taken: 0 })
    }

    /// The call that was sent here and restarted; `None` where this restart is of another kind, `nanosleep` or `poll` that go on.
    ///
    /// A note counts for the very registers that it was made of: a thread whose call ended otherwise leaves one behind.
    pub(super) fn take(&mut self, restarted: &Stopped) -> Option<i32> {
        let thread = u32::try_from(restarted.tid).ok()?;
        let (number, arguments, instruction) = read(&self.map.get(&thread, 0).ok()?)?;
        // It is of no more use, whatever it says.
        let _ = self.map.remove(&thread);
        self.taken += 1;
        if self.taken >= SWEEP_AFTER {
            self.taken = 0;
            self.sweep();
        }
        (arguments == restarted.arguments && instruction == restarted.instruction).then_some(number)
    }

    fn sweep(&mut self) {
        let gone = |thread: &u32| i32::try_from(*thread).is_ok_and(|thread| kill(Pid::from_raw(thread), None) == Err(Errno::ESRCH));
        let gone: Vec<u32> = self.map.keys().filter_map(Result::ok).filter(gone).collect();
        for thread in gone {
            let _ = self.map.remove(&thread);
        }
    }
}

/// Number, arguments and instruction of a [`Note`] as it lies in memory.
fn read(bytes: &[u8; size_of::<Note>()]) -> Option<(i32, [u64; 6], u64)> {
    let words: Vec<u64> = bytes.chunks_exact(8).filter_map(|word| word.first_chunk().map(|word| u64::from_ne_bytes(*word))).collect();
    let (_, [a, b, c, d, e, f, instruction, _]) = words.split_first().and_then(|(at, rest)| Some((at, <[u64; 8]>::try_from(rest).ok()?)))?;
    let number = i32::from_ne_bytes(*bytes.get(64..68)?.first_chunk()?);
    Some((number, [a, b, c, d, e, f], instruction))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn words_lie_where_the_programs_put_them() {
        assert_eq!((offset_of!(Note, arguments), offset_of!(Note, instruction), offset_of!(Note, number)), (8, 56, 64));
        let mut bytes = [0; size_of::<Note>()];
        for (at, word) in [9, 1, 2, 3, 4, 5, 6, 7].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&u64::to_ne_bytes(word));
        }
        bytes[64..68].copy_from_slice(&263_i32.to_ne_bytes());
        assert_eq!(read(&bytes), Some((263, [1, 2, 3, 4, 5, 6], 7)));
    }
}
