//! What every executor can do, wherever it runs its tasks: the object-safe core, and the generic verbs over it.
//!
//! Relies on [`task`](crate::task) and [`map`](crate::map). Nothing in the trait is local to this machine.

use std::ops::Deref;
use std::sync::Arc;

use procession_launch::{Arguments, Passable, Target};

use crate::error::SubmitError;
use crate::future::Future;
use crate::map::{Imap, Mapper};
use crate::task::{self, Options, Task, TaskBuilder};

/// Something that runs tasks: the pools of this crate, and whatever else implements these three functions.
///
/// The generic verbs over it are in [`ExecutorExt`]; the executors of this crate have them as methods of their own as well.
///
/// # Options
/// What a task asks for is for the executor to do: nobody else does it. One that cannot says so with
/// [`SubmitError::Option`], as the executors of this crate do, rather than pass over it.
///
/// | | what it is to do |
/// |---|---|
/// | [`Task::priority`] | begin the task before all that have a lower one |
/// | [`Task::timeout`] | end the task with [`TaskError::TimedOut`](crate::TaskError::TimedOut) when it has run for so long |
/// | [`Task::retries`], [`Task::backoff`] | make the call again when its [reply](crate::RawReply::has_failed) is a failure, or is lost |
///
/// The chunks of a map come without options. Cancelling is done by the handle, up to [`Promise::begin`](crate::Promise::begin),
/// and from then on not at all.
///
/// # Examples
/// There is one at [`RawCall`](crate::RawCall), and one with options in the book's chapter on executors.
///
/// # Python
/// `concurrent.futures.Executor`.
pub trait Executor: Send + Sync {
    /// Takes a task. It ends when its promise says so, or is dropped.
    ///
    /// # Errors
    /// The executor takes no more tasks, or cannot take this one.
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError>;

    /// How many tasks it runs at once. A map reads so much ahead that none is ever idle.
    fn parallelism(&self) -> usize;

    /// How many items of a map it takes at most as one task.
    fn chunk_items_max(&self) -> usize {
        usize::MAX
    }

    /// Takes no more tasks. Those that were submitted go on, and so do maps that have begun, of which more is submitted by and
    /// by: an [`Intake`](crate::Intake) tells their tasks from others. Where none is asked, a map ends with what was submitted.
    fn close(&self);
}

impl<E: Executor + ?Sized> Executor for &E {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        (**self).submit_raw(task)
    }

    fn parallelism(&self) -> usize {
        (**self).parallelism()
    }

    fn chunk_items_max(&self) -> usize {
        (**self).chunk_items_max()
    }

    fn close(&self) {
        (**self).close();
    }
}

/// What several own that an executor is made of. `Arc` is none itself: the verbs of [`ExecutorExt`] would hide those of the
/// executor in it.
pub(crate) struct Shared<T>(pub(crate) Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Makes a type the executor that it has in a field.
macro_rules! executes_by {
    ($Type:ty, $field:ident) => {
        impl $crate::executor::Executor for $Type {
            fn submit_raw(&self, task: $crate::task::Task) -> Result<(), $crate::error::SubmitError> {
                $crate::executor::Executor::submit_raw(&self.$field, task)
            }

            fn parallelism(&self) -> usize {
                $crate::executor::Executor::parallelism(&self.$field)
            }

            fn chunk_items_max(&self) -> usize {
                $crate::executor::Executor::chunk_items_max(&self.$field)
            }

            fn close(&self) {
                $crate::executor::Executor::close(&self.$field);
            }
        }
    };
}

pub(crate) use executes_by;

/// The generic verbs of every [`Executor`].
///
/// # Examples
/// ```
/// use procession_pool::{Executor, ExecutorExt, ThreadPoolExecutor};
///
/// fn sum_of_squares(executor: &dyn Executor) -> Result<u64, Box<dyn std::error::Error>> {
///     let first = executor.submit(|n: u64| n * n, (3,))?;
///     let second = executor.submit(|n: u64| n * n, (4,))?;
///     Ok(first.result()? + second.result()?)
/// }
/// assert_eq!(sum_of_squares(&ThreadPoolExecutor::new(2)?)?, 25);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait ExecutorExt: Executor {
    /// Has `function` called with `arguments` by a worker, and gives the handle of that task.
    ///
    /// # Errors
    /// [`SubmitError`]: an argument cannot be encoded, or the executor takes no more tasks.
    fn submit<F: Target<A>, A: Arguments>(&self, function: F, arguments: A) -> Result<Future<F::Output>, SubmitError> {
        task::submit(&self, task::encode(function, arguments)?, Options::default())
    }

    /// The same with options: a timeout, retries, a priority.
    fn task<F: Target<A>, A: Arguments>(&self, function: F, arguments: A) -> TaskBuilder<'_, F, A> {
        TaskBuilder::new(Arc::new(self), function, arguments)
    }

    /// The results of `function` for the items, in their order, as they can be had.
    ///
    /// Chunks of items are submitted from this call on, a bounded number ahead of the results that are taken; the input may be
    /// endless. What has not begun is cancelled when the iterator is dropped.
    ///
    /// # Python
    /// `Executor.map()`.
    fn map<'i, F, I>(&'i self, function: F, items: I) -> Imap<'i, F::Output>
    where
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable, IntoIter: 'i>,
    {
        Mapper::new(Arc::new(self)).imap(function, items)
    }

    /// The verbs of a pool, with chunks of so many items, as `chunked` of a pool.
    ///
    /// # Panics
    /// For chunks of none.
    fn chunked(&self, items: usize) -> Mapper<'_> {
        Mapper::chunked(Arc::new(self), items)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}
