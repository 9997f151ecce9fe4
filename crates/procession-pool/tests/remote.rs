//! An executor that is not ours, whose workers are at the other end of a TCP line: the suite of all executors.
//!
//! It has what the public interface gives: calls and replies as bytes, and promises. Its workers are processes that know
//! nothing of a pool.

mod suite;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::{self, JoinHandle};

use procession_launch::Process;
use procession_pool::{
    Executor, ExecutorExt, Intake, InvalidState, Promise, RawCall, RawReply, SubmitError, Task, TaskError,
};

/// A task that waits for a line.
struct Job {
    priority: i32,
    call: RawCall,
    promise: Promise,
}

struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    changed: Condvar,
    intake: Intake,
}

/// An executor over TCP: a line to each of its workers, and a thread for each line.
struct TcpExecutor {
    queue: Arc<Queue>,
    lines: Vec<JoinHandle<()>>,
    workers: Vec<Process<()>>,
}

impl TcpExecutor {
    fn new(workers: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let workers: Vec<_> = (0..workers).map(|_| Process::start(serve, (port,)).unwrap()).collect();
        let make = |queue: &Weak<Queue>| {
            let queue = Weak::clone(queue);
            let intake = Intake::new(move || _ = queue.upgrade().inspect(|queue| queue.wake_all()));
            Queue { jobs: Mutex::default(), changed: Condvar::new(), intake }
        };
        let queue = Arc::new_cyclic(make);
        let line = |_: &_| {
            let (line, _) = listener.accept().unwrap();
            line.set_nodelay(true).unwrap();
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.run(line))
        };
        let lines = workers.iter().map(line).collect();
        Self { queue, lines, workers }
    }
}

impl Queue {
    /// Gives tasks to the worker at the end of a line, one after the other.
    fn run(&self, mut line: TcpStream) {
        while let Some(Job { call, promise, .. }) = self.next() {
            if !promise.begin() {
                continue;
            }
            let reply = call.to_bytes().map_err(TaskError::from).and_then(|bytes| ask(&mut line, &bytes).map_err(lost));
            let _ = match reply {
                Ok(reply) => promise.set_reply(reply),
                Err(error) => promise.set_error(error),
            };
        }
    }

    fn next(&self) -> Option<Job> {
        let jobs = self.jobs.lock().unwrap();
        let mut jobs = self.changed.wait_while(jobs, |jobs| jobs.is_empty() && !self.intake.has_ended()).unwrap();
        jobs.pop_front()
    }

    fn wake_all(&self) {
        drop(self.jobs.lock().unwrap()); // Whoever has looked before is waiting by now.
        self.changed.notify_all();
    }
}

fn lost(error: io::Error) -> TaskError {
    TaskError::NotSubmitted { reason: format!("the line to the worker is broken: {error}") }
}

fn ask(line: &mut TcpStream, call: &[u8]) -> io::Result<RawReply> {
    send(line, call)?;
    RawReply::from_bytes(&receive(line)?).map_err(io::Error::other)
}

fn send(line: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    line.write_all(&(bytes.len() as u64).to_le_bytes())?;
    line.write_all(bytes)
}

fn receive(line: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 8];
    line.read_exact(&mut len)?;
    let mut bytes = vec![0; u64::from_le_bytes(len) as usize];
    line.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A worker's life.
fn serve(port: u16) {
    let mut line = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    line.set_nodelay(true).unwrap();
    while let Ok(call) = receive(&mut line) {
        let reply = RawCall::from_bytes(&call).unwrap().run();
        send(&mut line, &reply.into_bytes()).unwrap();
    }
}

impl Executor for TcpExecutor {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        let priority = task.priority();
        let mut jobs = self.queue.jobs.lock().unwrap();
        if !self.queue.intake.admits(&task) {
            return Err(SubmitError::Closed { name: "TcpExecutor".to_owned() });
        }
        let (call, promise) = task.into_parts();
        let at = jobs.iter().position(|other| other.priority < priority).unwrap_or(jobs.len());
        jobs.insert(at, Job { priority, call, promise });
        self.queue.changed.notify_one();
        Ok(())
    }

    fn parallelism(&self) -> usize {
        self.workers.len()
    }

    fn close(&self) {
        let jobs = self.queue.jobs.lock().unwrap();
        self.queue.intake.close();
        drop(jobs);
        self.queue.changed.notify_all();
    }
}

impl Drop for TcpExecutor {
    fn drop(&mut self) {
        self.close();
        self.queue.intake.await_end();
        for line in self.lines.drain(..) {
            line.join().unwrap();
        }
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
    }
}

fn make(workers: usize) -> Box<dyn Executor> {
    Box::new(TcpExecutor::new(workers))
}

with_cases!(suite_tests!(make;));

#[test]
fn a_handle_cannot_go_over_a_line() {
    let executor = make(1);
    let handle = procession_sync::Event::new().unwrap();
    let future = executor.submit(|_: procession_sync::Event| (), (handle,)).unwrap();
    let Err(TaskError::NotSubmitted { reason }) = future.result() else { panic!("{future:?}") };
    assert!(reason.contains("descriptors"), "{reason}");
}

#[test]
fn what_is_no_call_or_no_reply_is_refused() {
    let call = RawCall::from_bytes(&[1]).unwrap_err().to_string();
    let reply = RawReply::from_bytes(&[9]).unwrap_err().to_string();
    assert!(call.contains("`RawCall`") && reply.contains("`RawReply`"), "{call}\n{reply}");
    let promise = Promise::default();
    assert_eq!(promise.set_error(TaskError::Cancelled), Ok(()));
    assert_eq!(promise.set_error(TaskError::Terminated), Err(InvalidState), "what it ended with first is kept");
}

/// Tries tasks again that fail, as they ask for.
struct Stubborn;

impl Executor for Stubborn {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        let mut left = task.retries();
        let (call, promise) = task.into_parts();
        let mut reply = call.clone().run();
        while reply.has_failed() && left > 0 {
            left -= 1;
            reply = call.clone().run();
        }
        let _ = promise.set_reply(reply);
        Ok(())
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn close(&self) {}
}

#[test]
fn a_reply_says_whether_its_call_is_worth_another_try() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn third_time_lucky(n: u64) -> u64 {
        assert!(CALLS.fetch_add(1, Relaxed) % 3 == 2, "not yet");
        n
    }
    assert_eq!(Stubborn.task(third_time_lucky, (7,)).retries(5).submit().unwrap().result(), Ok(7));
    assert_eq!(CALLS.load(Relaxed), 3);
    let failed = Stubborn.task(third_time_lucky, (7,)).retries(1).submit().unwrap().result();
    assert!(matches!(failed, Err(TaskError::Panicked { location: Some(_), .. })), "{failed:?}");
    assert_eq!(CALLS.load(Relaxed), 5);
}

/// Has each task damaged on its way, in one byte after the other.
#[derive(Default)]
struct Damaging(AtomicUsize);

impl Executor for Damaging {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        let (call, promise) = task.into_parts();
        let mut bytes = call.to_bytes()?;
        let at = self.0.fetch_add(1, Relaxed) % bytes.len();
        bytes[at] ^= 0x10;
        let ended = match RawCall::from_bytes(&bytes) {
            Ok(call) => promise.set_reply(call.run()),
            Err(error) => promise.set_error(TaskError::Arguments { reason: error.to_string() }),
        };
        assert_eq!((ended, promise.set_error(TaskError::Cancelled)), (Ok(()), Err(InvalidState)));
        Ok(())
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn close(&self) {}
}

#[test]
fn a_damaged_call_is_an_error_of_its_task_and_calls_nothing_else() {
    let executor = Damaging::default();
    let ends: Vec<_> = (0..30).map(|_| executor.submit(suite::square, (1000,)).unwrap().result()).collect();
    // All but the damaged arguments, which may be others.
    let called = ends.iter().filter(|end| end.is_ok()).count();
    assert!(called <= 4, "{ends:?}");
    assert!(ends.iter().filter_map(|end| end.as_ref().err()).all(|error| matches!(error, TaskError::Arguments { .. })));
}
