//! What a guard has of its object: a reference, or a handle of its own.
//!
//! # Safety
//! The address is that of a reference that lives as long as `'a`, or, with its lowest bit set, that of a box that this
//! owns. The bit is free, because objects are aligned to more than a byte. An enum would say the same in two words, which
//! guards pay for with most of their time: what is written as two and read as one stalls the processor.

#![expect(unsafe_code, reason = "says in the bit of an address what it is")]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

/// A reference to an object, or a handle that is kept for as long as the guard lives.
///
/// A guard in an error has a handle, since an error that borrows cannot leave the function that made it through `?`.
pub(crate) struct Keep<'a, O> {
    place: NonNull<O>,
    _of: PhantomData<(&'a O, O)>,
}

/// Set in the address of a box.
const OWNED: usize = 1;

impl<'a, O> Keep<'a, O> {
    #[inline]
    pub(crate) fn borrowed(object: &'a O) -> Self {
        const { assert!(align_of::<O>() > OWNED) };
        Self { place: NonNull::from(object), _of: PhantomData }
    }

    #[inline]
    fn is_owned(&self) -> bool {
        self.place.addr().get() & OWNED != 0
    }

    #[inline]
    fn address(&self) -> *mut O {
        self.place.as_ptr().map_addr(|address| address & !OWNED)
    }
}

impl<O: Clone> Keep<'_, O> {
    /// The same without a reference.
    pub(crate) fn detach(&self) -> Keep<'static, O> {
        const { assert!(align_of::<O>() > OWNED) };
        let object = Box::into_raw(Box::new(O::clone(self))).map_addr(|address| address | OWNED);
        Keep { place: NonNull::new(object).expect("a box has an address"), _of: PhantomData }
    }
}

impl<O> Deref for Keep<'_, O> {
    type Target = O;

    #[inline]
    fn deref(&self) -> &O {
        // SAFETY: either is valid for as long as `self` (see the top of this file), and shared.
        unsafe { &*self.address() }
    }
}

impl<O> Keep<'_, O> {
    /// Apart, so that what is left is small enough to become part of a guard's drop.
    #[cold]
    #[inline(never)]
    fn drop_owned(&mut self) {
        // SAFETY: made by `Box::into_raw`, and nobody else has it: this is called once, when it is dropped.
        drop(unsafe { Box::from_raw(self.address()) });
    }
}

impl<O> Drop for Keep<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if self.is_owned() {
            self.drop_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_detached_one_keeps_a_handle_and_drops_it() {
        let object = Rc::new(5);
        let borrowed = Keep::borrowed(&object);
        assert_eq!((**borrowed, Rc::strong_count(&object)), (5, 1));
        let detached: Keep<'static, Rc<i32>> = borrowed.detach();
        drop(borrowed);
        assert_eq!((**detached, Rc::strong_count(&object)), (5, 2));
        let again = detached.detach();
        drop(detached);
        assert_eq!((**again, Rc::strong_count(&object)), (5, 2));
        drop(again);
        assert_eq!(Rc::strong_count(&object), 1);
    }
}
