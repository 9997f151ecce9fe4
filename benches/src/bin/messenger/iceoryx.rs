//! The crate iceoryx2: publishers lend memory and fill it, subscribers look at it again and again until there is some.
//!
//! Relies on a folder and a prefix of its own, so that nothing is left behind and nobody else's is met.
//!
//! # Safety
//! A message that is lent is memory that the kernel has made of zeros, and so initialized, whoever has written into it.

#![expect(unsafe_code, reason = "the peer's messages that nobody copies are initialized by their sender's word")]

use std::path::PathBuf;
use std::{fs, io, process};

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    BackpressureStrategy, Config, FileName, LogLevel, NodeBuilder, Path, SemanticString, ipc, set_log_level,
};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use procession_benches::Result;
use serde::{Deserialize, Serialize};

use crate::limits::NUMBERS_UNDER_WAY;
use crate::way::{Ends, LARGE, Put, Take, Way};

type Service = ipc::Service;

/// What this process and those that it starts leave in the file system.
pub(crate) struct Folder(PathBuf);

/// Where the kernel shows shared memory that has a name.
const SHARED_MEMORY: &str = "/dev/shm";

/// How what a process makes is called there.
fn prefix(pid: u32) -> String {
    format!("procession_benches_{pid}_")
}

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("procession-benches-{}", process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// A name for a service there.
    pub(crate) fn place(&self, service: &str) -> Result<Place> {
        let folder = self.0.to_str().ok_or("the folder for temporary files has a name that is no text")?;
        Ok(Place { folder: folder.to_owned(), service: service.to_owned(), pid: process::id() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The crate leaves the folder, and the memory by which its nodes find each other.
        let removed = remove_shared(&prefix(process::id())).and_then(|()| match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if let Err(error) = removed {
            eprintln!("cannot remove what iceoryx2 has left: {error}");
        }
    }
}

fn remove_shared(prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(SHARED_MEMORY)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Where a service is found.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    folder: String,
    service: String,
    pid: u32,
}

impl Place {
    fn node(&self) -> Result<Node<Service>> {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        config.global.set_root_path(&Path::new(self.folder.as_bytes())?);
        config.global.prefix = FileName::new(prefix(self.pid).as_bytes())?;
        Ok(NodeBuilder::new().config(&config).create()?)
    }
}

/// Numbers, of which many are under way.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Numbers(pub(crate) Place);

impl Numbers {
    fn open(&self) -> Result<PortFactory<Service, u64, ()>> {
        let node = self.0.node()?;
        let service = node.service_builder(&self.0.service.as_str().try_into()?).publish_subscribe::<u64>();
        let service = service.enable_safe_overflow(false).subscriber_max_buffer_size(NUMBERS_UNDER_WAY);
        Ok(service.max_publishers(1).max_subscribers(1).open_or_create()?)
    }
}

impl Way for Numbers {
    type Item = u64;

    fn producer(self) -> Result<impl Put<u64>> {
        let service = self.open()?;
        let publisher = service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        Ok(publisher.create()?)
    }

    fn consumer(self) -> Result<impl Take<u64>> {
        Ok(self.open()?.subscriber_builder().create()?)
    }
}

impl Put<u64> for Publisher<Service, u64, ()> {
    fn put(&mut self, item: &u64) -> Result {
        let sample = self.loan_uninit()?.write_payload(*item);
        delivered(sample.send()?)
    }
}

impl Take<u64> for Subscriber<Service, u64, ()> {
    fn take<R>(&mut self, look: impl FnOnce(&u64) -> R) -> Result<R> {
        loop {
            if let Some(sample) = self.receive()? {
                return Ok(look(&sample));
            }
        }
    }
}

/// A message that nobody gets is lost, and would be waited for in vain.
fn delivered(subscribers: usize) -> Result {
    if subscribers == 1 { Ok(()) } else { Err(format!("{subscribers} subscribers got a message").into()) }
}

/// Messages of bytes; few are under way, because each has room set aside for as many as there may be.
#[derive(Clone, Serialize, Deserialize)]
struct Messages {
    place: Place,
    bytes: usize,
    under_way: usize,
}

type Sender = Publisher<Service, [u8], ()>;
type Receiver = Subscriber<Service, [u8], ()>;

impl Messages {
    fn open(&self) -> Result<PortFactory<Service, [u8], ()>> {
        let node = self.place.node()?;
        let service = node.service_builder(&self.place.service.as_str().try_into()?).publish_subscribe::<[u8]>();
        let service = service.enable_safe_overflow(false).subscriber_max_buffer_size(self.under_way);
        Ok(service.max_publishers(1).max_subscribers(1).open_or_create()?)
    }

    fn sender(&self) -> Result<Sender> {
        let service = self.open()?;
        let publisher = service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        Ok(publisher.initial_max_slice_len(self.bytes).create()?)
    }

    fn receiver(&self) -> Result<Receiver> {
        Ok(self.open()?.subscriber_builder().create()?)
    }
}

/// Messages that are copied in and out.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Copied(Messages);

impl Copied {
    pub(crate) fn new(place: Place, under_way: usize) -> Self {
        Self(Messages { place, bytes: LARGE, under_way })
    }
}

struct CopyingReceiver(Receiver, Vec<u8>);

impl Way for Copied {
    type Item = Vec<u8>;

    fn producer(self) -> Result<impl Put<Vec<u8>>> {
        self.0.sender()
    }

    fn consumer(self) -> Result<impl Take<Vec<u8>>> {
        Ok(CopyingReceiver(self.0.receiver()?, Vec::new()))
    }
}

impl Put<Vec<u8>> for Sender {
    fn put(&mut self, item: &Vec<u8>) -> Result {
        let sample = self.loan_slice_uninit(item.len())?.write_from_slice(item);
        delivered(sample.send()?)
    }
}

impl Take<Vec<u8>> for CopyingReceiver {
    fn take<R>(&mut self, look: impl FnOnce(&Vec<u8>) -> R) -> Result<R> {
        loop {
            if let Some(sample) = self.0.receive()? {
                self.1.clear();
                self.1.extend_from_slice(&sample);
                return Ok(look(&self.1));
            }
        }
    }
}

/// Messages that are not copied.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Lent(Messages);

impl Lent {
    pub(crate) fn new(place: Place, bytes: usize) -> Self {
        Self(Messages { place, bytes, under_way: 2 }) // As many as the crate allows unless it is told.
    }
}

struct Lender {
    sender: Sender,
    bytes: usize,
}

impl Way for Lent {
    type Item = Ends;

    fn producer(self) -> Result<impl Put<Ends>> {
        Ok(Lender { sender: self.0.sender()?, bytes: self.0.bytes })
    }

    fn consumer(self) -> Result<impl Take<Ends>> {
        self.0.receiver()
    }
}

impl Put<Ends> for Lender {
    fn put(&mut self, item: &Ends) -> Result {
        let sample = self.sender.loan_slice_uninit(self.bytes)?;
        // SAFETY: the kernel's zeros, or what an earlier message has left (see the top of this file).
        let mut sample = unsafe { sample.assume_init() };
        item.write(sample.payload_mut());
        delivered(sample.send()?)
    }
}

impl Take<Ends> for Receiver {
    fn take<R>(&mut self, look: impl FnOnce(&Ends) -> R) -> Result<R> {
        loop {
            if let Some(sample) = self.receive()? {
                return Ok(look(&Ends::of(&sample)?));
            }
        }
    }
}
