//! Whom who leads reads from, and whom not: each case leads itself, step by step.

use std::thread;

use procession_ipc::Address;

use super::*;
use crate::frame::Request;
use crate::identity::ObjectId;
use crate::server::seat::work_for;
use crate::server::{Caller, Taken, rig};

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// More than a client may leave unread before it is read from again.
const MUCH: usize = 17 << 20;

/// Somebody who has connected, and the client that he is.
fn connected(server: &Arc<Server>) -> (Lead, Connection<Frame, Frame>, Arc<Client>) {
    let mut lead = Lead::new(&server.listener, usize::MAX, None).unwrap();
    let address = server.listener.address().clone();
    let connects = thread::spawn(move || connect(address));
    let client = until(&mut lead, server, |lead, _| lead.clients.values().next().cloned());
    (lead, connects.join().unwrap(), client)
}

fn connect(address: Address) -> Connection<Frame, Frame> {
    let builder = procession_ipc::Client::builder(address).unwrap().authkey(rig::KEY);
    let connection: Connection<Frame, Frame> = builder.connect().unwrap();
    connection.send(&greeting(&Hello { pid: 7, name: "test".to_owned() }).unwrap()).unwrap();
    connection.recv().unwrap();
    connection
}

/// Leads until something is found, with what was read last.
fn until<T>(lead: &mut Lead, server: &Arc<Server>, mut find: impl FnMut(&Lead, Option<Next>) -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        let next = lead.next(server);
        if let Some(found) = find(lead, next) {
            return found;
        }
        assert!(begun.elapsed() < SOON);
    }
}

fn ask(connection: &Connection<Frame, Frame>) {
    connection.send(&Request::Acknowledge { call: 1, object: ObjectId::SERVER }.write()).unwrap();
}

/// Nothing is read of a client, and nobody is told that it has said something.
fn is_left_alone(lead: &mut Lead, server: &Arc<Server>, client: &Client) {
    until(lead, server, |lead, next| {
        assert!(next.is_none());
        lead.away.contains_key(&client.number()).then_some(())
    });
    assert_eq!(lead.watched.wait(Deadline::NOW).unwrap(), [0_u64; 0]);
    assert!(lead.next(server).is_none());
}

/// What it has said is read.
fn is_read(lead: &mut Lead, server: &Arc<Server>, client: &Client) {
    let next = until(lead, server, |_, next| next);
    assert_eq!(next.client.number(), client.number());
    client.let_go_on(next.number);
}

#[test]
fn who_is_held_up_is_looked_at_when_it_may_go_on() {
    let server = rig::server();
    let (mut lead, connection, client) = connected(&server);
    for request in [1 << 40, 2 << 40] {
        client.hold_up(request);
        ask(&connection);
        is_left_alone(&mut lead, &server, &client);
        client.let_go_on(request);
        is_read(&mut lead, &server, &client);
        ask(&connection);
        is_read(&mut lead, &server, &client);
    }
    assert!(lead.away.is_empty());
}

#[test]
fn who_has_much_to_read_is_not_read_from_and_holds_no_thread() {
    let server = rig::server();
    let (mut lead, connection, client) = connected(&server);
    let answer = || {
        let caller = Caller::of_client(&client, 1, ObjectId::SERVER, true);
        caller.give(Ok(vec![Taken::of(server.id, &vec![0_u8; MUCH]).unwrap()]));
    };
    // The socket takes a part of the first; the second waits.
    work_for(&server, || (0..2).for_each(|_| answer()));
    ask(&connection);
    is_left_alone(&mut lead, &server, &client);
    (0..2).for_each(|_| assert!(connection.recv().unwrap().bytes.len() > MUCH));
    is_read(&mut lead, &server, &client);
    server.standby.end();
}

#[test]
fn who_is_put_out_parts_when_its_last_request_has_its_place() {
    let server = rig::server();
    let (mut lead, _connection, client) = connected(&server);
    client.hold_up(5);
    client.be_put_out();
    lead.put_out(&server);
    assert!(lead.clients.contains_key(&client.number()));
    client.let_go_on(5);
    lead.put_out(&server);
    assert!(lead.clients.is_empty());
    server.standby.end();
}

#[test]
fn nothing_more_is_read_of_who_is_put_out() {
    let server = rig::server();
    let (mut lead, connection, client) = connected(&server);
    (0..2).for_each(|_| ask(&connection));
    is_read(&mut lead, &server, &client);
    client.be_put_out();
    until(&mut lead, &server, |lead, next| {
        assert!(next.is_none());
        lead.clients.is_empty().then_some(())
    });
    assert!(lead.away.is_empty());
    server.standby.end();
}
