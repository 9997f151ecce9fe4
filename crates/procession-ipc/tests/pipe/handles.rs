//! Messages with descriptors: files, sockets, and ends of pipes.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use procession_ipc::{
    BytesConnection, Connection, Queue, Receiver, RecvError, SendError, Sender, Waitable, pipe, pipe_bytes,
    pipe_simplex, wait_ready_timeout,
};
use procession_launch::StartMethod;
use procession_sync::{Lock, LockError};
use procession_sys::fail_points;
use procession_testkit::open_descriptors;
use procession_wire::{Descriptor, decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{hear, pipe as signal, start, tell};
use crate::{MIB, SOON, is_end, is_gone, null};

/// An empty file that nobody else has.
fn scratch_file() -> File {
    let file = procession_sys::MemoryFile { bytes: 0, huge_page_bits: None };
    procession_sys::memory_file("scratch", &file).unwrap().into()
}

fn write_into(connection: Connection<(), Descriptor>) {
    let file = connection.recv().unwrap().into_owned().unwrap();
    File::from(file).write_all(b"from the child").unwrap();
}

pub(crate) fn a_descriptor_is_writable_in_the_child(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, write_into, (theirs,));
    let mut file = scratch_file();
    ours.send(&OwnedFd::from(file.try_clone().unwrap()).into()).unwrap();
    child.join().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the child");
}

fn use_handles(connection: Connection<(), (Lock, Queue<u32>, Descriptor)>) {
    let (lock, queue, stream) = connection.recv().unwrap();
    UnixStream::from(stream.into_owned().unwrap()).write_all(b"s").unwrap();
    let _guard = lock.lock().unwrap();
    queue.put(queue.get().unwrap() + 1).unwrap();
    fail_points::kill();
}

pub(crate) fn handles_go_through_connections(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, use_handles, (theirs,));
    let (lock, queue) = (Lock::new().unwrap(), Queue::unbounded().unwrap());
    let (mut stream, other) = UnixStream::pair().unwrap();
    queue.put(1).unwrap();
    ours.send(&(lock.clone(), queue.clone(), OwnedFd::from(other).into())).unwrap();
    assert!(child.join().is_err());
    assert_eq!(queue.get().unwrap(), 2);
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

type Sockets = (BytesConnection, BytesConnection, Descriptor);

fn answer_each(connection: Connection<(), Sockets>) {
    let (tcp, unix, plain) = connection.recv().unwrap();
    for each in [tcp, unix] {
        each.send(&each.recv().unwrap().to_ascii_uppercase()).unwrap();
    }
    UnixStream::from(plain.into_owned().unwrap()).write_all(b"plain").unwrap();
}

pub(crate) fn connections_of_every_family_and_a_socket_are_messages(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, answer_each, (theirs,));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let tcp = (BytesConnection::from(tcp), listener.accept().unwrap().0.into());
    let unix = UnixStream::pair().unwrap();
    let unix = (BytesConnection::from(unix.0), unix.1.into());
    let (mut plain, plain_theirs) = UnixStream::pair().unwrap();
    ours.send(&(tcp.1, unix.1, OwnedFd::from(plain_theirs).into())).unwrap();
    for each in [tcp.0, unix.0] {
        each.send(b"text").unwrap();
        assert_eq!(each.recv().unwrap(), b"TEXT");
        assert!(is_end(each.recv()));
    }
    let mut text = String::new();
    plain.read_to_string(&mut text).unwrap();
    assert_eq!(text, "plain");
    child.join().unwrap();
}

type Inner = Connection<String, String>;

fn serve_one(connection: Connection<(), (Inner, Sender<u32>, BytesConnection)>) {
    let (inner, sender, bytes) = connection.recv().unwrap();
    drop(connection);
    inner.send(&inner.recv().unwrap().to_uppercase()).unwrap();
    sender.send(&7).unwrap();
    bytes.send(b"bytes").unwrap();
}

pub(crate) fn ends_go_through_connections_and_through_themselves(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, serve_one, (theirs,));
    let (inner, inner_theirs) = pipe().unwrap();
    let (receiver, sender) = pipe_simplex().unwrap();
    let (bytes, bytes_theirs) = pipe_bytes().unwrap();
    inner.send(&"before it is there".to_owned()).unwrap();
    ours.send(&(inner_theirs, sender, bytes_theirs)).unwrap();
    assert_eq!(inner.recv().unwrap(), "BEFORE IT IS THERE");
    assert_eq!(receiver.recv().unwrap(), 7);
    assert_eq!(bytes.recv().unwrap(), b"bytes");
    assert!(is_end(inner.recv()) && is_end(receiver.recv()) && is_end(bytes.recv()));
    child.join().unwrap();
    // An end through its own pipe, to whoever has the other end.
    let (ours, theirs) = pipe::<Through, Through>().unwrap();
    let child = start(method, swap_ends, (theirs,));
    ours.send(&Through::End(ours.clone())).unwrap();
    drop(ours);
    assert_eq!(child.join().unwrap(), 11);
}

/// What goes through a pipe that carries its own ends.
#[derive(Serialize, Deserialize)]
enum Through {
    End(Connection<Through, Through>),
    Number(u32),
}

fn swap_ends(theirs: Connection<Through, Through>) -> u32 {
    let Ok(Through::End(ours)) = theirs.recv() else { return 0 };
    theirs.send(&Through::Number(11)).unwrap();
    drop(theirs);
    match (ours.recv(), ours.recv()) {
        (Ok(Through::Number(number)), Err(RecvError::Disconnected)) => number,
        _ => 1,
    }
}

pub(crate) fn a_process_has_two_descriptors_an_end() {
    // The arena's own are there from the first pipe on.
    let _first = pipe::<(), ()>().unwrap();
    let before = open_descriptors().len();
    let (ours, theirs) = pipe::<u8, u8>().unwrap();
    assert_eq!(open_descriptors().len(), before + 3);
    drop(theirs);
    assert_eq!(open_descriptors().len(), before + 2);
    let again: Connection<u8, u8> = decode(encode(&ours).unwrap()).unwrap();
    drop(ours);
    assert_eq!(open_descriptors().len(), before + 2);
    drop(again);
    assert_eq!(open_descriptors().len(), before);
}

/// Says that its descriptor comes with the message, which it does not.
struct Claimed(Option<Descriptor>);

impl Serialize for Claimed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(descriptor) => descriptor.serialize(serializer),
            None => 0_u32.serialize(serializer), // Its position in the message.
        }
    }
}

impl<'de> Deserialize<'de> for Claimed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Descriptor::deserialize(deserializer).map(|descriptor| Self(Some(descriptor)))
    }
}

pub(crate) fn a_message_without_its_descriptor_is_an_error() {
    let (ours, theirs) = pipe::<Claimed, ()>().unwrap();
    ours.send(&Claimed(None)).unwrap();
    ours.send(&Claimed(Some(null()))).unwrap();
    assert!(matches!(theirs.recv(), Err(RecvError::Decode(_))));
    assert!(theirs.recv().unwrap().0.is_some(), "the next is whole");
}

pub(crate) fn an_end_arrives_as_what_it_was_sent_or_not_at_all() {
    let before = open_descriptors().len();
    {
        let (ours, _theirs) = pipe::<u32, String>().unwrap();
        let sent = || encode(&ours).unwrap();
        assert!(decode::<Connection<u32, String>>(sent()).is_ok());
        let error = decode::<Connection<String, u32>>(sent()).unwrap_err().to_string();
        assert!(error.contains("Connection<alloc::string::String, u32>"), "{error}");
        assert!(decode::<Connection<u64, String>>(sent()).is_err());
        assert!(decode::<Sender<u32>>(sent()).is_err());
        assert!(decode::<BytesConnection>(sent()).is_err());
        assert!(decode::<Queue<u32>>(sent()).is_err());
        let (bytes, _theirs) = pipe_bytes().unwrap();
        assert!(decode::<BytesConnection>(encode(&bytes).unwrap()).is_ok());
        assert!(decode::<Connection<u32, String>>(encode(&bytes).unwrap()).is_err());
        let (receiver, sender) = pipe_simplex::<u32>().unwrap();
        assert!(decode::<Sender<u32>>(encode(&receiver).unwrap()).is_err());
        assert!(decode::<Receiver<u32>>(encode(&sender).unwrap()).is_err());
    }
    assert!(open_descriptors().len() <= before + 2, "but for the arena's");
}

pub(crate) fn three_hundred_descriptors_go_in_one_message() {
    let (ours, theirs) = pipe::<Vec<Descriptor>, ()>().unwrap();
    ours.send(&Vec::new()).unwrap();
    assert!(theirs.recv().unwrap().is_empty());
    let before = open_descriptors().len();
    for count in [253, 254, 300] {
        ours.send(&(0..count).map(|_| null()).collect()).unwrap();
        assert_eq!(theirs.recv().unwrap().len(), count);
    }
    assert_eq!(open_descriptors().len(), before);
}

pub(crate) fn three_hundred_messages_with_one_each_wait_unread() {
    let (ours, theirs) = pipe::<(u32, Descriptor), ()>().unwrap();
    let (read, write) = signal();
    for number in 0..300 {
        ours.try_send(&(number, write.clone())).unwrap();
    }
    drop(write);
    for number in 0..300 {
        let (received, write) = theirs.recv().unwrap();
        assert_eq!(received, number);
        tell(&write);
        hear(&read);
    }
    let mut rest = File::from(read.into_owned().unwrap());
    assert_eq!(rest.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

pub(crate) fn descriptors_above_1024_go() {
    procession_sys::set_file_limit([4096; 2]).unwrap();
    let many: Vec<Descriptor> = (0..1100).map(|_| null()).collect();
    assert!(many.iter().any(|null| null.as_fd().as_raw_fd() > 1024));
    let (ours, theirs) = pipe::<Descriptor, Connection<u8, u8>>().unwrap();
    let (inner, inner_theirs) = pipe().unwrap();
    let (read, write) = signal();
    ours.send(&write).unwrap();
    theirs.send(&inner).unwrap();
    let write = theirs.recv().unwrap();
    assert!(write.as_fd().as_raw_fd() > 1024);
    tell(&write);
    hear(&read);
    ours.recv().unwrap().send(&9).unwrap();
    assert_eq!(inner_theirs.recv().unwrap(), 9);
    assert!(inner_theirs.poll_timeout(Duration::ZERO).is_ok());
    assert!(wait_ready_timeout([&ours as &dyn Waitable], SOON).unwrap().is_empty());
}

/// A descriptor, and then something that no message holds.
#[derive(Serialize, Deserialize)]
struct Unsendable {
    descriptor: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u8>,
}

pub(crate) fn a_send_that_fails_leaves_no_descriptors() {
    let (ours, theirs) = pipe::<Unsendable, ()>().unwrap();
    let (read, write) = signal();
    let before = open_descriptors().len();
    let unsendable = Unsendable { descriptor: write, skipped: None };
    assert!(matches!(ours.send(&unsendable), Err(SendError::Encode(_))));
    assert_eq!(open_descriptors().len(), before);
    assert!(!theirs.poll().unwrap());
    drop(unsendable);
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
    // A pipe whose other end is gone, and one that is full.
    let (read, write) = signal();
    let (ours, theirs) = pipe::<(Vec<u8>, Descriptor), ()>().unwrap();
    while ours.try_send(&(vec![0; MIB], null())).is_ok() {}
    assert!(matches!(ours.try_send(&(vec![0; MIB], write.clone())), Err(SendError::WouldBlock)));
    drop(theirs);
    assert!(is_gone(ours.send(&(Vec::new(), write.clone()))));
    drop(write);
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

pub(crate) fn who_never_receives_leaks_no_descriptors() {
    let (read, write) = signal();
    let (ours, theirs) = pipe::<Descriptor, ()>().unwrap();
    for _ in 0..20 {
        ours.send(&write).unwrap();
    }
    drop((write, theirs, ours));
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

pub(crate) fn an_end_in_its_own_pipe_goes_with_it() {
    let (read, write) = signal();
    let (ours, theirs) = pipe::<(Descriptor, Option<Connection<(), (Descriptor, ())>>), ()>().unwrap();
    ours.send(&(write.clone(), None)).unwrap();
    drop(ours);
    assert!(theirs.recv().unwrap().1.is_none());
    let (ours, theirs) = pipe::<Through, Through>().unwrap();
    ours.send(&Through::End(theirs.clone())).unwrap();
    ours.send(&Through::End(ours.clone())).unwrap();
    drop(theirs);
    ours.send(&Through::Number(1)).unwrap();
    drop((ours, write));
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

pub(crate) fn a_receiver_without_descriptors_left_loses_nothing() {
    let (ours, theirs) = pipe::<Vec<Descriptor>, ()>().unwrap();
    let (read, write) = signal();
    ours.send(&vec![write; 1]).unwrap();
    ours.send(&Vec::new()).unwrap();
    let highest = open_descriptors().iter().map(|open| open.number).max().unwrap();
    // Room for some, wherever the numbers of this process end.
    procession_sys::set_file_limit([u64::from(highest) + 8; 2]).unwrap();
    let mut filler = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        filler.push(file);
    }
    assert!(matches!(theirs.recv(), Err(RecvError::System { .. })));
    assert!(filler.pop().is_some());
    drop(filler);
    let received = theirs.recv().unwrap();
    tell(&received[0]);
    hear(&read);
    assert!(theirs.recv().unwrap().is_empty());
}
