//! ONNX models, opset 7 to the newest.
//!
//! Meaning of the operators: <https://onnx.ai/onnx/operators/>. Integers become `int32`, the widest integer type that
//! MIL computes with; doubles become `fp32`.

mod check;
mod functions;
mod graph;
mod node;
mod ops;
mod room;
mod table;

pub use table::supported_ops;

use crate::{Diagnostics, Imported};
use anemone_formats::onnx::{ExternalReader, ModelProto};
use anemone_mil::Opset;

/// How to import.
#[derive(Clone, Debug)]
pub struct Options {
    /// Op set to build in.
    pub opset: Opset,
    /// Shapes that fix the free dims of inputs, by the input's ONNX name or its name as an identifier.
    pub shapes: Vec<(String, Vec<usize>)>,
}

/// Imports a model; `external` hands out bytes of external data files.
///
/// # Errors
/// Every node that cannot be translated, every tensor that cannot be read, and wrong input shapes, all at once.
pub fn import(
    model: &ModelProto,
    options: &Options,
    external: ExternalReader<'_>,
) -> Result<Imported, Diagnostics> {
    let inlined = functions::inline(model)?;
    let model = inlined.as_ref().unwrap_or(model);
    let opset = check::check(model)?;
    graph::Importer::new(model, opset, options, external).run()
}
