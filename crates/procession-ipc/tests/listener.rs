//! Listeners and clients: addresses, keys, who is refused, and what becomes of socket files.

#[path = "../../procession-launch/tests/common/mod.rs"]
mod common;

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use common::{SOON, methods, start};
use procession_ipc::{
    AcceptError, Address, AuthFailure, BytesConnection, Client, ConnectError, Connection, HANDSHAKES_MAX, ListenError,
    Listener, RecvError, SendError, Waitable, try_wait_ready, wait_ready, wait_ready_timeout,
};
use procession_launch::{Context, StartMethod};
use procession_testkit::open_descriptors;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for addresses(), [
        values_go_both_ways,
        bytes_go_both_ways,
        a_wrong_key_is_refused_at_both_ends_and_the_listener_goes_on,
        bytes_and_values_do_not_mix,
        an_address_in_use_cannot_be_had_twice,
        an_address_can_be_taken_again_at_once,
        accepting_after_close_is_an_error,
        close_ends_the_wait_of_other_threads,
        many_threads_accept_at_once,
        a_client_finds_nobody,
        a_wait_is_ended_by_a_connection,
        a_wait_tells_of_those_who_are_late,
        what_is_accepted_needs_one_descriptor,
        signals_do_not_end_accept within 30,
    ];
    cases for methods(), [
        a_child_connects,
        a_listener_is_passed_to_children_without_its_key,
        two_processes_of_one_host_send_descriptors,
        a_killed_client_is_gone_at_once,
        who_has_no_descriptors_left_keeps_the_stream,
    ];
    cases: [
        an_empty_key_shakes_hands_at_a_unix_address_and_is_refused_by_tcp,
        a_client_without_a_key_is_refused_where_there_is_one,
        a_stale_socket_file_is_taken_over_and_others_are_not,
        a_socket_file_goes_with_its_listener_alone,
        a_listener_of_its_own_is_private,
        a_forked_child_accepts_and_the_file_stays,
        a_stream_carries_no_descriptors,
        another_user_is_refused_unless_that_was_allowed,
        who_is_at_the_other_end_is_told,
        a_full_queue_of_connections_is_worked_off,
        a_flood_ends_those_that_have_taken_the_longest within 60,
        a_listener_without_descriptors_left_goes_on_when_it_has_some,
    ];
}

const KEY: &[u8] = b"a key";

/// Where to listen.
type Place = fn() -> String;

/// An address of each kind.
fn addresses() -> Vec<(&'static str, Place)> {
    vec![
        ("tcp", || "127.0.0.1:0".to_owned()),
        ("tcp6", || "[::1]:0".to_owned()),
        ("unix", || scratch("socket").to_str().unwrap().to_owned()),
        ("abstract", || format!("@procession-test-{}", std::process::id())),
    ]
}

/// A path of this process's own, for a file that its listener or the case removes.
fn scratch(name: &str) -> PathBuf {
    env::temp_dir().join(format!("procession-listener-{}-{name}", std::process::id()))
}

fn listen(address: Place) -> Listener {
    Listener::bind(address()).unwrap().authkey(KEY)
}

/// A connection that sends and receives bytes, in a thread.
fn dial(listener: &Listener) -> thread::JoinHandle<Result<BytesConnection, ConnectError>> {
    let address = listener.address().clone();
    thread::spawn(move || Client::connect_bytes(address, KEY))
}

fn pair(listener: &Listener) -> (BytesConnection, BytesConnection) {
    let client = dial(listener);
    let accepted = listener.accept_bytes().unwrap();
    (accepted, client.join().unwrap().unwrap())
}

fn values_go_both_ways(address: Place) {
    let listener = listen(address);
    let address = listener.address().clone();
    let client = thread::spawn(move || {
        let connection: Connection<Vec<String>, usize> = Client::connect(&address, KEY).unwrap();
        connection.send(&vec!["one".to_owned(), "two".to_owned()]).unwrap();
        assert_eq!(connection.recv().unwrap(), 2);
        assert!(matches!(connection.recv(), Err(RecvError::Disconnected)));
    });
    let connection = listener.accept::<usize, Vec<String>>().unwrap();
    connection.send(&connection.recv().unwrap().len()).unwrap();
    drop(connection);
    client.join().unwrap();
}

fn bytes_go_both_ways(address: Place) {
    let listener = listen(address);
    let (ours, theirs) = pair(&listener);
    // The first message is there for `poll` as soon as it was sent (bpo-16955).
    theirs.send(b"hello").unwrap();
    assert!(ours.poll_timeout(SOON).unwrap());
    assert_eq!(ours.recv().unwrap(), b"hello");
    for len in [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20] {
        let message = vec![7; len];
        thread::scope(|scope| {
            scope.spawn(|| ours.send(&message).unwrap());
            assert_eq!(theirs.recv().unwrap(), message);
        });
    }
}

fn a_wrong_key_is_refused_at_both_ends_and_the_listener_goes_on(address: Place) {
    let listener = listen(address);
    let address = listener.address().clone();
    let wrong = thread::spawn(move || Client::connect_bytes(address, b"another key"));
    let Err(AcceptError::AuthFailed { reason: AuthFailure::WrongKey, peer }) = listener.accept_bytes() else {
        panic!("a wrong key was accepted")
    };
    assert!(!peer.to_string().is_empty());
    let refused = wrong.join().unwrap();
    assert!(matches!(refused, Err(ConnectError::AuthFailed { reason: AuthFailure::Refused, .. })), "{refused:?}");
    let (ours, theirs) = pair(&listener);
    ours.send(b"goes on").unwrap();
    assert_eq!(theirs.recv().unwrap(), b"goes on");
}

fn bytes_and_values_do_not_mix(address: Place) {
    let listener = listen(address);
    let address = listener.address().clone();
    let client =
        thread::spawn(move || (Client::connect_bytes(&address, KEY), Client::connect::<u8, u8>(&address, KEY)));
    assert!(matches!(listener.accept::<u8, u8>(), Err(AcceptError::AuthFailed { reason: AuthFailure::BytesOnly, .. })));
    assert!(matches!(listener.accept_bytes(), Err(AcceptError::AuthFailed { reason: AuthFailure::ValuesOnly, .. })));
    let (bytes, values) = client.join().unwrap();
    assert!(matches!(bytes.unwrap().recv(), Err(RecvError::Disconnected)));
    assert!(matches!(values.unwrap().recv(), Err(RecvError::Disconnected)));
}

fn an_address_in_use_cannot_be_had_twice(address: Place) {
    let listener = listen(address);
    let Err(ListenError::System { error, address }) = Listener::bind(listener.address()) else {
        panic!("two listeners at one address")
    };
    assert_eq!((error.kind(), &address), (io::ErrorKind::AddrInUse, listener.address()));
    let (ours, theirs) = pair(&listener);
    ours.send(b"unharmed").unwrap();
    assert_eq!(theirs.recv().unwrap(), b"unharmed");
}

fn an_address_can_be_taken_again_at_once(address: Place) {
    let first = listen(address);
    let address = first.address().clone();
    let connected = pair(&first);
    drop(first);
    for _ in 0..20 {
        let again = Listener::bind(&address).unwrap().authkey(KEY);
        assert_eq!(again.address(), &address);
        let (ours, theirs) = pair(&again);
        theirs.send(b"again").unwrap();
        assert_eq!(ours.recv().unwrap(), b"again");
        drop(ours); // The accepting side closes first, which is what leaves a port in TIME_WAIT.
    }
    connected.0.send(b"lives on").unwrap();
    assert_eq!(connected.1.recv().unwrap(), b"lives on");
}

fn accepting_after_close_is_an_error(address: Place) {
    let listener = listen(address);
    listener.close();
    listener.close();
    assert!(matches!(listener.accept_bytes(), Err(AcceptError::Closed)));
    assert!(matches!(listener.try_accept::<(), ()>(), Err(AcceptError::Closed)));
    assert!(matches!(Client::connect_bytes(listener.address(), KEY), Err(ConnectError::System { .. })));
}

fn close_ends_the_wait_of_other_threads(address: Place) {
    let listener = listen(address);
    let begun = Instant::now();
    thread::scope(|scope| {
        let waits: Vec<_> = (0..3).map(|_| scope.spawn(|| listener.accept_bytes())).collect();
        thread::park_timeout(Duration::from_millis(20));
        listener.close();
        for wait in waits {
            assert!(matches!(wait.join().unwrap(), Err(AcceptError::Closed)));
        }
    });
    assert!(begun.elapsed() < SOON);
}

fn many_threads_accept_at_once(address: Place) {
    const EACH: usize = 25;
    let listener = listen(address);
    thread::scope(|scope| {
        let accept = || (0..EACH).map(|_| listener.accept_bytes().unwrap().recv().unwrap()[0]).collect::<Vec<u8>>();
        let accepting: Vec<_> = (0..4).map(|_| scope.spawn(accept)).collect();
        for first in 0..4 {
            let listener = &listener;
            scope.spawn(move || {
                for at in 0..EACH {
                    let connection = Client::connect_bytes(listener.address(), KEY).unwrap();
                    connection.send(&[(first * EACH + at) as u8]).unwrap();
                }
            });
        }
        let mut came: Vec<u8> = accepting.into_iter().flat_map(|accepting| accepting.join().unwrap()).collect();
        came.sort_unstable();
        assert!(came.into_iter().eq(0..100));
    });
}

fn a_client_finds_nobody(address: Place) {
    let listener = listen(address);
    let address = listener.address().clone();
    drop(listener);
    let error = Client::connect_bytes(&address, KEY).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let ConnectError::System { error, .. } = error else { panic!("{error}") };
    assert!(matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound), "{error}");
}

fn a_wait_is_ended_by_a_connection(address: Place) {
    let listener = listen(address);
    assert!(try_wait_ready([&listener as &dyn Waitable]).unwrap().is_empty());
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    assert!(matches!(listener.accept_bytes_timeout(Duration::from_millis(1)), Err(AcceptError::Timeout)));
    let client = dial(&listener);
    let (idle, _other) = io::pipe().unwrap();
    assert_eq!(wait_ready([&idle as &dyn Waitable, &listener]).unwrap(), [1]);
    let accepted = listener.try_accept_bytes().unwrap();
    let connected = client.join().unwrap().unwrap();
    accepted.send(b"first").unwrap();
    assert_eq!(wait_ready([&listener as &dyn Waitable, &connected]).unwrap(), [1]);
    assert!(wait_ready_timeout([&listener as &dyn Waitable], Duration::from_millis(5)).unwrap().is_empty());
}

fn a_wait_tells_of_those_who_are_late(address: Place) {
    let listener = listen(address).handshake_timeout(Duration::from_millis(100));
    let silent = connect_raw(listener.address());
    assert_eq!(wait_ready([&listener as &dyn Waitable]).unwrap(), [0]);
    let refused = listener.try_accept_bytes();
    assert!(matches!(refused, Err(AcceptError::AuthFailed { reason: AuthFailure::Timeout, .. })), "{refused:?}");
    drop(silent);
}

/// A socket that says nothing.
fn connect_raw(address: &Address) -> procession_sys::StreamSocket {
    let address = match (address.path(), address.to_string().strip_prefix('@')) {
        (Some(path), _) => procession_sys::SocketAddress::Path(path.to_owned()),
        (None, Some(name)) => procession_sys::SocketAddress::Abstract(name.as_bytes().to_vec()),
        (None, None) => procession_sys::SocketAddress::Internet(address.to_string().parse().unwrap()),
    };
    procession_sys::StreamSocket::connect(&address, procession_sys::Deadline::after(SOON)).unwrap()
}

fn what_is_accepted_needs_one_descriptor(address: Place) {
    let before = open_descriptors().len();
    let listener = listen(address).stream_only();
    drop(pair(&listener));
    assert_eq!(open_descriptors().len() - before, 3, "the listener's");
    let connections: Vec<_> = (0..10).map(|_| pair(&listener)).collect();
    assert_eq!(open_descriptors().len() - before, 3 + 2 * 10);
    let silent: Vec<_> = (0..10).map(|_| connect_raw(listener.address())).collect();
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    assert_eq!(open_descriptors().len() - before, 3 + 2 * 10 + 2 * 10);
    drop((listener, connections, silent));
    assert_eq!(open_descriptors().len(), before);
}

fn signals_do_not_end_accept(address: Place) {
    let listener = listen(address);
    procession_sys::interrupt_waits(common::SIGUSR1).unwrap();
    let this = std::process::id();
    let address = listener.address().clone();
    let client = thread::spawn(move || {
        for _ in 0..100 {
            procession_sys::send_signal(this, common::SIGUSR1).unwrap();
            thread::park_timeout(Duration::from_millis(1));
        }
        Client::connect_bytes(address, KEY).unwrap().send(b"after many").unwrap();
    });
    assert_eq!(listener.accept_bytes().unwrap().recv().unwrap(), b"after many");
    client.join().unwrap();
}

fn greet(address: Address) -> u32 {
    let connection = Client::connect::<u32, u32>(address, KEY).unwrap();
    connection.send(&std::process::id()).unwrap();
    connection.recv().unwrap() + 1
}

fn a_child_connects(method: StartMethod) {
    for (_, address) in addresses() {
        let listener = listen(address);
        let child = start(method, greet, (listener.address().clone(),));
        let connection = listener.accept::<u32, u32>().unwrap();
        assert_eq!(connection.recv().unwrap(), child.pid());
        connection.send(&41).unwrap();
        assert_eq!(child.join().unwrap(), 42);
        drop(listener);
    }
}

fn accept_for_others(listener: Listener) -> String {
    let refused = listener.accept_bytes().unwrap_err().to_string();
    let listener = listener.authkey(KEY);
    listener.accept_bytes().unwrap().send(&std::process::id().to_ne_bytes()).unwrap();
    refused
}

fn a_listener_is_passed_to_children_without_its_key(method: StartMethod) {
    for (_, address) in addresses() {
        let listener = listen(address);
        let child = Context::new(method).start(accept_for_others, (listen_again(&listener),)).unwrap();
        let greeted = Client::connect_bytes(listener.address(), KEY).unwrap().recv().unwrap();
        assert_eq!(greeted, child.pid().to_ne_bytes());
        assert!(child.join().unwrap().contains("has no key"));
        drop(pair(&listener));
    }
}

/// Another handle of the same, as an argument gives its receiver.
fn listen_again(listener: &Listener) -> Listener {
    let (bytes, descriptors) = procession_wire::encode(listener).unwrap().into_parts();
    let descriptors = descriptors.into_iter().map(|descriptor| descriptor.into_owned().unwrap()).collect();
    procession_wire::decode_slice::<Listener>(&bytes, descriptors).unwrap().authkey(KEY)
}

fn send_a_pipe(address: Address) {
    let connection = Client::connect::<Descriptor, ()>(address, KEY).unwrap();
    let (read, write) = common::pipe();
    connection.send(&read).unwrap();
    common::tell(&write);
    assert!(matches!(connection.recv(), Err(RecvError::Disconnected)));
}

fn two_processes_of_one_host_send_descriptors(method: StartMethod) {
    for address in [addresses()[2].1, addresses()[3].1] {
        let listener = listen(address);
        let child = start(method, send_a_pipe, (listener.address().clone(),));
        let connection = listener.accept::<(), Descriptor>().unwrap();
        assert_eq!(connection.peer().unwrap().pid(), Some(child.pid()));
        common::hear(&connection.recv().unwrap());
        drop(connection);
        child.join().unwrap();
    }
}

fn a_stream_carries_no_descriptors() {
    for (listener, client) in [
        (Listener::bind("127.0.0.1:0").unwrap(), true),
        (Listener::temporary().unwrap(), true),
        (Listener::temporary().unwrap().stream_only(), false),
    ] {
        let listener = listener.authkey(KEY);
        let address = listener.address().clone();
        let connected = thread::spawn(move || {
            let builder = Client::builder(address).unwrap().authkey(KEY);
            let builder = if client { builder.stream_only() } else { builder };
            builder.connect::<Descriptor, u8>().unwrap()
        });
        let accepted = listener.accept::<u8, Descriptor>().unwrap();
        let connected = connected.join().unwrap();
        let refused = connected.send(&common::pipe().0);
        assert!(matches!(refused, Err(SendError::Descriptors { descriptors: 1 })), "{refused:?}");
        accepted.send(&5).unwrap();
        assert_eq!(connected.recv().unwrap(), 5, "it goes on");
    }
}

fn connect_and_wait(address: Address) {
    let _connection = Client::connect::<u8, u8>(address, KEY).unwrap();
    common::block();
}

fn a_killed_client_is_gone_at_once(method: StartMethod) {
    for (_, address) in addresses() {
        let listener = listen(address);
        let child = start(method, connect_and_wait, (listener.address().clone(),));
        let connection = listener.accept::<u8, u8>().unwrap();
        let begun = Instant::now();
        thread::scope(|scope| {
            let waits = scope.spawn(|| connection.recv());
            thread::park_timeout(Duration::from_millis(20));
            child.kill().unwrap();
            assert!(matches!(waits.join().unwrap(), Err(RecvError::Disconnected)));
        });
        assert!(begun.elapsed() < SOON);
        child.wait().unwrap();
    }
}

fn connect_with_one_descriptor(address: Address) {
    let highest = open_descriptors().iter().map(|open| open.number).max().unwrap();
    let filler: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok())
        .take_while(|file| std::os::fd::AsRawFd::as_raw_fd(file).unsigned_abs() < highest)
        .collect();
    procession_sys::set_file_limit([u64::from(highest) + 3; 2]).unwrap();
    let connection = Client::connect::<Option<Descriptor>, String>(address, KEY).unwrap();
    drop(filler);
    let refused = connection.send(&Some(common::pipe().0));
    assert!(matches!(refused, Err(SendError::Descriptors { .. })), "{refused:?}");
    connection.send(&None).unwrap();
    assert_eq!(connection.recv().unwrap(), "by the socket");
}

fn who_has_no_descriptors_left_keeps_the_stream(method: StartMethod) {
    let listener = Listener::temporary().unwrap().authkey(KEY);
    let child = start(method, connect_with_one_descriptor, (listener.address().clone(),));
    let connection = listener.accept::<String, Option<Descriptor>>().unwrap();
    connection.send(&"by the socket".to_owned()).unwrap();
    assert!(connection.recv().unwrap().is_none());
    child.join().unwrap();
}

fn an_empty_key_shakes_hands_at_a_unix_address_and_is_refused_by_tcp() {
    let listener = Listener::temporary().unwrap().authkey(b"");
    let address = listener.address().clone();
    let client = thread::spawn(move || Client::connect_bytes(address, b"").unwrap().send(b"in").unwrap());
    assert_eq!(listener.accept_bytes().unwrap().recv().unwrap(), b"in");
    client.join().unwrap();

    let open = Listener::bind("127.0.0.1:0").unwrap();
    let error = open.accept_bytes().unwrap_err();
    assert!(
        matches!(error, AcceptError::KeyMissing { .. }) && error.to_string().contains("without_authkey"),
        "{error}"
    );
    assert!(matches!(open.authkey(b"").accept_bytes(), Err(AcceptError::KeyMissing { .. })));
    let error = Client::connect_bytes("127.0.0.1:1", b"").unwrap_err();
    assert!(matches!(error, ConnectError::KeyMissing { .. }) && error.to_string().contains("authkey"), "{error}");

    let open = Listener::bind("127.0.0.1:0").unwrap().without_authkey();
    let address = open.address().clone();
    let client = thread::spawn(move || {
        Client::builder(address).unwrap().without_authkey().connect_bytes().unwrap().send(b"in").unwrap();
    });
    assert_eq!(open.accept_bytes().unwrap().recv().unwrap(), b"in");
    client.join().unwrap();
}

fn a_client_without_a_key_is_refused_where_there_is_one() {
    let listener = Listener::temporary().unwrap().authkey(KEY);
    let address = listener.address().clone();
    let client = thread::spawn(move || Client::builder(address).unwrap().connect_bytes());
    assert!(matches!(listener.accept_bytes(), Err(AcceptError::AuthFailed { reason: AuthFailure::WrongKey, .. })));
    assert!(client.join().unwrap().is_err());
    let too_long = Listener::temporary().unwrap().authkey([0; 4097]);
    assert!(matches!(too_long.accept_bytes(), Err(AcceptError::Key(_))));
}

/// A socket file that nobody is behind.
fn abandoned(name: &str) -> PathBuf {
    let path = scratch(name);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    path
}

fn assert_works(path: &Path) {
    let listener = Listener::bind(path.to_str().unwrap()).unwrap().authkey(KEY);
    let (ours, theirs) = pair(&listener);
    ours.send(b"works").unwrap();
    assert_eq!(theirs.recv().unwrap(), b"works");
}

fn a_stale_socket_file_is_taken_over_and_others_are_not() {
    assert_works(&abandoned("stale"));
    let in_use = |path: &Path| match Listener::bind(path.to_str().unwrap()) {
        Err(ListenError::System { error, .. }) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
        other => panic!("{other:?}"),
    };
    // Somebody else's, who does not even accept, and must not notice.
    let path = scratch("alive");
    let alive = std::os::unix::net::UnixListener::bind(&path).unwrap();
    in_use(&path);
    alive.set_nonblocking(true).unwrap();
    assert_eq!(alive.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // A file that was never a socket.
    let path = scratch("text");
    fs::write(&path, "text").unwrap();
    in_use(&path);
    assert_eq!(fs::read(&path).unwrap(), b"text");
    // Of many at once one has it.
    let path = abandoned("raced");
    let bound = thread::scope(|scope| {
        let bind = || Listener::bind(path.to_str().unwrap());
        let binding: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
        binding.into_iter().filter_map(|bound| bound.join().unwrap().ok()).collect::<Vec<_>>()
    });
    assert_eq!(bound.len(), 1);
    let listener = bound.into_iter().next().unwrap().authkey(KEY);
    drop(pair(&listener));
    drop((listener, alive));
    fs::remove_file(scratch("alive")).unwrap();
    fs::remove_file(scratch("text")).unwrap();
}

fn a_socket_file_goes_with_its_listener_alone() {
    let path = scratch("socket");
    let listener = Listener::bind(path.to_str().unwrap()).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(listener);
    assert!(!path.exists());
    let listener = Listener::bind(path.to_str().unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists(), "it was another's by then");
    drop(other);
    fs::remove_file(path).unwrap();
}

fn a_listener_of_its_own_is_private() {
    let listener = Listener::temporary().unwrap();
    let directory = listener.address().path().unwrap().parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_ne!(Listener::temporary().unwrap().address(), listener.address());
    drop(listener);
    assert!(!directory.exists());
}

fn a_forked_child_accepts_and_the_file_stays() {
    let listener = Arc::new(Listener::temporary().unwrap().authkey(KEY));
    let address = listener.address().clone();
    // One that the parent has begun with, and goes on with.
    let half_way = connect_raw(&address);
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    let theirs = Arc::clone(&listener);
    let child =
        Context::new(StartMethod::Fork).fork(move || theirs.accept_bytes().unwrap().send(b"from the child").unwrap());
    let child = child.unwrap();
    assert_eq!(Client::connect_bytes(&address, KEY).unwrap().recv().unwrap(), b"from the child");
    child.join().unwrap();
    assert!(address.path().unwrap().exists());
    drop(half_way);
    let refused = listener.accept_bytes();
    assert!(matches!(refused, Err(AcceptError::AuthFailed { reason: AuthFailure::Disconnected, .. })), "{refused:?}");
    drop(pair(&listener));
}

/// Nobody in particular, and not root.
const SOMEBODY: u32 = 54_321;

fn connect_as_somebody(address: Address) -> Option<String> {
    procession_sys::become_user(SOMEBODY, SOMEBODY).unwrap();
    let builder = Client::builder(address).unwrap().authkey(KEY);
    // It asks no less of its listener.
    let refused = builder.connect_bytes().unwrap_err();
    assert!(matches!(refused, ConnectError::AuthFailed { reason: AuthFailure::OtherUser { .. }, .. }), "{refused}");
    builder.allow_other_users().connect_bytes().err().map(|error| error.to_string())
}

fn another_user_is_refused_unless_that_was_allowed() {
    if !procession_sys::is_root() {
        return; // Nobody else could become another user.
    }
    let listener = Listener::bind(format!("@procession-users-{}", std::process::id())).unwrap().authkey(KEY);
    let refused = |listener: &Listener| match listener.accept_bytes() {
        Err(AcceptError::AuthFailed { peer, reason }) => {
            assert_eq!(peer.uid(), Some(SOMEBODY));
            reason
        }
        other => panic!("{other:?}"),
    };
    let child = start(StartMethod::Spawn, connect_as_somebody, (listener.address().clone(),));
    assert_eq!([refused(&listener), refused(&listener)], [AuthFailure::OtherUser { uid: SOMEBODY }; 2]);
    assert!(child.join().unwrap().is_some());
    let listener = listener.allow_other_users();
    let child = start(StartMethod::Spawn, connect_as_somebody, (listener.address().clone(),));
    assert_eq!(refused(&listener), AuthFailure::Disconnected, "the client refused the listener");
    let accepted = listener.accept_bytes().unwrap();
    assert_eq!(accepted.peer().unwrap().pid(), Some(child.pid()));
    assert_eq!(child.join().unwrap(), None);
}

fn who_is_at_the_other_end_is_told() {
    let listener = Listener::temporary().unwrap().authkey(KEY);
    let (accepted, connected) = pair(&listener);
    for connection in [&accepted, &connected] {
        let peer = connection.peer().unwrap();
        assert_eq!((peer.pid(), peer.uid()), (Some(std::process::id()), Some(procession_sys::effective_user())));
    }
    assert_eq!(accepted.peer().unwrap().address(), None);
    assert_eq!(connected.peer().unwrap().address(), Some(listener.address()));
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY);
    let (accepted, connected) = pair(&listener);
    assert_eq!(connected.peer().unwrap().address(), Some(listener.address()));
    assert_eq!((connected.peer().unwrap().pid(), connected.peer().unwrap().uid()), (None, None));
    assert_ne!(accepted.peer().unwrap().address(), Some(listener.address()));
}

fn a_full_queue_of_connections_is_worked_off() {
    let listener = Listener::bind(format!("@procession-full-{}", std::process::id())).unwrap().authkey(KEY);
    let listener = listener.backlog(2).unwrap();
    let clients: Vec<_> = (0..30).map(|_| dial(&listener)).collect();
    thread::park_timeout(Duration::from_millis(50));
    for _ in 0..30 {
        listener.accept_bytes().unwrap().send(b"at last").unwrap();
    }
    for client in clients {
        assert_eq!(client.join().unwrap().unwrap().recv().unwrap(), b"at last");
    }
}

fn abstract_listener(name: &str) -> Listener {
    Listener::bind(format!("@procession-{name}-{}", std::process::id())).unwrap().authkey(KEY)
}

fn a_flood_ends_those_that_have_taken_the_longest() {
    procession_sys::raise_file_limit().unwrap();
    let listener = abstract_listener("flood");
    let silent: Vec<_> = (0..HANDSHAKES_MAX + 3).map(|_| connect_raw(listener.address())).collect();
    for _ in 0..3 {
        let crowded = listener.accept_bytes();
        let is_crowded = matches!(crowded, Err(AcceptError::AuthFailed { reason: AuthFailure::Crowded, .. }));
        assert!(is_crowded, "{crowded:?}");
    }
    let client = dial(&listener);
    // One more gives way to it, unless it is so quick that it needs no room.
    let accepted = (0..2).find_map(|_| match listener.accept_bytes() {
        Ok(accepted) => Some(accepted),
        Err(AcceptError::AuthFailed { reason: AuthFailure::Crowded, .. }) => None,
        Err(error) => panic!("{error}"),
    });
    accepted.expect("an honest client").send(b"in spite of all").unwrap();
    assert_eq!(client.join().unwrap().unwrap().recv().unwrap(), b"in spite of all");
    drop(silent);
}

fn a_listener_without_descriptors_left_goes_on_when_it_has_some() {
    let listener = abstract_listener("scarce").stream_only();
    let waits: Vec<_> = (0..3).map(|_| connect_raw(listener.address())).collect();
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    let late = connect_raw(listener.address());
    let limit = procession_sys::limit(procession_sys::Scarcity::OpenFiles, Some(3)).unwrap();
    // Nobody gives way who may be quick, and the listener rests. Later those give way that have begun, one after the other.
    let (mut scarce, mut crowded) = (0, 0);
    while crowded < waits.len() {
        match listener.accept_bytes() {
            Err(AcceptError::System { .. }) => scarce += 1,
            Err(AcceptError::AuthFailed { reason: AuthFailure::Crowded, .. }) => crowded += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=20).contains(&scarce), "of a second in pauses of 100 ms: {scarce}");
    let scarce = listener.accept_bytes();
    assert!(matches!(scarce, Err(AcceptError::System { .. })), "{scarce:?}");
    procession_sys::limit(procession_sys::Scarcity::OpenFiles, limit).unwrap();
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    drop((waits, late));
    assert!(matches!(listener.accept_bytes(), Err(AcceptError::AuthFailed { .. })));
    drop(pair(&listener));
}
