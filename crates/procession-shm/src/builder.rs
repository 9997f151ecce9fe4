//! How a new segment is to be.
//!
//! Relies on `memory.rs` for what it makes.

use procession_sys::{MemoryFile, memory_file, reserve_file};

use crate::{SharedMemory, ShmError};

/// The name that `/proc/PID/maps` shows for segments.
const LABEL: &str = "procession-shm";

/// The size of the pages that a segment is made of, where it is not the usual one.
///
/// The system must have set such pages aside (`/proc/sys/vm/nr_hugepages` for the usual size of 2 MiB); no other
/// process can have those that a segment holds.
///
/// Source: memfd_create(2), `MFD_HUGETLB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// 2 MiB.
    Size2MiB,
    /// 1 GiB.
    Size1GiB,
}

impl HugePages {
    /// Bytes in one.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.bits()
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Size2MiB => 21,
            Self::Size1GiB => 30,
        }
    }
}

/// A segment that is to be created: made by [`SharedMemory::builder`].
///
/// Without choices it is sparse: pages take memory when they are first written, and a process that writes when the
/// system has none left is killed, as with all memory. [`prefault`](Self::prefault) and
/// [`huge_pages`](Self::huge_pages) have the kernel reserve everything at creation, or refuse.
///
/// # Examples
/// ```
/// use procession_shm::{HugePages, SharedMemory};
///
/// // Huge pages if the system has set some aside, otherwise usual ones.
/// let huge = SharedMemory::builder(4 << 20).huge_pages(HugePages::Size2MiB).create();
/// let memory = huge.or_else(|_| SharedMemory::create(4 << 20))?;
/// assert_eq!(memory.len(), 4 << 20);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is created before `create`"]
pub struct SharedMemoryBuilder {
    bytes: usize,
    prefault: bool,
    huge_pages: Option<HugePages>,
}

impl SharedMemoryBuilder {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, prefault: false, huge_pages: None }
    }

    /// Whether all pages are reserved and mapped here at creation, so that neither a missing page nor a first touch
    /// comes later. It takes as long as writing to all of it: half a second to two seconds per GiB. Other processes map the
    /// same pages without waiting for them. What [`SharedMemory::grow`] adds later is sparse.
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// Makes it of huge pages, which are reserved at creation. Its length is rounded up to whole ones.
    pub fn huge_pages(mut self, pages: HugePages) -> Self {
        self.huge_pages = Some(pages);
        self
    }

    /// Creates it, without a name.
    ///
    /// # Errors
    /// [`ShmError::Empty`] for 0 bytes, [`ShmError::HugePages`] where the system has not enough of them,
    /// [`ShmError::Create`] beyond what it has or allows, [`ShmError::Map`].
    pub fn create(self) -> Result<SharedMemory, ShmError> {
        if self.bytes == 0 {
            return Err(ShmError::Empty);
        }
        let page = self.huge_pages.map_or(1, HugePages::bytes);
        // More than can be addressed is refused below as more than there is.
        let bytes = self.bytes.checked_next_multiple_of(page).unwrap_or(usize::MAX) as u64;
        let failed = |error| match self.huge_pages {
            Some(_) => ShmError::HugePages { bytes, page_bytes: page, error },
            None => ShmError::Create { bytes, error },
        };
        let file = MemoryFile { bytes, huge_page_bits: self.huge_pages.map(HugePages::bits) };
        let file = memory_file(LABEL, &file).map_err(failed)?;
        if self.prefault || self.huge_pages.is_some() {
            reserve_file(&file, bytes).map_err(failed)?;
        }
        let memory = SharedMemory::over(file.into(), None)?;
        if self.prefault {
            // The pages exist. A kernel before 5.14 maps them one by one, when they are touched.
            let _ = memory.mapping().prefault();
        }
        Ok(memory)
    }
}
