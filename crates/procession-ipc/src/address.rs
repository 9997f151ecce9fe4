//! Where a listener is, as text.
//!
//! Relies on nothing but the system's resolver of host names.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;

use procession_sys::SocketAddress;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How many bytes a socket file's path, or an abstract name, may have: what the kernel has room for (unix(7)).
pub const ADDRESS_BYTES_MAX: usize = 107;

/// Where a [`Listener`](crate::Listener) is: a host and a TCP port, a Unix socket file, or one of Linux's abstract names,
/// which stand in no directory and are gone with their listener.
///
/// Its text is `host:port` (`[::1]:port` for IPv6), a path that begins with `/` or `.`, or `@name`; what is displayed can be
/// read back. Calls that need an address take any of these, as text or as an `Address`. A host name is looked up when it
/// is used. Paths and names are text of at most [`ADDRESS_BYTES_MAX`] bytes.
///
/// # Python
/// The address argument of `multiprocessing.connection.Listener`: a tuple of host and port, a path, or a name after a
/// NUL byte, which is `@` here.
///
/// # Examples
/// ```
/// use procession_ipc::Address;
///
/// for text in ["localhost:50000", "[::1]:50000", "/run/app/socket", "./socket", "@app"] {
///     assert_eq!(text.parse::<Address>()?.to_string(), text);
/// }
/// let error = "socket".parse::<Address>().unwrap_err();
/// assert!(error.to_string().contains("host:port"));
/// # Ok::<(), procession_ipc::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Kind);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Tcp { host: String, port: u16 },
    Path(String),
    Abstract(String),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: {reason}; write host:port, a path that begins with / or ., or @name")]
#[non_exhaustive]
pub struct AddressError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Address {
    /// The port, of a TCP address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self.0 {
            Kind::Tcp { port, .. } => Some(port),
            _ => None,
        }
    }

    /// The socket file, of a Unix path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Path(path) => Some(Path::new(path)),
            _ => None,
        }
    }

    /// True for one that other machines can reach, or could.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        matches!(self.0, Kind::Tcp { .. })
    }

    /// What it stands for now; several of which any will do, for a host with several addresses.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddress>> {
        match &self.0 {
            Kind::Tcp { host, port } => {
                Ok((host.as_str(), *port).to_socket_addrs()?.map(SocketAddress::Internet).collect())
            }
            Kind::Path(path) => Ok(vec![SocketAddress::Path(path.into())]),
            Kind::Abstract(name) => Ok(vec![SocketAddress::Abstract(name.clone().into())]),
        }
    }

    /// That of a socket, if it has one that is text.
    pub(crate) fn of(address: SocketAddress) -> Option<Self> {
        match address {
            SocketAddress::Internet(address) => Some(address.into()),
            SocketAddress::Path(path) => path_of(path.to_str()?).ok(),
            SocketAddress::Abstract(name) => abstract_of(&String::from_utf8(name).ok()?).ok(),
            SocketAddress::Unnamed => None,
        }
    }
}

fn path_of(path: &str) -> Result<Address, &'static str> {
    if path.contains('\0') {
        return Err("a path has no NUL byte");
    }
    // With its first character it is told from a host.
    let path = if path.starts_with(['/', '.']) { path.to_owned() } else { format!("./{path}") };
    if path.len() > ADDRESS_BYTES_MAX {
        return Err("its path is longer than the 107 bytes that a socket's may have");
    }
    Ok(Address(Kind::Path(path)))
}

fn abstract_of(name: &str) -> Result<Address, &'static str> {
    match name {
        "" => Err("its abstract name is empty"),
        name if name.len() > ADDRESS_BYTES_MAX => Err("its name is longer than the 107 bytes that a socket's may have"),
        name => Ok(Address(Kind::Abstract(name.to_owned()))),
    }
}

fn tcp_of(text: &str) -> Result<Address, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("it is no path and has no port")?;
    let port = port.parse().map_err(|_| "its port is no number up to 65535")?;
    let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
        Some(Some(host)) if host.contains(':') => host,
        Some(_) => return Err("what stands in brackets is no IPv6 address"),
        None if host.contains(':') => return Err("an IPv6 address stands in brackets"),
        None => host,
    };
    if host.is_empty() {
        return Err("it has no host; 0.0.0.0 is every interface of this machine");
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@[]".contains(c)) {
        return Err("its host is no name");
    }
    Ok(Address(Kind::Tcp { host: host.to_owned(), port }))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = match text.strip_prefix('@') {
            Some(name) => abstract_of(name),
            None if text.starts_with(['/', '.']) => path_of(text),
            None => tcp_of(text),
        };
        address.map_err(|reason| AddressError { text: text.to_owned(), reason })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Kind::Tcp { host, port } => write!(f, "{host}:{port}"),
            Kind::Path(path) => f.write_str(path),
            Kind::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        // A scope is part of a link-local host.
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            other => other.ip().to_string(),
        };
        Self(Kind::Tcp { host, port: address.port() })
    }
}

/// As its text.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What an address can be made of: text, or an [`Address`].
pub trait ToAddress {
    /// The address.
    ///
    /// # Errors
    /// A text that is none.
    fn to_address(&self) -> Result<Address, AddressError>;
}

impl ToAddress for str {
    fn to_address(&self) -> Result<Address, AddressError> {
        self.parse()
    }
}

impl ToAddress for String {
    fn to_address(&self) -> Result<Address, AddressError> {
        self.parse()
    }
}

impl ToAddress for Address {
    fn to_address(&self) -> Result<Address, AddressError> {
        Ok(self.clone())
    }
}

impl ToAddress for SocketAddr {
    fn to_address(&self) -> Result<Address, AddressError> {
        Ok((*self).into())
    }
}

impl<T: ToAddress + ?Sized> ToAddress for &T {
    fn to_address(&self) -> Result<Address, AddressError> {
        (**self).to_address()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> &'static str {
        text.parse::<Address>().unwrap_err().reason
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        assert!(reason("").contains("no port") && reason("host").contains("no port"));
        assert!(reason("host:65536").contains("65535") && reason("host:-1").contains("65535"));
        assert!(reason(":80").contains("0.0.0.0") && reason("::1:80").contains("brackets"));
        assert!(reason("[host]:80").contains("IPv6") && reason("[::1:80").contains("IPv6"));
        assert!(reason("@").contains("empty") && reason("/a\0b").contains("NUL"));
        assert!(reason("a b:80").contains("name") && reason("a/b:80").contains("name"));
        assert_eq!(format!("/{}", "x".repeat(106)).parse::<Address>().unwrap().path().unwrap().as_os_str().len(), 107);
        assert!(reason(&format!("/{}", "x".repeat(107))).contains("107"));
        assert!(reason(&format!("@{}", "x".repeat(108))).contains("107"));
    }

    #[test]
    fn a_sockets_address_is_its_text() {
        let text = |address| Address::of(address).unwrap().to_string();
        assert_eq!(text(SocketAddress::Path("a".into())), "./a");
        assert_eq!(text(SocketAddress::Abstract(b"name".to_vec())), "@name");
        assert_eq!(text(SocketAddress::Internet("[::1]:5".parse().unwrap())), "[::1]:5");
        assert_eq!(Address::of(SocketAddress::Unnamed), None);
        assert_eq!(Address::of(SocketAddress::Abstract(vec![0xff])), None);
        let scoped = SocketAddress::Internet("[fe80::1%3]:5".parse().unwrap());
        assert_eq!(Address::of(scoped.clone()).unwrap().resolve().unwrap(), [scoped]);
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(text in "[@/.]?[a-z0-9:.\\[\\]@%/ é-]{0,12}(:[0-9]{1,5})?") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
