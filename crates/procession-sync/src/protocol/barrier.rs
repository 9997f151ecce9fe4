//! The barrier's words: which round it is, who takes part in it, and what became of the last. Relies on nothing but its
//! `World`.
//!
#![doc = include_str!("barrier.md")]

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use procession_shm::arena::Owner;

use super::{Word, World, low};

pub(crate) const BROKEN: u64 = 1;
const ACTION: u64 = 1 << 1;

const ROUND_SHIFT: u32 = 2;
const ROUNDS: u32 = 1 << 30;
const ARRIVED_SHIFT: u32 = 32;
const ONE_ARRIVED: u64 = 1 << ARRIVED_SHIFT;
const ARRIVED_END: u64 = 1 << 10;
const PAST_SHIFT: u32 = 42;
/// How many rounds are remembered.
const PAST_BITS: u32 = u64::BITS - PAST_SHIFT;

/// A party's word that is claimed says this beside whose it is.
const CLAIMED: u64 = 1;
const OWNER_SHIFT: u32 = 32;

/// Why a party did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The barrier is broken, or the round was.
    Broken,
    /// The world was over.
    Timeout,
    /// It would not have been the last one.
    NotLast,
}

/// What a party has to do when it has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Wait for the others.
    Waits,
    /// Run the action, and then let the others pass.
    Acts,
    /// Go on: it was the last one.
    Passes,
}

/// A party that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    round: u32,
    pub(crate) index: u32,
    pub(crate) role: Role,
}

/// How a party comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// There is an action.
    pub(crate) acts: bool,
    /// It arrives only if it is the last one.
    pub(crate) only_last: bool,
}

/// The words of a barrier.
#[derive(Debug)]
pub(crate) struct Round<'a, W> {
    main: &'a W,
    parties: &'a [W],
}

fn round_of(word: u64) -> u32 {
    low(word) >> ROUND_SHIFT
}

/// How many have arrived.
pub(crate) fn arrived(word: u64) -> u32 {
    low(word >> ARRIVED_SHIFT) % ARRIVED_END as u32
}

/// The word of the next round, of which this one broke or did not.
fn next_round(seen: u64, broke: bool) -> u64 {
    let past = seen >> PAST_SHIFT << 1 | u64::from(broke);
    let round = (round_of(seen) + 1) % ROUNDS;
    past << PAST_SHIFT | u64::from(round) << ROUND_SHIFT
}

fn broken(seen: u64) -> u64 {
    (seen | BROKEN) & !ACTION
}

/// What became of a round; `None` while it goes on.
fn outcome(seen: u64, round: u32) -> Option<Result<(), Refused>> {
    let since = round_of(seen).wrapping_sub(round) % ROUNDS;
    let past = seen >> PAST_SHIFT;
    let broke = match since {
        0 if seen & BROKEN == 0 => return None,
        0 => true,
        1..=PAST_BITS => past >> (since - 1) & 1 == 1,
        _ => past != 0,
    };
    Some(if broke { Err(Refused::Broken) } else { Ok(()) })
}

/// The word of a party of a round.
fn claim_of(owner: Owner, round: u32) -> u64 {
    u64::from(owner.word()) << OWNER_SHIFT | u64::from(round) << ROUND_SHIFT | CLAIMED
}

/// Whether a party's word may be claimed for the round: nobody has, or for an older one.
fn is_free(claim: u64, round: u32) -> bool {
    let ahead = round_of(claim).wrapping_sub(round) << ROUND_SHIFT; // Its highest bit is the sign.
    claim == 0 || ahead.cast_signed() < 0
}

impl<'a, W: Word> Round<'a, W> {
    /// The barrier in these words, of one party fewer; `None` if there is not one party.
    pub(crate) fn over(words: &'a [W]) -> Option<Self> {
        let (main, parties) = words.split_first()?;
        (!parties.is_empty()).then_some(Self { main, parties })
    }

    /// What the first word says.
    pub(crate) fn look(&self) -> u64 {
        self.main.load(Acquire)
    }

    fn count(&self) -> u32 {
        self.parties.len() as u32 // A slot has fewer words than that.
    }

    /// Claims a party's word; false when all are.
    fn claim(&self, owner: Owner, round: u32) -> bool {
        let claim = claim_of(owner, round);
        self.parties.iter().any(|word| {
            let mut seen = word.load(Relaxed);
            while is_free(seen, round) {
                match word.exchange(seen, claim, AcqRel, Relaxed) {
                    Ok(_) => return true,
                    Err(newer) => seen = newer,
                }
            }
            false
        })
    }

    /// Whether a party of the round is dead.
    fn has_dead(&self, world: &impl World, round: u32) -> bool {
        let claims = self.parties.iter().map(|word| word.load(Acquire));
        let mut of_round = claims.filter(|&claim| claim & CLAIMED != 0 && round_of(claim) == round);
        of_round.any(|claim| {
            let owner = Owner::from_word((claim >> OWNER_SHIFT) as u32); // The upper half.
            !owner.is_some_and(|owner| world.is_alive(owner))
        })
    }

    /// The first word, once a round of which a party is dead is broken.
    pub(crate) fn look_for_dead<M: World<Word = W>>(&self, world: &M) -> u64 {
        let seen = self.look();
        if seen & BROKEN == 0 && arrived(seen) > 0 && self.has_dead(world, round_of(seen)) {
            self.break_round(world, round_of(seen));
        }
        self.look()
    }

    /// Makes of the first word what `next` says, as long as it says so, and wakes all; whether it did.
    fn change<M: World<Word = W>>(&self, world: &M, place: &'static str, next: impl Fn(u64) -> Option<u64>) -> bool {
        let mut seen = self.main.load(Acquire);
        while let Some(next) = next(seen) {
            match self.main.exchange(seen, next, AcqRel, Acquire) {
                Ok(_) => {
                    world.at(place);
                    world.wake(self.main, u32::MAX);
                    return true;
                }
                Err(newer) => seen = newer,
            }
        }
        false
    }

    /// Breaks the round if it goes on.
    fn break_round<M: World<Word = W>>(&self, world: &M, round: u32) -> bool {
        self.change(world, "barrier: broken, not woken", |seen| outcome(seen, round).is_none().then(|| broken(seen)))
    }
}

/// Arrives at the barrier.
pub(crate) fn arrive<W: World>(
    world: &W,
    barrier: &Round<'_, W::Word>,
    own: Owner,
    manner: Manner,
) -> Result<Arrival, Refused> {
    let (mut claimed, mut has_slept) = (None, false);
    loop {
        let seen = barrier.look();
        if seen & BROKEN != 0 {
            return Err(Refused::Broken);
        }
        let (round, index) = (round_of(seen), arrived(seen));
        let is_last = index + 1 == barrier.count();
        if manner.only_last && !is_last {
            return Err(Refused::NotLast);
        }
        let is_full = index >= barrier.count() || seen & ACTION != 0;
        if is_full || claimed != Some(round) && !barrier.claim(own, round) {
            await_next(world, barrier, seen, manner, &mut has_slept)?;
            continue;
        }
        claimed = Some(round);
        world.at("barrier: to arrive");
        if is_last && barrier.has_dead(world, round) {
            barrier.break_round(world, round);
            continue;
        }
        let role = role_of(is_last, manner.acts);
        if barrier.main.exchange(seen, after_arrival(seen, role), AcqRel, Relaxed).is_ok() {
            if role == Role::Passes {
                world.at("barrier: passed, not woken");
                world.wake(barrier.main, u32::MAX);
            }
            world.at("barrier: arrived");
            return Ok(Arrival { round, index, role });
        }
    }
}

fn role_of(is_last: bool, acts: bool) -> Role {
    match (is_last, acts) {
        (false, _) => Role::Waits,
        (true, true) => Role::Acts,
        (true, false) => Role::Passes,
    }
}

/// What the first word says once a party has arrived.
fn after_arrival(seen: u64, role: Role) -> u64 {
    match role {
        Role::Waits => seen + ONE_ARRIVED,
        Role::Acts => (seen + ONE_ARRIVED) | ACTION,
        Role::Passes => next_round(seen, false),
    }
}

/// Waits a while for the next round, of one in which there is no room any more.
fn await_next<W: World>(
    world: &W,
    barrier: &Round<'_, W::Word>,
    seen: u64,
    manner: Manner,
    has_slept: &mut bool,
) -> Result<(), Refused> {
    if manner.only_last {
        return Err(Refused::NotLast);
    }
    if world.spin() {
        return Ok(());
    }
    if *has_slept && barrier.has_dead(world, round_of(seen)) {
        barrier.break_round(world, round_of(seen));
        return Ok(());
    }
    if world.is_over() {
        return Err(Refused::Timeout);
    }
    world.park(barrier.main, low(seen));
    *has_slept = true;
    Ok(())
}

/// Waits for the others, and breaks the round when one of them is dead or the world over.
pub(crate) fn wait<W: World>(world: &W, barrier: &Round<'_, W::Word>, arrival: Arrival) -> Result<(), Refused> {
    let mut has_slept = false;
    loop {
        let seen = barrier.look();
        if let Some(outcome) = outcome(seen, arrival.round) {
            world.at("barrier: to leave");
            return outcome;
        }
        if world.spin() {
            continue;
        }
        // Who has been dead for longer is found by the last one to arrive, or after the first sleep.
        if has_slept && barrier.has_dead(world, arrival.round) {
            barrier.break_round(world, arrival.round);
            continue;
        }
        if world.is_over() {
            if barrier.break_round(world, arrival.round) {
                return Err(Refused::Timeout);
            }
            continue;
        }
        world.at("barrier: to park");
        world.park(barrier.main, low(seen));
        world.at("barrier: woken");
        has_slept = true;
    }
}

/// Lets the others pass after the action.
pub(crate) fn pass<W: World>(world: &W, barrier: &Round<'_, W::Word>, arrival: Arrival) -> Result<(), Refused> {
    world.at("barrier: acted");
    let goes_on = |seen| outcome(seen, arrival.round).is_none();
    let passed =
        barrier.change(world, "barrier: passed, not woken", |seen| goes_on(seen).then(|| next_round(seen, false)));
    if passed { Ok(()) } else { Err(Refused::Broken) }
}

/// Breaks the round of which the action was left.
pub(crate) fn fail<W: World>(world: &W, barrier: &Round<'_, W::Word>, arrival: Arrival) {
    barrier.break_round(world, arrival.round);
}

/// Breaks the barrier.
pub(crate) fn abort<W: World>(world: &W, barrier: &Round<'_, W::Word>) {
    barrier.change(world, "barrier: broken, not woken", |seen| (seen & BROKEN == 0).then(|| broken(seen)));
}

/// Begins a new round, if anybody waits or the barrier is broken.
pub(crate) fn reset<W: World>(world: &W, barrier: &Round<'_, W::Word>) {
    world.at("barrier: to reset");
    barrier.change(world, "barrier: reset, not woken", |seen| {
        (arrived(seen) > 0 || seen & BROKEN != 0).then(|| next_round(seen, true))
    });
}

#[cfg(test)]
mod races {
    //! The races of `barrier.md`. Each model tries every order with at most as many preemptions as it names.

    use super::super::loom_world::{Fate, Kernel, Process, model, name};
    use super::*;

    type Passed = Result<u32, Refused>;

    /// The barrier of so many parties.
    fn barrier(kernel: &Kernel, parties: usize) -> Round<'_, loom::sync::atomic::AtomicU64> {
        Round::over(&kernel.words(..)[..=parties]).expect("enough words")
    }

    fn visit_as(kernel: &Kernel, parties: usize, acts: bool) -> Passed {
        let barrier = barrier(kernel, parties);
        let arrival = arrive(kernel, &barrier, name(kernel.process()), Manner { acts, only_last: false })?;
        match arrival.role {
            Role::Waits => wait(kernel, &barrier, arrival)?,
            Role::Acts => {
                kernel.touch();
                pass(kernel, &barrier, arrival)?;
            }
            Role::Passes => {}
        }
        Ok(arrival.index)
    }

    fn party(kernel: &Kernel, number: u32, fate: Fate, parties: usize, acts: bool) -> Process<Passed> {
        kernel.spawn(number, fate, move |kernel| visit_as(kernel, parties, acts))
    }

    fn both(first: Passed, second: Passed) -> [Passed; 2] {
        let mut both = [first, second];
        both.sort_by_key(|passed| passed.unwrap_or(u32::MAX));
        both
    }

    const BROKE: Passed = Err(Refused::Broken);

    #[test]
    fn passed_and_not_woken() {
        for acts in [false, true] {
            model(2, move |kernel| {
                let dies = party(&kernel, 2, Fate::KilledAt("barrier: passed, not woken"), 2, acts);
                let passed = visit_as(&kernel, 2, acts);
                assert_eq!(passed, Ok(u32::from(dies.join().is_some())));
            });
        }
    }

    /// One is killed there before the others come; they find it.
    fn killed_at(place: &'static str) {
        model(2, move |kernel| {
            assert_eq!(party(&kernel, 2, Fate::KilledAt(place), 3, false).join(), None);
            let other = party(&kernel, 3, Fate::Lives, 3, false);
            assert_eq!(visit_as(&kernel, 3, false), BROKE);
            assert_eq!(other.join(), Some(BROKE));
        });
    }

    #[test]
    fn killed_before_it_arrives() {
        model(2, |kernel| {
            let dies = party(&kernel, 2, Fate::KilledAt("barrier: to arrive"), 2, false);
            let passed = visit_as(&kernel, 2, false);
            assert_eq!((dies.join(), passed), (None, BROKE));
        });
    }

    #[test]
    fn killed_while_waiting() {
        model(2, |kernel| {
            let dies = party(&kernel, 2, Fate::KilledAt("barrier: to park"), 2, false);
            let passed = visit_as(&kernel, 2, false);
            match dies.join() {
                Some(other) => assert_eq!(both(passed, other), [Ok(0), Ok(1)]),
                None => assert!([Ok(1), BROKE].contains(&passed), "{passed:?}"),
            }
        });
    }

    #[test]
    fn killed_in_the_action() {
        model(2, |kernel| {
            let dies = party(&kernel, 2, Fate::KilledAt("barrier: acted"), 2, true);
            let passed = visit_as(&kernel, 2, true);
            match dies.join() {
                Some(other) => assert_eq!((other, passed), (Ok(0), Ok(1))),
                None => assert_eq!(passed, BROKE),
            }
        });
    }

    #[test]
    fn out_of_time_and_passed() {
        model(3, |kernel| {
            let hurried = kernel.spawn(2, Fate::Lives, |kernel| {
                kernel.hurry();
                visit_as(kernel, 2, false)
            });
            let passed = visit_as(&kernel, 2, false);
            match hurried.join().expect("it lives") {
                Err(Refused::Timeout) => assert_eq!(passed, BROKE),
                other => assert_eq!(both(passed, other), [Ok(0), Ok(1)]),
            }
        });
    }

    #[test]
    fn reset_and_passed() {
        model(1, |kernel| {
            let other = kernel.spawn(2, Fate::Lives, |kernel| {
                // Whoever was thrown out comes again, and the round is whole.
                visit_as(kernel, 2, false).or_else(|_| visit_as(kernel, 2, false))
            });
            let resets = kernel.spawn(3, Fate::KilledAt("barrier: reset, not woken"), |kernel| {
                reset(kernel, &barrier(kernel, 2));
            });
            let passed = visit_as(&kernel, 2, false).or_else(|_| visit_as(&kernel, 2, false));
            assert_eq!(both(passed, other.join().expect("it lives")), [Ok(0), Ok(1)]);
            resets.join();
        });
    }

    #[test]
    fn aborted_and_passed() {
        aborted(Fate::Lives);
        aborted(Fate::KilledAt("barrier: broken, not woken"));
    }

    fn aborted(fate: Fate) {
        model(2, move |kernel| {
            let other = party(&kernel, 2, Fate::Lives, 2, false);
            let aborts = kernel.spawn(3, fate, |kernel| {
                abort(kernel, &barrier(kernel, 2));
            });
            let passed = visit_as(&kernel, 2, false);
            let outcomes = both(passed, other.join().expect("it lives"));
            assert!([[Ok(0), Ok(1)], [BROKE; 2]].contains(&outcomes), "{outcomes:?}");
            assert_eq!(aborts.join().is_some(), matches!(fate, Fate::Lives));
        });
    }

    #[test]
    fn slow_to_leave() {
        let later = |first: bool, then: &[bool]| {
            let round = ROUNDS - 3; // The number begins anew meanwhile.
            let begun = u64::from(round) << ROUND_SHIFT | ONE_ARRIVED;
            let ended = then.iter().fold(next_round(begun, first), |word, &broke| next_round(word, broke));
            outcome(ended, round)
        };
        assert_eq!(outcome(7 << ROUND_SHIFT, 7), None);
        assert_eq!(later(true, &[]), Some(Err(Refused::Broken)));
        assert_eq!(later(false, &[true, true]), Some(Ok(())));
        assert_eq!(later(true, &[false; 21]), Some(Err(Refused::Broken)));
        assert_eq!(later(false, &[true; 21]), Some(Ok(())));
        assert_eq!(later(false, &[false; 22]), Some(Ok(())));
    }

    #[test]
    fn more_than_parties() {
        // There is one party's word for three that come.
        model(1, |kernel| {
            let others = [2, 3].map(|number| party(&kernel, number, Fate::Lives, 1, true));
            assert_eq!(visit_as(&kernel, 1, true), Ok(0));
            assert_eq!(others.map(Process::join), [Some(Ok(0)); 2]);
        });
    }

    #[test]
    fn a_claim_that_comes_late() {
        let [owner, round] = [name(2).word(), 7];
        let claim = claim_of(Owner::from_word(owner).expect("a name"), round);
        assert_eq!([6, 7, 8].map(|wanted| is_free(claim, wanted)), [false, false, true]);
        assert_eq!(round_of(claim), round);
        killed_at("barrier: to park");
    }
}
