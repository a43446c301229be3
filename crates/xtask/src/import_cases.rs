//! The importer's small cases as programs, for coremltools to judge.

use crate::place::repository;
use anemone_formats::onnx::{ElementType, ModelProto, TensorProto};
use anemone_formats::safetensors::SafeTensors;
use anemone_formats::{Bytes, Error, ErrorKind};
use anemone_import::onnx;
use anemone_mil::{Opset, Program};
use anemone_tensor::{Tensor, num};
use std::fs;

const CASES: &str = "corpus/import/cases.safetensors";

/// Every case by name, imported for `opset`, with its operands as inputs where that is supported.
///
/// # Errors
/// When the recorded cases do not read, or one is not imported in any way.
pub fn programs(opset: Opset) -> Result<Vec<(String, Program)>, String> {
    let bytes = fs::read(repository().join(CASES)).map_err(|e| format!("cannot read {CASES}: {e}"))?;
    let read = SafeTensors::read(&bytes.into()).map_err(|e| format!("{CASES}: {e}"))?;
    let mut out = Vec::new();
    for (name, t) in read.tensors.iter().filter_map(|(k, t)| Some((k.strip_suffix("/model")?, t))) {
        let model = ModelProto::read(t.bytes()).map_err(|e| format!("{name}: {e}"))?;
        let inputs: Vec<Tensor> =
            (0..).map_while(|k| read.tensors.get(&format!("{name}/input/{k}")).cloned()).collect();
        out.push((name.to_owned(), imported(&model, &inputs, opset).map_err(|e| format!("{name}: {e}"))?));
    }
    Ok(out)
}

fn imported(model: &ModelProto, inputs: &[Tensor], opset: Opset) -> Result<Program, String> {
    let mut refused = String::new();
    for first in [inputs.len(), 1, 0] {
        let model = with_constants(model, inputs, first);
        let names = model.graph.iter().flat_map(|g| g.input.iter().map(|i| i.name.clone()));
        let shapes = names.zip(inputs.iter().map(|t| t.shape().to_vec())).take(first).collect();
        match onnx::import(&model, &onnx::Options { opset, shapes }, &no_files) {
            Ok(imported) => return Ok(imported.program),
            Err(e) => refused = e.to_string(),
        }
    }
    Err(refused)
}

/// The model with its inputs from `first` on made constants.
fn with_constants(model: &ModelProto, inputs: &[Tensor], first: usize) -> ModelProto {
    let mut model = model.clone();
    let Some(graph) = model.graph.as_mut() else { return model };
    for (info, value) in graph.input.iter().zip(inputs).skip(first) {
        graph.initializer.push(TensorProto {
            name: info.name.clone(),
            dims: value.shape().iter().map(|&n| num::i64_of(n)).collect(),
            data_type: ElementType::of(value.dtype()).map_or(0, |e| e.0),
            raw_data: Some(value.bytes().clone()),
            ..TensorProto::default()
        });
    }
    model
}

fn no_files(location: &str, _: usize, _: usize) -> Result<Bytes, Error> {
    Err(Error::new(ErrorKind::Missing, format!("no file {location}")))
}
