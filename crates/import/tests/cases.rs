//! Every operator in small: ONNX's own test cases, and forms of different operator sets that ONNX Runtime computed.
//!
//! `crates/xtask/python/record_import_cases.py` recorded `corpus/import/cases.safetensors`.

mod common;

use anemone_formats::Bytes;
use anemone_formats::onnx::{ElementType, ModelProto, TensorProto};
use anemone_formats::safetensors::SafeTensors;
use anemone_import::onnx::supported_ops;
use anemone_mil::{Opset, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// One recorded case.
struct Case {
    model: ModelProto,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

fn cases() -> BTreeMap<String, Case> {
    let read = SafeTensors::read(&common::bytes("import/cases.safetensors")).expect("recorded cases");
    let numbered = |name: &str, kind: &str| {
        let find = |k: usize| read.tensors.get(&format!("{name}/{kind}/{k}")).cloned();
        (0..).map_while(find).collect::<Vec<Tensor>>()
    };
    let models = read.tensors.iter().filter_map(|(key, t)| key.strip_suffix("/model").map(|name| (name, t)));
    let case = |(name, t): (&str, &Tensor)| {
        let model = ModelProto::read(t.bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name.to_owned(), Case { model, inputs: numbered(name, "input"), outputs: numbered(name, "output") })
    };
    models.map(case).collect()
}

/// The case with the inputs from `first` on made constants, as real models have them; MIL wants many of them so.
fn with_constants(case: &Case, first: usize) -> (ModelProto, Vec<Tensor>) {
    let mut model = case.model.clone();
    let graph = model.graph.as_mut().expect("a graph");
    for (info, value) in graph.input.iter().zip(&case.inputs).skip(first) {
        let dims = value.shape().iter().map(|&n| i64::try_from(n).expect("small")).collect();
        let code = ElementType::of(value.dtype()).expect("a number");
        let raw = Some(Bytes::copy_from_slice(value.bytes()));
        let constant = TensorProto {
            name: info.name.clone(),
            dims,
            data_type: code.0,
            raw_data: raw,
            ..TensorProto::default()
        };
        graph.initializer.push(constant);
    }
    (model, case.inputs[..first.min(case.inputs.len())].to_vec())
}

/// Imports and runs a case as it is, then with constants where it is refused.
fn holds(case: &Case, opset: Opset) -> Result<(), String> {
    let mut refused = String::new();
    for first in [case.inputs.len(), 1, 0] {
        let (model, inputs) = with_constants(case, first);
        let names = model.graph.iter().flat_map(|g| g.input.iter().map(|i| i.name.clone()));
        let names: Vec<String> = names.take(inputs.len()).collect();
        let shapes: Vec<(&str, &[usize])> =
            names.iter().map(String::as_str).zip(inputs.iter().map(Tensor::shape)).collect();
        match common::import(&model, opset, &shapes) {
            Err(e) => refused = e.to_string(),
            Ok(imported) => {
                let outputs = common::run(&imported, &inputs)?;
                if outputs.len() != case.outputs.len() {
                    return Err(format!("has {} outputs instead of {}", outputs.len(), case.outputs.len()));
                }
                return outputs.iter().zip(&case.outputs).try_for_each(|(a, e)| common::beyond(a, e));
            }
        }
    }
    Err(refused)
}

#[test]
fn every_case_computes_what_was_recorded() {
    let cases = cases();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| holds(case, Opset::Ios18).err().map(|e| format!("{name}: {e}")))
        .collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Cases of operators that older op sets have other ops for.
#[test]
fn forms_made_for_older_op_sets_compute_the_same() {
    let cases = cases();
    let chosen = |name: &str| {
        ["GRU", "LSTM", "RNN", "Resize", "Quantize", "Gelu", "Norm"].iter().any(|c| name.starts_with(c))
    };
    let failures: Vec<String> = cases
        .iter()
        .filter(|(name, _)| chosen(name))
        .flat_map(|(name, case)| [Opset::Ios15, Opset::Ios16, Opset::Ios17].map(|o| (name, case, o)))
        .filter_map(|(name, case, o)| holds(case, o).err().map(|e| format!("{name} in {o}: {e}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Operators whose results are random.
const WITHOUT_CASE: &[&str] =
    &["Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

#[test]
fn every_operator_has_a_case() {
    let mut met = BTreeSet::new();
    for case in cases().values() {
        let nodes = case
            .model
            .graph
            .iter()
            .flat_map(|g| &g.node)
            .chain(case.model.functions.iter().flat_map(|f| &f.node));
        met.extend(nodes.map(|n| n.op_type.clone()));
    }
    let missing: Vec<&str> =
        supported_ops().filter(|op| !met.contains(*op) && !WITHOUT_CASE.contains(op)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
