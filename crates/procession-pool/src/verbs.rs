//! The verbs that every pool has, whatever its workers are: written once, as methods of each.
//!
//! Relies on [`map`](crate::map) and [`task`](crate::task). A pool that uses this has a method `shared`, which gives it as an
//! `Arc<dyn Executor>`.

/// Gives a pool its verbs.
macro_rules! pool_verbs {
    ($Pool:ident, $new:literal) => {
        impl $Pool {
            /// Calls `function` with `arguments` in a worker, and waits for its result.
            ///
            /// # Errors
            /// How it failed, or why it was not submitted.
            ///
            /// # Python
            /// `Pool.apply()`.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use procession_pool::", stringify!($Pool), ";")]
            ///
            #[doc = concat!("let pool = ", $new, "?;")]
            /// assert_eq!(pool.apply(|n: u64| n * n, (7,))?, 49);
            /// # Ok::<_, Box<dyn std::error::Error>>(())
            /// ```
            pub fn apply<F, A>(&self, function: F, arguments: A) -> Result<F::Output, $crate::TaskError>
            where
                F: procession_launch::Target<A>,
                A: procession_launch::Arguments,
            {
                self.task(function, arguments).submit()?.into_result()
            }

            /// Has `function` called with `arguments` by a worker, and gives the handle of its result.
            ///
            /// # Errors
            /// An argument cannot be encoded, or the pool takes no more tasks.
            ///
            /// # Python
            /// `Pool.apply_async()`; its callbacks are `on_success` and `on_error` of the handle.
            pub fn apply_async<F, A>(
                &self,
                function: F,
                arguments: A,
            ) -> Result<$crate::AsyncResult<F::Output>, $crate::SubmitError>
            where
                F: procession_launch::Target<A>,
                A: procession_launch::Arguments,
            {
                Ok(self.task(function, arguments).submit()?.into_async_result())
            }

            /// A function with its arguments as a task with options: a timeout, retries, a priority.
            pub fn task<F, A>(&self, function: F, arguments: A) -> $crate::TaskBuilder<'static, F, A>
            where
                F: procession_launch::Target<A>,
                A: procession_launch::Arguments,
            {
                $crate::TaskBuilder::new(self.shared(), function, arguments)
            }

            /// The results of `function` for all items, in their order. The items are read and submitted in chunks, whose size
            /// follows from the time that items take.
            ///
            /// # Errors
            /// The error of the item with the lowest index, after all have ended.
            ///
            /// # Panics
            /// As the input does, after the items before have ended.
            ///
            /// # Python
            /// `Pool.map()`.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use procession_pool::", stringify!($Pool), ";")]
            ///
            #[doc = concat!("let pool = ", $new, "?;")]
            /// assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
            /// # Ok::<_, Box<dyn std::error::Error>>(())
            /// ```
            pub fn map<F, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, $crate::TaskError>
            where
                F: procession_launch::Target<(I::Item,)>,
                I: IntoIterator<Item: procession_launch::Passable>,
            {
                self.mapper().map(function, items)
            }

            /// What has come of each item, in their order.
            ///
            /// If the pool ends meanwhile, items that were submitted and not done are
            /// [`TaskError::Terminated`](crate::TaskError::Terminated), and the others
            /// [`TaskError::NotSubmitted`](crate::TaskError::NotSubmitted). The input is not read any further then: what is left
            /// of one that says how many items it has left, as ranges and vectors do, is counted (up to 16,777,216); of another
            /// one the items are told that were read.
            ///
            /// # Errors
            /// The pool took no more tasks before the first item was submitted.
            ///
            /// # Panics
            /// As [`map`](Self::map).
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use procession_pool::", stringify!($Pool), ";")]
            ///
            #[doc = concat!("let pool = ", $new, "?;")]
            /// let each = pool.map_results(|n: u64| 12 / n, 0..3)?;
            /// assert!(each[0].is_err() && each[1] == Ok(12) && each[2] == Ok(6));
            /// # Ok::<_, Box<dyn std::error::Error>>(())
            /// ```
            pub fn map_results<F, I>(
                &self,
                function: F,
                items: I,
            ) -> Result<Vec<Result<F::Output, $crate::TaskError>>, $crate::SubmitError>
            where
                F: procession_launch::Target<(I::Item,)>,
                I: IntoIterator<Item: procession_launch::Passable>,
            {
                self.mapper().map_results(function, items)
            }

            /// As [`map`](Self::map), with items that are tuples of arguments.
            ///
            /// # Errors
            /// As [`map`](Self::map).
            ///
            /// # Panics
            /// As [`map`](Self::map).
            ///
            /// # Python
            /// `Pool.starmap()`.
            pub fn starmap<F, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, $crate::TaskError>
            where
                F: procession_launch::Target<I::Item>,
                I: IntoIterator<Item: procession_launch::Arguments>,
            {
                self.mapper().starmap(function, items)
            }

            /// Submits all items at once, and gives the handle of their results. The input is read to its end, and all of it is
            /// encoded and kept: for one that has none there is [`imap`](Self::imap).
            ///
            /// # Errors
            /// An item cannot be encoded, or the pool takes no more tasks: then nothing runs that has not begun.
            ///
            /// # Panics
            /// As the input does; nothing was submitted then.
            ///
            /// # Python
            /// `Pool.map_async()`.
            pub fn map_async<F, I>(
                &self,
                function: F,
                items: I,
            ) -> Result<$crate::AsyncResult<Vec<F::Output>>, $crate::SubmitError>
            where
                F: procession_launch::Target<(I::Item,)>,
                I: IntoIterator<Item: procession_launch::Passable>,
            {
                self.mapper().map_async(function, items)
            }

            /// As [`map_async`](Self::map_async), with items that are tuples of arguments.
            ///
            /// # Errors
            /// As [`map_async`](Self::map_async).
            ///
            /// # Panics
            /// As [`map_async`](Self::map_async).
            ///
            /// # Python
            /// `Pool.starmap_async()`.
            pub fn starmap_async<F, I>(
                &self,
                function: F,
                items: I,
            ) -> Result<$crate::AsyncResult<Vec<F::Output>>, $crate::SubmitError>
            where
                F: procession_launch::Target<I::Item>,
                I: IntoIterator<Item: procession_launch::Arguments>,
            {
                self.mapper().starmap_async(function, items)
            }

            /// The results as they can be had, in the order of the items, which are read as results are taken: the input may be
            /// endless. What has not begun is cancelled when the iterator is dropped.
            ///
            /// # Python
            /// `Pool.imap()`.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use procession_pool::", stringify!($Pool), ";")]
            ///
            #[doc = concat!("let pool = ", $new, "?;")]
            /// let squares: Result<Vec<u64>, _> = pool.imap(|n: u64| n * n, 0..).take(3).collect();
            /// assert_eq!(squares?, [0, 1, 4]);
            /// # Ok::<_, Box<dyn std::error::Error>>(())
            /// ```
            pub fn imap<'i, F, I>(&self, function: F, items: I) -> $crate::Imap<'i, F::Output>
            where
                F: procession_launch::Target<(I::Item,)>,
                I: IntoIterator<Item: procession_launch::Passable, IntoIter: 'i>,
            {
                self.mapper().imap(function, items)
            }

            /// The results as they come, whichever item they are of; as [`imap`](Self::imap) in everything else.
            ///
            /// # Python
            /// `Pool.imap_unordered()`.
            pub fn imap_unordered<'i, F, I>(&self, function: F, items: I) -> $crate::ImapUnordered<'i, F::Output>
            where
                F: procession_launch::Target<(I::Item,)>,
                I: IntoIterator<Item: procession_launch::Passable, IntoIter: 'i>,
            {
                self.mapper().imap_unordered(function, items)
            }

            /// The same verbs with chunks of so many items: of fewer where that many are more than
            /// [`CHUNK_ITEMS_MAX`](crate::CHUNK_ITEMS_MAX), have more encoded bytes than
            /// [`GIVEN_CHUNK_BYTES_MAX`](crate::GIVEN_CHUNK_BYTES_MAX), or are more than a worker may have tasks.
            ///
            /// # Panics
            /// For chunks of none.
            ///
            /// # Python
            /// `chunksize=`.
            #[must_use]
            pub fn chunked(&self, items: usize) -> $crate::Mapper<'static> {
                $crate::Mapper::chunked(self.shared(), items)
            }

            fn mapper(&self) -> $crate::Mapper<'static> {
                $crate::Mapper::new(self.shared())
            }
        }
    };
}

pub(crate) use pool_verbs;
