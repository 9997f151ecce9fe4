//! A stream of bytes in shared memory: positions count bytes since ever, and the memory is used round and round.
//!
//! Relies on whoever writes and whoever reads to keep their positions less than [`STREAM_BYTES`] apart; what they say
//! otherwise reaches other bytes of the same stream, and nothing else.

use procession_sys::{AccessError, SharedMap};

/// How long a stream's memory is.
///
/// Long enough that a worker goes on for some time before somebody has read what it wrote, and short enough to stay in a
/// processor's cache.
pub(super) const STREAM_BYTES: u64 = 256 << 10;

const _: () = assert!(STREAM_BYTES.is_power_of_two());

/// One stream's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Where it begins.
    pub(super) at: usize,
}

impl Stream {
    /// The two places where bytes from a position on are: up to the end of the memory, and from its beginning on.
    #[inline]
    fn places(self, position: u64, len: usize) -> (usize, usize) {
        let at = (position % STREAM_BYTES) as usize;
        (self.at + at, len.min(STREAM_BYTES as usize - at))
    }

    /// Writes bytes, of which there are at most as many as the memory is long.
    #[inline]
    pub(super) fn write(self, map: &SharedMap, position: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let (at, first) = self.places(position, bytes.len());
        map.write(at, &bytes[..first])?;
        if first < bytes.len() { map.write(self.at, &bytes[first..]) } else { Ok(()) }
    }

    /// Writes bytes in one piece; false if they would go beyond the end of the memory, and nothing was written.
    #[inline]
    pub(super) fn write_whole<const LEN: usize>(
        self,
        map: &SharedMap,
        position: u64,
        bytes: &[u8; LEN],
    ) -> Result<bool, AccessError> {
        let (at, first) = self.places(position, LEN);
        if first < LEN {
            return Ok(false);
        }
        map.write(at, bytes)?;
        Ok(true)
    }

    /// Reads so many bytes into new memory.
    #[inline]
    pub(super) fn read_vec(self, map: &SharedMap, position: u64, len: usize) -> Result<Vec<u8>, AccessError> {
        let (at, first) = self.places(position, len);
        if first == len {
            return map.read_vec(at, len);
        }
        let mut bytes = vec![0; len];
        self.read(map, position, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads as many bytes.
    #[inline]
    pub(super) fn read(self, map: &SharedMap, position: u64, into: &mut [u8]) -> Result<(), AccessError> {
        let (at, first) = self.places(position, into.len());
        map.read(at, &mut into[..first])?;
        if first < into.len() { map.read(self.at, &mut into[first..]) } else { Ok(()) }
    }
}
