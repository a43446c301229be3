//! Bytes to plain structs and back, for every file format that Anemone reads or writes.
//!
//! All untrusted input of the toolchain is read in this room. Nothing here opens a file: callers hand in
//! [`Bytes`], usually of a mapped file, and what is read shares them. Reading never panics, never allocates more than a
//! small multiple of the input, and never yields a path that leaves its package.
#![forbid(unsafe_code)]
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss
)]

pub mod analytics_mil;
pub mod blob;
pub mod compute_plan;
pub mod coreml;
mod error;
pub mod hf_config;
pub mod instruments;
pub mod manifest;
pub mod mlmodelc;
pub mod npy;
pub mod onnx;
pub mod optimization_config;
pub mod path;
pub mod safetensors;
pub mod wire;

pub use bytes::Bytes;
pub use error::{Error, ErrorKind};
