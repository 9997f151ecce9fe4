//! What the supervisor does: simple cases by hand, then whatever a model of the world can do to it.

mod cases;
