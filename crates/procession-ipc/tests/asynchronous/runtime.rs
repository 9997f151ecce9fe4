//! The runtimes, each with one thread.
//!
//! Relies on tokio and on async-executor, which has no reactor.

use std::time::Duration;

use futures_lite::future;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runtime {
    Tokio,
    Other,
}

impl Runtime {
    /// Has all tasks done at once.
    pub(super) fn run_all<R: Send + 'static>(
        self,
        tasks: impl IntoIterator<Item = impl Future<Output = R> + Send + 'static>,
    ) -> Vec<R> {
        match self {
            Self::Tokio => tokio().block_on(async {
                let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
                let mut results = Vec::new();
                for task in tasks {
                    results.push(task.await.expect("no task panics"));
                }
                results
            }),
            Self::Other => {
                let executor = async_executor::Executor::new();
                let tasks: Vec<_> = tasks.into_iter().map(|task| executor.spawn(task)).collect();
                future::block_on(executor.run(async {
                    let mut results = Vec::new();
                    for task in tasks {
                        results.push(task.await);
                    }
                    results
                }))
            }
        }
    }
}

pub(super) fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// What a future says within so long. Otherwise it is dropped.
pub(super) async fn within<R>(time: Duration, future: impl Future<Output = R>) -> Option<R> {
    tokio::time::timeout(time, future).await.ok()
}

/// What a future says before others had so many turns. Otherwise it is dropped.
pub(super) async fn for_turns<R>(turns: u32, waits: impl Future<Output = R>) -> Option<R> {
    let others = async {
        for _ in 0..turns {
            future::yield_now().await;
        }
        None
    };
    future::or(async { Some(waits.await) }, others).await
}
