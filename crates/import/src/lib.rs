//! Source models to programs.
//!
//! An importer reports every problem at once, each with its place, before it does any work; then it translates node
//! by node and names each op's origin in the words of the source.
#![forbid(unsafe_code)]
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss
)]

mod diagnostics;
pub mod onnx;

pub use diagnostics::{Diagnostic, Diagnostics};

use anemone_mil::Program;

/// An imported program and what there is to know about it.
#[derive(Debug)]
pub struct Imported {
    /// The program; a function `main`, constants still in the bytes of the source.
    pub program: Program,
    /// Things that were decided on the user's behalf.
    pub notes: Vec<Diagnostic>,
}
