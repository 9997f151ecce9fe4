//! Where a child's standard streams lead.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;

use crate::child::Pipes;

/// Where one of a child's standard streams leads. By default input is `/dev/null` and the others are inherited.
///
/// # Examples
/// ```
/// use std::io::Read;
/// use procession_launch::{Process, Stdio};
///
/// let child = Process::builder(|| println!("hello"), ()).stdout(Stdio::pipe()).start()?;
/// let mut said = String::new();
/// child.take_stdout().unwrap().read_to_string(&mut said)?;
/// assert_eq!(said, "hello\n");
/// child.join()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    File(OwnedFd),
    Pipe,
}

impl Stdio {
    /// This process's own stream, as it is when the child starts.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A file.
    #[must_use]
    pub fn file(file: File) -> Self {
        Self(Kind::File(file.into()))
    }

    /// A pipe, whose other end the child's handle has ([`Child::take_stdout`](crate::Child::take_stdout) and its
    /// like). A pipe holds some 64 KiB: a child that writes more waits until somebody reads.
    #[must_use]
    pub fn pipe() -> Self {
        Self(Kind::Pipe)
    }
}

/// The three of them.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Default for Streams {
    fn default() -> Self {
        Self { stdin: Stdio::null(), stdout: Stdio::inherit(), stderr: Stdio::inherit() }
    }
}

/// What the child gets as one of its descriptors 0, 1 and 2.
#[derive(Debug)]
pub(crate) enum ChildEnd {
    /// What this process has there.
    Inherited,
    /// `/dev/null`.
    Null,
    /// This.
    Own(OwnedFd),
}

/// All three.
pub(crate) type ChildEnds = [ChildEnd; 3];

impl Streams {
    /// The child's ends and ours.
    pub(crate) fn open(self) -> io::Result<(ChildEnds, Pipes)> {
        let mut pipes = Pipes::default();
        let stdin = match self.stdin.0 {
            Kind::Pipe => {
                let (read, write) = io::pipe()?;
                pipes.stdin = Some(write);
                ChildEnd::Own(read.into())
            }
            other => plain(other),
        };
        let (stdout, reader) = output(self.stdout.0)?;
        pipes.stdout = reader;
        let (stderr, reader) = output(self.stderr.0)?;
        pipes.stderr = reader;
        Ok(([stdin, stdout, stderr], pipes))
    }
}

/// The child's end of an output stream, and ours if it is a pipe.
fn output(kind: Kind) -> io::Result<(ChildEnd, Option<PipeReader>)> {
    if !matches!(kind, Kind::Pipe) {
        return Ok((plain(kind), None));
    }
    let (read, write) = io::pipe()?;
    Ok((ChildEnd::Own(write.into()), Some(read)))
}

/// A stream that needs no pipe.
fn plain(kind: Kind) -> ChildEnd {
    match kind {
        Kind::Inherit => ChildEnd::Inherited,
        Kind::File(file) => ChildEnd::Own(file),
        Kind::Null | Kind::Pipe => ChildEnd::Null,
    }
}
