//! Descriptors beside bytes (`SCM_RIGHTS`): what packet sockets and stream sockets have in common.
//!
//! Source: unix(7), "SCM_RIGHTS"; recvmsg(2).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::fd::out_of_the_way;

/// The kernel's own limit of descriptors in one packet (`SCM_MAX_FD`).
pub const PACKET_DESCRIPTORS_MAX: usize = 253;

/// Room for the most descriptors that a packet can hold.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX));

/// What came.
pub(crate) struct Received {
    /// How many bytes.
    pub(crate) bytes: usize,
    /// Descriptors, close-on-exec.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether more descriptors came than this process could have.
    pub(crate) has_lost: bool,
}

/// Sends bytes with descriptors, and tells how many of the bytes went.
pub(crate) fn send<const N: usize>(
    socket: impl AsFd,
    parts: [&[u8]; N],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<usize> {
    if descriptors.len() > PACKET_DESCRIPTORS_MAX {
        return Err(Errno::INVAL.into());
    }
    let parts = parts.map(IoSlice::new); // On the stack: a process that has just forked pays for heap writes.
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let sent = rustix::io::retry_on_intr(|| {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            debug_assert!(fits, "the space holds the most descriptors that the kernel takes");
        }
        rustix::net::sendmsg(&socket, &parts, &mut ancillary, flags)
    });
    Ok(sent?)
}

/// Receives bytes with the descriptors that came with them. Does not retry after an error, whose meaning is the caller's.
pub(crate) fn receive(
    socket: impl AsFd,
    into: &mut [u8],
    flags: RecvFlags,
) -> rustix::io::Result<io::Result<Received>> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(into)], &mut ancillary, flags)?;
    let descriptors: io::Result<Vec<OwnedFd>> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .map(out_of_the_way)
        .collect();
    let has_lost = received.flags.contains(ReturnFlags::CTRUNC);
    Ok(descriptors.map(|descriptors| Received { bytes: received.bytes, descriptors, has_lost }))
}
