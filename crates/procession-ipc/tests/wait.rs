//! Waiting on many things, between processes: pipes, sockets, processes, raw descriptors, queues and connections, alone and
//! mixed.
//!
//! Relies on the test kit; order is told by pipes. The cases with names of CPython's tests say which they answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use procession_ipc::wait::{Source, Watch};
use procession_ipc::{
    Consumer, GetError, Producer, Queue, Receiver, RecvError, Sender, WaitError, Waitable, pipe_simplex,
    try_wait_ready, wait_ready, wait_ready_timeout,
};
use procession_launch::{Arguments, Context, Process, StartMethod, Target};
use procession_sys::{Scarcity, interrupt_waits, limit, pid, processor_time, send_signal};
use procession_testkit::assert_cost;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        pipes_of_four_processes_are_read_until_their_ends,
        sockets_of_four_processes_are_read_until_their_ends,
        slow_senders_lose_nothing,
        a_process_and_pipes_are_ready_one_after_the_other,
        a_child_waits_for_what_its_parent_passes,
        the_end_of_a_killed_peer_is_something_to_read,
        two_that_wait_for_the_same_things_get_each_item_once,
        the_last_producer_and_sender_that_are_killed_wake_who_waits,
    ];
    cases: [
        a_wait_times_out_and_then_returns_the_end_that_is_ready,
        signals_that_this_process_handles_are_invisible,
        more_things_than_files_may_be_open_are_an_error_that_says_so,
        a_thousand_things_are_waited_for_at_once,
        a_wait_costs_next_to_nothing_while_nothing_happens,
    ];
}

/// What must have happened by then, or never will.
const SOON: Duration = Duration::from_secs(10);

fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that lifeline, server and exit handler exist.
fn warm_up() {
    for (_, method) in methods() {
        start(method, || (), ()).join().expect("a child that does nothing");
    }
}

fn start<F: Target<A>, A: Arguments>(method: StartMethod, target: F, arguments: A) -> Process<F::Output> {
    Context::new(method).start(target, arguments).unwrap_or_else(|error| panic!("{method}: {error}"))
}

fn pipe() -> (Descriptor, Descriptor) {
    let (read, write) = procession_sys::pipe().unwrap();
    (read.into(), write.into())
}

fn file(descriptor: Descriptor) -> File {
    File::from(descriptor.into_owned().unwrap())
}

/// How many messages each sender sends.
const MESSAGES: u32 = 10;
const SENDERS: u32 = 4;

/// Sends numbers, pausing in between.
fn send_numbers(to: Descriptor, sender: u32, pause: Duration) {
    let mut to = file(to);
    for number in 0..MESSAGES {
        to.write_all(&(sender * MESSAGES + number).to_ne_bytes()).unwrap();
        thread::park_timeout(pause);
    }
}

/// Reads numbers from all ends, one from each that is ready, until all have come to their ends.
fn read_all(mut ends: Vec<impl Read + AsFd>) -> Vec<u32> {
    let mut read = Vec::new();
    while !ends.is_empty() {
        let things: Vec<&dyn Waitable> = ends.iter().map(|end| end as &dyn Waitable).collect();
        let ready = wait_ready_timeout(things, SOON).unwrap();
        assert!(!ready.is_empty(), "nothing came");
        for position in ready.into_iter().rev() {
            let mut bytes = Vec::new();
            Read::by_ref(&mut ends[position]).take(4).read_to_end(&mut bytes).unwrap();
            match bytes.try_into() {
                Ok(bytes) => read.push(u32::from_ne_bytes(bytes)),
                Err(end) => {
                    assert_eq!(end, [], "a message is cut off");
                    drop(ends.remove(position));
                }
            }
        }
    }
    read
}

#[track_caller]
fn assert_all(mut read: Vec<u32>) {
    for sender in 0..SENDERS {
        assert!(read.iter().filter(|number| **number / MESSAGES == sender).is_sorted(), "in order from each: {read:?}");
    }
    read.sort_unstable();
    assert_eq!(read, (0..SENDERS * MESSAGES).collect::<Vec<_>>());
}

/// CPython's `TestWait.test_wait`.
fn pipes_of_four_processes_are_read_until_their_ends(method: StartMethod) {
    let (ends, processes): (Vec<File>, Vec<_>) = (0..SENDERS)
        .map(|sender| {
            let (read, write) = pipe();
            (file(read), start(method, send_numbers, (write, sender, Duration::ZERO)))
        })
        .unzip();
    assert_all(read_all(ends));
    processes.into_iter().for_each(|process| process.join().unwrap());
}

fn connect_and_send(port: u16, sender: u32, pause: Duration) {
    let socket: OwnedFd = TcpStream::connect(("127.0.0.1", port)).unwrap().into();
    send_numbers(socket.into(), sender, pause);
}

fn through_sockets(method: StartMethod, pause: Duration) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let processes: Vec<_> = (0..SENDERS).map(|sender| start(method, connect_and_send, (port, sender, pause))).collect();
    let mut ends = Vec::new();
    while ends.len() < SENDERS as usize {
        assert_eq!(wait_ready_timeout([&listener as &dyn Waitable], SOON).unwrap(), [0], "a listener is waitable, too");
        ends.push(listener.accept().unwrap().0);
    }
    assert_all(read_all(ends));
    processes.into_iter().for_each(|process| process.join().unwrap());
}

/// CPython's `TestWait.test_wait_socket`.
fn sockets_of_four_processes_are_read_until_their_ends(method: StartMethod) {
    through_sockets(method, Duration::ZERO);
}

/// CPython's `TestWait.test_wait_socket_slow`.
fn slow_senders_lose_nothing(method: StartMethod) {
    through_sockets(method, Duration::from_millis(3));
}

fn tell(mut to: &File) {
    to.write_all(b".").unwrap();
}

fn wait_for(from: Descriptor) {
    file(from).read_exact(&mut [0]).unwrap();
}

/// CPython's `TestWait.test_wait_integer`.
fn a_process_and_pipes_are_ready_one_after_the_other(method: StartMethod) {
    let [(a_read, a_write), (b_read, b_write), (go_read, go)] = [pipe(), pipe(), pipe()];
    let [a_read, a_write, b_read, b_write, go] = [a_read, a_write, b_read, b_write, go].map(file);
    let process = start(method, wait_for, (go_read,));
    let sentinel: BorrowedFd<'_> = process.sentinel();
    let things: [&dyn Waitable; 5] = [&a_read, &process, &b_read, &sentinel, &*process];
    assert!(wait_ready_timeout(things, Duration::from_millis(1)).unwrap().is_empty());
    tell(&go);
    let ended = wait_ready_timeout(things, SOON).unwrap();
    assert_eq!(ended, [1, 3, 4]);
    tell(&b_write);
    assert_eq!(wait_ready_timeout(things, SOON).unwrap(), [1, 2, 3, 4]);
    tell(&a_write);
    assert_eq!(wait_ready_timeout(things, SOON).unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(process.wait().unwrap().exitcode(), 0);
    assert_eq!(try_wait_ready(things).unwrap(), [0, 1, 2, 3, 4], "also when it has been reaped");
}

/// Waits for the first of two, and says which it was and what it said.
fn wait_for_one(one: Descriptor, other: Descriptor) -> (Vec<usize>, u8) {
    let ends = [file(one), file(other)];
    let ready = wait_ready_timeout(ends.each_ref().map(|end| end as &dyn Waitable), SOON).unwrap();
    let mut byte = [0];
    (&ends[ready[0]]).read_exact(&mut byte).unwrap();
    (ready, byte[0])
}

fn a_child_waits_for_what_its_parent_passes(method: StartMethod) {
    let ((one, _end), (socket, mut sends)) = (pipe(), UnixStream::pair().unwrap());
    let child = start(method, wait_for_one, (one, OwnedFd::from(socket).into()));
    sends.write_all(b"x").unwrap();
    assert_eq!(child.join().unwrap(), (vec![1], b'x'));
}

fn the_end_of_a_killed_peer_is_something_to_read(method: StartMethod) {
    let ((read, write), (never, _end)) = (pipe(), pipe());
    let read = file(read);
    let hold = |_write: Descriptor, never: Descriptor| wait_for(never);
    let child = start(method, hold, (write, never));
    let things: [&dyn Waitable; 2] = [&read, &child];
    assert!(try_wait_ready(things).unwrap().is_empty());
    child.kill().unwrap();
    let mut ready = Vec::new();
    while ready != [0, 1] {
        // Either may come first: who has started it may have a copy of its end a little longer.
        ready = wait_ready_timeout(things, SOON).unwrap();
        assert!(!ready.is_empty(), "nothing for {SOON:?}");
    }
    assert_eq!((&read).read(&mut [0]).unwrap(), 0);
    assert_eq!(child.wait().unwrap().exitcode(), -9);
}

/// Items of each kind, and what comes after them.
const ITEMS: u32 = 500;
const END: u32 = u32::MAX;

/// What two processes take from at once, but the socket, which each has for itself.
enum Takes {
    Queue(Consumer<u32>),
    Pipe(Receiver<u32>),
    Socket(File),
}

impl Takes {
    fn thing(&self) -> &dyn Waitable {
        match self {
            Self::Queue(queue) => queue,
            Self::Pipe(receiver) => receiver,
            Self::Socket(socket) => socket,
        }
    }

    /// An item; none if the other one was faster.
    fn take(&mut self) -> Option<u32> {
        match self {
            Self::Queue(queue) => match queue.try_get() {
                Err(GetError::Empty | GetError::Busy) => None, // Somebody else is at it.
                item => Some(item.unwrap()),
            },
            Self::Pipe(receiver) => match receiver.try_recv() {
                Err(RecvError::WouldBlock | RecvError::Busy) => None,
                item => Some(item.unwrap()),
            },
            Self::Socket(socket) => {
                let mut bytes = [0; 4];
                socket.read_exact(&mut bytes).unwrap();
                Some(u32::from_ne_bytes(bytes))
            }
        }
    }
}

/// Takes from all until each has come to its end: what came from the queue, the pipe, and the socket.
fn take_all(queue: Consumer<u32>, receiver: Receiver<u32>, socket: Descriptor) -> [Vec<u32>; 3] {
    let mut left = vec![(0, Takes::Queue(queue)), (1, Takes::Pipe(receiver)), (2, Takes::Socket(file(socket)))];
    let mut taken = [const { Vec::new() }; 3];
    while !left.is_empty() {
        let things: Vec<&dyn Waitable> = left.iter().map(|(_, takes)| takes.thing()).collect();
        let ready = wait_ready_timeout(things, SOON).unwrap();
        assert!(!ready.is_empty(), "nothing came");
        for position in ready.into_iter().rev() {
            let (kind, takes) = &mut left[position];
            match takes.take() {
                Some(END) => drop(left.swap_remove(position)),
                Some(item) => taken[*kind].push(item),
                None => {}
            }
        }
    }
    taken
}

fn two_that_wait_for_the_same_things_get_each_item_once(method: StartMethod) {
    let ((to, from), (receiver, sender)) = (Queue::unbounded().unwrap().split().unwrap(), pipe_simplex().unwrap());
    let (sockets, children): (Vec<UnixStream>, Vec<_>) = (0..2)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let arguments = (from.clone(), receiver.clone(), OwnedFd::from(theirs).into());
            (ours, start(method, take_all, arguments))
        })
        .unzip();
    for number in (0..ITEMS).chain([END, END]) {
        to.put(number).unwrap();
        sender.send(&number).unwrap();
        if number != END {
            (&sockets[number as usize % 2]).write_all(&number.to_ne_bytes()).unwrap();
        }
        if number % 8 == 0 {
            // They fall asleep, most likely; what is asserted holds in any case.
            thread::park_timeout(Duration::from_micros(500));
        }
    }
    sockets.iter().for_each(|mut socket| socket.write_all(&END.to_ne_bytes()).unwrap());
    let taken: Vec<_> = children.into_iter().map(|child| child.join().unwrap()).collect();
    assert!(taken.iter().flatten().all(|items| items.is_sorted()), "in order: {taken:?}");
    for kind in 0..3 {
        let mut all = taken.iter().flat_map(|taken| taken[kind].iter().copied()).collect::<Vec<_>>();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..ITEMS), "each once: {taken:?}");
    }
}

/// What is promised to be noticed within 100 ms, on a machine that does other things as well.
const NOTICED_MAX: Duration = Duration::from_secs(1);

fn hold_until_told(_to: Producer<u32>, _sender: Sender<u32>, never: Descriptor) {
    wait_for(never);
}

fn the_last_producer_and_sender_that_are_killed_wake_who_waits(method: StartMethod) {
    assert_cost(NOTICED_MAX, || {
        let ((to, from), (receiver, sender)) = (Queue::unbounded().unwrap().split().unwrap(), pipe_simplex().unwrap());
        let (never, _end) = pipe();
        let again = || Descriptor::from(never.as_fd().try_clone_to_owned().unwrap());
        let [one, other] = [(); 2].map(|()| start(method, hold_until_told, (to.clone(), sender.clone(), again())));
        to.put(7).unwrap();
        sender.send(&7).unwrap();
        drop((to, sender));
        let things = [&from as &dyn Waitable, &receiver];
        assert_eq!(wait_ready_timeout(things, SOON).unwrap(), [0, 1]);
        assert_eq!((from.get().unwrap(), receiver.recv().unwrap()), (7, 7));
        one.kill().unwrap();
        assert_eq!(one.wait().unwrap().exitcode(), -9);
        assert!(wait_ready_timeout(things, Duration::from_millis(120)).unwrap().is_empty(), "another one has them");
        let (woken, killed) = thread::scope(|scope| {
            let waits = [&from as &(dyn Waitable + Sync), &receiver].map(|thing| {
                scope.spawn(move || {
                    let ready = wait_ready_timeout([thing as &dyn Waitable], SOON).unwrap();
                    (ready, Instant::now())
                })
            });
            // So that they sleep by then, most likely: what is asserted holds in any case.
            thread::park_timeout(Duration::from_millis(5));
            let killed = Instant::now();
            other.kill().unwrap();
            (waits.map(|waits| waits.join().unwrap()), killed)
        });
        assert!(woken.iter().all(|(ready, _)| *ready == [0]), "{woken:?}");
        let told = woken.iter().map(|(_, at)| *at - killed).max().expect("two wait");
        assert!(matches!(from.try_get(), Err(GetError::Disconnected)));
        assert!(matches!(receiver.try_recv(), Err(RecvError::Disconnected)));
        assert_eq!(other.wait().unwrap().exitcode(), -9);
        told
    });
}

/// CPython's `TestWait.test_wait_timeout` and `test_neg_timeout`.
fn a_wait_times_out_and_then_returns_the_end_that_is_ready() {
    const TIMEOUT: Duration = Duration::from_millis(60);
    let (a, mut b) = UnixStream::pair().unwrap();
    let things: [&dyn Waitable; 2] = [&a, &b.try_clone().unwrap()];
    let began = Instant::now();
    assert!(wait_ready_timeout(things, TIMEOUT).unwrap().is_empty());
    assert!(began.elapsed() >= TIMEOUT);
    b.write_all(b".").unwrap();
    assert_eq!(wait_ready_timeout(things, SOON * 360).unwrap(), [0]);
    assert_eq!(wait_ready_timeout(things, Duration::MAX).unwrap(), [0]);
    assert_eq!(wait_ready_timeout(things, Duration::ZERO).unwrap(), [0]);
    assert_eq!(wait_ready(things).unwrap(), [0]);
    (&a).read_exact(&mut [0]).unwrap();
    assert!(wait_ready_timeout(things, Duration::ZERO).unwrap().is_empty());
}

const SIGUSR1: i32 = 10;

/// Interrupts what a process waits for, again and again, until it is told to stop; then writes.
fn pester(whom: u32, times: u32, to: Descriptor) {
    for _ in 0..times {
        send_signal(whom, SIGUSR1).unwrap();
        thread::park_timeout(Duration::from_millis(1));
    }
    tell(&file(to));
}

fn signals_that_this_process_handles_are_invisible() {
    interrupt_waits(SIGUSR1).unwrap();
    let (read, write) = pipe();
    let read = file(read);
    let pest = start(StartMethod::Spawn, pester, (pid(), 50, write));
    assert_eq!(wait_ready([&read as &dyn Waitable]).unwrap(), [0]);
    let mut said = String::new();
    BufReader::new(&read).read_line(&mut said).unwrap();
    assert_eq!(said, ".");
    pest.join().unwrap();
}

fn more_things_than_files_may_be_open_are_an_error_that_says_so() {
    let (read, _write) = pipe();
    let read = read.as_fd();
    let before = limit(Scarcity::OpenFiles, Some(200)).unwrap();
    assert!(try_wait_ready(vec![&read as &dyn Waitable; 200]).unwrap().is_empty());
    let error = wait_ready(vec![&read as &dyn Waitable; 201]).unwrap_err();
    limit(Scarcity::OpenFiles, before).unwrap();
    assert!(matches!(error, WaitError::TooMany { things: 201, things_max: 200 }), "{error}");
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
}

fn a_thousand_things_are_waited_for_at_once() {
    const THINGS: usize = 1_000;
    let before = limit(Scarcity::OpenFiles, Some(4_096)).unwrap();
    let pairs: Vec<_> = (0..THINGS).map(|_| UnixStream::pair().unwrap()).collect();
    let things: Vec<&dyn Waitable> = pairs.iter().map(|(end, _)| end as &dyn Waitable).collect();
    assert!(pairs.iter().any(|(end, _)| end.as_raw_fd() > 1_024), "beyond what select can name");
    for position in [0, 499, THINGS - 1] {
        (&pairs[position].1).write_all(b".").unwrap();
    }
    assert_eq!(wait_ready(things).unwrap(), [0, 499, THINGS - 1]);
    drop(pairs);
    limit(Scarcity::OpenFiles, before).unwrap();
}

/// A source that never becomes ready.
#[derive(Debug)]
struct Idle(UnixStream);

impl Source for Idle {
    fn is_ready(&self) -> bool {
        false
    }

    fn arm(&self) {}

    fn settle(&self) -> io::Result<bool> {
        Ok(false)
    }
}

impl Waitable for Idle {
    fn watch(&self) -> Watch<'_> {
        Watch { fd: self.0.as_fd(), source: Some(self) }
    }
}

fn a_wait_costs_next_to_nothing_while_nothing_happens() {
    const TIME: Duration = Duration::from_secs(1);
    let ((end, _other), (bell, _ringer)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let idle = Idle(bell);
    let (queue, (receiver, _sender)) = (Queue::<u32>::unbounded().unwrap(), pipe_simplex::<u32>().unwrap());
    // Twenty looks, which take ten times as long on a machine that does much else and without optimization.
    let sorts = [(vec![&end as &dyn Waitable], 1), (vec![&end, &idle, &idle], 10), (vec![&queue, &receiver, &end], 10)];
    for (things, thousandths) in sorts {
        assert_cost(thousandths * TIME / 1000, || {
            let began = processor_time();
            assert!(wait_ready_timeout(&things, TIME).unwrap().is_empty());
            processor_time() - began
        });
    }
}
