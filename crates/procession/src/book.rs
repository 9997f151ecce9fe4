//! The pages of the book and the README as doctests, so that every example in them runs.
//!
//! Relies on nothing. `cargo xtask docs` reads the list below and refuses a page that is not in it.

macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        $(#[doc = include_str!($path)] mod $name {})*
    };
}

#[cfg(feature = "async")]
pages! {
    async_tasks: "../../../docs/src/guide/async.md",
}

pages! {
    readme: "../../../README.md",
    introduction: "../../../docs/src/introduction.md",
    quickstart: "../../../docs/src/quickstart.md",
    processes: "../../../docs/src/guide/processes.md",
    start_methods: "../../../docs/src/guide/start-methods.md",
    fork_safety: "../../../docs/src/guide/fork-safety.md",
    shutdown: "../../../docs/src/guide/shutdown.md",
    logging: "../../../docs/src/guide/logging.md",
    limiting_children: "../../../docs/src/guide/limits.md",
    shared_memory: "../../../docs/src/guide/shared-memory.md",
    synchronization: "../../../docs/src/guide/synchronization.md",
    owner_death: "../../../docs/src/guide/owner-death.md",
    channels: "../../../docs/src/guide/channels.md",
    disconnection: "../../../docs/src/guide/disconnection.md",
    channel_crashes: "../../../docs/src/guide/channel-crashes.md",
    strangers: "../../../docs/src/guide/strangers.md",
    pools: "../../../docs/src/guide/pools.md",
    executors: "../../../docs/src/guide/executors.md",
    task_errors: "../../../docs/src/guide/task-errors.md",
    worker_death: "../../../docs/src/guide/worker-death.md",
    managers: "../../../docs/src/guide/managers.md",
    managers_apart: "../../../docs/src/guide/managers-apart.md",
    testing: "../../../docs/src/guide/testing.md",
    python: "../../../docs/src/reference/python.md",
    conformance: "../../../docs/src/reference/conformance.md",
    limits: "../../../docs/src/reference/limits.md",
    segment_layout: "../../../docs/src/reference/segment-layout.md",
    performance: "../../../docs/src/performance.md",
    glossary: "../../../docs/src/reference/glossary.md",
    architecture: "../../../docs/src/design/architecture.md",
    ring: "../../../docs/src/design/ring.md",
    pool: "../../../docs/src/design/pool.md",
    manager: "../../../docs/src/design/manager.md",
    decisions: "../../../docs/src/design/decisions.md",
}
