//! The function table: every function that may be named across processes, collected by the linker.
//!
//! # Safety
//! Each record in the section is written by `function_id` alone, for one `Entry` type: the distance to its `enter`
//! and the distance to its `describe`, which tells that type's signature. The section's bounds come from the linker.
//! A number from a peer is only ever compared with records; what is called is an address from a record whose
//! signature was checked, so it is a function of exactly that type.

#![expect(unsafe_code, reason = "a link-time table of addresses has no safe form")]

use std::any::{TypeId, type_name};
use std::arch::asm;
use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::{BootError, image};

/// A function that another process of the same image can be told to run.
///
/// Implemented by types that stand for one function each, usually generic ones: every instance that the program
/// names with [`function_id`] is in the table of its image.
pub trait Entry: 'static {
    /// What it is given.
    type Input: 'static;
    /// What it gives back.
    type Output: 'static;
    /// The function.
    fn enter(input: Self::Input) -> Self::Output;
}

/// A function's name across processes: where it lies in its image, and a hash of its type and of the image's build id.
///
/// Another build of the program has other names, even for a function that lies at the same place. Only where the linker
/// writes no build id (`-Wl,--build-id=none`) two builds may have a name in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionId {
    pub(crate) offset: u64,
    pub(crate) hash: u64,
}

impl FunctionId {
    /// How many bytes [`to_bytes`](Self::to_bytes) gives.
    pub const BYTES: usize = 2 * size_of::<u64>();

    /// The name as bytes, for whoever frames messages of its own.
    #[must_use]
    #[inline]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (offset, hash) = bytes.split_at_mut(size_of::<u64>());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        hash.copy_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    /// The reverse. Any bytes are a name; whether there is such a function is for [`resolve`] to say.
    #[must_use]
    #[inline]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self { offset: number(0), hash: number(size_of::<u64>()) }
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {:#x} (type {:016x})", self.offset, self.hash)
    }
}

/// A function's hash as it is in its name.
fn named(hash: u64) -> u64 {
    hash ^ image::own().mark
}

/// What a record's second function tells.
struct Description {
    signature: TypeId,
    hash: u64,
}

/// The signature and the hash of an entry's type names.
fn describe<E: Entry>() -> Description {
    let signature = TypeId::of::<fn(E::Input) -> E::Output>();
    let names = [type_name::<E>(), type_name::<E::Input>(), type_name::<E::Output>()];
    let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
    Description { signature, hash: fnv1a(bytes) }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: short, and the same in every process.
pub(crate) fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The name of `E` across processes. Naming it is what enters it into the image's table.
///
/// # Errors
/// [`BootError::ForeignFunction`] when its code lies in another shared object than this crate.
pub fn function_id<E: Entry>() -> Result<FunctionId, BootError> {
    // SAFETY: emits data into another section and no instruction. The records hold distances between two places of
    // one object, so they need no relocation and the section stays read-only; "R" keeps it through section garbage
    // collection.
    unsafe {
        asm!(
            ".pushsection procession_functions,\"aR\",@progbits",
            ".balign 8",
            ".quad {enter} - .",
            ".quad {describe} - .",
            ".popsection",
            enter = sym E::enter,
            describe = sym describe::<E>,
            options(nomem, nostack, preserves_flags),
        );
    }
    let enter: fn(E::Input) -> E::Output = E::enter;
    let offset = image::own().offset_of(enter as usize).ok_or(BootError::ForeignFunction)?;
    Ok(FunctionId { offset, hash: named(describe::<E>().hash) })
}

/// The function that a peer named, if this image has it in its table with just that signature.
///
/// # Errors
/// [`BootError::UnknownFunction`] for anything else.
pub fn resolve<I: 'static, O: 'static>(id: FunctionId) -> Result<fn(I) -> O, BootError> {
    let signature = TypeId::of::<fn(I) -> O>();
    let records = table();
    let first = records.partition_point(|record| record.offset < id.offset);
    let found = records[first..]
        .iter()
        .take_while(|record| record.offset == id.offset)
        .find(|record| record.hash == id.hash && record.signature == signature)
        .ok_or(BootError::UnknownFunction(id))?;
    // SAFETY: the record was made by `function_id::<E>` for some `E`, its address is that of `E::enter`, and its
    // signature says that this function's type is `fn(I) -> O`.
    Ok(unsafe { std::mem::transmute::<*const (), fn(I) -> O>(found.enter as *const ()) })
}

/// A record as the linker left it: two distances, each from its own place.
#[repr(C)]
struct RawRecord {
    enter: isize,
    describe: isize,
}

/// A record made readable.
struct Record {
    offset: u64,
    hash: u64,
    signature: TypeId,
    enter: usize,
}

unsafe extern "C" {
    #[link_name = "__start_procession_functions"]
    static START: [RawRecord; 0];
    #[link_name = "__stop_procession_functions"]
    static STOP: [RawRecord; 0];
}

/// The image's records in the order of their offsets.
fn table() -> &'static [Record] {
    static TABLE: OnceLock<Vec<Record>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let _ = function_id::<Nothing>();
        let mut records: Vec<Record> = raw_table().iter().filter_map(read).collect();
        records.sort_unstable_by_key(|record| record.offset);
        records
    })
}

/// An entry of the table that nobody asks for: without one there would be no section, and no bounds to link with.
struct Nothing;

impl Entry for Nothing {
    type Input = ();
    type Output = ();
    fn enter((): ()) {}
}

/// The section itself.
fn raw_table() -> &'static [RawRecord] {
    let start = (&raw const START).cast::<RawRecord>();
    let stop = (&raw const STOP).cast::<RawRecord>();
    let count = (stop as usize - start as usize) / size_of::<RawRecord>();
    // SAFETY: the linker puts both symbols around the section, which holds nothing but aligned records and which
    // nobody writes.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// Follows a record's distances.
fn read(raw: &'static RawRecord) -> Option<Record> {
    let enter = (&raw const raw.enter as usize).wrapping_add_signed(raw.enter);
    let describe = (&raw const raw.describe as usize).wrapping_add_signed(raw.describe);
    // SAFETY: every record's second distance leads to an instance of `describe`, whose type this is.
    let describe = unsafe { std::mem::transmute::<*const (), fn() -> Description>(describe as *const ()) };
    let Description { signature, hash } = describe();
    Some(Record { offset: image::own().offset_of(enter)?, hash: named(hash), signature, enter })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count<T>(T);
    impl<T: 'static> Entry for Count<T> {
        type Input = Vec<T>;
        type Output = usize;
        fn enter(input: Vec<T>) -> usize {
            input.len()
        }
    }

    #[test]
    fn each_instance_of_a_generic_entry_is_found_and_called() {
        let bytes = function_id::<Count<u8>>().unwrap();
        let texts = function_id::<Count<String>>().unwrap();
        assert_ne!(bytes, texts);
        assert_eq!(FunctionId::from_bytes(bytes.to_bytes()), bytes);
        assert_eq!(resolve::<Vec<u8>, usize>(bytes).unwrap()(vec![1, 2, 3]), 3);
        assert_eq!(resolve::<Vec<String>, usize>(texts).unwrap()(vec!["a".into()]), 1);
    }

    #[test]
    fn anything_else_is_refused() {
        let id = function_id::<Count<u16>>().unwrap();
        let wrong = [
            FunctionId { offset: id.offset + 1, ..id },
            FunctionId { offset: u64::MAX, ..id },
            FunctionId { hash: id.hash ^ 1, ..id },
        ];
        for id in wrong {
            assert!(matches!(resolve::<Vec<u16>, usize>(id), Err(BootError::UnknownFunction(_))), "{id}");
        }
        assert!(resolve::<Vec<u32>, usize>(id).is_err(), "another signature");
        let of_another_build = FunctionId { hash: id.hash ^ image::own().mark ^ fnv1a([7].into_iter()), ..id };
        assert!(resolve::<Vec<u16>, usize>(of_another_build).is_err());
    }

    #[test]
    fn code_of_another_shared_object_has_no_offset() {
        assert!(image::own().offset_of(describe::<Nothing> as *const () as usize).is_some());
        let stack = 0;
        assert_eq!(image::own().offset_of(&raw const stack as usize), None);
    }
}
