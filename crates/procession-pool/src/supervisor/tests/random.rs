//! Long runs of larger worlds by chance, shrunk to the shortest that breaks a promise.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Config, Terms};
use super::world::{Budget, World};

fn configs() -> impl Strategy<Value = Config> {
    let grace = prop::option::of(Just(Duration::from_millis(3)));
    let start = prop::option::of((1u64..20).prop_map(Duration::from_millis));
    (1u32..5, any::<bool>(), prop::option::weighted(0.3, 1u64..5), 0u32..5, grace, start).prop_map(
        |(size, eager, tasks_per_child, prefetch_max, retire_grace, start_timeout)| Config {
            size,
            eager,
            tasks_per_child,
            prefetch_max,
            retire_grace,
            start_timeout,
        },
    )
}

fn terms() -> impl Strategy<Value = Terms> {
    let timeout = prop::option::weighted(0.2, (0u64..4).prop_map(Duration::from_millis));
    let backoff = (0u64..3).prop_map(Duration::from_millis);
    // Mostly plain ones, which alone are given ahead.
    let special = (-2i32..3, 1u32..4, timeout, 0u32..5, backoff)
        .prop_map(|(priority, items, timeout, retries, backoff)| Terms { priority, items, timeout, retries, backoff });
    prop_oneof![2 => Just(Terms::default()), 1 => special]
}

fn budgets() -> impl Strategy<Value = Budget> {
    let counts = (0u32..12, 0u32..20, 0u32..4, 0u32..6, 0u32..4, 0u32..8);
    let ends = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3));
    (counts, ends).prop_map(|((deaths, failed_starts, bars, failures, refusals, cancels), (all, close, kill))| Budget {
        deaths,
        failed_starts,
        bars,
        failures,
        refusals,
        cancels,
        may_cancel_all: all,
        may_close: close,
        may_kill_all: kill,
    })
}

/// Which of the moves that there are happens; late ones in the list are events at the engine.
fn choices() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_promise_is_broken(
        config in configs(),
        plan in prop::collection::vec(terms(), 0..30),
        budget in budgets(),
        choices in choices(),
    ) {
        let mut world = World::new(config, plan, budget);
        let mut happened = Vec::new();
        for choice in choices {
            let moves = world.moves();
            if moves.is_empty() {
                break;
            }
            let next = moves[usize::from(choice) % moves.len()];
            happened.push(next);
            let result = world.apply(next);
            prop_assert!(result.is_ok(), "{}\nafter {happened:#?}", result.unwrap_err());
        }
        let result = world.settle(false).and_then(|()| world.settle(true));
        prop_assert!(result.is_ok(), "{}\nleft alone after {happened:#?}", result.unwrap_err());
    }
}
