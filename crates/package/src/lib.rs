//! ML programs in their containers: `.mlpackage` folders and compiled `.mlmodelc` models.
//!
//! Nothing here opens a file. A [`Source`] hands in the files of a package, mapped where that is possible; a [`Sink`] takes
//! those of a package that is being written. Weights are never copied while reading, and written one by one.
//!
//! [`read`] gives a [`Package`]: the program, and in [`Kept`] whatever the container says beyond it. [`write`] puts both
//! back; a program that was never in a package goes with `Kept::default()`. [`read_compiled`] opens a compiled model.
#![forbid(unsafe_code)]
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss
)]

mod compiled;
mod container;
mod error;
mod interface;
mod read;
mod source;
mod summary;
mod unknown;
mod write;

pub use compiled::read_compiled;
pub use container::Kept;
pub use error::{Error, ErrorKind};
pub use interface::{Overview, Stage};
pub use read::{
    Package, Pipeline, PipelineStage, Runnable, StageModel, Suppression, model_overview, overview, read,
    read_runnable,
};
pub use source::{Files, Sink, Source};
pub use summary::{Encoding, FunctionSummary, Summary, WeightGroup, WeightShape, summary};
pub use write::{Written, write};
