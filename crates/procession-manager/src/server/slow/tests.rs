//! That whoever does not read is put out in the end, and holds up nobody until then.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;

use procession_ipc::Connection;

use super::*;
use crate::frame::Frame;
use crate::identity::ObjectId;
use crate::remote::Hello;
use crate::server::{Caller, Server, Taken, rig};

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// More than a socket holds.
const LARGE: usize = 1 << 20;

/// How much somebody slow reads at once.
const SIP: usize = 64 << 10;

/// A server that waits for so long for those who read nothing.
fn server(silence_max: Duration) -> Arc<Server> {
    let mut server = rig::server();
    Arc::get_mut(&mut server).unwrap().slow.silence_max = silence_max;
    server
}

fn client(server: &Arc<Server>, number: u64) -> (Arc<Client>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let hello = Hello { pid: 7, name: "test".to_owned() };
    (Arc::new(Client::new(number, hello, ours.into(), server)), theirs)
}

/// Answers a call with so many bytes.
fn answer(server: &Arc<Server>, client: &Arc<Client>, bytes: usize) {
    let caller = Caller::of_client(client, 1, ObjectId::SERVER, true);
    caller.give(Ok(vec![Taken::of(server.id, &vec![7_u8; bytes]).unwrap()]));
}

fn read_frames(theirs: UnixStream, count: usize) -> Vec<usize> {
    let connection = Connection::<Frame, Frame>::from(theirs);
    (0..count).map(|_| connection.recv_timeout(SOON).unwrap().bytes.len()).collect()
}

fn await_done(server: &Server) {
    server.slow.wait_until(Instant::now() + SOON);
    assert!(!server.slow.state.lock().is_served);
    server.standby.end();
}

#[test]
fn who_reads_slowly_is_waited_for_and_who_reads_nothing_is_not() {
    const SILENCE_MAX: Duration = Duration::from_secs(3);
    let server = server(SILENCE_MAX);
    let ((slow, mut theirs), (silent, _unread)) = (client(&server, 1), client(&server, 2));
    let begun = Instant::now();
    [&slow, &silent].into_iter().for_each(|client| answer(&server, client, 4 * LARGE));
    let took = thread::scope(|scope| {
        let reads = scope.spawn(move || {
            for _ in 0..4 * LARGE / SIP {
                theirs.read_exact(&mut vec![0; SIP]).unwrap();
                thread::park_timeout(Duration::from_millis(120)); // It is slow.
            }
            begun.elapsed()
        });
        reads.join().unwrap()
    });
    await_done(&server);
    assert!(took > 2 * SILENCE_MAX, "{took:?}");
    assert_eq!((slow.is_out(), silent.is_out()), (false, true));
}

#[test]
fn many_who_read_nothing_have_one_thread_together_and_keep_no_answer_from_others() {
    const SILENT: u64 = 300;
    let server = server(UNREAD_TIME_MAX);
    let silent: Vec<(Arc<Client>, UnixStream)> = (1..=SILENT).map(|number| client(&server, number)).collect();
    for (client, _) in &silent {
        answer(&server, client, LARGE);
        answer(&server, client, 1);
    }
    let begun = Instant::now();
    let (reader, theirs) = client(&server, SILENT + 1);
    (0..20).for_each(|_| answer(&server, &reader, LARGE));
    assert!(read_frames(theirs, 20).iter().all(|bytes| *bytes > LARGE));
    assert!(begun.elapsed() < SOON);
    assert_eq!(server.standby.threads(), 1);
    assert!(silent.iter().all(|(client, _)| !client.is_out() && !reader.is_out()));
    // They may read yet: nothing is lost of what waited, and its order is kept.
    let (client, theirs) = &silent[7];
    let bytes = read_frames(theirs.try_clone().unwrap(), 2);
    assert!(bytes[0] > LARGE && bytes[1] < SIP && !client.is_out(), "{bytes:?}");
    drop(silent);
    await_done(&server);
}

#[test]
fn who_has_read_everything_is_sent_to_at_once_again() {
    let server = server(UNREAD_TIME_MAX);
    let (client, theirs) = client(&server, 1);
    for _ in 0..3 {
        (0..3).for_each(|_| answer(&server, &client, LARGE));
        assert_eq!(read_frames(theirs.try_clone().unwrap(), 3).len(), 3);
        server.slow.wait_until(Instant::now() + SOON);
        assert!(client.may_ask());
        answer(&server, &client, 1);
        assert!(!server.slow.state.lock().is_served, "it has gone");
        assert_eq!(read_frames(theirs.try_clone().unwrap(), 1).len(), 1);
    }
    server.standby.end();
}
