//! The Linux kernel as safe functions: processes, descriptors, signals, packets, sealed memory, futexes.
//!
//! Layer 0. Uses nothing of ours; everything above uses it, and nothing above names `rustix` or `libc`.
//!
//! **Invariant:** holds no policy and owns no thread.
//! **Invariant:** allocates nothing between a fork and the child's entry.
//! **Invariant:** every descriptor it makes is close-on-exec.
//!
//! # Examples
//! ```
//! use procession_sys::{Deadline, PacketSocket};
//!
//! let (a, b) = PacketSocket::pair()?;
//! a.send([b"hello"], &[])?;
//! let packet = b.receive(64, Deadline::NEVER)?.expect("the peer is alive");
//! assert_eq!(packet.bytes, b"hello");
//! # std::io::Result::Ok(())
//! ```

#![doc(test(attr(deny(warnings))))]

mod clock; // Deadlines. Every wait below takes one.
mod epoll;
mod fd;
mod flags;
mod poll;

mod auxv;
mod environ;
mod exec;
mod exit;
mod fork;
mod identity;
mod inherit;
mod pidfd;
mod random;
mod records;
mod settings;
mod signal;
mod stack;
mod thread_id;
mod threads;
mod title;

mod futex;
mod listener;
mod memfd;
mod memory;
mod named;
mod packet;
mod pages;
mod record_lock;
mod rights;
mod room;

mod copying; // What the next one copies with.
mod shared;
mod stream;
mod stream_listener;
mod unshared;

mod confine; // For tests: less than a library may expect.
mod harness;

mod fail_point;
#[cfg(feature = "fail-points")]
pub mod fail_points;

pub use crate::auxv::{is_privileged, program_headers};
pub use crate::clock::{Deadline, monotonic_nanos};
pub use crate::confine::{
    CONTAINER_DENIES_TO_HAVE, CONTAINER_REFUSES, NO_SUCH_CALL, NOT_PERMITTED, become_user, borrow_rights_of, is_root,
    renounce_new_rights,
};
pub use crate::environ::{is_variable, replace_environment};
pub use crate::epoll::{Bell, Epoll};
pub use crate::exec::{Exec, SPAWN_DESCRIPTOR_MIN};
pub use crate::exit::{at_exit, current_thread, exit_now, flush_c_streams, leave_out_exit_handlers};
pub use crate::fd::{
    adopt, arm_kill_on_close, close, close_all_but, current_dir, dev_null, dup, enter_dir, is_open, make_null,
    open_standard_streams, pipe, place, reopen_read, replace,
};
pub use crate::flags::{bytes_waiting, is_append, is_writable, set_nonblocking};
pub use crate::fork::{Origin, around_fork, fork, forks_begun, on_fork};
pub use crate::futex::{futex_sleepers, futex_wait, futex_wake, lower_half};
pub use crate::harness::{
    Scarcity, close_standard_stream, fork_and_go_on, fork_beside_threads, interrupt_waits, keep_on_exec, limit,
    processor_time, processors, run_in_handler, run_on, send_signal, send_signal_to_group, set_variable, take_signal,
};
pub use crate::identity::{
    ProcessIdentity, command_name, credentials, effective_user, has_borrowed_rights, parent_pid, pid, pid_namespace,
    set_command_name,
};
pub use crate::inherit::{Inherited, raise_file_limit, set_file_limit};
pub use crate::listener::PacketListener;
pub use crate::memfd::{
    Mapping, MemoryFile, file_identity, file_size, has_huge_pages, map_sealed, memory_file, never_changes,
    never_shrinks, release_range, reopen, reserve_file, reserve_range, seal_constant, sealed_file, set_file_size,
    whole_pages,
};
pub use crate::memory::available_memory;
pub use crate::named::{give_name, is_regular, lock_directory, open_regular, unnamed_file, write_at};
pub use crate::packet::{Packet, PacketSocket, is_too_many_in_flight};
pub use crate::pages::keep_pages_at_fork;
pub use crate::pidfd::{Ended, PidFd, discard_child, reap_any};
pub use crate::poll::{Interest, is_hung_up, poll, poll_one, poll_readable};
pub use crate::random::random_bytes;
pub use crate::record_lock::{RecordLock, is_record_locked, try_lock_record, unlock_record};
pub use crate::records::{ProcessRecord, all_processes, is_exiting, threads_of};
pub use crate::rights::PACKET_DESCRIPTORS_MAX;
pub use crate::room::{populate, want_huge_pages};
pub use crate::settings::{
    PROCESSORS_MAX, adopt_orphans, enter_new_session, enter_process_group, group_and_session, niceness, open_files_max,
    processor_count, processors_of, set_niceness, set_processors_of, set_resource_limit, set_umask,
};
pub use crate::shared::{Access, AccessError, SharedMap};
pub use crate::signal::{ChildSignals, Disposition, FormerAction, Signal, SignalMask, disposition, set_disposition};
pub use crate::stack::report_stack_overflow;
pub use crate::stream::{StreamSocket, TCP_SILENCE_MAX, end_when_not_taken};
pub use crate::stream_listener::{Connecting, PeerCredentials, SocketAddress, StreamListener, is_abandoned_socket};
pub use crate::thread_id::{THREAD_IDS_END, thread_id};
pub use crate::threads::is_single_threaded;
pub use crate::title::set_command_line;
pub use crate::unshared::{UNSHARED_MAX, Unshared};
