//! What the supervisor does: single cases by hand, then whatever a model of the world can do to it.

mod cases;
mod exhaustive;
mod random;
mod world;
