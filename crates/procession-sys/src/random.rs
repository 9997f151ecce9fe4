//! Random bytes of the kernel.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// So many bytes that nobody can guess (getrandom(2)).
///
/// # Errors
/// `ENOSYS` or `EPERM` where a sandbox forbids the call.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::random_bytes;

    #[test]
    fn every_byte_is_filled_also_beyond_what_one_call_gives() {
        let bytes = random_bytes::<1024>().unwrap();
        assert!(bytes.chunks(16).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
    }
}
