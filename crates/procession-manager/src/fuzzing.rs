//! What clients and servers say, read without a connection, for the fuzz target.
//!
//! Relies on `frame.rs`. Only with the feature `fuzzing`, which nothing that is shipped turns on.

use procession_wire::{Descriptor, decode_slice};

use crate::Refusal;
use crate::frame::{Frame, Request, Response};
use crate::remote::{Hello, Welcome, read_greeting};

/// A frame: bytes, and how many descriptors go with them.
pub type Written = (Vec<u8>, usize);

/// What a frame says if a client has sent it, written anew; none if it makes no sense.
#[must_use]
pub fn rewrite_request(bytes: Vec<u8>, descriptors: Vec<Descriptor>) -> Option<Written> {
    Request::read(Frame { bytes, descriptors }).ok().map(|request| written(request.write()))
}

/// The same if a server has sent it. What it refuses with is read as well.
#[must_use]
pub fn rewrite_response(bytes: Vec<u8>, descriptors: Vec<Descriptor>) -> Option<Written> {
    let response = Response::read(Frame { bytes, descriptors }).ok()?;
    if let Response::Refuse { refusal, .. } = &response {
        let _ = decode_slice::<Refusal>(refusal, Vec::new()).map(|refusal| refusal.to_string());
    }
    Some(written(response.write()))
}

/// Whether a frame is a greeting, of a client or a server.
#[must_use]
pub fn is_greeting(bytes: Vec<u8>) -> bool {
    let frame = Frame { bytes, descriptors: Vec::new() };
    read_greeting::<Hello>(&frame).is_some() | read_greeting::<Welcome>(&frame).is_some()
}

fn written(Frame { bytes, descriptors }: Frame) -> Written {
    (bytes, descriptors.len())
}
