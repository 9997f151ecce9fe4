//! Names of the user's that are those of what is written for a shared type.

use ::procession_manager::shared;

/// An error, and not what functions return.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Result(i64);

/// What is optional elsewhere.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Option;

/// What holds many elsewhere.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Vec;

/// What is text elsewhere.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct String;

/// Names of traits and of variants.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Shared {
    Ok,
    Err,
    Some,
    None,
}

pub(crate) use self::Shared::{Err, None, Ok, Some};

/// What is called.
#[derive(Debug)]
pub(crate) struct Call {
    object: i64,
    call: i64,
}

/// A module that shadows the standard library, were it not named from its root.
pub(crate) mod std {}
/// The same.
pub(crate) mod core {}
/// The same.
pub(crate) mod procession_manager {}

#[shared]
impl Call {
    pub(crate) fn new(argument_0: i64, argument_1: i64) -> Self {
        Self { object: argument_0, call: argument_1 }
    }

    pub(crate) fn all(&self, object: i64, call: i64, self_: i64, result: i64, item: i64, raw: i64) -> i64 {
        self.object + self.call + object + call + self_ + result + item + raw
    }

    pub(crate) fn answer(&mut self, argument_1: i64, argument_0: i64) -> i64 {
        argument_1 - argument_0
    }

    // The same names as what the traits have, and a proxy's field.
    pub(crate) fn methods(&self, name: String) -> String {
        name
    }

    pub(crate) fn type_name(&self, name: Result) -> Result {
        name
    }

    pub(crate) fn construct(&self, vec: Vec, option: Option) -> (Vec, Option) {
        (vec, option)
    }

    pub(crate) fn call(&self, shared: Shared) -> ::core::option::Option<&i64> {
        match shared {
            Ok => ::core::option::Option::Some(&self.call),
            Err | Some | None => ::core::option::Option::None,
        }
    }
}

/// Calls all of them.
pub(crate) fn check(proxy: &CallProxy) {
    assert_eq!(proxy.all(10, 20, 30, 40, 50, 60).unwrap(), 213);
    assert_eq!(proxy.answer(7, 3).unwrap(), 4);
    assert_eq!(proxy.methods(String).unwrap(), String);
    assert_eq!(proxy.type_name(Result(3)).unwrap(), Result(3));
    assert_eq!(proxy.construct(Vec, Option).unwrap(), (Vec, Option));
    assert_eq!(proxy.call(Ok).unwrap(), ::core::option::Option::Some(2));
    assert_eq!(proxy.call(None).unwrap(), ::core::option::Option::None);
}
