//! Frames: how messages stand in a stream, as CPython's `multiprocessing.connection` writes them.
//!
//! A frame is the length of a message and its bytes. The length is a signed 32-bit number with its first byte first; -1
//! there says that it follows as an unsigned 64-bit one. Pure: whoever owns the stream moves the bytes. Relies on nothing.
//!
//! What a header says is believed only so far that it is never read beyond: room is made as bytes come.

use std::ops::Deref;

/// Room that is made for a message of which nothing has come; later, as much again as has come.
///
/// Most messages have it at once; a peer that announces more than it sends costs this and half of what it sends.
pub(crate) const ROOM_BYTES_MIN: usize = 64 * 1024;

/// The longest message whose length stands in four bytes.
const SHORT_BYTES_MAX: u64 = i32::MAX as u64;
const SHORT: usize = 4;
const LONG: usize = SHORT + 8;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: [u8; LONG],
    len: usize,
}

impl Header {
    /// That of a message of this length.
    pub(crate) fn of(length: u64) -> Self {
        let mut bytes = [0; LONG];
        if length <= SHORT_BYTES_MAX {
            bytes[..SHORT].copy_from_slice(&(length as u32).to_be_bytes());
            return Self { bytes, len: SHORT };
        }
        bytes[..SHORT].copy_from_slice(&(-1_i32).to_be_bytes());
        bytes[SHORT..].copy_from_slice(&length.to_be_bytes());
        Self { bytes, len: LONG }
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a frame that is coming needs next.
#[derive(Debug)]
pub(crate) enum Need<'a> {
    /// Bytes of the header, as many as fit; then [`Incoming::push_header`].
    Header(&'a mut [u8]),
    /// So many bytes of the message at most, onto what has come of it.
    Message {
        /// What has come.
        message: &'a mut Vec<u8>,
        /// How many bytes to make room for now; not zero, and never beyond the frame.
        room: usize,
    },
    /// Nothing: it is whole.
    Nothing,
}

/// A frame that is coming, perhaps byte by byte.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    header: [u8; LONG],
    header_had: usize,
    /// Once the header is whole.
    length: Option<u64>,
    message: Vec<u8>,
}

impl Incoming {
    /// Whether anything of it has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.header_had != 0
    }

    /// How long the message is; zero until that has come.
    pub(crate) fn length(&self) -> u64 {
        self.length.unwrap_or(0)
    }

    /// How much of the message has come.
    pub(crate) fn had(&self) -> usize {
        self.message.len()
    }

    /// What it needs next.
    pub(crate) fn need(&mut self) -> Need<'_> {
        let Some(length) = self.length else {
            let end = self.header_len();
            return Need::Header(&mut self.header[self.header_had..end]);
        };
        let had = self.message.len();
        let rest = usize::try_from(length - had as u64).unwrap_or(usize::MAX);
        let room = match self.message.capacity() - had {
            0 => had.max(ROOM_BYTES_MIN),
            made => made,
        };
        match rest.min(room) {
            0 => Need::Nothing,
            room => Need::Message { message: &mut self.message, room },
        }
    }

    /// Tells that so many bytes of the header have come.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn push_header(&mut self, count: usize) -> Result<(), &'static str> {
        self.header_had += count;
        if self.header_had < SHORT {
            return Ok(());
        }
        let (short, long) = self.header.split_at(SHORT);
        match i32::from_be_bytes(short.try_into().expect("four bytes")) {
            -1 if self.header_had < LONG => {}
            -1 => self.length = Some(u64::from_be_bytes(long.try_into().expect("eight bytes"))),
            negative if negative < 0 => return Err("a message has a negative length"),
            length => self.length = Some(length.unsigned_abs().into()),
        }
        Ok(())
    }

    /// How long the header is, by what has come of it.
    fn header_len(&self) -> usize {
        if self.header_had < SHORT { SHORT } else { LONG }
    }

    /// What has come of the message, and where more goes, for those who move it elsewhere.
    pub(crate) fn message(&mut self) -> &mut Vec<u8> {
        &mut self.message
    }

    /// The message; the next frame begins.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).message
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads frames out of `bytes`, of which at most `step` come at a time; what remains, and how it ended.
    fn read(mut bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, Result<Incoming, &'static str>) {
        let (mut whole, mut incoming) = (Vec::new(), Incoming::default());
        loop {
            let count = match incoming.need() {
                Need::Header(room) => {
                    let count = bytes.len().min(step).min(room.len());
                    room[..count].copy_from_slice(&bytes[..count]);
                    if let Err(reason) = incoming.push_header(count) {
                        return (whole, Err(reason));
                    }
                    count
                }
                Need::Message { message, room } => {
                    message.reserve_exact(room);
                    let count = bytes.len().min(step).min(room);
                    message.extend_from_slice(&bytes[..count]);
                    count
                }
                Need::Nothing => {
                    whole.push(incoming.take());
                    continue;
                }
            };
            bytes = &bytes[count..];
            if count == 0 {
                return (whole, Ok(incoming));
            }
        }
    }

    #[test]
    fn lengths_stand_where_python_has_them() {
        assert_eq!(*Header::of(0), [0, 0, 0, 0]);
        assert_eq!(*Header::of(0x0102_0304), [1, 2, 3, 4]);
        assert_eq!(*Header::of(0x7fff_ffff), [0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(*Header::of(0x8000_0000), [255, 255, 255, 255, 0, 0, 0, 0, 0x80, 0, 0, 0]);
    }

    #[test]
    fn a_short_length_may_stand_in_the_long_form() {
        let (messages, rest) = read(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x02hi\0\0\0\0", 1);
        assert_eq!(messages, [b"hi".to_vec(), Vec::new()]);
        assert!(!rest.unwrap().has_begun());
    }

    #[test]
    fn a_negative_length_is_an_error() {
        for word in [-2, i32::MIN] {
            assert!(read(&word.to_be_bytes(), 4).1.is_err());
        }
    }

    #[test]
    fn an_announced_length_costs_no_memory() {
        let (_, rest) = read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffabc", 100);
        let mut rest = rest.unwrap();
        assert_eq!((rest.length(), rest.had()), (u64::MAX, 3));
        assert_eq!(rest.message().capacity(), ROOM_BYTES_MIN);
    }

    proptest! {
        #[test]
        fn messages_come_whole_however_their_bytes_do(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..9), step in 1_usize..400,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend_from_slice(&Header::of(message.len() as u64));
                stream.extend_from_slice(message);
            }
            let (read, rest) = read(&stream, step);
            prop_assert_eq!(read, messages);
            prop_assert!(!rest.unwrap().has_begun());
        }

        #[test]
        fn any_bytes_are_messages_or_an_error(
            words in proptest::collection::vec(prop_oneof![any::<i32>(), -2..9, Just(-1)], 0..20), step in 1_usize..20,
        ) {
            let stream: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            let (messages, rest) = read(&stream, step);
            let had = messages.iter().map(Vec::len).sum::<usize>() + rest.as_ref().map_or(0, Incoming::had);
            prop_assert!(had <= stream.len());
            if let Ok(mut rest) = rest {
                prop_assert!(rest.message().capacity() <= ROOM_BYTES_MIN.max(2 * stream.len()), "it grows with what comes");
            }
        }
    }
}
