//! Descriptors beside a ring: a datagram for each message that has any, with the ticket that its record says.
//!
//! Relies on packet sockets. Producers send and consumers receive while they have their side's lock, so datagrams are in
//! the order of their tickets. A ticket that no record says was a producer's that died, or failed, before it had put its
//! item: whoever comes to a later one throws it away. Bells lie between them, datagrams that only wake whoever polls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_sys::{PACKET_DESCRIPTORS_MAX, Packet, PacketSocket};

/// What a datagram with descriptors begins with; the ticket and their number follow.
const TICKET: [u8; 4] = *b"PRCT";
/// What a bell is.
const BELL: [u8; 4] = *b"PRCB";

const TICKET_BYTES: usize = TICKET.len() + size_of::<u64>();

/// How many datagrams are looked at for one item. More than a socket's buffer holds are a peer's mischief.
const LOOKS_MAX: u32 = 100_000;

/// Wakes whoever polls the other end.
pub(crate) fn ring_bell(link: &PacketSocket) {
    // A full buffer is a bell as well, and who is gone needs none.
    let _ = link.try_send([&BELL], &[]);
}

/// Sends an item's descriptors.
pub(crate) fn send(link: &PacketSocket, ticket: u64, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let ticket = ticket.to_le_bytes();
    if descriptors.len() <= PACKET_DESCRIPTORS_MAX {
        return link.try_send([&TICKET, &ticket], descriptors);
    }
    // One datagram, so that all arrive or none: it holds sockets that hold the descriptors.
    let bags = descriptors.chunks(PACKET_DESCRIPTORS_MAX).map(|some| bag(ticket, some));
    let bags = bags.collect::<io::Result<Vec<_>>>()?;
    let bags: Vec<_> = bags.iter().map(AsFd::as_fd).collect();
    link.try_send([&TICKET, &ticket], &bags)
}

/// A socket from which these descriptors can be received.
fn bag(ticket: [u8; 8], descriptors: &[BorrowedFd<'_>]) -> io::Result<PacketSocket> {
    let (bag, end) = PacketSocket::pair()?;
    end.try_send([&TICKET, &ticket], descriptors)?;
    Ok(bag)
}

/// Throws away what comes before a ticket.
pub(crate) fn throw_away(link: &PacketSocket, ticket: u64) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        // A look takes the descriptors as well, which are closed at once.
        match next(link)?.map(|packet| ticket_of(&packet)) {
            None => break,
            Some(Some(found)) if !is_before(found, ticket) => break,
            Some(_) => link.discard()?,
        };
    }
    Ok(())
}

/// A look at the next datagram, if there is one.
fn next(link: &PacketSocket) -> io::Result<Option<Packet>> {
    match link.peek(TICKET_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        looked => looked,
    }
}

/// Whether a ticket is older than another.
fn is_before(ticket: u64, other: u64) -> bool {
    ticket.wrapping_sub(other) > u64::MAX / 2
}

/// A look at an item's descriptors, which are this process's as well from now on.
pub(crate) fn peek(link: &PacketSocket, ticket: u64, count: usize) -> io::Result<Vec<OwnedFd>> {
    for _ in 0..LOOKS_MAX {
        let Some(packet) = next(link)? else { break };
        match ticket_of(&packet) {
            Some(found) if found == ticket => return unpack(packet, ticket, count),
            Some(found) if !is_before(found, ticket) => break,
            _ => link.discard()?,
        };
    }
    Err(missing())
}

/// What lies first in a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Bell,
    Ticket,
    Nothing,
}

/// A look at what lies first, without its descriptors. What is neither is a peer's mischief, and worth as much as a bell.
pub(crate) fn first(link: &PacketSocket) -> First {
    let mut start = [0; TICKET.len()];
    match link.peek_bytes(&mut start) {
        Ok(Some(TICKET_BYTES)) if start == TICKET => First::Ticket,
        Ok(Some(_)) => First::Bell,
        Ok(None) | Err(_) => First::Nothing,
    }
}

/// Takes away the datagram that [`peek`] has found.
pub(crate) fn consume(link: &PacketSocket) {
    // If it cannot be, whoever comes to a later ticket throws it away.
    let _ = link.discard();
}

fn unpack(packet: Packet, ticket: u64, count: usize) -> io::Result<Vec<OwnedFd>> {
    let descriptors = packet.descriptors;
    let all = if count <= PACKET_DESCRIPTORS_MAX { descriptors } else { unpack_bags(descriptors, ticket)? };
    if all.len() == count { Ok(all) } else { Err(missing()) }
}

fn unpack_bags(bags: Vec<OwnedFd>, ticket: u64) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    for bag in bags {
        // A look here, too: if there are not descriptors enough, the item is whole for a later try.
        let packet =
            PacketSocket::try_from_fd(bag)?.peek(TICKET_BYTES)?.filter(|packet| ticket_of(packet) == Some(ticket));
        all.extend(packet.ok_or_else(missing)?.descriptors);
    }
    Ok(all)
}

fn ticket_of(packet: &Packet) -> Option<u64> {
    ticket_in(&packet.bytes)
}

fn ticket_in(bytes: &[u8]) -> Option<u64> {
    let ticket = bytes.strip_prefix(&TICKET)?;
    Some(u64::from_le_bytes(ticket.try_into().ok()?))
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the descriptors of a message are missing")
}
