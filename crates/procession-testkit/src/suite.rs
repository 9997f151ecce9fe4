//! What a test file has: cases, and programs for its cases to start.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use crate::fence::CASE_DEADLINE;
use crate::harness;

/// One test: a name that says what is promised, code that panics when the promise is broken, and a deadline.
pub struct Case {
    pub(crate) name: String,
    pub(crate) deadline: Duration,
    pub(crate) run: Box<dyn Fn() + Send + Sync>,
}

impl Case {
    /// A case with the usual deadline, [`CASE_DEADLINE`].
    #[must_use]
    pub fn new(name: impl Into<String>, run: impl Fn() + Send + Sync + 'static) -> Self {
        Self { name: name.into(), deadline: CASE_DEADLINE, run: Box::new(run) }
    }

    /// With a deadline of its own, for a case that does more than most.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// A program that cases start: its name and its `main`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) main: fn(),
}

/// The cases of a test file. [`main!`](crate::main) builds one and runs it.
#[derive(Debug, Default)]
pub struct Suite {
    pub(crate) cases: Vec<Case>,
    pub(crate) programs: Vec<Program>,
    pub(crate) warm_up: Option<fn()>,
}

impl Suite {
    /// Without cases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `warm_up` in each body before its audit takes the baseline: what it leaves open belongs to no case.
    #[must_use]
    pub fn warm_up(mut self, warm_up: fn()) -> Self {
        self.warm_up = Some(warm_up);
        self
    }

    /// Adds a case.
    #[must_use]
    pub fn case(mut self, case: Case) -> Self {
        self.cases.push(case);
        self
    }

    /// Adds a case once for each value, as `label::name`: one suite for every implementation of a contract.
    #[must_use]
    pub fn case_for_each<T>(
        mut self,
        values: impl IntoIterator<Item = (&'static str, T)>,
        name: &'static str,
        deadline: Duration,
        run: fn(T),
    ) -> Self
    where
        T: Copy + Send + Sync + 'static,
    {
        for (label, value) in values {
            let case = Case::new(format!("{label}::{name}"), move || run(value));
            self.cases.push(case.within(deadline));
        }
        self
    }

    /// Adds a program that cases start with [`program`](crate::program): a process with a `main` of its own, for what
    /// happens at a main process's end.
    #[must_use]
    pub fn program(mut self, name: &'static str, main: fn()) -> Self {
        self.programs.push(Program { name, main });
        self
    }

    /// Does what this process was started for: runs the cases, or one of the parts of a case.
    #[must_use]
    pub fn main(self) -> ExitCode {
        harness::run(self)
    }
}

/// The `main` of a test file with `harness = false`.
///
/// - `warm_up: function;` runs in each body before the audit takes its baseline.
/// - `cases: [name, other within 60];` are functions without arguments, with a deadline in seconds if 20 do not do.
/// - `cases for VALUES, [name];` are functions of one value, each a case for every `(label, value)` of the list.
/// - `programs: [name];` are functions that [`program`](crate::program) starts as processes.
///
/// # Examples
/// ```
/// # mod file {
/// fn two_and_two_are_four() {
///     assert_eq!(2 + 2, 4);
/// }
///
/// fn a_number_equals_itself(n: u32) {
///     assert_eq!(n, n);
/// }
///
/// procession_testkit::main! {
///     cases: [two_and_two_are_four];
///     cases for [("one", 1), ("two", 2)], [a_number_equals_itself within 5];
/// }
/// # pub fn run() { let _ = main(); }
/// # }
/// # file::run();
/// ```
#[macro_export]
macro_rules! main {
    ($($section:tt)*) => {
        fn main() -> ::std::process::ExitCode {
            $crate::sections!(($crate::Suite::new()) $($section)*).main()
        }
    };
}

/// The sections of [`main!`], one after the other, as calls on a [`Suite`].
#[doc(hidden)]
#[macro_export]
macro_rules! sections {
    (($suite:expr)) => { $suite };
    (($suite:expr) warm_up: $run:path; $($rest:tt)*) => {
        $crate::sections!(($suite.warm_up($run)) $($rest)*)
    };
    (($suite:expr) cases: [$($name:ident $(within $seconds:literal)?),* $(,)?]; $($rest:tt)*) => {
        $crate::sections!(($suite $(
            .case($crate::Case::new(stringify!($name), $name).within($crate::seconds!($($seconds)?)))
        )*) $($rest)*)
    };
    (($suite:expr) cases for $values:expr, [$($name:ident $(within $seconds:literal)?),* $(,)?]; $($rest:tt)*) => {
        $crate::sections!(($suite $(
            .case_for_each($values, stringify!($name), $crate::seconds!($($seconds)?), $name)
        )*) $($rest)*)
    };
    (($suite:expr) programs: [$($name:ident),* $(,)?]; $($rest:tt)*) => {
        $crate::sections!(($suite $(.program(stringify!($name), $name))*) $($rest)*)
    };
}

/// A deadline in seconds, or the usual one.
#[doc(hidden)]
#[macro_export]
macro_rules! seconds {
    () => {
        $crate::CASE_DEADLINE
    };
    ($seconds:literal) => {
        ::std::time::Duration::from_secs($seconds)
    };
}
