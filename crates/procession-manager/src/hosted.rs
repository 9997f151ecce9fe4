//! Shared objects that other objects of a server have, and give to clients.
//!
//! Relies on the thread to know its server: an object is entered there when it is given away for the first time.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Serialize, Serializer, ser};

use crate::host::Host;
use crate::proxy::RawProxy;
use crate::server::{Entry, own_server};
use crate::shared::{Methods, Shared, Typed};

/// A shared object in its server, which other objects there may have and methods may return: the caller gets a proxy of it.
///
/// A clone is the same object. It lives as long as a `Hosted` of it, or a proxy anywhere.
///
/// # Python
/// The result of a method that `method_to_typeid` names; but one object is given as often as one likes.
///
/// # Examples
/// ```
/// use procession_manager::{BaseManager, Hosted, shared};
/// use std::collections::HashMap;
///
/// #[derive(Default)]
/// pub struct Account(i64);
///
/// #[shared]
/// impl Account {
///     pub fn deposit(&mut self, amount: i64) -> i64 {
///         self.0 += amount;
///         self.0
///     }
/// }
///
/// #[derive(Default)]
/// pub struct Bank(HashMap<String, Hosted<Account>>);
///
/// #[shared]
/// impl Bank {
///     pub fn new() -> Self {
///         Self::default()
///     }
///
///     pub fn account(&mut self, owner: String) -> Hosted<Account> {
///         self.0.entry(owner).or_insert_with(|| Hosted::new(Account::default())).clone()
///     }
///
///     pub fn total(&self) -> i64 {
///         self.0.values().map(|account| account.with(|account| account.0)).sum()
///     }
/// }
///
/// let manager = BaseManager::builder().register::<Bank>("Bank").start()?;
/// let bank = manager.create::<Bank>(())?;
/// let account: AccountProxy = bank.account("Ada".into())?;
/// account.deposit(5)?;
/// bank.account("Ada".into())?.deposit(5)?;
/// assert_eq!(bank.total()?, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Hosted<T: Shared> {
    host: Arc<Host<Typed<T>>>,
    entry: Arc<Mutex<Weak<Entry>>>,
}

impl<T: Shared> Hosted<T> {
    /// A new object.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { host: Arc::new(Host::new(Methods::new(), Typed(value))), entry: Arc::default() }
    }

    /// Looks at the object; waits while a method changes it.
    ///
    /// Two objects whose methods look at each other may wait for ever.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.host.with(|value| look(&value.0))
    }

    /// Changes the object; waits while a method uses it.
    ///
    /// Two objects whose methods change each other may wait for ever.
    pub fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.host.with_mut(|value| change(&mut value.0))
    }

    /// A reference to it, for a client of this thread's server.
    fn reference(&self) -> Result<RawProxy, String> {
        let mut known = self.entry.lock();
        if let Some(entry) = known.upgrade() {
            return Ok(RawProxy::local(entry));
        }
        let server = own_server().ok_or("only a method of a server's object gives it away")?;
        let entry = server.host(Arc::clone(&self.host) as Arc<_>).map_err(|refusal| refusal.to_string())?;
        *known = Arc::downgrade(&entry);
        Ok(RawProxy::local(entry))
    }
}

impl<T: Shared> Clone for Hosted<T> {
    fn clone(&self) -> Self {
        Self { host: Arc::clone(&self.host), entry: Arc::clone(&self.entry) }
    }
}

/// As a proxy of it.
impl<T: Shared> Serialize for Hosted<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reference().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<T: Shared> fmt::Debug for Hosted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hosted<{}>", T::type_name())
    }
}
