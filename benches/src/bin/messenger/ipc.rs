//! The crate ipc-channel: a process that was started connects to a server of a name, and sends one end of a channel.

use std::cell::RefCell;
use std::rc::Rc;

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender};
use procession_benches::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::way::{Item, Put, Take, Way};

/// A channel with its two ends, as the crate has them.
pub(crate) trait Channel: 'static {
    type Item: Item;
    type Sender: Serialize + DeserializeOwned + Put<Self::Item>;
    type Receiver: Serialize + DeserializeOwned + Take<Self::Item>;

    fn make() -> Result<(Self::Sender, Self::Receiver)>;
}

/// A channel for what has serde.
pub(crate) enum Typed<T> {
    #[expect(dead_code, reason = "only its type is used")]
    Of(T),
}

/// The one for bytes.
pub(crate) enum Bytes {}

impl<T: Item + Clone + Serialize + DeserializeOwned> Channel for Typed<T> {
    type Item = T;
    type Sender = IpcSender<T>;
    type Receiver = IpcReceiver<T>;

    fn make() -> Result<(IpcSender<T>, IpcReceiver<T>)> {
        Ok(ipc::channel()?)
    }
}

impl Channel for Bytes {
    type Item = Vec<u8>;
    type Sender = IpcBytesSender;
    type Receiver = IpcBytesReceiver;

    fn make() -> Result<(IpcBytesSender, IpcBytesReceiver)> {
        Ok(ipc::bytes_channel()?)
    }
}

impl<T: Item + Clone + Serialize> Put<T> for IpcSender<T> {
    fn put(&mut self, item: &T) -> Result {
        Ok(self.send(item.clone())?)
    }
}

impl<T: Item + Serialize + DeserializeOwned> Take<T> for IpcReceiver<T> {
    fn take<R>(&mut self, look: impl FnOnce(&T) -> R) -> Result<R> {
        Ok(look(&self.recv()?))
    }
}

impl Put<Vec<u8>> for IpcBytesSender {
    fn put(&mut self, item: &Vec<u8>) -> Result {
        Ok(self.send(item)?)
    }
}

impl Take<Vec<u8>> for IpcBytesReceiver {
    fn take<R>(&mut self, look: impl FnOnce(&Vec<u8>) -> R) -> Result<R> {
        Ok(look(&self.recv()?))
    }
}

/// What is sent to the server.
#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Channel")]
enum End<C: Channel> {
    Sender(C::Sender),
    Receiver(C::Receiver),
}

/// The server is here, and its name there.
#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Channel")]
pub(crate) struct ByName<C: Channel> {
    name: String,
    #[serde(skip)]
    server: Rc<RefCell<Option<IpcOneShotServer<End<C>>>>>,
}

impl<C: Channel> Clone for ByName<C> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), server: Rc::clone(&self.server) }
    }
}

impl<C: Channel> ByName<C> {
    pub(crate) fn new() -> Result<Self> {
        let (server, name) = IpcOneShotServer::new()?;
        Ok(Self { name, server: Rc::new(RefCell::new(Some(server))) })
    }

    /// What the other process has sent, if this is the one with the server.
    fn accept(&self) -> Result<Option<End<C>>> {
        let server = self.server.borrow_mut().take();
        server.map(|server| Ok(server.accept()?.1)).transpose()
    }

    fn connect(self, end: End<C>) -> Result {
        Ok(IpcSender::connect(self.name)?.send(end)?)
    }
}

impl<C: Channel> Way for ByName<C> {
    type Item = C::Item;

    fn producer(self) -> Result<impl Put<C::Item>> {
        match self.accept()? {
            Some(End::Sender(sender)) => Ok(sender),
            Some(End::Receiver(_)) => Err("the other process puts as well".into()),
            None => {
                let (sender, receiver) = C::make()?;
                self.connect(End::Receiver(receiver))?;
                Ok(sender)
            }
        }
    }

    fn consumer(self) -> Result<impl Take<C::Item>> {
        match self.accept()? {
            Some(End::Receiver(receiver)) => Ok(receiver),
            Some(End::Sender(_)) => Err("the other process takes as well".into()),
            None => {
                let (sender, receiver) = C::make()?;
                self.connect(End::Sender(sender))?;
                Ok(receiver)
            }
        }
    }
}
