//! Which objects' methods a thread is in the middle of, each called by the one before it: to wait for one of these objects is to
//! wait for ever.
//!
//! Relies on an object's value staying where it is while a method of it runs.

use std::cell::RefCell;
use std::ptr;

thread_local! {
    static WITHIN: RefCell<Vec<*const ()>> = const { RefCell::new(Vec::new()) };
}

/// That this thread is in the middle of a method.
pub(crate) struct Within(());

/// Notes that a method of an object begins.
pub(crate) fn enter<T>(object: &T) -> Within {
    WITHIN.with_borrow_mut(|within| within.push(ptr::from_ref(object).cast()));
    Within(())
}

/// Whether this thread is in the middle of a method of this object.
pub(crate) fn is_within<T>(object: &T) -> bool {
    WITHIN.with_borrow(|within| within.contains(&ptr::from_ref(object).cast()))
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.with_borrow_mut(Vec::pop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_returned_is_left_also_by_a_panic() {
        let (outer, inner) = (1, 2);
        let _within = enter(&outer);
        let panicked = std::panic::catch_unwind(|| {
            let _within = enter(&inner);
            assert!(is_within(&outer) && is_within(&inner));
            panic!("no such luck");
        });
        assert!(panicked.is_err() && is_within(&outer) && !is_within(&inner));
        let is_anothers = std::thread::scope(|scope| scope.spawn(|| is_within(&outer)).join().unwrap());
        assert!(!is_anothers);
    }
}
