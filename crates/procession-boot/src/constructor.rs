//! The constructor: runs before `main` in every process that holds this crate, and turns a marked one into a child.
//!
//! # Safety
//! The constructor is called once, by the loader, on the main thread, with the C program's three arguments. In a
//! marked process nothing but the constructors before this one has run, so the environment has no other user, and
//! the descriptors that the mark does not name belong to nobody here.

#![expect(unsafe_code, reason = "a constructor is a raw function pointer in a link section")]

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use procession_sys::{
    Disposition, PacketSocket, Signal, adopt, close_all_but, exit_now, has_borrowed_rights, is_privileged,
    open_standard_streams, report_stack_overflow, set_command_name, set_disposition,
};

use crate::mark::{Mark, VARIABLE};
use crate::{BootError, end, image, open_lifeline, resolve, tie_to_lifeline};

/// The exit code of a child that its image refuses to run.
const REFUSED: i32 = 255;

/// What a role begins with.
#[derive(Debug)]
pub struct Boot {
    /// The socket to the parent.
    pub socket: PacketSocket,
    /// The lifeline of the owner, to which this process is tied already: for handing on to processes that are to
    /// live as long as this one.
    pub lifeline: OwnedFd,
}

/// The three arguments of C's `main`, which the loader hands to constructors as well.
type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: Constructor = construct;

static HAS_RUN: AtomicBool = AtomicBool::new(false);

/// Where this constructor lies in its image: tells this copy of the crate from any other in the same program.
pub(crate) fn instance() -> Option<u64> {
    let constructor: Constructor = construct;
    image::own().offset_of(constructor as usize)
}

/// Whether children of this process would be caught by this constructor.
pub(crate) fn check() -> Result<(), BootError> {
    if !image::own().is_main_executable() {
        return Err(BootError::ForeignHost);
    }
    if !HAS_RUN.load(Ordering::Relaxed) {
        return Err(BootError::NotConstructed);
    }
    if is_privileged() || has_borrowed_rights() {
        return Err(BootError::Privileged);
    }
    Ok(())
}

/// Returns in an unmarked process. In a marked one it runs the role and exits.
extern "C" fn construct(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    HAS_RUN.store(true, Ordering::Relaxed);
    end::prepare();
    let Some(text) = std::env::var_os(VARIABLE) else { return };
    if !image::own().is_main_executable() {
        return;
    }
    let mark = text.to_str().and_then(Mark::decode);
    if mark.as_ref().is_some_and(|mark| Some(mark.constructor) != instance()) {
        return; // Meant for another copy of this crate, whose constructor comes later.
    }
    // SAFETY: the process is about to become a child, and no thread of it reads the environment yet.
    unsafe { std::env::remove_var(VARIABLE) };
    let Some(mark) = mark else { refuse("its mark is damaged") };
    if is_privileged() {
        // The mark may come from a user who has less rights than this process now has: nothing it says is done.
        refuse("it has rights that whoever started it has not");
    }
    // SAFETY: the mark was made for this process, so the descriptors it names are there for us and unowned.
    let boot = unsafe { begin(&mark, argv) };
    let Ok(role) = resolve::<Boot, i32>(mark.role) else { refuse("it has no such role: another build?") };
    // SAFETY: called once, from the constructor, with its own arguments.
    unsafe { run_later_constructors(argc, argv, envp) };
    // A panic that reaches this frame aborts, as it must not unwind into the loader's.
    std::process::exit(role(boot))
}

/// Ends a process that cannot become the child it was started as; reaching its `main` would be worse.
fn refuse(reason: &str) -> ! {
    eprintln!("procession: this process was started as a child, but {reason}");
    exit_now(REFUSED)
}

/// Makes the process what a Rust program is at the beginning of `main`, and ties it to its owner.
///
/// # Safety
/// Nothing in this process owns a descriptor yet, except 0, 1 and 2.
unsafe fn begin(mark: &Mark, argv: *const *const c_char) -> Boot {
    // SAFETY: the caller's promise: whatever else is open came through the exec and belongs to nobody here.
    unsafe { close_all_but(&[mark.socket, mark.lifeline]) };
    // SAFETY: the mark names it, and nothing else here owns it.
    let socket = unsafe { adopt(mark.socket) };
    // SAFETY: as above.
    let lifeline = unsafe { adopt(mark.lifeline) };
    let (Ok(socket), Ok(lifeline)) = (socket, lifeline) else {
        refuse("the descriptors that its parent gave it are missing");
    };
    if open_lifeline(&lifeline).and_then(tie_to_lifeline).is_err() {
        refuse("its lifeline cannot be armed: is /proc mounted?");
    }
    if image::stamp().ok().as_ref() != Some(&mark.stamp) {
        refuse("it is another build than its parent");
    }
    // What std does before `main`. Its report of stack overflows cannot be asked for, so it is ours.
    if open_standard_streams().is_err() {
        refuse("standard input, output or error are closed and cannot be opened");
    }
    set_disposition(Signal::PIPE, Disposition::Ignore);
    let _ = report_stack_overflow(&raw const mark as usize);
    name_process(argv);
    Boot { socket: socket.into(), lifeline }
}

/// Gives the process the command name of a normal start; the exec of `/proc/self/exe` left "exe".
fn name_process(argv: *const *const c_char) {
    // SAFETY: the loader passes a list of C strings that ends with a null and lives as long as the process.
    let first = unsafe { argv.as_ref() }.filter(|first| !first.is_null());
    let Some(&first) = first else { return };
    // SAFETY: as above.
    let path = unsafe { CStr::from_ptr(first) };
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let _ = set_command_name(path.file_name().unwrap_or_default().as_bytes());
}

unsafe extern "C" {
    #[link_name = "__init_array_start"]
    static ARRAY_START: [usize; 0];
    #[link_name = "__init_array_end"]
    static ARRAY_END: [usize; 0];
}

/// Runs the image's constructors that the loader would run after this one, so that registries are complete.
///
/// # Safety
/// Called from the constructor with its own arguments, once.
unsafe fn run_later_constructors(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    let start = (&raw const ARRAY_START).cast::<Constructor>();
    let count = (&raw const ARRAY_END as usize - start as usize) / size_of::<Constructor>();
    // SAFETY: the linker puts both symbols around the array of constructors, which the loader itself is reading.
    let array = unsafe { std::slice::from_raw_parts(start, count) };
    let own: Constructor = construct;
    let position = array.iter().position(|&constructor| constructor as usize == own as usize);
    for constructor in &array[position.map_or(count, |own| own + 1)..] {
        constructor(argc, argv, envp);
    }
}
