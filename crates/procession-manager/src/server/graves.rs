//! How objects end: one after the other, and not one within the other.
//!
//! Relies on a list for each thread. An object that is the last to hold another one ends it: of objects that hold each other
//! in a row of a million that would take a million calls within each other, and more stack than there is. Those of users'
//! types end last, as that may take long.

use std::cell::RefCell;
use std::sync::Arc;

use procession_launch::calls::catch_call;

use super::{Entry, is_in_place};
use crate::host::Hosting;

/// What is to end.
#[derive(Default)]
pub(super) struct Graves {
    ours: Vec<Arc<dyn Hosting>>,
    users: Vec<Arc<dyn Hosting>>,
}

impl Graves {
    fn add(&mut self, host: Arc<dyn Hosting>) {
        if host.is_users() { self.users.push(host) } else { self.ours.push(host) }
    }

    fn next(&mut self) -> Option<Arc<dyn Hosting>> {
        self.ours.pop().or_else(|| self.users.pop())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.users.is_empty()
    }
}

thread_local! {
    /// What is to end after that which is ending; none while nothing is.
    static WAITING: RefCell<Option<Graves>> = const { RefCell::new(None) };
}

/// Ends an object, if nobody else has it, when those before it have ended.
pub(crate) fn bury(host: Arc<dyn Hosting>) {
    one_by_one(|| {
        // A thread that is ending itself has no list: the object ends here and now.
        let _ = WAITING.try_with(move |waiting| waiting.borrow_mut().get_or_insert_default().add(host));
    });
}

/// Ends what was put off.
pub(super) fn bury_all(graves: Graves) {
    let Graves { ours, users } = graves;
    one_by_one(|| ours.into_iter().chain(users).for_each(bury));
}

/// Lets go of objects. Of those that end with this none is known any more when the first one does.
pub(super) fn let_go(entries: Vec<Arc<Entry>>) {
    one_by_one(|| drop(entries));
}

/// Does something with which objects may end, and says which are to: whoever has the time buries them.
pub(super) fn put_off<T>(work: impl FnOnce() -> T) -> (T, Graves) {
    WAITING.set(Some(Graves::default()));
    let done = work();
    (done, WAITING.take().unwrap_or_default())
}

/// Gathers what is to end, and has it end unless that is being done already.
fn one_by_one(gather: impl FnOnce()) {
    let is_first = WAITING.try_with(|waiting| {
        let is_first = waiting.borrow().is_none();
        waiting.borrow_mut().get_or_insert_default();
        is_first
    });
    gather();
    while is_first == Ok(true)
        && let Some(host) = next()
    {
        if host.is_users() {
            is_in_place(); // What its client asks next need not wait for a type of a user's.
        }
        // A value of a user's type may panic when it is dropped.
        if let Err(panic) = catch_call(|| drop(host)) {
            tracing::error!(panic = panic.message, "an object has panicked at its end");
        }
    }
}

fn next() -> Option<Arc<dyn Hosting>> {
    WAITING.with_borrow_mut(|waiting| {
        let next = waiting.as_mut().and_then(Graves::next);
        if next.is_none() {
            *waiting = None;
        }
        next
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::registry::hosted;
    use super::super::{Server, rig};
    use super::*;
    use crate::shared::{Method, Shared};
    use crate::stock::LockProxy;

    /// Tells of its end, and how many objects are left then.
    struct Mortal(Sender<u64>, Arc<Server>);

    impl Shared for Mortal {
        type Proxy = LockProxy;

        fn type_name() -> String {
            "Mortal".to_owned()
        }

        fn methods() -> Vec<Method<Self>> {
            Vec::new()
        }
    }

    impl Drop for Mortal {
        fn drop(&mut self) {
            let _ = self.0.send(self.1.count());
        }
    }

    fn mortal(server: &Arc<Server>) -> (Arc<Entry>, Receiver<u64>) {
        let (tells, told) = channel();
        (server.host(hosted(Mortal(tells, Arc::clone(server)))).unwrap(), told)
    }

    #[test]
    fn nothing_is_known_any_more_when_the_first_object_of_a_users_ends() {
        let server = rig::server();
        let (mortal, told) = mortal(&server);
        let_go(vec![rig::object(&server), mortal, rig::object(&server)]);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_is_put_off_ends_when_it_is_buried() {
        let server = rig::server();
        let (mortal, told) = mortal(&server);
        let (count, graves) = put_off(|| {
            drop(mortal);
            server.count()
        });
        assert!((count, graves.is_empty()) == (0, false) && told.try_recv().is_err());
        bury_all(graves);
        assert_eq!(told.try_recv(), Ok(0));
        assert!(put_off(|| ()).1.is_empty());
    }
}
