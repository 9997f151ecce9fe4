//! That nothing is lost which a server has to be told, and that a server which is slow is told apart from one that is gone.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::*;

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// Less than the time in which a server may take nothing.
const GIVE_BACK_MAX: Duration = Duration::from_secs(5);

/// More than a socket holds.
const LARGE: usize = 8 << 20;

/// How much a slow server takes at once.
const SIP: usize = 64 << 10;

fn object() -> ObjectId {
    ObjectId::from_bytes([7; ObjectId::BYTES])
}

fn linked() -> (Arc<Link>, Connection<Frame, Frame>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Arc::new(Link::new(ours.into(), 1)), theirs.into())
}

fn linked_over_tcp() -> (Arc<Link>, Connection<Frame, Frame>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(Link::new(ours.into(), 1)), listener.accept().unwrap().0.into())
}

/// A call that nobody waits for.
fn drop_one(link: &Arc<Link>) -> u64 {
    let call = link.ask_ahead(question(1), Deadline::NEVER).unwrap();
    link.forget(call, object(), false);
    call
}

fn dropped(link: &Link) -> usize {
    link.state.lock().dropped
}

fn question(bytes: usize) -> Question {
    let argument = Packed { bytes: vec![7; bytes], ..Packed::default() };
    Question { object: object(), method: 7, arguments: vec![argument] }
}

/// What the server is told: each request's kind, and the number of its call.
fn told(server: &Connection<Frame, Frame>, count: usize) -> Vec<(&'static str, u64)> {
    let read = |_| match Request::read(server.recv_timeout(SOON).unwrap()).unwrap() {
        Request::Call { call, is_answered: true, .. } => ("call", call),
        Request::Call { call, .. } => ("command", call),
        Request::Acknowledge { call, .. } => ("acknowledge", call),
        Request::Abandon { call, .. } => ("abandon", call),
        Request::GiveBack { call, .. } => ("give back", call),
        Request::Drop(_) | Request::Ticket { .. } => ("other", 0),
    };
    (0..count).map(read).collect()
}

/// Waits until a thread is in the middle of something.
fn await_half_way(link: &Link) {
    let begun = Instant::now();
    while link.state.lock().senders == 0 {
        assert!(begun.elapsed() < SOON);
        thread::yield_now();
    }
}

#[test]
fn what_cannot_be_told_now_is_told_before_anything_else() {
    let (link, server) = linked();
    let waits = link.ask(question(1), Deadline::NEVER).unwrap();
    let late = link.ask(question(1), Deadline::NEVER).unwrap();
    thread::scope(|scope| {
        let uploads = scope.spawn(|| link.ask(question(LARGE), Deadline::NEVER).unwrap());
        await_half_way(&link);
        let begun = Instant::now();
        link.forget(waits, object(), true);
        link.command_in_order(question(1)).unwrap();
        assert!(matches!(link.collect(late, object(), Deadline::NOW), Err(Unanswered::Late)));
        assert!(begun.elapsed() < GIVE_BACK_MAX, "another thread is sending, and sees to it");
        assert!(matches!(link.ask(question(1), Deadline::NOW), Err(Unanswered::Late)));
        let hears = scope.spawn(|| told(&server, 7));
        let large = uploads.join().unwrap();
        let next = link.ask(question(1), Deadline::NEVER).unwrap();
        let command = large + 1;
        let all = [
            ("call", waits),
            ("call", late),
            ("call", large),
            ("abandon", waits),
            ("command", command),
            ("abandon", late),
            ("call", next),
        ];
        assert_eq!(hears.join().unwrap(), all);
    });
}

#[test]
fn what_nobody_else_sees_to_is_told_with_the_next_call() {
    let (link, server) = linked();
    let filled = link.connection.begin(&question(LARGE).about(99, true).write(), Duration::ZERO);
    assert!(!filled.unwrap(), "it has begun");
    link.command_in_order(question(1)).unwrap();
    assert_eq!(link.state.lock().untold.len(), 1);
    thread::scope(|scope| {
        let hears = scope.spawn(|| told(&server, 3));
        let next = link.ask(question(1), Deadline::after(SOON)).unwrap();
        assert_eq!(hears.join().unwrap(), [("call", 99), ("command", next - 1), ("call", next)]);
    });
    assert!(link.state.lock().untold.is_empty());
}

#[test]
fn a_server_that_takes_a_little_now_and_then_is_waited_for() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut link = Link::new(ours.into(), 1);
    link.silence_max = Duration::from_secs(3);
    let (asked, took) = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..LARGE / SIP {
                theirs.read_exact(&mut vec![0; SIP]).unwrap();
                thread::park_timeout(Duration::from_millis(60)); // It is slow.
            }
        });
        let begun = Instant::now();
        (link.ask(question(LARGE), Deadline::after(Duration::from_millis(1))), begun.elapsed())
    });
    assert!(asked.is_ok(), "{asked:?}");
    assert!(took > 2 * link.silence_max, "{took:?}");
    let lost = link.ask(question(LARGE), Deadline::after(Duration::from_millis(1)));
    assert!(matches!(lost, Err(Unanswered::Gone(_))), "it takes nothing any more: {lost:?}");
    assert!(theirs.read_to_end(&mut Vec::new()).is_ok(), "and is told that nothing comes");
}

#[test]
fn a_server_that_makes_no_sense_is_told_that_its_client_is_gone() {
    let (link, server) = linked();
    let call = link.ask(question(1), Deadline::NEVER).unwrap();
    told(&server, 1);
    server.send(&Frame { bytes: vec![99], descriptors: Vec::new() }).unwrap();
    assert!(matches!(link.collect(call, object(), Deadline::NEVER), Err(Unanswered::Gone(_))));
    assert!(matches!(server.recv_timeout(SOON), Err(RecvError::Disconnected)));
    let Err(Unanswered::Gone(reason)) = link.ask(question(1), Deadline::NEVER) else { panic!("it is gone") };
    assert!(reason.contains("no known kind"), "the first reason stays: {reason}");
}

fn returned(call: u64, is_claimed: bool, references: &[ObjectId]) -> Response {
    let packed = Packed { references: references.to_vec(), ..Packed::default() };
    Response::Return { call, is_claimed, results: vec![packed] }
}

fn is_empty(state: &State) -> bool {
    state.asked.is_empty() && state.dropped == 0 && (state.ahead.calls, state.ahead.bytes) == (0, 0)
}

#[test]
fn nothing_is_kept_of_a_call_whatever_becomes_of_its_answer() {
    let (mut state, object) = (State::default(), ObjectId::from_bytes([7; ObjectId::BYTES]));
    for call in 0..6 {
        state.begin(call, Some(10)).unwrap();
    }
    assert_eq!((state.ahead.calls, state.ahead.bytes), (6, 60));
    state.take_in(returned(0, false, &[object]));
    assert!(state.take(0).is_some() && state.take(0).is_none());
    assert!(!state.forget(1, false), "it may come");
    assert_eq!(state.dropped, 1);
    state.take_in(returned(1, false, &[object]));
    assert!(state.forget(2, true), "it is to be given up");
    state.take_in(returned(3, true, &[object, object]));
    assert!(state.forget(3, true), "it is to go back");
    state.take_in(returned(4, false, &[]));
    assert!(!state.forget(4, false));
    state.end(5);
    state.take_in(returned(5, false, &[object]));
    state.take_in(returned(99, false, &[]));
    assert!(is_empty(&state));
    assert_eq!(state.unwanted, [(object, 1); 4], "what nobody has taken");
    state.lose("it has ended");
    assert!(matches!(state.begin(100, None), Err(Unanswered::Gone(_))) && is_empty(&state));
}

#[test]
fn there_is_room_for_so_many_calls_and_bytes_or_for_one() {
    let mut ahead = Ahead::default();
    assert!(ahead.has_room(BYTES_AHEAD_MAX + 1));
    ahead.add(Some(BYTES_AHEAD_MAX - 1));
    ahead.add(None);
    assert!(ahead.has_room(1) && !ahead.has_room(2));
    for _ in 1..CALLS_AHEAD_MAX {
        assert!(ahead.has_room(0));
        ahead.add(Some(0));
    }
    assert!(!ahead.has_room(0));
    ahead.sub(Some(0));
    assert!(ahead.has_room(0));
}

#[test]
fn the_end_of_a_process_waits_for_what_nobody_waits_for() {
    let (link, server) = linked_over_tcp();
    let waits = link.ask(question(1), Deadline::NEVER).unwrap();
    let dropped_one = drop_one(&link);
    told(&server, 2);
    thread::scope(|scope| {
        let receives = scope.spawn(|| link.collect(waits, object(), Deadline::NEVER));
        let begun = Instant::now();
        while !link.state.lock().is_received {
            assert!(begun.elapsed() < SOON);
            thread::yield_now();
        }
        let parts = scope.spawn(|| {
            let begun = Instant::now();
            link.part(Deadline::after(2 * SOON));
            (dropped(&link), begun.elapsed() < SOON)
        });
        server.send(&returned(dropped_one, false, &[]).write()).unwrap();
        assert_eq!(parts.join().unwrap(), (0, true), "another thread has received it");
        server.send(&returned(waits, false, &[]).write()).unwrap();
        assert!(receives.join().unwrap().is_ok());
    });
    let begun = Instant::now();
    let call = drop_one(&link);
    server.send(&returned(call, false, &[]).write()).unwrap();
    link.part(Deadline::after(SOON));
    assert_eq!(dropped(&link), 0);
    assert!(begun.elapsed() < SOON);
}

#[test]
fn the_end_of_a_process_waits_for_a_second_for_all_together() {
    let [one, other, local] = [linked_over_tcp(), linked_over_tcp(), linked()];
    let others: [_; 3] = std::array::from_fn(|_| linked_over_tcp());
    for (link, _) in [&one, &other, &local].into_iter().chain(&others) {
        drop_one(link);
    }
    let late = drop_one(&other.0);
    other.1.send(&returned(late, false, &[]).write()).unwrap();
    let begun = Instant::now();
    parting::part_from_all();
    assert!((PARTING_TIME_MAX..4 * PARTING_TIME_MAX).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(dropped(&other.0), 1, "what is there is taken in");
    let begun = Instant::now();
    drop_one(&one.0);
    parting::part_from_all();
    drop((one, other, others));
    assert!(begun.elapsed() < 3 * PARTING_TIME_MAX, "they have had their time: {:?}", begun.elapsed());
}

#[test]
fn who_waits_for_room_goes_on_when_another_thread_drops_a_call_or_hears_that_there_is_none() {
    let (link, _server) = linked();
    let calls: Vec<u64> = (0..CALLS_AHEAD_MAX).map(|_| link.next_number()).collect();
    for &call in &calls {
        assert!(link.state.lock().begin(call, Some(1)).is_ok());
    }
    let crowded = link.ask_ahead(question(1), Deadline::after(Duration::from_millis(1)));
    assert!(matches!(crowded, Err(Unanswered::Crowded)), "{crowded:?}");
    thread::scope(|scope| {
        let waits = scope.spawn(|| link.ask_ahead(question(1), Deadline::after(SOON)));
        let begun = Instant::now();
        while !link.state.lock().is_received {
            assert!(begun.elapsed() < SOON);
            thread::yield_now();
        }
        link.forget(calls[0], object(), true);
        assert!(waits.join().unwrap().is_ok());
        assert!(begun.elapsed() < SOON / 2, "the server says nothing of a call that is given up");
    });
}
