//! The resources of which a process may be given less: a name for each kind of limit that Linux has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What [`Builder::rlimit`](crate::Builder::rlimit) limits. Source: getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[repr(usize)]
pub enum Resource {
    /// Seconds of processor time. At the soft limit and each second after it the child gets SIGXCPU, which ends it;
    /// at the hard one SIGKILL.
    CpuTime = 0,
    /// Bytes of a file that is written. Beyond it the child gets SIGXFSZ, which ends it.
    FileSize = 1,
    /// Bytes of private memory that can be written; see [`Builder::memory_limit`](crate::Builder::memory_limit).
    Data = 2,
    /// Bytes of the main thread's stack. Beyond it the child ends by SIGABRT, or SIGSEGV. Takes effect at the next
    /// exec for arguments and environment, and at once for the stack's growth.
    Stack = 3,
    /// Bytes of a core file; at 0 there is none.
    Core = 4,
    /// Bytes of memory that is resident. Linux keeps the number and does nothing with it.
    ResidentSet = 5,
    /// Processes and threads that the child's user has, all of them together. Beyond it no more can be started.
    /// Does not hold for root.
    Processes = 6,
    /// One above the highest number of a descriptor.
    OpenFiles = 7,
    /// Bytes of memory that cannot be swapped out.
    LockedMemory = 8,
    /// Bytes of addresses, of any kind of memory: what a shared mapping or a file's mapping counts in as well.
    AddressSpace = 9,
    /// File locks; not since Linux 2.4.25.
    Locks = 10,
    /// Signals that wait for the processes of the child's user.
    PendingSignals = 11,
    /// Bytes in POSIX message queues of the child's user.
    MessageQueues = 12,
    /// How low the niceness may be set: 20 minus this is the least.
    Nice = 13,
    /// The highest real-time priority.
    RealtimePriority = 14,
    /// Microseconds of processor time that a real-time thread may take without a system call that blocks.
    RealtimeTime = 15,
}

impl Resource {
    /// No limit.
    pub const UNLIMITED: u64 = u64::MAX;

    /// Every kind there is.
    pub const ALL: [Self; 16] = [
        Self::CpuTime,
        Self::FileSize,
        Self::Data,
        Self::Stack,
        Self::Core,
        Self::ResidentSet,
        Self::Processes,
        Self::OpenFiles,
        Self::LockedMemory,
        Self::AddressSpace,
        Self::Locks,
        Self::PendingSignals,
        Self::MessageQueues,
        Self::Nice,
        Self::RealtimePriority,
        Self::RealtimeTime,
    ];

    /// The kernel's name for the limit.
    #[must_use]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 16] = [
            "RLIMIT_CPU",
            "RLIMIT_FSIZE",
            "RLIMIT_DATA",
            "RLIMIT_STACK",
            "RLIMIT_CORE",
            "RLIMIT_RSS",
            "RLIMIT_NPROC",
            "RLIMIT_NOFILE",
            "RLIMIT_MEMLOCK",
            "RLIMIT_AS",
            "RLIMIT_LOCKS",
            "RLIMIT_SIGPENDING",
            "RLIMIT_MSGQUEUE",
            "RLIMIT_NICE",
            "RLIMIT_RTPRIO",
            "RLIMIT_RTTIME",
        ];
        NAMES[self.kind()]
    }

    /// The kernel's number for it, on x86-64 and arm64 as on most others.
    pub(crate) fn kind(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
