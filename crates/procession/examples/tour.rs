//! A walk through everything that there is so far, one short section each.
//!
//! ```text
//! cargo run --example tour
//! ```
//!
//! Each section prints what it did and how long it took.

use std::fmt::Debug;
use std::io::{PipeWriter, Read, Write};
use std::process::Command;
use std::rc::Rc;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// How many children each start method starts to be timed.
const TIMED_STARTS: u32 = 50;

fn main() -> procession::Result<()> {
    let began = Instant::now();
    section("a function in another process", first_child)?;
    section("methods, generic functions, closures", targets)?;
    section("a name, a directory, an environment, streams", builder)?;
    section("waiting and stopping", waiting)?;
    section("exit codes and errors", errors)?;
    section("values of your own, many numbers, descriptors", values)?;
    section("children side by side", side_by_side)?;
    section("children of children", family)?;
    section("start methods", start_methods)?;
    section("a fork with what its closure captures", captures)?;
    section("large data, built once for all children", preload)?;
    section("memory that processes share", shared_memory)?;
    section("what processes change together", shared_state)?;
    section("a lock whose holder is killed", killed_holder)?;
    section("queues", queues)?;
    section("a queue that knows what is done", joinable_queue)?;
    section("pipes", pipes)?;
    section("strangers", strangers)?;
    section("settings of a child", settings)?;
    section("exit hooks", exit_hooks)?;
    section("a child with all that it has started", whole_tree)?;
    section("the last words of a child", last_words)?; // Starts a thread here: no more forks of this process.
    section("what a child logs", logs)?;
    println!("\nall of it took {:.0?}", began.elapsed());
    Ok(())
}

/// Runs one section and prints how long it took.
fn section(title: &str, run: fn() -> procession::Result<()>) -> procession::Result<()> {
    println!("\n{title}");
    let began = Instant::now();
    run()?;
    println!("  ({:.1} ms)", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// The error of a section in which something else happened than what it is there to show.
fn unexpected(other: impl Debug) -> procession::Error {
    std::io::Error::other(format!("not expected: {other:?}")).into()
}

fn greet(name: String, times: u32) -> u64 {
    for _ in 0..times {
        println!("  hello {name} from process {}", std::process::id());
    }
    times.into()
}

fn first_child() -> procession::Result<()> {
    let child = Process::start(greet, ("Ada".to_string(), 2))?;
    println!("  process {} started {} as process {}", current_process().pid(), child.name(), child.pid());
    println!("  it returned {}", child.join()?);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Worker {
    id: u32,
}

impl Worker {
    fn run(self) -> String {
        format!("worker {} of {}", self.id, parent_process().map(|parent| parent.name().to_owned()).unwrap_or_default())
    }
}

fn largest<T: Ord>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

fn targets() -> procession::Result<()> {
    println!("  a method: {:?}", Process::start(Worker::run, (Worker { id: 1 },))?.join()?);
    println!("  a generic function: {:?}", Process::start(largest::<u8>, (vec![3, 9, 4],))?.join()?);
    println!("  a closure: {:?}", Process::start(|x: i32, y: i32| x * y, (6, 7))?.join()?);
    Ok(())
}

/// Reads its input and says who it is.
fn introduce() -> Result<(), Fault> {
    let input = std::io::read_to_string(std::io::stdin())?;
    let (me, directory) = (current_process(), std::env::current_dir()?);
    let language = std::env::var("LANG").unwrap_or_default();
    println!(
        "{} (daemon: {}) in {}, LANG={language}, was told {input:?}",
        me.name(),
        me.is_daemon(),
        directory.display()
    );
    Ok(())
}

fn builder() -> procession::Result<()> {
    let child = Process::builder(introduce, ())
        .name("scout")
        .daemon(true)
        .current_dir("/")
        .env("LANG", "C")
        .stdin(Stdio::pipe())
        .stdout(Stdio::pipe())
        .start()?;
    if let Some(mut stdin) = child.take_stdin() {
        stdin.write_all(b"look around")?;
    }
    let mut said = String::new();
    if let Some(mut stdout) = child.take_stdout() {
        stdout.read_to_string(&mut said)?;
    }
    print!("  it said: {said}");
    println!("  its result: {:?}", child.join()?);
    Ok(())
}

fn nap(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// One of the ways to stop a child.
type Stop = fn(&Child) -> Result<(), ControlError>;

fn waiting() -> procession::Result<()> {
    let stops: [(&str, Stop); 3] =
        [("interrupt", Child::interrupt), ("terminate", Child::terminate), ("kill", Child::kill)];
    for (name, stop) in stops {
        let napper = Process::start(nap, (60_000,))?;
        let after = napper.wait_timeout(Duration::from_millis(20))?;
        print!("  after 20 ms: {after:?}, alive: {}; ", napper.is_alive());
        stop(&napper)?;
        let status = napper.wait()?;
        println!("after {name}: {status}, exit code {}", status.exitcode());
    }
    Ok(())
}

fn leave() {
    std::process::exit(3)
}

fn divide(a: u32, b: u32) -> u32 {
    a / b
}

fn read(path: String) -> Result<String, Fault> {
    Ok(std::fs::read_to_string(path)?)
}

fn errors() -> procession::Result<()> {
    println!("  an error is a value: {:?}", Process::start(read, ("/nowhere".to_string(),))?.join()?);
    match Process::start(leave, ())?.join() {
        Err(error @ JoinError::Exited { .. }) => println!("  an exit is an error: {error}"),
        other => return Err(unexpected(other)),
    }
    match Process::builder(divide, (1, 0)).stderr(Stdio::null()).start()?.join() {
        Err(JoinError::Panicked { message, location, .. }) => {
            println!("  a panic tells message and place: {message:?} at {}", location.unwrap_or_default());
        }
        other => return Err(unexpected(other)),
    }
    Ok(())
}

/// What a child is given: plain fields, raw numbers, and a descriptor of its own for an open pipe.
#[derive(Serialize, Deserialize)]
struct Job {
    title: String,
    #[serde(with = "procession::bulk")]
    samples: Vec<f64>,
    #[serde(with = "procession::fd")]
    log: PipeWriter,
}

fn average(mut job: Job) -> Result<f64, Fault> {
    writeln!(job.log, "{}: {} samples", job.title, job.samples.len())?;
    Ok(job.samples.iter().sum::<f64>() / job.samples.len() as f64)
}

/// A type that leaves fields out travels in `Described`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    retries: Option<u32>,
}

fn defaults(settings: Described<Settings>) -> Described<Settings> {
    let mut settings = settings.into_inner();
    settings.retries.get_or_insert(3);
    Described(settings)
}

fn values() -> procession::Result<()> {
    let (reader, log) = std::io::pipe()?;
    let samples: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    let began = Instant::now();
    let child = Process::start(average, (Job { title: "ramp".to_string(), samples, log },))?;
    println!("  sent 8 MB and a pipe in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let logged = std::io::read_to_string(reader)?;
    println!("  the pipe says: {:?}, the result is {:?}", logged.trim_end(), child.join()?);

    let settings = Settings { name: "fetch".to_string(), retries: None };
    if let Err(error) = Process::start(|settings: Settings| settings.name, (settings.clone(),)) {
        println!("  without `Described`: {error}");
    }
    println!("  with it: {:?}", Process::start(defaults, (Described(settings),))?.join()?.into_inner());
    Ok(())
}

fn count_primes(from: u32, to: u32) -> usize {
    (from..to).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
}

fn side_by_side() -> procession::Result<()> {
    const END: u32 = 200_000;
    let parts = u32::try_from(cpu_count()).unwrap_or(1);
    let bound = |part: u32| 2 + (END - 2) / parts * part;
    let began = Instant::now();
    let mut children = Vec::new();
    for part in 0..parts {
        let end = if part + 1 == parts { END } else { bound(part + 1) };
        children.push(Process::start(count_primes, (bound(part), end))?);
    }
    println!("  running: {:?}", active_children().iter().map(|child| child.name().to_owned()).collect::<Vec<_>>());
    let mut primes = 0;
    for child in children {
        primes += child.join()?;
    }
    let together = began.elapsed();
    let began = Instant::now();
    let alone = count_primes(2, END);
    println!("  {primes} primes with {parts} processes in {together:.0?}, {alone} alone in {:.0?}", began.elapsed());
    Ok(())
}

/// Names its parent, itself and a child of its own.
fn middle() -> Result<String, Fault> {
    let grandchild = Process::start(|| current_process().name().to_owned(), ())?.join()?;
    let parent = parent_process().map(|parent| parent.name().to_owned()).unwrap_or_default();
    Ok(format!("{parent} started {}, which started {grandchild}", current_process().name()))
}

fn family() -> procession::Result<()> {
    println!("  {}", Process::builder(middle, ()).name("middle").start()?.join()??);
    Ok(())
}

fn start_methods() -> procession::Result<()> {
    for method in StartMethod::ALL {
        let context = Context::new(method);
        context.start(nap, (0,))?.join()?; // The first one starts the server, too.
        let began = Instant::now();
        for _ in 0..TIMED_STARTS {
            context.start(nap, (0,))?.join()?;
        }
        let each = began.elapsed().as_micros() / u128::from(TIMED_STARTS);
        println!("  {method}: {each} us from start to join");
    }
    set_start_method(StartMethod::Spawn)?;
    println!("  the default is now {}", Process::start(nap, (0,))?.start_method());
    set_start_method(StartMethod::ForkServer)?;
    Ok(())
}

fn captures() -> procession::Result<()> {
    let table: Rc<[u64]> = (0..1_000_000).collect(); // An `Rc` cannot be sent; a copy of this process has it.
    let copied = Rc::clone(&table);
    let child = Context::new(StartMethod::Fork).fork(move || copied.iter().sum::<u64>())?;
    println!("  the copy adds up to {}, this process to {}", child.join()?, table.iter().sum::<u64>());

    let nursery = Context::nursery()?; // While this process has one thread; it forks from there at any time.
    thread::scope(|scope| {
        scope.spawn(|| thread::sleep(Duration::from_millis(20)));
        match Context::new(StartMethod::Fork).fork(|| 1) {
            Err(error @ StartError::Threads { .. }) => println!("  beside a thread: {error}"),
            other => return Err(unexpected(other)),
        }
        println!("  out of a nursery: {}", nursery.start(|| current_process().name().to_owned(), ())?.join()?);
        Ok(())
    })
}

/// Filled in the server of the context that preloads, and in its children.
static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();

fn build_squares() {
    SQUARES.get_or_init(|| (0..4_000_000).map(|n| n * n).collect());
}

fn square(n: usize) -> Option<u64> {
    SQUARES.get()?.get(n).copied()
}

fn preload() -> procession::Result<()> {
    let context = Context::forkserver().preload(build_squares);
    for n in [3, 3_000_000] {
        let began = Instant::now();
        let found = context.start(square, (n,))?.join()?;
        println!("  a child found {found:?} in 32 MB after {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    }
    println!("  this process has built nothing: {:?}", square(3));
    Ok(())
}

/// Fills a part of an array with the square roots of the indices that it has there.
fn square_roots(mut part: SharedPart<f64>) -> Result<(), Fault> {
    let mut indices = part.range();
    part.for_each_block(|numbers| {
        for (number, index) in numbers.iter_mut().zip(&mut indices) {
            *number = (index as f64).sqrt();
        }
    })?;
    Ok(())
}

/// How many numbers of a table are below a bound.
fn count_below(table: FrozenArray<f64>, bound: f64) -> usize {
    table.partition_point(|&number| number < bound)
}

fn shared_memory() -> procession::Result<()> {
    let numbers = SharedArray::<f64>::zeroed(4_000_000)?;
    let began = Instant::now();
    let mut workers = Vec::new();
    for part in numbers.split_into(cpu_count())? {
        workers.push(Process::start(square_roots, (part,))?);
    }
    for worker in workers {
        worker.join()??;
    }
    println!("  {} processes filled 32 MB of one array in {:.0?}", cpu_count(), began.elapsed());

    let table = numbers.freeze()?; // For ever, in all processes: a slice.
    let below = Process::start(count_below, (table.clone(), 1000.0))?.join()?;
    println!("  a child found {below} numbers below {} in it, without a copy", table[below]);

    let name = format!("tour-{}", current_process().pid());
    let list = ShareableList::create_named(&name, ["Ada".into(), 36.into(), None::<f64>.into()])?;
    match Command::new("python3").args(["-c", CELEBRATE, &name]).output() {
        Ok(output) => print!("  Python reads {}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => println!("  no Python reads the list: {error}"),
    }
    println!("  and this process reads {:?}", list.to_vec()?);
    Ok(list.unlink()?)
}

/// What Python does to a list of ours, whose name it is not to remove.
const CELEBRATE: &str = "
import sys
from multiprocessing import resource_tracker, shared_memory
people = shared_memory.ShareableList(name=sys.argv[1])
resource_tracker.unregister(people.shm._name, 'shared_memory')
print(list(people))
people[1] += 1
";

/// What the workers of a section have in common.
#[derive(Clone, Serialize, Deserialize)]
struct Together {
    barrier: Barrier,
    sum: Value<u64>,
    counts: RawArray<u32>,
    licenses: Semaphore,
}

fn add_together(all: Together, number: usize) -> Result<bool, Fault> {
    let turn = all.barrier.wait()?; // Until all are there.
    for addend in 1..=1000 {
        *all.sum.lock()? += addend;
        all.counts.fetch_add(number, 1)?; // One step, without a lock.
    }
    let _permit = all.licenses.acquire()?; // Two at a time.
    Ok(turn.is_leader())
}

fn shared_state() -> procession::Result<()> {
    let (barrier, licenses) = (Barrier::new(4)?, Semaphore::new(2)?);
    let all = Together { barrier, sum: Value::new(0)?, counts: RawArray::zeroed(4)?, licenses };
    let mut workers = Vec::new();
    for number in 0..4 {
        workers.push(Process::start(add_together, (all.clone(), number))?);
    }
    let mut leaders = 0;
    for worker in workers {
        leaders += u32::from(worker.join()??);
    }
    println!("  four processes added up {} in {:?} steps; {leaders} came last", all.sum.get()?, all.counts.to_vec()?);
    Ok(())
}

fn hold(lock: Lock, held: Event) -> Result<(), Fault> {
    let _guard = lock.lock()?;
    held.set();
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn killed_holder() -> procession::Result<()> {
    let (lock, held) = (Lock::new()?, Event::new()?);
    let child = Process::start(hold, (lock.clone(), held.clone()))?;
    held.wait()?;
    println!("  held: {:?}", lock.holder());
    child.kill()?;
    match lock.lock() {
        Err(error @ LockError::OwnerDied(_)) => println!("  this process has it, and is told: {error}"),
        other => return Err(unexpected(other.map(drop))),
    }
    println!("  nobody is told twice: {:?}", lock.lock().map(drop));
    Ok(())
}

/// Counts primes in the ranges that it takes, until nobody puts any more; returns how many those were.
fn count_ranges(ranges: Consumer<(u32, u32)>, counts: Producer<usize>) -> Result<u32, Fault> {
    let mut taken = 0;
    while let Ok((from, to)) = ranges.get() {
        counts.put(count_primes(from, to))?;
        taken += 1;
    }
    Ok(taken)
}

/// Each range is taken by one of two children. Nobody is told the end.
fn queues() -> procession::Result<()> {
    let (to_do, ranges) = Queue::<(u32, u32)>::bounded(5)?.split()?;
    let (to_tell, counts) = Queue::<usize>::unbounded()?.split()?;
    let first = Process::start(count_ranges, (ranges.clone(), to_tell.clone()))?;
    let second = Process::start(count_ranges, (ranges, to_tell))?; // This process puts ranges and takes counts.
    for part in 0..20 {
        to_do.put((2 + part * 1000, 1002 + part * 1000))?; // Waits while five are there.
    }
    drop(to_do);
    let mut primes = 0;
    while let Ok(count) = counts.get() {
        primes += count;
    }
    println!("  one child took {} ranges, the other {}: {primes} primes", first.join()??, second.join()??);
    Ok(())
}

fn work_off(jobs: JoinableQueue<u32>) -> Result<(), Fault> {
    while jobs.get_timeout(Duration::from_secs(10))? > 0 {
        jobs.task_done()?;
    }
    Ok(jobs.task_done()?)
}

fn joinable_queue() -> procession::Result<()> {
    let jobs = JoinableQueue::<u32>::unbounded()?;
    let child = Process::start(work_off, (jobs.clone(),))?;
    for job in (0..100).rev() {
        jobs.put(job)?; // The last one, 0, ends the child.
    }
    let unfinished = jobs.unfinished();
    jobs.join()?;
    println!("  {unfinished} jobs were left when the last had been put, and none is now");
    Ok(child.join()??)
}

/// Takes what it is asked by a connection, and answers.
fn answer(questions: Connection<f64, Vec<f64>>) -> Result<(), Fault> {
    while let Ok(numbers) = questions.recv() {
        questions.send(&numbers.iter().sum())?;
    }
    Ok(())
}

fn pipes() -> procession::Result<()> {
    let (ours, theirs) = pipe::<Vec<f64>, f64>()?;
    let child = Process::start(answer, (theirs,))?;
    let numbers = vec![0.5; 1_000_000];
    let began = Instant::now();
    ours.send(&numbers)?;
    println!("  8 MB there and the answer {} back in {:.1} ms", ours.recv()?, began.elapsed().as_secs_f64() * 1e3);

    let (receiver, sender) = pipe_simplex::<Queue<String>>()?;
    let queue = Queue::unbounded()?;
    sender.send(&queue)?; // A queue in a message, as any handle.
    receiver.recv()?.put("it is the same queue".to_string())?;
    println!("  a queue went through a pipe: {}", queue.get()?);

    drop(sender);
    let waiting: [&dyn Waitable; 4] = [&receiver, &queue, &ours, &child];
    println!("  ready of a pipe without a sender, an empty queue, a pipe, a child: {:?}", wait_ready(waiting)?);
    drop(ours);
    Ok(child.join()??)
}

/// Any program that has the address, and perhaps the key.
fn dial(address: Address, key: String) -> Result<u64, Fault> {
    Ok(Client::connect::<(), u64>(address, key)?.recv()?)
}

fn strangers() -> procession::Result<()> {
    let listener = Listener::bind("127.0.0.1:0")?.authkey("a secret");
    let start = |key: &str| Process::start(dial, (listener.address().clone(), key.to_string()));
    let friend = start("a secret")?;
    listener.accept::<u64, ()>()?.send(&42)?;
    println!("  who came to {} was told {}", listener.address(), friend.join()??);
    let guesser = start("a guess")?;
    match (listener.accept::<u64, ()>(), guesser.join()?) {
        (Err(here), Err(there)) => println!("  here: {here}\n  there: {there:#}"),
        other => return Err(unexpected(other)),
    }
    Ok(())
}

/// What the kernel says of this process under these headings.
fn status(headings: Vec<String>) -> Result<Vec<String>, Fault> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let wanted = |line: &&str| headings.iter().any(|heading| line.starts_with(&format!("{heading}:")));
    Ok(status.lines().filter(wanted).map(|line| line.replace('\t', " ")).collect())
}

fn settings() -> procession::Result<()> {
    let headings = ["Name", "Umask", "Cpus_allowed_list"].map(str::to_owned).to_vec();
    let child = Process::builder(status, (headings,)).title("resize: 3 of 10").umask(0o077).niceness(5);
    println!("  it is told: {}", child.cpu_affinity([0]).start()?.join()??.join(", "));

    let hungry = Process::builder(|| vec![1_u8; 1 << 30].len(), ()).memory_limit(256 << 20).stderr(Stdio::null());
    if let Err(error) = hungry.name("hungry").start()?.join() {
        println!("  a GiB with a limit of 256 MiB: {error}");
    }
    Ok(())
}

fn with_hooks() {
    procession::at_exit_with_priority(-1, || println!("  third, when its own children have ended"));
    procession::at_exit(|| println!("  second"));
    procession::at_exit(|| println!("  first"));
    procession::exit(4);
}

fn exit_hooks() -> procession::Result<()> {
    println!("  the exit code is {}", Process::start(with_hooks, ())?.wait()?.exitcode());
    Ok(())
}

/// Leaves a program in a session of its own behind, whose parent has ended, and waits.
fn leave_a_program() -> Result<(), Fault> {
    Command::new("sh").args(["-c", "setsid sleep 600 >/dev/null 2>&1 &"]).status()?;
    println!("ready");
    std::io::stdout().flush()?;
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn whole_tree() -> procession::Result<()> {
    let child = Process::builder(leave_a_program, ()).own_tree().stdout(Stdio::pipe()).start()?;
    if let Some(mut stdout) = child.take_stdout() {
        stdout.read_exact(&mut [0; "ready\n".len()])?;
    }
    println!("  killed {} processes; the child's {}", child.kill_tree()?, child.wait()?);
    Ok(())
}

fn give_up() {
    eprintln!("  the header says 9 layers, found 3");
    std::process::abort();
}

fn last_words() -> procession::Result<()> {
    let child = Process::builder(give_up, ()).name("loader").stderr(Stdio::tail()).start()?;
    match child.join() {
        Err(error) => println!("  the error has them: {}", error.to_string().replace('\n', " |")),
        other => return Err(unexpected(other)),
    }
    Ok(())
}

fn log_a_step(step: u32) {
    let _span = tracing::info_span!("work", step).entered();
    tracing::info!("done");
    tracing::debug!("not sent, as the parent does not want it");
}

fn logs() -> procession::Result<()> {
    log_to_stderr(LevelFilter::INFO)?; // Or any other subscriber.
    Process::builder(log_a_step, (1,)).name("worker").forward_logs().start()?.join()?;
    Process::builder(|| tracing::warn!("a child writes lines itself"), ()).name("writer").start()?.join()?;
    Ok(())
}
