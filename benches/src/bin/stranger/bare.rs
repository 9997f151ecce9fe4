//! The limit: std's sockets, with the same frames and nothing around them. Nobody proves anything.
//!
//! Whoever is accepted is told so by one byte: the hand-shakes of the others end with a word of the listener, too.

use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use procession_benches::Result;

use crate::part::{End, Meeting};

/// What comes before each message.
const HEADER: usize = 4;

pub(crate) enum Sockets {
    Unix(UnixListener, String),
    Tcp(TcpListener),
}

/// A connection; both halves are the same socket.
pub(crate) struct SocketEnd {
    sending: Box<dyn Write>,
    receiving: Box<dyn BufRead>,
}

impl Meeting for Sockets {
    type End = SocketEnd;

    fn listen(address: &str) -> Result<Self> {
        Ok(match address.strip_prefix('@') {
            Some(name) => {
                Self::Unix(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?, address.to_owned())
            }
            None => Self::Tcp(TcpListener::bind(address)?),
        })
    }

    fn address(&self) -> Result<String> {
        Ok(match self {
            Self::Unix(_, address) => address.clone(),
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
        })
    }

    fn accept(&self) -> Result<SocketEnd> {
        let mut end = match self {
            Self::Unix(listener, _) => unix(listener.accept()?.0)?,
            Self::Tcp(listener) => tcp(listener.accept()?.0)?,
        };
        end.sending.write_all(&[0])?;
        Ok(end)
    }

    fn connect(address: &str) -> Result<SocketEnd> {
        let mut end = match address.strip_prefix('@') {
            Some(name) => unix(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?)?,
            None => tcp(TcpStream::connect(address)?)?,
        };
        end.receiving.read_exact(&mut [0])?;
        Ok(end)
    }
}

fn unix(socket: UnixStream) -> Result<SocketEnd> {
    let receiving = Box::new(BufReader::new(socket.try_clone()?));
    Ok(SocketEnd { sending: Box::new(socket), receiving })
}

fn tcp(socket: TcpStream) -> Result<SocketEnd> {
    socket.set_nodelay(true)?;
    let receiving = Box::new(BufReader::new(socket.try_clone()?));
    Ok(SocketEnd { sending: Box::new(socket), receiving })
}

impl End for SocketEnd {
    fn send(&mut self, message: &[u8]) -> Result {
        let header = u32::try_from(message.len())?.to_be_bytes();
        let sent = self.sending.write_vectored(&[IoSlice::new(&header), IoSlice::new(message)])?;
        let rest = sent.checked_sub(HEADER).ok_or("not even the header was sent at once")?;
        Ok(self.sending.write_all(&message[rest..])?)
    }

    fn receive(&mut self, message: &mut [u8]) -> Result {
        let mut header = [0; HEADER];
        self.receiving.read_exact(&mut header)?;
        if u32::from_be_bytes(header) as usize != message.len() {
            return Err("a message of another length has arrived".into());
        }
        Ok(self.receiving.read_exact(message)?)
    }
}
