//! The server's process: what it does until it serves, and what it tells whoever started it.
//!
//! Relies on [`Server`] for all that comes then.

use std::io;

use procession_ipc::{Address, ListenError, Listener, Sender};
use procession_launch::calls::{CaughtPanic, Initializer, InitializerFailure};
use procession_sys::{Disposition, Signal, set_disposition};
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, CodecPlan};
use crate::error::ManagerError;
use crate::limits::Limits;
use crate::manager::ManagerServer;
use crate::server::{Registration, Registry, Server};

/// What a started server says: where it listens, also for programs that are not ours.
pub(crate) type Started = Result<(Address, Vec<Address>), Unstarted>;

/// Why it does not serve.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Unstarted {
    Initializer { message: String, location: Option<String> },
    Listen { address: Address, error: Told },
    Codec { reason: String },
    Ended(String),
}

/// What the system has said, on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    code: Option<i32>,
    is_in_use: bool,
    text: String,
}

impl Unstarted {
    pub(crate) fn into_error(self, name: String) -> ManagerError {
        match self {
            Self::Initializer { message, location } => ManagerError::Initializer { name, message, location },
            Self::Listen { address, error } => {
                ManagerError::Listen { name, error: ListenError::System { address, error: error.into() } }
            }
            Self::Codec { reason } => ManagerError::Codec { name, reason },
            Self::Ended(reason) => ManagerError::Ended { name, reason },
        }
    }
}

impl From<ManagerError> for Unstarted {
    fn from(error: ManagerError) -> Self {
        match error {
            ManagerError::Listen { error: ListenError::System { address, error }, .. } => {
                Self::Listen { address, error: error.into() }
            }
            ManagerError::Codec { reason, .. } => Self::Codec { reason },
            error => Self::Ended(error.to_string()),
        }
    }
}

impl From<io::Error> for Told {
    fn from(error: io::Error) -> Self {
        let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
        Self { code: error.raw_os_error(), is_in_use, text: error.to_string() }
    }
}

impl From<Told> for io::Error {
    fn from(Told { code, is_in_use, text }: Told) -> Self {
        let kind = if is_in_use { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
        code.map_or_else(|| Self::new(kind, text), Self::from_raw_os_error)
    }
}

/// Runs what is to run first.
pub(crate) fn initialize(initializer: Option<Initializer>) -> Result<(), Unstarted> {
    initializer.map_or(Ok(()), Initializer::run).map_err(|failure| match failure {
        InitializerFailure::Panicked(CaughtPanic { message, location, .. }) => {
            Unstarted::Initializer { message, location }
        }
        InitializerFailure::Arguments(message) | InitializerFailure::Refused(message) => {
            Unstarted::Initializer { message, location: None }
        }
    })
}

/// What a server is to be, on its way to its process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) address: Option<Address>,
    pub(crate) key: Vec<u8>,
    pub(crate) limits: Limits,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) codecs: Vec<CodecPlan>,
}

impl Plan {
    pub(crate) fn listen(self) -> Result<ManagerServer, ManagerError> {
        let Self { name, address, key, limits, registrations, codecs } = self;
        let listener = match address {
            Some(address) => Listener::bind(address),
            None => Listener::temporary(),
        };
        let listener = listener.map_err(|error| ManagerError::Listen { name: name.clone(), error })?.authkey(&key);
        let address = listener.address().clone();
        let registry = Registry::new(registrations).map_err(|error| ManagerError::Registration {
            name: name.clone(),
            registered: "what it has".into(),
            reason: error.to_string(),
        })?;
        let doors = codecs.into_iter().map(|codec| codec.open(&key, &limits)).collect::<Result<_, _>>();
        let doors =
            doors.map_err(|error: CodecError| ManagerError::Codec { name: name.clone(), reason: error.to_string() })?;
        let server = Server::new(&name, listener, registry, limits)?;
        Ok(ManagerServer::new(name, server, address, doors))
    }
}

/// The server's process.
pub(crate) fn serve(initializer: Option<Initializer>, plan: Plan, started: Sender<Started>) {
    // Ctrl-C is for who started it: what clients do when they end must still find its objects.
    set_disposition(Signal::INT, Disposition::Ignore);
    let served = initialize(initializer).and_then(|()| plan.listen().map_err(Unstarted::from));
    match served {
        Ok(server) => {
            let addresses = (server.address().clone(), server.codec_addresses());
            let _ = started.send(&Ok(addresses)); // Whoever started it has ended otherwise.
            drop(started);
            if let Err(error) = server.serve_forever() {
                tracing::error!(%error, "a manager's server ends");
            }
        }
        Err(why) => drop(started.send(&Err(why))),
    }
}
