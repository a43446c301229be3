//! The library behind `anemone`: one function per verb, plain data out.
//!
//! This is the only room that opens files and chooses an engine. Nothing here knows about terminals, colours or
//! JSON; the rooms above do.

mod error;
pub mod picture;

pub use error::Error;
