//! Every error of the crates beneath becomes the one error, and the prelude leaves a program its own names.
//!
//! Relies on nothing that starts a process.

use std::error::Error as _;

use procession::UnfinishedError;
use procession::prelude::*;

/// What a program of its own may have; two names that come by `*` are an error where they are used.
mod names {
    pub(crate) struct Error;
    pub(crate) struct Result;
    pub(crate) struct Future;
    pub(crate) fn wait() {}
    pub(crate) fn exit() {}
}

#[test]
fn the_prelude_shadows_no_name_of_a_program() {
    mod program {
        use super::names::*;
        #[expect(unused_imports, reason = "what counts is that it brings none of the names below")]
        use procession::prelude::*;

        pub(super) fn uses() -> (Error, Result, Future) {
            wait();
            exit();
            (Error, Result, Future)
        }
    }
    let _ = program::uses();
}

/// No `Debug`, no `Clone`: an item may be anything.
struct Item;

fn through(error: impl Into<procession::Error>) -> String {
    error.into().to_string()
}

#[test]
fn an_item_that_was_not_put_is_dropped_and_the_reason_is_kept() {
    let put: Result<(), PutError<Item>> = Err(PutError::Full(Item));
    let lost = || -> procession::Result<()> { Ok(put?) };
    assert!(matches!(lost(), Err(procession::Error::Put(PutError::Full(())))));
    let refused =
        PutError::System { item: Item, doing: "make a memory file", error: std::io::ErrorKind::OutOfMemory.into() };
    let text = refused.to_string();
    let error = procession::Error::from(refused);
    assert_eq!(error.to_string(), text);
    assert!(error.source().is_some(), "what the system said");
}

#[test]
fn each_error_of_messages_says_the_same_as_the_one_error() {
    assert_eq!(through(GetError::Empty), GetError::Empty.to_string());
    assert_eq!(through(SendError::Disconnected), SendError::Disconnected.to_string());
    assert_eq!(through(RecvError::Timeout), RecvError::Timeout.to_string());
    assert_eq!(through(WaitError::Nothing), WaitError::Nothing.to_string());
    assert_eq!(through(UnfinishedError::TooOften), UnfinishedError::TooOften.to_string());
    assert!(through(Queue::<u8>::bounded(0).unwrap_err()).contains("cannot be bounded to 0 items"));
    let closed = Queue::<u8>::unbounded().unwrap();
    closed.close();
    assert!(matches!(closed.get().map_err(procession::Error::from), Err(procession::Error::Get(GetError::Closed))));
}

#[test]
fn each_error_of_strangers_says_the_same_as_the_one_error() {
    let no_address = "nowhere".parse::<Address>().unwrap_err();
    assert_eq!(through(no_address.clone()), no_address.to_string());
    assert_eq!(through(ListenError::from(no_address.clone())), no_address.to_string());
    assert_eq!(through(AcceptError::Closed), AcceptError::Closed.to_string());
    let keyless = Client::connect_bytes("127.0.0.1:1", b"").unwrap_err();
    let text = keyless.to_string();
    let error = procession::Error::from(keyless);
    assert!(text.contains("authkey") && error.to_string() == text, "{error}");
    let refused = || -> procession::Result<()> {
        Listener::bind("/nowhere/socket")?;
        Ok(())
    };
    let error = refused().unwrap_err();
    assert!(matches!(error, procession::Error::Listen(ListenError::System { .. })), "{error:?}");
    assert!(error.source().is_some(), "what the system said");
}

#[test]
fn each_error_of_pools_says_the_same_as_the_one_error() {
    let none = Pool::new(0).unwrap_err();
    let text = none.to_string();
    let error = procession::Error::from(none);
    assert!(text.contains("at least one") && error.to_string() == text, "{error}");
    assert_eq!(through(TaskError::Timeout), TaskError::Timeout.to_string());
    let late = TimeoutError { unfinished: 1, total: 3 };
    assert_eq!(through(late), late.to_string());
    assert_eq!(through(procession::InvalidState), procession::InvalidState.to_string());
    let closed = ThreadPoolExecutor::new(1).unwrap();
    closed.shutdown();
    let refused = || -> procession::Result<u8> { Ok(closed.submit(|| 1_u8)?.result()?) };
    let error = refused().unwrap_err();
    assert!(matches!(error, procession::Error::Submit(SubmitError::Closed { .. })), "{error:?}");
}

#[test]
fn a_panic_in_a_task_shows_its_backtrace_where_it_is_asked_for() {
    let panicked = TaskError::Panicked {
        name: "Pool-1".into(),
        pid: 7,
        message: "no such file".into(),
        location: None,
        backtrace: Some("the frames".into()),
        attempts: 1,
    };
    let error = procession::Error::from(panicked);
    assert!(!format!("{error:?}").contains("the frames") && format!("{error:#?}").contains("the frames"), "{error:?}");
}
