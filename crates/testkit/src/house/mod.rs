//! The rules of the house: rooms and floors, who may depend on what, and a reader of source text to check them with.

mod graph;
mod rooms;
mod source;

pub use graph::{Dependencies, dependencies};
pub use rooms::{OUTSIDE, ROOMS, Room, Uses, package_name, room, room_table};
pub use source::{SourceFile, repository, text_files, without_tests};
