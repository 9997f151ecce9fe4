//! The server's process: what it does until it serves, and what it tells whoever started it.
//!
//! Relies on [`Server`] for all that comes then.

use procession_ipc::{Address, Listener, Sender};
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
    Ended(String),
}

impl Unstarted {
    pub(crate) fn into_error(self, name: String) -> ManagerError {
        match self {
            Self::Initializer { message, location } => ManagerError::Initializer { name, message, location },
            Self::Ended(reason) => ManagerError::Ended { name, reason },
        }
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
    let served =
        initialize(initializer).and_then(|()| plan.listen().map_err(|error| Unstarted::Ended(error.to_string())));
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
