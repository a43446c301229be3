//! The interface of a program that has only its text.

use crate::interface::{ArrayFeature, Feature, FeatureKind, Flexibility, FunctionInterface, SizeRange};
use crate::{DType, Dim, Function, Interface, Opset, TensorType, Type, ValueId};

/// The plainest interface that fits the functions: every input, output and state is a tensor feature named as its
/// value.
///
/// A scalar is described as shape `[1]`, as coremltools does; a dim that is not fixed has default extent 1 and no
/// upper bound; an output whose dims are not fixed has no shape. Dictionary and text values become features of
/// those kinds.
pub fn plain_interface(functions: &[Function]) -> Interface {
    let newest = functions.iter().map(|f| f.opset).max().unwrap_or(Opset::Ios13);
    let main = functions.iter().find(|f| &*f.name == "main").or(functions.first());
    Interface {
        spec_version: newest.spec_version(),
        functions: functions.iter().map(function_interface).collect(),
        default_function: main.map(|f| f.name.to_string()).unwrap_or_default(),
        multi_function: functions.len() > 1,
        ..Interface::default()
    }
}

fn function_interface(function: &Function) -> FunctionInterface {
    let is_state = |v: &&ValueId| matches!(function.value(**v).ty, Type::State(_));
    let features =
        |ids: Vec<&ValueId>, output| ids.into_iter().map(|&v| feature(function, v, output)).collect();
    let (states, inputs) = function.inputs.iter().partition(is_state);
    FunctionInterface {
        name: function.name.to_string(),
        inputs: features(inputs, false),
        outputs: features(function.outputs().iter().collect(), true),
        states: features(states, false),
        ..FunctionInterface::default()
    }
}

fn feature(function: &Function, id: ValueId, output: bool) -> Feature {
    let value = function.value(id);
    let kind = match &value.ty {
        Type::Tensor(t) if t.dtype == DType::String => FeatureKind::String,
        Type::Tensor(t) => FeatureKind::MultiArray(array(t, output)),
        Type::State(t) => FeatureKind::State(array(t, false)),
        Type::Dict(key, _) => {
            let text = key.tensor().is_some_and(|t| t.dtype == DType::String);
            FeatureKind::Dictionary { int_keys: !text }
        }
        Type::List { .. } | Type::Tuple(_) => FeatureKind::Unspecified,
    };
    Feature { name: value.name.to_string(), description: String::new(), kind, optional: false }
}

fn array(ty: &TensorType, output: bool) -> ArrayFeature {
    let described = [DType::F16, DType::F32, DType::F64, DType::I32, DType::I8];
    let fixed = ty.known_shape().is_some();
    let extent = |d: &Dim| i64::try_from(d.known().unwrap_or(1)).unwrap_or(i64::MAX);
    let range = |d: &Dim| match d.known().and_then(|n| u64::try_from(n).ok()) {
        Some(n) => SizeRange { lower: n, upper: Some(n) },
        None => SizeRange { lower: 1, upper: None },
    };
    let shape = match ty.rank() {
        0 => vec![1],
        _ if output && !fixed => Vec::new(),
        _ => ty.dims.iter().map(extent).collect(),
    };
    let flexible = !fixed && !output;
    ArrayFeature {
        dtype: Some(ty.dtype).filter(|d| described.contains(d)),
        shape,
        flexibility: if flexible {
            Flexibility::Ranges(ty.dims.iter().map(range).collect())
        } else {
            Flexibility::Fixed
        },
        default: None,
    }
}
