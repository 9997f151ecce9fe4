//! How an open file behaves: whether it waits, and where it writes.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Makes reads and writes through `fd`, and through every other descriptor of the same open file, fail with
/// `WouldBlock` instead of waiting.
///
/// # Errors
/// None that Linux knows.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    Ok(fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// How many bytes wait to be read from a pipe or a socket (`FIONREAD`).
///
/// # Errors
/// `fd` is none of these.
pub fn bytes_waiting(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// True when every write through `fd` goes to the file's end as one piece, whoever else writes to it (`O_APPEND`).
///
/// # Errors
/// None that Linux knows.
pub fn is_append(fd: impl AsFd) -> io::Result<bool> {
    Ok(fcntl_getfl(fd)?.contains(OFlags::APPEND))
}

/// True when `fd` may be written through.
///
/// # Errors
/// None that Linux knows.
pub fn is_writable(fd: impl AsFd) -> io::Result<bool> {
    let access = fcntl_getfl(fd)? & OFlags::RWMODE;
    Ok(access == OFlags::RDWR || access == OFlags::WRONLY)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_pipe_that_does_not_wait_says_so() {
        let (read, write) = crate::pipe().unwrap();
        set_nonblocking(&read).unwrap();
        let error = File::from(read).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(write);
    }

    #[test]
    fn only_a_file_opened_for_append_is_one() {
        let path = std::env::temp_dir().join(format!("procession-flags-{}", crate::pid()));
        let plain = File::create(&path).unwrap();
        let append = File::options().append(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_append(&plain).unwrap());
        assert!(is_append(&append).unwrap());
    }
}
