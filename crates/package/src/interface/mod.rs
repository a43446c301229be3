//! The interface of a program and the description message of its model file, both ways.
//!
//! A description that was read is kept: what the interface still says as it did is written as it was, unknown fields
//! included.

mod feature;
mod read;
mod write;

pub use read::{Overview, Stage};
pub(crate) use read::{interface, overview};
pub(crate) use write::description;
