//! Which names of a server's objects a process knows: errors tell them.
//!
//! Relies on what this process has asked for by a name, or given one: nobody is asked when something goes wrong.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::identity::{CalledObject, ObjectId};
use crate::server::NAMES_MAX;

/// The names that are known. An object that has one is there as long as its server.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<ObjectId, Arc<str>>>);

impl Names {
    /// Notes a name. The first one of an object is kept.
    pub(crate) fn note(&self, object: ObjectId, name: &str) {
        let mut names = self.0.lock();
        // No server has more: one that makes objects up fills nobody's memory.
        if names.len() < NAMES_MAX {
            names.entry(object).or_insert_with(|| name.into());
        }
    }

    /// An object with its name, if it has one; none for the server itself.
    pub(crate) fn called(&self, object: ObjectId) -> Option<CalledObject> {
        let called = CalledObject::of(object)?;
        Some(CalledObject { name: self.0.lock().get(&object).cloned(), ..called })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Form;

    #[test]
    fn an_object_is_called_by_its_first_name_or_by_its_number() {
        let (names, id) = (Names::default(), ObjectId::random(Form::Native).unwrap());
        assert_eq!(names.called(id).unwrap().to_string(), format!("object {id}"));
        names.note(id, "jobs");
        names.note(id, "tasks");
        assert_eq!(names.called(id).unwrap().to_string(), "\"jobs\"");
        assert_eq!(names.called(ObjectId::SERVER), None, "that is no object");
    }
}
