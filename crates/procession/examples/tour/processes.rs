//! Processes: what they run, what they are given and give back, and how they are started and ended.

use std::io::{PipeWriter, Read, Write};
use std::rc::Rc;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

use crate::unexpected;

/// How many children each start method starts to be timed.
const TIMED_STARTS: u32 = 50;

fn greet(name: String, times: u32) -> u64 {
    for _ in 0..times {
        println!("  hello {name} from process {}", std::process::id());
    }
    times.into()
}

pub(crate) fn first_child() -> procession::Result<()> {
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

pub(crate) fn targets() -> procession::Result<()> {
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

pub(crate) fn builder() -> procession::Result<()> {
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

/// How long a child that was asked to end is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// One of the ways to stop a child.
type Stop = fn(&Child) -> Result<(), ControlError>;

pub(crate) fn waiting() -> procession::Result<()> {
    let stops: [(&str, Stop); 3] =
        [("interrupt", Child::interrupt), ("terminate", Child::terminate), ("kill", Child::kill)];
    for (name, stop) in stops {
        let napper = Process::start(nap, (60_000,))?;
        let after = napper.wait_timeout(Duration::from_millis(20))?;
        print!("  after 20 ms: {after:?}, alive: {}; ", napper.is_alive());
        stop(&napper)?;
        // A program in a script's background has Ctrl-C ignored, and so have its children.
        if napper.wait_timeout(PATIENCE)?.is_none() {
            napper.kill()?;
        }
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

pub(crate) fn errors() -> procession::Result<()> {
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

pub(crate) fn values() -> procession::Result<()> {
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

pub(crate) fn count_primes(from: u32, to: u32) -> usize {
    (from..to).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
}

pub(crate) fn side_by_side() -> procession::Result<()> {
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

pub(crate) fn family() -> procession::Result<()> {
    println!("  {}", Process::builder(middle, ()).name("middle").start()?.join()??);
    Ok(())
}

pub(crate) fn start_methods() -> procession::Result<()> {
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

pub(crate) fn captures() -> procession::Result<()> {
    let table: Rc<[u64]> = (0..1_000_000).collect(); // An `Rc` cannot be sent; a copy of this process has it.
    let copied = Rc::clone(&table);
    let child = Context::new(StartMethod::Fork).fork(move || copied.iter().sum::<u64>())?;
    println!("  the copy adds up to {}, this process to {}", child.join()?, table.iter().sum::<u64>());

    let nursery = Context::nursery()?; // While this process has one thread; it forks from there at any time.
    thread::scope(|scope| {
        // It waits for as long as there is a sender: to the end of this closure, whichever way that is left.
        let (_sender, receiver) = mpsc::channel::<()>();
        scope.spawn(move || receiver.recv());
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

pub(crate) fn preload() -> procession::Result<()> {
    let context = Context::forkserver().preload(build_squares);
    for n in [3, 3_000_000] {
        let began = Instant::now();
        let found = context.start(square, (n,))?.join()?;
        println!("  a child found {found:?} in 32 MB after {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    }
    println!("  this process has built nothing: {:?}", square(3));
    Ok(())
}
