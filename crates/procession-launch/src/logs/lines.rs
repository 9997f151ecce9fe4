//! A small subscriber of ours: each record is one line, written at once, so that many processes may share one file.
//!
//! Children write as their parent does: to the same open file, whose descriptor comes with their
//! [`Setup`](crate::protocol::Setup), or to their own standard error.

use std::fmt::{self, Debug, Write};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use procession_sys::is_append;
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, dispatcher};

use super::wire::{Bounded, NAME, PID, RECORD_BYTES_MAX, filter_of, number_of_filter, says_whose};
use crate::current::current_process;
use crate::tail::pass_on;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A subscriber is there already.
    #[error(
        "cannot log to {destination}: process {name:?} has a subscriber already; set up logging once, before any other \
         subscriber is installed, and not in a child, which logs as its parent does"
    )]
    Installed {
        /// The process's name.
        name: String,
        /// Where the log was to go.
        destination: &'static str,
    },
    /// The file was not opened for appending.
    #[error(
        "cannot log to a file that was not opened for appending, for processes would write over each other's lines: \
         open it with `File::options().append(true).create(true).open(path)`"
    )]
    NotForAppending,
    /// The system refused to ask about the file, or another descriptor for it.
    #[error("cannot log to the file: {error}")]
    System {
        /// What the system said.
        error: io::Error,
    },
}

/// Where the lines go, and at which level: what children inherit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Destination {
    level: u8,
    /// None for the standard error.
    file: Option<Descriptor>,
}

/// What this process's children are told.
static DESTINATION: Mutex<Option<Destination>> = Mutex::new(None);

/// Writes what this process logs at `level` and above on its standard error, a line for each record, and so do the
/// children that it starts from now on, by any start method, and theirs.
///
/// A line reads `2026-01-31T12:00:00.000000Z [INFO/Process-1 4711] target: message key=value`. Line ends and other
/// control characters in it are escaped, so that one record is one line; beyond [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX)
/// bytes it is cut. Spans are not shown. Each line is one `write`; in a pipe those of up to 4,096 bytes keep apart from
/// others' (`pipe(7)`). A record that a child forwards is shown with that child's name and number. A line that cannot be
/// written is lost.
///
/// Python's `multiprocessing.log_to_stderr`.
///
/// # Errors
/// [`LogError::Installed`] when this process has a global subscriber, as a child has that inherited one.
///
/// # Examples
/// ```
/// use procession_launch::{Process, log_to_stderr};
/// use tracing::level_filters::LevelFilter;
///
/// log_to_stderr(LevelFilter::INFO)?;
/// Process::start(|| tracing::info!("a child begins"), ())?.join()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn log_to_stderr(level: LevelFilter) -> Result<(), LogError> {
    install(Destination { level: number_of_filter(level), file: None }, "the standard error")
}

/// The same into a file, which any number of processes may write to at once without tearing each other's lines.
///
/// The file must have been opened for appending, so that each line goes to the end in one piece (`O_APPEND`, `open(2)`);
/// on a network file system the kernel does not promise that. If a process dies, at most the line is missing that it was
/// about to write.
///
/// # Errors
/// As [`log_to_stderr`], and [`LogError::NotForAppending`].
///
/// # Examples
/// ```
/// use std::fs::File;
///
/// use procession_launch::{Process, log_to_file};
/// use tracing::level_filters::LevelFilter;
///
/// # let path = std::env::temp_dir().join(format!("log_to_file-{}", std::process::id()));
/// log_to_file(LevelFilter::INFO, File::options().append(true).create(true).open(&path)?)?;
/// Process::builder(|| tracing::info!(step = 1, "begins"), ()).name("worker").start()?.join()?;
/// assert!(std::fs::read_to_string(&path)?.ends_with(": begins step=1\n"));
/// # std::fs::remove_file(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn log_to_file(level: LevelFilter, file: File) -> Result<(), LogError> {
    let system = |error| LogError::System { error };
    if !is_append(&file).map_err(system)? {
        return Err(LogError::NotForAppending);
    }
    install(Destination { level: number_of_filter(level), file: Some(OwnedFd::from(file).into()) }, "the file")
}

/// Makes it this process's subscriber, and what its children inherit.
fn install(destination: Destination, name: &'static str) -> Result<(), LogError> {
    let lines = Lines::to(&destination).map_err(|error| LogError::System { error })?;
    dispatcher::set_global_default(dispatcher::Dispatch::new(lines))
        .map_err(|_| LogError::Installed { name: current_process().name().to_owned(), destination: name })?;
    hand_down(destination);
    Ok(())
}

/// What this process's children are told.
pub(super) fn destination() -> Option<Destination> {
    DESTINATION.lock().clone()
}

/// Has this process's children told this.
pub(super) fn hand_down(destination: Destination) {
    *DESTINATION.lock() = Some(destination);
}

/// Writes a line for each record.
pub(super) struct Lines {
    level: LevelFilter,
    out: Out,
}

enum Out {
    Stderr,
    File(File),
}

impl Lines {
    /// To where the parent writes.
    pub(super) fn to(destination: &Destination) -> io::Result<Self> {
        let out = match &destination.file {
            None => Out::Stderr,
            Some(file) => Out::File(file.as_fd().try_clone_to_owned()?.into()),
        };
        Ok(Self { level: filter_of(destination.level).unwrap_or(LevelFilter::OFF), out })
    }
}

impl Out {
    /// Writes a whole line by one call, if the system takes all of it.
    fn write(&self, line: &[u8]) {
        let _ = match self {
            Self::Stderr => pass_on(&mut io::stderr().lock(), line),
            Self::File(file) => pass_on(&mut &*file, line),
        };
    }
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        self.out.write(line(event, SystemTime::now()).as_bytes());
    }

    // No span is enabled, so none of these is called.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The line of a record.
fn line(event: &Event<'_>, time: SystemTime) -> String {
    let metadata = event.metadata();
    let mut fields = Fields {
        says_whose: says_whose(metadata.fields().iter().map(|field| field.name())),
        pid: 0,
        name: String::new(),
        message: Bounded::new(RECORD_BYTES_MAX),
        others: Bounded::new(RECORD_BYTES_MAX),
    };
    event.record(&mut fields);
    let (pid, name) = if fields.says_whose {
        (fields.pid, fields.name)
    } else {
        let me = current_process();
        (u64::from(me.pid()), me.name().to_owned())
    };
    let mut line = Bounded::new(RECORD_BYTES_MAX);
    let (level, target) = (metadata.level(), metadata.target());
    // Writing to a text does not fail.
    let _ = write!(line, "{} ", Rfc3339(time));
    let _ = write!(Escaped(&mut line), "[{level}/{name} {pid}] {target}:");
    let _ = write!(line, "{}{}", fields.message.finish(), fields.others.finish());
    let mut line = line.finish();
    line.push('\n');
    line
}

/// Gathers a record's fields.
struct Fields {
    /// Whether it says itself whose it is.
    says_whose: bool,
    pid: u64,
    name: String,
    message: Bounded,
    others: Bounded,
}

impl Fields {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let _ = match field.name() {
            "message" => write!(Escaped(&mut self.message), " {value}"),
            name => write!(Escaped(&mut self.others), " {name}={value}"),
        };
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if self.says_whose && field.name() == PID {
            self.pid = value;
        } else {
            self.push(field, format_args!("{value}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            NAME if self.says_whose => self.name = value.to_owned(),
            "message" => self.push(field, format_args!("{value}")),
            _ => self.push(field, format_args!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, format_args!("{value:?}"));
    }
}

/// Writes control characters, line ends among them, as their escapes.
struct Escaped<'a>(&'a mut Bounded);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            self.0.write_str(plain)?;
            part[plain.len()..].chars().try_for_each(|control| write!(self.0, "{}", control.escape_default()))?;
        }
        Ok(())
    }
}

/// A time as RFC 3339 has it, in UTC.
struct Rfc3339(SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECONDS_OF_DAY: u64 = 24 * 60 * 60;
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, second) = (since.as_secs() / SECONDS_OF_DAY, since.as_secs() % SECONDS_OF_DAY);
        let (year, month, day) = date(days);
        let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
        let micros = since.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z")
    }
}

/// The date so many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    /// Every 400 years the calendar repeats itself.
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let (mut year, mut day) = (1970 + days / DAYS_OF_400_YEARS * 400, days % DAYS_OF_400_YEARS);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let known = [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_605, (2026, 6, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (146_097, (2370, 1, 1)),
        ];
        for (days, expected) in known {
            assert_eq!(date(days), expected, "{days}");
        }
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 1_000);
        assert_eq!(Rfc3339(time).to_string(), "2023-11-14T22:13:20.000001Z");
    }

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        let mut text = Bounded::new(100);
        write!(Escaped(&mut text), "\na\u{1b}[1m\r\n\tö\\n\"").unwrap();
        assert_eq!(text.finish(), "\\na\\u{1b}[1m\\r\\n\\tö\\n\"");
    }
}
