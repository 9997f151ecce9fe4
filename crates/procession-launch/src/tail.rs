//! What a child said last: its output goes on to this process's own stream, and the end of it is kept.
//!
//! Relies on the [`pump`](crate::pump) to read while the child runs. Whoever joins the child reads what is left itself,
//! so all that the child wrote before its end has been passed on by then, even if the pump is busy and if somebody else
//! still holds the pipe open.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use procession_sys::{Deadline, Interest, SPAWN_DESCRIPTOR_MIN, bytes_waiting, dup, pipe, poll_one, set_nonblocking};

use crate::child::Child;
use crate::pump::{self, Advance, Source};

/// How many bytes of an output are kept: a long panic with its backtrace, and little enough for a thousand children.
pub const TAIL_BYTES_MAX: usize = 16 * 1024;

/// How many lines of a tail an error's message shows; the whole tail is in its field.
pub const TAIL_LINES_SHOWN_MAX: usize = 10;

/// How many characters of such a line it shows.
pub const TAIL_LINE_CHARS_SHOWN_MAX: usize = 200;

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// How many chunks are read before the next source has its turn.
const CHUNKS_PER_STEP: usize = 8;

/// How many steps whoever joins makes at most: the bytes that a pipe can hold (`/proc/sys/fs/pipe-max-size`). What comes
/// after them was not written by the child.
const JOIN_STEPS_MAX: usize = (1 << 20) / (CHUNK * CHUNKS_PER_STEP);

/// The tail of one output, as the child's handle has it.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    kept: Arc<Mutex<Kept>>,
    /// The other owner is the pump, which lets go of it at its end.
    source: Weak<Pipe>,
}

/// What of an output is kept.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// How many have come, with those that were thrown away.
    total: u64,
}

/// The read end of the child's output.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: File,
    /// Where the output goes on to, unless that is closed. Locked while something is read and written, for the order.
    own: Mutex<Option<File>>,
    kept: Arc<Mutex<Kept>>,
}

impl Tail {
    /// A new pipe whose bytes go on to `own`: the child's end, the tail, and what the pump is to read.
    pub(crate) fn open(own: impl AsFd) -> io::Result<(OwnedFd, Self, Arc<Pipe>)> {
        let (read, write) = pipe()?;
        set_nonblocking(&read)?;
        let kept = Arc::default();
        // Where this process has closed its stream, the child's output goes nowhere, as if it were inherited.
        let own = Mutex::new(dup(own, SPAWN_DESCRIPTOR_MIN).ok().map(File::from));
        let pipe = Arc::new(Pipe { reader: read.into(), own, kept: Arc::clone(&kept) });
        Ok((write, Self { kept, source: Arc::downgrade(&pipe) }, pipe))
    }

    /// Passes on what has come.
    pub(crate) fn drain(&self) {
        let Some(pipe) = self.source.upgrade().filter(|_| pump::is_running()) else { return };
        let _ = (0..JOIN_STEPS_MAX).find(|_| pipe.advance() != Advance::More);
    }

    /// The kept end of what has come.
    pub(crate) fn text(&self) -> String {
        self.text_since(0)
    }

    /// How much the child has written so far. Waits for no process.
    fn position(&self) -> u64 {
        let kept = self.kept.lock();
        kept.total + self.source.upgrade().and_then(|pipe| bytes_waiting(&*pipe).ok()).unwrap_or(0)
    }

    /// As much of the kept end as came after a position.
    fn text_since(&self, position: u64) -> String {
        self.drain();
        self.kept.lock().text_since(position)
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.total += bytes.len() as u64;
        // Not with every byte: what is thrown away is moved over.
        if self.bytes.len() > 2 * TAIL_BYTES_MAX {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES_MAX);
        self.bytes.drain(..excess);
    }

    /// What came after a position, as text. If it is cut, it begins with a whole line where it can, and in any case with a whole
    /// character.
    fn text_since(&mut self, position: u64) -> String {
        self.shorten();
        let first = self.total - self.bytes.len() as u64;
        if let Some(at) = position.checked_sub(first) {
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
            return String::from_utf8_lossy(&self.bytes[at..]).into_owned();
        }
        let line = self.bytes.iter().position(|&byte| byte == b'\n').map(|end| end + 1);
        let line = line.filter(|&begin| begin < self.bytes.len());
        let character = self.bytes.iter().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
        String::from_utf8_lossy(&self.bytes[line.unwrap_or(character)..]).into_owned()
    }
}

impl Pipe {
    /// Moves what there is from the pipe to what is kept, so that at no time it is in neither.
    fn take<'c>(&self, chunk: &'c mut [u8]) -> io::Result<&'c [u8]> {
        let mut kept = self.kept.lock();
        let count = (&self.reader).read(chunk)?;
        kept.push(&chunk[..count]);
        Ok(&chunk[..count])
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Source for Pipe {
    fn advance(&self) -> Advance {
        let mut own = self.own.lock();
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS_PER_STEP {
            let bytes = match self.take(&mut chunk) {
                Ok([]) => return Advance::End,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Advance::Nothing,
                Err(_) => return Advance::End,
            };
            if own.as_mut().is_some_and(|own| pass_on(own, bytes).is_err()) {
                *own = None;
            }
        }
        Advance::More
    }
}

/// Writes all of it, though the stream may be one that does not wait.
pub(crate) fn pass_on(own: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match own.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_one(&*own, Interest::Write, Deadline::NEVER)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Child {
    /// The end of what the child has written on its standard error so far, at most [`TAIL_BYTES_MAX`] bytes; `None`
    /// unless it was started with [`Stdio::tail`](crate::Stdio::tail).
    ///
    /// It begins with a whole line if it was cut; bytes that are no UTF-8 are replaced. After [`Child::wait`] it has all
    /// that the child wrote before its end, and perhaps what the child's own children go on to write.
    #[must_use]
    pub fn stderr_tail(&self) -> Option<String> {
        self.tails().1.as_ref().map(Tail::text)
    }

    /// How many bytes it has written there so far; zero without a tail.
    #[doc(hidden)]
    #[must_use]
    pub fn stderr_position(&self) -> u64 {
        self.tails().1.as_ref().map_or(0, Tail::position)
    }

    /// As much of [`stderr_tail`](Self::stderr_tail) as was written after such a position.
    #[doc(hidden)]
    #[must_use]
    pub fn stderr_tail_since(&self, position: u64) -> Option<String> {
        self.tails().1.as_ref().map(|tail| tail.text_since(position))
    }

    /// The same of its standard output.
    #[must_use]
    pub fn stdout_tail(&self) -> Option<String> {
        self.tails().0.as_ref().map(Tail::text)
    }
}

/// What an error's message says of a tail: its last lines, without the frames of a backtrace, which would be all that is
/// left of a long one. The tail itself has them.
#[must_use]
pub fn shown(tail: Option<&str>) -> String {
    let says_something = |line: &&str| !line.trim().is_empty() && !is_of_backtrace(line);
    let lines: Vec<&str> = tail.unwrap_or_default().lines().filter(says_something).collect();
    if lines.is_empty() {
        return String::new();
    }
    let cut = |line: &&str| {
        let printable: String =
            line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        match printable.char_indices().nth(TAIL_LINE_CHARS_SHOWN_MAX) {
            Some((end, _)) => format!("\n  {}…", &printable[..end]),
            None => format!("\n  {printable}"),
        }
    };
    let last = &lines[lines.len().saturating_sub(TAIL_LINES_SHOWN_MAX)..];
    format!("; it said last:{}", last.iter().map(cut).collect::<String>())
}

/// True for what std prints of a backtrace: its heading, its frames and their places, its notes.
fn is_of_backtrace(line: &str) -> bool {
    let line = line.trim_start();
    let is_frame = line.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    is_frame
        || line == "stack backtrace:"
        || line.starts_with("at /")
        || line.starts_with("at ./")
        || line.starts_with("note: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_what_was_said_and_no_backtrace_or_escape() {
        let tail = "memory allocation of 9 bytes failed\nstack backtrace:\n   0: __rust_abort\n             at /rustc/x.rs:5:1\n\
                    note: Some details are omitted\n\u{1b}[31mred\n";
        assert_eq!(shown(Some(tail)), "; it said last:\n  memory allocation of 9 bytes failed\n  \u{fffd}[31mred");
    }

    fn kept(pushes: &[&[u8]]) -> String {
        let mut kept = Kept::default();
        pushes.iter().for_each(|bytes| kept.push(bytes));
        assert!(kept.bytes.len() <= 2 * TAIL_BYTES_MAX);
        kept.text_since(0)
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(kept(&[b"one\n", b"two"]), "one\ntwo");
        assert_eq!(kept(&[&[b'x'; TAIL_BYTES_MAX]]).len(), TAIL_BYTES_MAX);
        assert_eq!(kept(&[]), "");
    }

    #[test]
    fn what_came_after_a_position_is_told_apart() {
        let mut kept = Kept::default();
        kept.push("früher\n".as_bytes());
        let position = kept.total;
        kept.push(b"later\n");
        assert_eq!(kept.text_since(position), "later\n");
        assert_eq!(kept.text_since(kept.total), "");
        assert_eq!(kept.text_since(u64::MAX), "");
        kept.push(&[b'x'; 40_000]);
        assert_eq!(kept.text_since(position).len(), TAIL_BYTES_MAX);
        assert_eq!(kept.text_since(kept.total - 3), "xxx");
    }

    #[test]
    fn what_is_cut_begins_with_a_whole_line() {
        let text = kept(&[b"thrown away\n", &[b'x'; 100], b"\n", &[b'y'; TAIL_BYTES_MAX - 50]]);
        assert_eq!(text, "y".repeat(TAIL_BYTES_MAX - 50));
    }

    #[test]
    fn a_single_long_line_begins_with_a_whole_character() {
        let text = kept(&[b"x", "ö".repeat(TAIL_BYTES_MAX).as_bytes(), b"x"]);
        assert_eq!(text, format!("{}x", "ö".repeat(TAIL_BYTES_MAX / 2 - 1)));
        // The only line end is the last byte: the line before it is all there is.
        assert_eq!(kept(&[&[b'x'; 40_000], b"\n"]).len(), TAIL_BYTES_MAX);
    }

    #[test]
    fn a_message_shows_the_last_lines_only() {
        assert_eq!(shown(None), "");
        assert_eq!(shown(Some("\n \n")), "");
        assert_eq!(shown(Some("a\n\nb\n")), "; it said last:\n  a\n  b");
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(shown(Some(&many)).lines().count(), 1 + TAIL_LINES_SHOWN_MAX);
        assert!(shown(Some(&many)).ends_with("line 99"));
        assert!(shown(Some(&"ö".repeat(1000))).chars().count() < TAIL_LINE_CHARS_SHOWN_MAX + 50);
    }
}
