//! Where a child's standard streams lead.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_sys::{SPAWN_DESCRIPTOR_MIN, dev_null, dup};

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

/// What the child gets as descriptors 0, 1 and 2.
pub(crate) type ChildEnds = [Option<OwnedFd>; 3];

impl Streams {
    /// The child's ends and ours. A child's end that is missing stands for an inherited stream that is closed here.
    pub(crate) fn open(self) -> io::Result<(ChildEnds, Pipes)> {
        let mut pipes = Pipes::default();
        let stdin = match self.stdin.0 {
            Kind::Pipe => {
                let (read, write) = io::pipe()?;
                pipes.stdin = Some(write);
                Some(read.into())
            }
            other => plain(other, io::stdin().as_fd())?,
        };
        let output = |kind, own: BorrowedFd<'_>| match kind {
            Kind::Pipe => {
                let (read, write) = io::pipe()?;
                io::Result::Ok((Some(write.into()), Some(read)))
            }
            other => Ok((plain(other, own)?, None)),
        };
        let (stdout, reader) = output(self.stdout.0, io::stdout().as_fd())?;
        pipes.stdout = reader;
        let (stderr, reader) = output(self.stderr.0, io::stderr().as_fd())?;
        pipes.stderr = reader;
        Ok(([stdin, stdout, stderr], pipes))
    }
}

/// A stream that needs no pipe.
fn plain(kind: Kind, own: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match kind {
        Kind::Inherit => Ok(dup(own, SPAWN_DESCRIPTOR_MIN).ok()),
        Kind::File(file) => Ok(Some(file)),
        Kind::Null | Kind::Pipe => dev_null().map(Some),
    }
}
