//! Where a child's standard streams lead.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use procession_sys::pipe;

use crate::child::Pipes;
use crate::pump::Source;
use crate::tail::Tail;

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
    Tail,
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

    /// This process's own stream, and the end of what the child writes is kept: at most
    /// [`TAIL_BYTES_MAX`](crate::TAIL_BYTES_MAX) bytes, for [`Child::stderr_tail`](crate::Child::stderr_tail),
    /// [`Child::stdout_tail`](crate::Child::stdout_tail) and the error of a child that dies.
    ///
    /// For output only: with it as standard input a start fails. What the child writes arrives as it comes, in its own
    /// order, though not in a fixed order with what this process and other children write. If this process's
    /// stream is full the child waits, as it would without a tail.
    ///
    /// The first tail starts a thread in this process, which sleeps until a child writes something. As long as a child has one
    /// this process is not single-threaded, so it cannot fork itself; when none has, the thread ends as soon as that is wanted. If this process dies, the child dies with it, as
    /// ever; if the child dies, nothing is lost of what it has written.
    ///
    /// # Examples
    /// ```
    /// use procession_launch::{JoinError, Process, Stdio};
    ///
    /// fn fail() {
    ///     eprintln!("the disk is full");
    ///     std::process::abort();
    /// }
    ///
    /// let child = Process::builder(fail, ()).stderr(Stdio::tail()).start()?;
    /// let error = child.join().unwrap_err();
    /// assert!(error.to_string().ends_with("it said last:\n  the disk is full"));
    /// assert!(matches!(error, JoinError::Signaled { stderr: Some(said), .. } if said == "the disk is full\n"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tail() -> Self {
        Self(Kind::Tail)
    }

    /// True for [`Stdio::tail`], which an input cannot be.
    pub(crate) fn is_tail(&self) -> bool {
        matches!(self.0, Kind::Tail)
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
                let (read, write) = pipe()?;
                pipes.stdin = Some(write.into());
                ChildEnd::Own(read)
            }
            other => plain(other),
        };
        let stdout = match self.stdout.0 {
            Kind::Tail => tail(io::stdout(), &mut pipes.stdout_tail, &mut pipes.sources)?,
            other => output(other, &mut pipes.stdout)?,
        };
        let stderr = match self.stderr.0 {
            Kind::Tail => tail(io::stderr(), &mut pipes.stderr_tail, &mut pipes.sources)?,
            other => output(other, &mut pipes.stderr)?,
        };
        Ok(([stdin, stdout, stderr], pipes))
    }
}

/// The child's end of an output stream; ours, if it is a pipe, comes to `reader`.
fn output(kind: Kind, reader: &mut Option<PipeReader>) -> io::Result<ChildEnd> {
    if !matches!(kind, Kind::Pipe) {
        return Ok(plain(kind));
    }
    let (read, write) = pipe()?; // Never in the place of a stream that is closed here: it would be inherited as such.
    *reader = Some(read.into());
    Ok(ChildEnd::Own(write))
}

/// The child's end of an output whose tail is kept.
fn tail(own: impl AsFd, kept: &mut Option<Tail>, sources: &mut Vec<Arc<dyn Source>>) -> io::Result<ChildEnd> {
    let (write, tail, source) = Tail::open(own)?;
    *kept = Some(tail);
    sources.push(source);
    Ok(ChildEnd::Own(write))
}

/// A stream that needs no pipe.
fn plain(kind: Kind) -> ChildEnd {
    match kind {
        Kind::Inherit => ChildEnd::Inherited,
        Kind::File(file) => ChildEnd::Own(file),
        Kind::Null | Kind::Pipe | Kind::Tail => ChildEnd::Null,
    }
}
