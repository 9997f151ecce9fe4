//! One program that says whether children of this very build work: `cargo xtask images` builds it in many ways.
//!
//! # Safety
//! The plugin's function takes nothing and returns a number. The constructor only counts.

#![expect(unsafe_code, reason = "loads a plugin, and has a constructor")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use procession_launch::{Context, JoinError, Process, StartMethod, Stdio, get_start_method, set_start_method};

/// Counts how often this image's own constructor ran in this process.
static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructed;

extern "C" fn constructed() {
    CONSTRUCTED.fetch_add(1, Ordering::Relaxed);
}

fn main() {
    assert!(std::env::args().len() > 1, "main ran in a child: {:?}", std::env::args_os());
    let mut checks = 0;
    for method in StartMethod::ALL {
        for (name, check) in CHECKS {
            check(method);
            println!("{method}: {name}");
            checks += 1;
        }
    }
    a_copy_is_run_and_another_program_is_refused();
    if let Some(plugin) = std::env::args().nth(2) {
        a_plugin_with_a_copy_of_its_own_is_refused(&plugin);
    }
    println!("{checks} checks hold");
}

type Check = (&'static str, fn(StartMethod));

const CHECKS: [Check; 7] = [
    ("functions, generic ones, methods and closures run", functions_run),
    ("a panic is an error with message, place and exit code 1", a_panic_is_an_error),
    ("an exit code and a signal arrive", ends_arrive),
    ("every constructor ran once", constructors_ran),
    ("children have children", children_have_children),
    ("threads panic and report", threads_panic),
    ("a thread's panic is that of its process and of none above it", a_threads_panic_is_its_processes),
];

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn same<T>(value: T) -> T {
    value
}

#[derive(Clone)]
struct Worker;

impl Worker {
    fn run(times: u32) -> String {
        "w".repeat(times as usize)
    }
}

fn functions_run(method: StartMethod) {
    let context = Context::new(method);
    assert_eq!(context.start(add, (2, 3)).unwrap().join().unwrap(), 5);
    assert_eq!(context.start(same::<u8>, (7,)).unwrap().join().unwrap(), 7);
    assert_eq!(context.start(same::<String>, ("x".into(),)).unwrap().join().unwrap(), "x");
    assert_eq!(context.start(Worker::run, (3,)).unwrap().join().unwrap(), "www");
    assert_eq!(context.start(|x: u64| x + 1, (1,)).unwrap().join().unwrap(), 2);
    assert_eq!(context.start(|x: u64| x + 2, (1,)).unwrap().join().unwrap(), 3);
}

fn a_panic_is_an_error(method: StartMethod) {
    fn fail(with: u32) -> u32 {
        assert_eq!(with, 0, "planted");
        with
    }
    let child = Context::new(method).builder(fail, (1,)).stderr(Stdio::null()).start().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), 1);
    match child.join() {
        Err(JoinError::Panicked { message, location, .. }) => {
            assert!(message.contains("planted"), "{message}");
            assert!(location.is_some_and(|location| location.contains("main.rs")));
        }
        other => panic!("{other:?}"),
    }
}

fn ends_arrive(method: StartMethod) {
    fn leave(code: i32) {
        std::process::exit(code)
    }
    let child = Context::new(method).start(leave, (9,)).unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), 9);
    let child = Context::new(method).start(std::thread::park, ()).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), -9);
}

fn constructors_ran(method: StartMethod) {
    let ran = || CONSTRUCTED.load(Ordering::Relaxed);
    assert_eq!(Context::new(method).start(ran, ()).unwrap().join().unwrap(), 1);
}

fn children_have_children(method: StartMethod) {
    fn descend(levels: u32) -> u32 {
        if levels == 0 { 0 } else { 1 + Process::start(descend, (levels - 1,)).unwrap().join().unwrap() }
    }
    assert_eq!(Context::new(method).start(descend, (2,)).unwrap().join().unwrap(), 2);
}

fn threads_panic(method: StartMethod) {
    if cfg!(panic = "abort") {
        return;
    }
    fn threads() -> usize {
        let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || assert!(n % 2 == 0))).collect();
        threads.into_iter().filter_map(|thread| thread.join().err()).count()
    }
    let child = Context::new(method).builder(threads, ()).stderr(Stdio::null()).start().unwrap();
    assert_eq!(child.join().unwrap(), 2);
}

/// With `panic = "abort"` it ends the process; its parent, which may have been copied into it, goes on.
fn a_threads_panic_is_its_processes(method: StartMethod) {
    fn fail() {
        let _ = std::thread::spawn(|| panic!("planted")).join();
    }
    fn outer() -> bool {
        let inner = || Context::new(get_start_method()).builder(fail, ()).stderr(Stdio::null()).start().unwrap();
        match inner().join() {
            Err(JoinError::Panicked { message, .. }) => message == "planted",
            Ok(()) => !cfg!(panic = "abort"),
            other => panic!("{other:?}"),
        }
    }
    let contexts = [Context::new(method), Context::forkserver().preload(|| ())];
    for context in contexts {
        set_start_method(method).unwrap();
        assert!(context.start(outer, ()).unwrap().join().unwrap());
        let child = context.builder(fail, ()).stderr(Stdio::null()).start().unwrap();
        assert!(!matches!(child.join(), Err(JoinError::Exited { .. })));
    }
}

fn a_copy_is_run_and_another_program_is_refused() {
    let copy = Path::new(&std::env::args_os().nth(1).unwrap()).to_owned();
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    let context = Context::spawn().executable(&copy);
    assert_eq!(context.start(add, (2, 3)).unwrap().join().unwrap(), 5);
    let error = Context::spawn().executable("/bin/sh").start(add, (2, 3)).unwrap_err();
    assert!(error.to_string().contains("another build"), "{error}");
    println!("spawn: a copy of the executable is run, another program is refused");
}

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(object: *mut c_void, name: *const c_char) -> *mut c_void;
}

fn a_plugin_with_a_copy_of_its_own_is_refused(path: &str) {
    const NOW: c_int = 2;
    let path = CString::new(path).unwrap();
    // SAFETY: the path is a C string; the plugin's constructors only look at the environment.
    let plugin = unsafe { dlopen(path.as_ptr(), NOW) };
    assert!(!plugin.is_null(), "the plugin cannot be loaded");
    // SAFETY: the object is loaded and the name is a C string.
    let start = unsafe { dlsym(plugin, c"start_in_foreign_host".as_ptr()) };
    assert!(!start.is_null(), "the plugin has no such function");
    // SAFETY: the plugin exports a function of just this type under that name.
    let start = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(start) };
    assert_eq!(start(), 0);
    println!("a plugin with a copy of its own is refused");
}
