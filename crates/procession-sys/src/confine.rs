//! What a container takes from the processes in it: root's rights, and some system calls.

use std::io;

use rustix::process::{Gid, Uid};

/// The system calls that a container's usual seccomp profile answers with `EPERM`, as far as a library that starts
/// processes might come to need one.
pub const CONTAINER_REFUSES: &[i64] = &[
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// The system calls that it answers with `ENOSYS`, so that libc falls back to older ones.
pub const CONTAINER_DENIES_TO_HAVE: &[i64] = &[libc::SYS_clone3];

/// `ENOSYS`.
pub const NO_SUCH_CALL: u32 = libc::ENOSYS as u32;

/// `EPERM`.
pub const NOT_PERMITTED: u32 = libc::EPERM as u32;

/// True for root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes this process, which has one thread and is root's, the process of a user and group without further groups.
///
/// # Errors
/// `EPERM` when it is not root's.
pub fn become_user(user: u32, group: u32) -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_gid(Gid::from_raw(group))?;
    rustix::thread::set_thread_uid(Uid::from_raw(user))?;
    Ok(())
}

/// Makes another user this process's effective one, and leaves the real one: what a set-user-id program is. The process
/// has one thread and is root's.
///
/// # Errors
/// `EPERM` when it is not root's.
pub fn borrow_rights_of(user: u32) -> io::Result<()> {
    let own = rustix::process::getuid();
    Ok(rustix::thread::set_thread_res_uid(own, Uid::from_raw(user), own)?)
}

/// Denies this process, and all that come of it, rights that an exec could give.
///
/// # Errors
/// None since Linux 3.5.
pub fn renounce_new_rights() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}
