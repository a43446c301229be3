//! Models of the corpus, imported and run by the reference evaluation.

use anemone_formats::onnx::ModelProto;
use anemone_formats::{Bytes, Error, ErrorKind};
use anemone_import::{Diagnostics, Imported, onnx};
use anemone_mil::{DType, Literal, Name, Opset, Tensor, eval};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of the corpus.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(name)
}

/// The bytes of a file of the corpus.
pub fn bytes(name: &str) -> Bytes {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into()
}

/// External data of a model that has none.
pub fn no_files(location: &str, _: usize, _: usize) -> Result<Bytes, Error> {
    Err(Error::new(ErrorKind::Missing, format!("no file {location}")))
}

/// Imports a model with input shapes.
pub fn import(
    model: &ModelProto,
    opset: Opset,
    shapes: &[(&str, &[usize])],
) -> Result<Imported, Diagnostics> {
    let shapes = shapes.iter().map(|(n, s)| ((*n).to_owned(), s.to_vec())).collect();
    onnx::import(model, &onnx::Options { opset, shapes }, &no_files)
}

/// Runs an imported program; inputs, cast to the types it takes, and outputs in declared order.
#[allow(dead_code, reason = "not every test that shares this module runs what it imports")]
pub fn run(imported: &Imported, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let function = imported.program.functions.first().ok_or("no function")?;
    let name = |v: &anemone_mil::ValueId| function.value(*v).name.clone();
    let typed = |(v, t): (&anemone_mil::ValueId, &Tensor)| {
        let dtype = function.value(*v).ty.tensor().map_or(t.dtype(), |ty| ty.dtype);
        let t = if t.rank() == 0 { t.reshaped([1]).expect("one element") } else { t.clone() };
        (name(v), Literal::Tensor(t.cast(dtype)))
    };
    let given: BTreeMap<Name, Literal> = function.inputs.iter().zip(inputs).map(typed).collect();
    let mut found = eval::run(function, &given, &mut BTreeMap::new(), &mut eval::Options::default())
        .map_err(|e| e.to_string())?;
    let take = |v| match found.remove(&name(v)) {
        Some(Literal::Tensor(t)) => Ok(t),
        other => Err(format!("output is {other:?}")),
    };
    function.outputs().iter().map(take).collect()
}

/// The largest difference beyond `1e-3 * |expected| + 1e-5`, the tolerance of ONNX's own tests.
#[allow(dead_code, reason = "not every test that shares this module compares numbers")]
pub fn beyond(actual: &Tensor, expected: &Tensor) -> Result<(), String> {
    if actual.shape() != expected.shape() && !(expected.rank() == 0 && actual.len() == 1) {
        return Err(format!("has shape {:?}, but {:?} is expected", actual.shape(), expected.shape()));
    }
    if actual.dtype() != expected.dtype() && actual.dtype() != DType::F16 {
        return Err(format!("is {}, but {} is expected", actual.dtype(), expected.dtype()));
    }
    for i in 0..expected.len() {
        let (a, e) = (actual.f64_at(i), expected.f64_at(i));
        let same = a.to_bits() == e.to_bits() || a.is_nan() && e.is_nan();
        let close = (a - e).abs() <= 1e-3 * e.abs() + 1e-5;
        if !same && !close {
            return Err(format!("element {i} is {a}, but {e} is expected"));
        }
    }
    Ok(())
}
