//! The orders of steps that the rules of freeing are for, each made to happen at fail points.
//!
//! As in the model, a process is a view with a description of its own; a thread is one that waits where it is told to.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use procession_sys::{Access, fail_points, is_record_locked, reopen};

use super::books::{Books, Found};
use super::error::ArenaError;
use super::fork::make_twin;
use super::layout::{OWNERS_MAX, SLOTS};
use super::process::{Arena, NOBODY};
use super::state::{State, Tag};

fn first() -> Arc<Arena> {
    Arc::new(Arena::over(Books::create().unwrap()).unwrap())
}

fn another(of: &Arena) -> Arc<Arena> {
    Arc::new(Arena::over(Books::open(&of.books.file).unwrap()).unwrap())
}

fn allocate(arena: &Arena) -> Found {
    arena.allocate(0, 64, 1).unwrap()
}

/// A message that holds the slot, whose sender has given up its own reference.
fn sent(arena: &Arena, found: Found) -> OwnedFd {
    let message = arena.open_for_message().unwrap();
    arena.books.send(&message, found.slot).unwrap();
    arena.give_up(found.slot);
    message
}

fn count(arena: &Arena, found: Found) -> u32 {
    arena.books.count(arena.owner().unwrap(), found.slot).load(SeqCst)
}

#[track_caller]
fn assert_live(arena: &Arena, found: Found) {
    let state = arena.books.load(found.slot);
    assert_eq!((state.tag(), state.generation()), (Tag::Live, found.generation));
}

#[track_caller]
fn assert_freed(arena: &Arena, found: Found) {
    let state = arena.books.load(found.slot);
    assert_eq!((state.tag(), state.generation()), (Tag::Free, found.generation + 1));
}

/// Kills the process of a view here: it gives up nothing any more.
fn kill(arena: &Arc<Arena>) -> impl FnOnce() + 'static + use<> {
    let arena = Arc::clone(arena);
    move || {
        arena.die();
        resume_unwind(Box::new("killed"));
    }
}

/// What a process does until it is killed.
fn until_killed(act: impl FnOnce()) {
    catch_unwind(AssertUnwindSafe(act)).expect_err("it is killed on the way");
    assert!(!fail_points::is_armed());
}

/// A place where a thread waits, as its own thread sees it and as others do.
fn gate() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let (tell, reached) = channel();
    let (go, wait) = channel::<()>();
    let stop = move || {
        let _ = tell.send(());
        let _ = wait.recv();
    };
    (stop, reached, go)
}

#[test]
fn a_reference_that_becomes_a_message_while_somebody_looks_is_seen() {
    let (holder, freer) = (first(), another(&first()));
    drop(freer);
    let freer = another(&holder);
    let found = allocate(&holder);
    let message = sent(&holder, found);
    let (books, kept) = (Arc::clone(&holder), std::rc::Rc::new(std::cell::RefCell::new(None)));
    let later = std::rc::Rc::clone(&kept);
    // The holder has it again before the freer looks,
    fail_points::arm("free: not counted", 0, move || {
        let found = books.receive(found.slot, found.generation).unwrap();
        drop(message);
        // and while it looks sends it on, and is killed before it can tell.
        let holder = Arc::clone(&books);
        fail_points::arm("free: between", 0, move || {
            until_killed(|| {
                fail_points::arm("give up: uncounted", 0, kill(&holder));
                let message = holder.open_for_message().unwrap();
                holder.books.send(&message, found.slot).unwrap();
                later.replace(Some(message));
                holder.give_up(found.slot);
            });
        });
    });
    freer.books.free(found.slot);
    assert_live(&freer, found);
    kept.take();
    freer.books.collect(freer.owner().unwrap());
    assert_freed(&freer, found);
}

#[test]
fn a_child_that_is_forked_while_somebody_looks_keeps_what_it_has() {
    // So that the child's counts come before its parent's.
    let place = first();
    let parent = another(&place);
    let freer = another(&place);
    let found = allocate(&parent);
    let message = sent(&parent, found);
    drop(place);
    let forking = Arc::clone(&parent);
    fail_points::arm("free: not counted", 0, move || {
        forking.receive(found.slot, found.generation).unwrap();
        drop(message);
        let parent = Arc::clone(&forking);
        // Between the looks at the child's counts and at the parent's.
        fail_points::arm("free: at an owner", 1, move || {
            let (file, owner) = make_twin(&parent).unwrap();
            assert_eq!(owner, 0);
            parent.twin.store(NOBODY, SeqCst);
            parent.give_up(found.slot);
            std::mem::forget(Arena::seated(Books::over(file).unwrap(), owner).unwrap());
        });
    });
    freer.books.free(found.slot);
    assert_live(&freer, found);
}

#[test]
fn who_is_interrupted_before_it_frees_does_nothing_later() {
    let holder = first();
    let found = allocate(&holder);
    let message = sent(&holder, found);
    let views = [another(&holder), another(&holder)];
    // Both have seen that nobody counts the slot, which the message holds.
    let (stop_late, late_before, late_go) = gate();
    let (stop_late_in_it, late_in_it, late_end) = gate();
    let (stop_early, early_between, early_go) = gate();
    let (stop_early_at_end, early_looked, early_end) = gate();
    let [late, early] = [
        [
            ("free: not counted", Box::new(stop_late) as Box<dyn FnOnce() + Send>),
            ("free: begun", Box::new(stop_late_in_it)),
        ],
        [("free: between", Box::new(stop_early)), ("free: looked", Box::new(stop_early_at_end))],
    ];
    let [late, early] = [(late, &views[0]), (early, &views[1])].map(|(stops, view)| {
        let view = Arc::clone(view);
        thread::spawn(move || {
            stops.into_iter().for_each(|(name, stop)| fail_points::arm(name, 0, stop));
            view.books.free(found.slot);
        })
    });
    late_before.recv().unwrap();
    early_between.recv().unwrap();
    // The message arrives, so its lock is gone when the early one looks at that.
    holder.receive(found.slot, found.generation).unwrap();
    drop(message);
    early_go.send(()).unwrap();
    early_looked.recv().unwrap();
    late_go.send(()).unwrap();
    late_in_it.recv().unwrap();
    assert_eq!(holder.books.load(found.slot).tag(), Tag::Freeing);
    early_end.send(()).unwrap();
    early.join().unwrap();
    late_end.send(()).unwrap();
    late.join().unwrap();
    assert_live(&holder, found);
    assert_eq!(count(&holder, found), 1);
}

#[test]
fn a_forged_message_neither_keeps_nor_takes_what_was_allocated_meanwhile() {
    let victim = first();
    let found = allocate(&victim);
    let (freeing, allocating) = (Arc::clone(&victim), Arc::clone(&victim));
    let next = std::rc::Rc::new(std::cell::Cell::new(None));
    let later = std::rc::Rc::clone(&next);
    fail_points::arm("receive: seen", 0, move || freeing.give_up(found.slot));
    fail_points::arm("receive: counted", 0, move || later.set(Some(allocate(&allocating))));
    let received = victim.receive(found.slot, found.generation);
    assert!(matches!(received, Err(ArenaError::Stale { .. })), "{received:?}");
    let next = next.take().unwrap();
    assert_eq!((next.slot, next.generation), (found.slot, found.generation + 1));
    assert_eq!(count(&victim, next), 1);
    assert_live(&victim, next);
}

#[test]
fn what_another_thread_clones_while_its_process_forks_is_counted_for_the_child() {
    let parent = first();
    let found = allocate(&parent);
    let (file, twin) = make_twin(&parent).unwrap();
    parent.add(found.slot, found.generation);
    let late = allocate(&parent);
    let child = Arena::seated(Books::over(file).unwrap(), twin).unwrap();
    parent.twin.store(NOBODY, SeqCst);
    [found, found, late].iter().for_each(|found| parent.give_up(found.slot));
    for found in [found, late] {
        assert!(count(&child, found) > 0);
        assert_live(&child, found);
    }
    drop(child);
    parent.books.collect(parent.owner().unwrap());
    assert_freed(&parent, found);
    assert_freed(&parent, late);
}

#[test]
fn who_is_stopped_while_it_frees_keeps_nobody_from_going_on() {
    let stopped = first();
    let other = another(&stopped);
    let found = allocate(&stopped);
    let (books, then) = (Arc::clone(&other), Arc::clone(&other));
    fail_points::arm("free: begun", 0, move || {
        books.books.collect(books.owner().unwrap());
        assert_freed(&books, found);
        assert_eq!(allocate(&then).slot, found.slot);
    });
    stopped.give_up(found.slot);
    assert_eq!(other.books.load(found.slot), State::new(Tag::Live, 0, found.generation + 1));
}

#[test]
fn a_reference_that_is_passed_on_while_somebody_looks_for_others_is_not_missed() {
    let own = first();
    let other = another(&own);
    let found = allocate(&own);
    let receive = move |other: &Arena, message: OwnedFd| {
        other.receive(found.slot, found.generation).unwrap();
        drop(message);
    };
    let message = other.open_for_message().unwrap();
    other.books.send(&message, found.slot).unwrap();
    let looks_again = Arc::clone(&other);
    // The message arrives after the look at counts, and before that at messages.
    fail_points::arm("others: between", 0, move || {
        receive(&looks_again, message);
        // It does so again in the second look, having been sent before that.
        let other = Arc::clone(&looks_again);
        fail_points::arm("others: begun", 0, move || {
            let message = sent(&other, found);
            fail_points::arm("others: between", 0, move || receive(&other, message));
        });
    });
    assert!(own.books.is_held_by_others(0, found.slot));
    assert!(!fail_points::is_armed());
    other.give_up(found.slot);
    assert!(!own.books.is_held_by_others(0, found.slot));
    assert_live(&own, found);
    assert_eq!(count(&own, found), 1);
}

#[test]
fn owners_are_as_many_as_there_can_be_and_no_more() {
    let arena = first();
    let others: Vec<_> = (1..OWNERS_MAX).map(|_| another(&arena)).collect();
    assert_eq!(others.last().unwrap().owner(), Some(OWNERS_MAX - 1));
    let refused = Arena::over(Books::open(&arena.books.file).unwrap());
    assert!(matches!(refused, Err(ArenaError::NoOwner)));
    let held = allocate(&others[7]);
    others[7].die();
    let mut others = others;
    others.remove(7);
    let next = another(&arena);
    assert_eq!(next.owner(), Some(8));
    assert_freed(&next, held);
    assert_eq!(next.books.owners(8).unwrap(), OWNERS_MAX);
}

#[test]
fn a_slot_whose_generations_are_used_up_is_never_allocated_again() {
    let arena = first();
    let used_up = State::new(Tag::Free, 0, u32::MAX);
    arena.books.set(0, used_up);
    assert_eq!(allocate(&arena).slot, 1);
    assert_eq!(arena.books.load(0), used_up);
    let last = State::new(Tag::Live, 0, u32::MAX - 1);
    arena.books.set(2, last);
    arena.books.collect(0);
    arena.books.free(2);
    assert!(arena.books.load(2).is_retired() || arena.books.load(2) == last);
}

#[test]
fn messages_of_the_same_slots_hold_them_one_by_one() {
    let arena = first();
    let found = allocate(&arena);
    let messages = [(); 2].map(|()| arena.open_for_message().unwrap());
    messages.iter().for_each(|message| arena.books.send(message, found.slot).unwrap());
    arena.give_up(found.slot);
    let [one, other] = messages;
    drop(one);
    arena.books.collect(0);
    assert_live(&arena, found);
    drop(other);
    let probe = reopen(&arena.books.file, Access::ReadOnly).unwrap();
    assert!((0..u64::from(SLOTS)).all(|slot| !is_record_locked(&probe, super::layout::SLOT_LOCKS_AT + slot).unwrap()));
    arena.books.collect(0);
    assert_freed(&arena, found);
}
