//! Named places in code at which a test makes something happen: another's step in between, or this process's end.
//!
//! The crates that share state between processes mark their steps with [`fail_point!`](crate::fail_point). Only with the
//! feature `fail-points`, which the test kit turns on and nothing that is shipped does, is there anything at such a mark.
//! What is armed concerns the thread that armed it, and after a fork the child's only thread.

use std::cell::{Cell, RefCell};

/// What happens there.
type Action = Box<dyn FnOnce()>;

/// Where something is to happen.
struct Place {
    /// `None` for any.
    name: Option<&'static str>,
    /// How many more times it is passed first.
    before: u32,
}

thread_local! {
    static ARMED: RefCell<Vec<(Place, Action)>> = const { RefCell::new(Vec::new()) };
    static PASSED: Cell<u32> = const { Cell::new(0) };
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Who is told of each place.
type Watch = Box<dyn FnMut(&'static str)>;

/// The exit signal of [`kill`].
const KILLED: i32 = 9;

/// Has `action` happen once, when this thread comes to the place `name` after it has been there `before` times.
pub fn arm(name: &'static str, before: u32, action: impl FnOnce() + 'static) {
    add(Place { name: Some(name), before }, Box::new(action));
}

/// Has `action` happen once, at the place, whatever its name, to which this thread comes after `before` others.
pub fn arm_any(before: u32, action: impl FnOnce() + 'static) {
    add(Place { name: None, before }, Box::new(action));
}

fn add(place: Place, action: Action) {
    ARMED.with_borrow_mut(|armed| armed.push((place, action)));
}

/// Forgets what has not happened.
pub fn disarm() {
    ARMED.take();
}

/// Has `look` called with the name of each place that this thread comes to, before anything else happens there. Places
/// that it passes itself are not told.
pub fn watch(look: impl FnMut(&'static str) + 'static) {
    WATCH.replace(Some(Box::new(look)));
}

/// Has nobody told any more.
pub fn unwatch() {
    WATCH.take();
}

/// True while something has not happened yet.
#[must_use]
pub fn is_armed() -> bool {
    ARMED.with_borrow(|armed| !armed.is_empty())
}

/// How many places this thread has passed since it last asked.
#[must_use]
pub fn passed() -> u32 {
    PASSED.take()
}

/// Ends this process here, as `kill -9` does.
///
/// # Panics
/// When the kernel refuses.
pub fn kill() {
    crate::send_signal(crate::pid(), KILLED).expect("a process may kill itself");
}

/// What [`fail_point!`](crate::fail_point) calls.
#[doc(hidden)]
pub fn pass(name: &'static str) {
    PASSED.set(PASSED.get().wrapping_add(1));
    tell(name);
    // Outside of the borrow, since what happens may pass other places.
    if let Some(action) = due(name) {
        action();
    }
}

/// Tells who watches. Nobody does, and nothing is due, in a thread that is ending: what it has armed is gone.
fn tell(name: &'static str) {
    let _ = WATCH.try_with(|watch| {
        if let Ok(mut watch) = watch.try_borrow_mut()
            && let Some(look) = watch.as_mut()
        {
            look(name);
        }
    });
}

/// The first action that is due at the place.
fn due(name: &'static str) -> Option<Action> {
    let armed = ARMED.try_with(|armed| {
        let armed = &mut *armed.borrow_mut();
        let mut due = None;
        for (at, (place, _)) in armed.iter_mut().enumerate() {
            if place.name.is_some_and(|wanted| wanted != name) {
                continue;
            }
            match place.before.checked_sub(1) {
                Some(before) => place.before = before,
                None => due = due.or(Some(at)),
            }
        }
        due.map(|at| armed.remove(at).1)
    });
    armed.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn who_watches_is_told_each_name_until_nobody_does() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&seen);
        watch(move |name| {
            pass("within");
            told.borrow_mut().push(name);
        });
        let also = Rc::clone(&seen);
        arm("b", 0, move || also.borrow_mut().push("action"));
        ["a", "b"].into_iter().for_each(pass);
        unwatch();
        pass("c");
        assert_eq!(*seen.borrow(), ["a", "b", "action"]);
    }

    #[test]
    fn an_action_happens_once_at_its_place_and_time() {
        let happened = Rc::new(Cell::new(""));
        let note = |text| {
            let happened = Rc::clone(&happened);
            move || happened.set(text)
        };
        arm("b", 1, note("second b"));
        for (name, expected) in [("a", ""), ("b", ""), ("a", ""), ("b", "second b"), ("b", "")] {
            pass(name);
            assert_eq!(happened.replace(""), expected);
        }
        arm_any(1, note("any"));
        pass("c");
        assert_eq!(happened.get(), "");
        pass("d");
        assert_eq!(happened.get(), "any");
        assert!(!is_armed());
        arm("e", 0, note("e"));
        assert!(is_armed());
        disarm();
        assert!(!is_armed());
        assert_eq!(passed(), 7);
    }
}
