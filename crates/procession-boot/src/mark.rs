//! The mark in a child's environment: plain text, checked part by part.

use std::os::fd::RawFd;

use crate::FunctionId;

/// The environment variable that makes a process a child. The constructor removes it, so that no program that the
/// child starts ever sees it.
pub(crate) const VARIABLE: &str = "PROCESSION_CHILD";

/// What a parent tells the constructor of the child's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where in its image the constructor lies that is to act; another copy of this crate lets the mark pass.
    pub(crate) constructor: u64,
    /// The role to run.
    pub(crate) role: FunctionId,
    /// The descriptor of the socket to the parent.
    pub(crate) socket: RawFd,
    /// The descriptor of the lifeline's read end.
    pub(crate) lifeline: RawFd,
    /// The file or build that the child must be (see `image::Stamp`).
    pub(crate) stamp: String,
}

impl Mark {
    /// As text.
    pub(crate) fn encode(&self) -> String {
        let Self { constructor, role, socket, lifeline, stamp } = self;
        format!("{constructor:x}:{:x}:{:x}:{socket}:{lifeline}:{stamp}", role.offset, role.hash)
    }

    /// From text; `None` for anything that `encode` does not write.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mark = Self {
            constructor: u64::from_str_radix(parts.next()?, 16).ok()?,
            role: FunctionId {
                offset: u64::from_str_radix(parts.next()?, 16).ok()?,
                hash: u64::from_str_radix(parts.next()?, 16).ok()?,
            },
            socket: descriptor(parts.next()?)?,
            lifeline: descriptor(parts.next()?)?,
            stamp: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(mark)
    }
}

/// A descriptor above the standard ones.
fn descriptor(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|&fd| fd > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_text_and_nothing_else_is_one() {
        let role = FunctionId { offset: 0x1234, hash: u64::MAX };
        let mark = Mark { constructor: 7, role, socket: 3, lifeline: 4, stamp: "b00ff".into() };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        for nonsense in ["", ":::::", "7:1:2:3:4", "7:1:2:0:4:b", "7:1:2:3:-4:b", "7:1:2:3:4:b:more", "g:1:2:3:4:b"] {
            assert_eq!(Mark::decode(nonsense), None, "{nonsense}");
        }
    }
}
