//! Rewrites of programs.
//!
//! A [`Rewrite`] looks at one op and answers with a [`Patch`], or with a [`Miss`] that says why not; it changes
//! nothing. One owner turns patches into edits: it names what is new, checks it, keeps the names and types of
//! outputs, and keeps its side tables true from edit to edit, so that one edit costs no walk over the function.
//! A [`Pass`] is a named step over a whole function, most of them a rewrite driven until nothing moves.
//! [`pipeline`] lists the passes in order, with the constraints between them as data.
#![forbid(unsafe_code)]

pub mod canonical;
mod drive;
mod editor;
pub mod engine;
mod index;
pub mod legal;
mod op_ref;
mod patch;
pub mod pipeline;

pub use drive::{drive, misses};
pub use engine::Limits;
pub use index::Index;
pub use op_ref::{OpRef, Wanted};
pub use patch::{Miss, NewOp, Patch, Ref, Rewrite};
pub use pipeline::{Exactness, Pass, Report, Run, canonicalize, clean, legalize, run};
