//! Rewrites of programs.
//!
//! A [`Rewrite`] looks at one op and answers with a [`Patch`] or with a [`Miss`] that says why not; it changes
//! nothing. [`apply`](patch::apply) is the one place where patches become edits. A [`Pass`] is a named step over a
//! whole function, most of them a rewrite driven until nothing moves. [`pipeline`] lists the passes in order, with
//! the constraints between them as data.
#![forbid(unsafe_code)]

pub mod canonical;
pub mod legal;
mod patch;
pub mod pipeline;

pub use patch::{Miss, NewOp, Patch, Ref, Rewrite, apply, drive};
pub use pipeline::{Pass, Report, canonicalize, legalize};
