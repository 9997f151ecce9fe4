//! What becomes of what a program has sent before it leaves without having read the replies.
//!
//! Relies on somebody who is asked for as long as it takes: while a call of the program is carried out, it leaves. It comes by a
//! Unix socket, where what one has sent has arrived.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use procession_ipc::{BytesConnection, Client};
use procession_launch::StartMethod;
use procession_manager::{QUESTIONS_AHEAD_MAX, SyncManager, shared};

use super::{KEY, SOON, ask, guest, manager, named, until};

/// More than may be sent ahead while a call waits.
const MANY: usize = 3 * QUESTIONS_AHEAD_MAX;

/// One that others wait for while somebody is there.
#[derive(Debug, Default)]
pub(crate) struct Desk(u64);

#[shared]
impl Desk {
    /// A desk where nobody was yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(0)
    }

    /// Calls somebody who is asked at this address, and waits until he hangs up.
    pub(crate) fn consult(&mut self, address: String) {
        let mut line = TcpStream::connect(address).unwrap();
        line.read_to_end(&mut Vec::new()).unwrap();
        self.0 += 1;
    }

    /// Counts who comes.
    pub(crate) fn visit(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Somebody who is asked, and where.
fn adviser() -> (TcpListener, String) {
    let adviser = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = adviser.local_addr().unwrap().to_string();
    (adviser, address)
}

/// A text as a word.
fn word(text: &str) -> String {
    text.bytes().fold("s".to_owned(), |word, byte| format!("{word}{byte:02x}"))
}

/// A program for each of the ways to come by a Unix socket, and a server.
fn each_way(method: StartMethod, test: impl Fn(&SyncManager, BytesConnection)) {
    for is_stream in [false, true] {
        let manager = manager(method);
        let builder = Client::builder(manager.codec_addresses()[1].clone()).unwrap().authkey(KEY);
        let builder = if is_stream { builder.stream_only() } else { builder };
        test(&manager, builder.connect_bytes().unwrap());
    }
}

/// Says something, and does not wait for the reply.
fn tell(guest: &BytesConnection, question: &str) {
    guest.send(question.as_bytes()).unwrap();
}

pub(crate) fn what_was_sent_before_the_end_is_done(method: StartMethod) {
    each_way(method, |manager, hasty| {
        let (queue, desk) = (manager.queue::<usize>().unwrap(), manager.create::<Desk>(()).unwrap());
        manager.publish("queue", &queue).unwrap();
        manager.publish("desk", &desk).unwrap();
        let (queue_there, desk_there) = (named(&hasty, "queue"), named(&hasty, "desk"));
        let (adviser, address) = adviser();
        tell(&hasty, &format!("call {desk_there} consult {}", word(&address)));
        (0..MANY).for_each(|n| tell(&hasty, &format!("call {queue_there} put n i{n}")));
        let (line, _) = adviser.accept().unwrap();
        drop(hasty); // While its first call is carried out.
        drop(line);
        (0..MANY).for_each(|n| assert_eq!(queue.get_timeout(SOON).unwrap(), n));
    });
}

pub(crate) fn what_is_in_line_at_the_end_is_done(method: StartMethod) {
    each_way(method, |manager, hasty| {
        let (queue, desk) = (manager.queue::<usize>().unwrap(), manager.create::<Desk>(()).unwrap());
        manager.publish("queue", &queue).unwrap();
        manager.publish("desk", &desk).unwrap();
        let (adviser, address) = adviser();
        let consults = desk.consult_later(address).unwrap();
        let (line, _) = adviser.accept().unwrap();
        let (queue_there, desk_there) = (named(&hasty, "queue"), named(&hasty, "desk"));
        tell(&hasty, &format!("call {desk_there} visit"));
        (0..4).for_each(|n| tell(&hasty, &format!("call {queue_there} put n i{n}")));
        until(|| manager.objects().unwrap().iter().any(|object| object.waiting == 1));
        drop(hasty); // While its first call stands behind another one's.
        drop(line);
        consults.get_timeout(SOON).unwrap();
        (0..4).for_each(|n| assert_eq!(queue.get_timeout(SOON).unwrap(), n));
        assert_eq!(desk.visit().unwrap(), 3);
    });
}

pub(crate) fn what_who_has_left_has_is_given_back_while_its_call_stands_in_line(method: StartMethod) {
    each_way(method, |manager, hasty| {
        let (lock, desk) = (manager.lock().unwrap(), manager.create::<Desk>(()).unwrap());
        manager.publish("lock", &lock).unwrap();
        manager.publish("desk", &desk).unwrap();
        let (adviser, address) = adviser();
        let consults = desk.consult_later(address).unwrap();
        let (line, _) = adviser.accept().unwrap();
        let (lock_there, desk_there) = (named(&hasty, "lock"), named(&hasty, "desk"));
        assert!(ask(&hasty, &format!("call {lock_there} acquire n")).starts_with("values"));
        tell(&hasty, &format!("call {desk_there} visit"));
        until(|| manager.objects().unwrap().iter().any(|object| object.waiting == 1));
        drop(hasty);
        assert!(lock.lock_timeout(SOON).unwrap().owner_died());
        drop(line);
        consults.get_timeout(SOON).unwrap();
        assert_eq!(desk.visit().unwrap(), 3);
    });
}

pub(crate) fn what_who_has_left_would_take_stays(method: StartMethod) {
    each_way(method, |manager, hasty| {
        let (queue, desk) = (manager.queue::<usize>().unwrap(), manager.create::<Desk>(()).unwrap());
        let [first, second] = [(); 2].map(|()| manager.joinable_queue::<usize>().unwrap());
        manager.publish("queue", &queue).unwrap();
        manager.publish("desk", &desk).unwrap();
        manager.publish("first", &first).unwrap();
        manager.publish("second", &second).unwrap();
        (1..=2).for_each(|n| queue.put(&n).unwrap());
        let objects = ["queue", "desk", "first", "second"].map(|name| named(&hasty, name));
        let [queue_there, desk_there, first_there, second_there] = objects;
        let (adviser, address) = adviser();
        tell(&hasty, &format!("call {desk_there} consult {}", word(&address)));
        tell(&hasty, &format!("call {queue_there} get n"));
        tell(&hasty, &format!("call {queue_there} put n i3"));
        tell(&hasty, &format!("call {first_there} get n"));
        tell(&hasty, &format!("call {second_there} put n i4"));
        let (line, _) = adviser.accept().unwrap();
        drop(hasty);
        drop(line);
        until(|| queue.len().unwrap() == 3);
        (1..=3).for_each(|n| assert_eq!(queue.get().unwrap(), n));
        until(|| manager.objects().unwrap().iter().all(|object| object.references == 2));
        first.put(&7).unwrap();
        assert_eq!(first.try_get().unwrap(), 7, "nobody waits for it any more");
        assert!(second.is_empty().unwrap(), "what stood behind a call that would have waited is not done");
    });
}

pub(crate) fn who_sends_much_ahead_of_a_call_that_is_soon_over_stays(method: StartMethod) {
    let manager = manager(method);
    let desk = manager.create::<Desk>(()).unwrap();
    manager.publish("desk", &desk).unwrap();
    let (adviser, address) = adviser();
    let consults = desk.consult_later(address).unwrap();
    let (line, _) = adviser.accept().unwrap();
    let busy = guest(&manager);
    let there = named(&busy, "desk");
    (0..MANY).for_each(|_| tell(&busy, &format!("call {there} visit")));
    until(|| manager.objects().unwrap()[0].waiting == 1);
    drop(line);
    consults.get_timeout(SOON).unwrap();
    (0..MANY).for_each(|n| assert_eq!(busy.recv_timeout(SOON).unwrap(), format!("values i{}", n + 2).as_bytes()));
    assert_eq!(ask(&busy, "hello"), "values");
}
