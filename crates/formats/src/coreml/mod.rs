//! Core ML's model file `model.mlmodel`: one protobuf message, `CoreML.Specification.Model`.
//!
//! Field numbers and names follow `Model.proto`, `FeatureTypes.proto` and `MIL.proto` of apple/coremltools,
//! `mlmodel/format`.

mod feature;
pub mod mil;
mod model;
mod suppression;
mod value;

pub use feature::*;
pub use model::*;
pub use suppression::*;
