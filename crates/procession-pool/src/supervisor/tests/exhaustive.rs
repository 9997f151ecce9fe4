//! Every order of events in small worlds, up to a number of moves: breadth first, so that what fails fails shortly.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::super::{Config, Terms};
use super::world::{Budget, Move, World};

/// What happens in the ordinary: nobody dies, nothing is canceled, nothing ends.
const QUIET: Budget = Budget {
    deaths: 0,
    failed_starts: 0,
    bars: 0,
    failures: 0,
    refusals: 0,
    cancels: 0,
    may_cancel_all: false,
    may_close: false,
    may_kill_all: false,
};

/// Tries every order of moves up to a depth, and says how many states there are.
fn explore(config: &Config, plan: &[Terms], budget: &Budget, depth: u32) -> usize {
    let mut seen = HashSet::new();
    // Each state's predecessor, and the move that led to it.
    let mut history: Vec<(usize, Option<Move>)> = vec![(0, None)];
    let mut front = VecDeque::from([(World::new(config.clone(), plan.to_vec(), budget.clone()), 0, 0)]);
    while let Some((world, at, moved)) = front.pop_front() {
        let moves = if moved < depth { world.moves() } else { Vec::new() };
        // What is lost stays lost, and shows at the end of the way.
        if moves.is_empty()
            && let Err(broken) = world.settle(false).and_then(|()| world.settle(true))
        {
            panic!("{broken}\nleft alone after {:#?}", path(&history, at));
        }
        for a_move in moves {
            let mut next = world.clone();
            let result = next.apply(a_move);
            history.push((at, Some(a_move)));
            let here = history.len() - 1;
            if let Err(broken) = result {
                panic!("{broken}\nafter {:#?}", path(&history, here));
            }
            if seen.insert(digest(&next)) {
                front.push_back((next, here, moved + 1));
            }
        }
    }
    seen.len()
}

fn digest(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn path(history: &[(usize, Option<Move>)], mut at: usize) -> Vec<Move> {
    let mut moves = Vec::new();
    while let (before, Some(a_move)) = history[at] {
        moves.push(a_move);
        at = before;
    }
    moves.reverse();
    moves
}

fn config(size: u32, eager: bool, prefetch_max: u32) -> Config {
    Config { size, eager, tasks_per_child: None, prefetch_max, retire_grace: None, start_timeout: None }
}

fn plain(tasks: usize) -> Vec<Terms> {
    vec![Terms::default(); tasks]
}

#[test]
fn one_worker_and_two_tasks_and_anything_ends() {
    let budget = Budget { deaths: 1, failed_starts: 1, may_close: true, may_kill_all: true, ..QUIET };
    for eager in [false, true] {
        let states = explore(&config(1, eager, 0), &plain(2), &budget, 14);
        println!("{states} states");
    }
}

#[test]
fn two_workers_and_three_tasks_given_ahead() {
    let budget = Budget { deaths: 1, refusals: 1, may_close: true, ..QUIET };
    let states = explore(&config(2, true, 2), &plain(3), &budget, 12);
    println!("{states} states");
}

#[test]
fn tasks_are_canceled_while_they_are_given_ahead() {
    let budget = Budget { cancels: 2, deaths: 1, may_cancel_all: true, ..QUIET };
    for (size, depth) in [(1, 12), (2, 10)] {
        let states = explore(&config(size, true, 2), &plain(3), &budget, depth);
        println!("{states} states");
    }
}

#[test]
fn tasks_are_timed_and_tried_again() {
    let budget = Budget { cancels: 1, deaths: 1, failures: 1, refusals: 1, ..QUIET };
    let timed = Terms { timeout: Some(Duration::from_millis(5)), retries: 1, ..Terms::default() };
    let patient = Terms { retries: 2, backoff: Duration::from_millis(1), ..Terms::default() };
    for (size, depth) in [(1, 12), (2, 10)] {
        let states = explore(&config(size, true, 2), &[timed, patient, Terms::default()], &budget, depth);
        println!("{states} states");
    }
}

#[test]
fn workers_that_have_done_their_number_are_replaced() {
    let budget = Budget { deaths: 1, cancels: 1, may_close: true, may_kill_all: true, ..QUIET };
    for (eager, retire_grace) in [(false, None), (true, Some(Duration::from_millis(5)))] {
        let config = Config { tasks_per_child: Some(1), retire_grace, ..config(1, eager, 1) };
        let states = explore(&config, &plain(3), &budget, 13);
        println!("{states} states");
    }
}

#[test]
fn a_storm_ends_with_tasks_that_say_so() {
    let budget = Budget { failed_starts: 9, deaths: 1, ..QUIET };
    for eager in [false, true] {
        let states = explore(&config(1, eager, 0), &plain(2), &budget, 26);
        println!("{states} states");
    }
}

#[test]
fn tasks_are_told_when_no_worker_can_be_had() {
    let budget = Budget { bars: 2, failed_starts: 1, deaths: 1, may_close: true, ..QUIET };
    for (size, eager, depth) in [(1, false, 14), (1, true, 14), (2, true, 8), (3, true, 6)] {
        let states = explore(&config(size, eager, 0), &plain(2), &budget, depth);
        println!("{states} states");
    }
}

#[test]
fn workers_that_hang_while_they_start_are_given_up() {
    let budget = Budget { deaths: 1, failed_starts: 1, may_close: true, may_kill_all: true, ..QUIET };
    for (size, eager, depth) in [(1, false, 14), (1, true, 14), (2, true, 9)] {
        let config = Config { start_timeout: Some(Duration::from_millis(5)), ..config(size, eager, 0) };
        let states = explore(&config, &plain(2), &budget, depth);
        println!("{states} states");
    }
}

#[test]
fn a_storm_of_starts_that_hang_ends_with_tasks_that_say_so() {
    let config = Config { start_timeout: Some(Duration::from_millis(5)), ..config(1, true, 0) };
    let states = explore(&config, &plain(2), &QUIET, 50);
    println!("{states} states");
}
