//! Cases through the reference evaluation.

use super::case::{Case, Tensors};
use super::compare::{Verdict, compare};
use super::packages::open;
use anemone_mil::eval::{self, Options};
use anemone_mil::interface::{
    ColorSpace, DefaultValue, Feature as Described, FeatureKind, FunctionInterface,
};
use anemone_mil::{DType, Function, Literal, Name, Tensor, Type};
use anemone_model::{DictKey, Feature, Features};
use std::collections::BTreeMap;

type Values = BTreeMap<Name, Literal>;

/// Runs all steps of a case; the worst of them counts.
///
/// # Errors
/// When a step cannot be run.
pub(super) fn replay(case: &Case) -> Result<Verdict, String> {
    let package = open(&case.package(), false)?;
    let program = &package.program;
    let function = match &case.function {
        Some(name) => program.function(name),
        None => program.default_function(),
    };
    let function = function.ok_or("no such function")?;
    let interface = program.interface.function(&function.name).ok_or("the function is not described")?;
    let mut states = Values::new();
    let mut worst = Verdict::Strict;
    for step in 0..case.steps {
        if !case.stateful {
            states.clear();
        }
        let inputs = inputs(function, interface, &case.inputs(step)?)?;
        let outputs = eval::run(function, &inputs, &mut states, &mut Options::default());
        let outputs = features(interface, outputs.map_err(|e| e.to_string())?)?;
        worst = worst.and(compare(case, step, &outputs)?);
    }
    Ok(worst)
}

/// Outputs as a user would see them.
fn features(interface: &FunctionInterface, outputs: Values) -> Result<Features, String> {
    let mut features = Features::new();
    for (name, literal) in outputs {
        let described = interface.outputs.iter().find(|f| f.name == *name);
        let feature = match (literal, described.map(|f| &f.kind)) {
            (Literal::Tensor(t), Some(FeatureKind::Image(image))) => picture(&t, image.color)?.into(),
            (Literal::Tensor(t), _) => t.into(),
            (Literal::Dict { entries, .. }, _) => {
                Feature::Dict(entries.iter().filter_map(|(k, v)| entry(k, v)).collect())
            }
            (other, _) => Feature::Text(other.as_str().unwrap_or_default().to_owned()),
        };
        features.insert(&*name, feature);
    }
    Ok(features)
}

fn entry(key: &Literal, value: &Literal) -> Option<(DictKey, f64)> {
    let value = value.as_tensor().filter(|t| !t.is_empty())?.f64_at(0);
    let key = match key {
        Literal::Tensor(t) => DictKey::Int(t.i64_at(0)),
        other => DictKey::Text(other.as_str()?.to_owned()),
    };
    Some((key, value))
}

/// What the function takes, from what the case gives under the features' names.
fn inputs(function: &Function, interface: &FunctionInterface, given: &Tensors) -> Result<Values, String> {
    let mut inputs = Values::new();
    for &id in &function.inputs {
        let value = function.value(id);
        let Type::Tensor(ty) = &value.ty else { continue };
        let feature = interface.inputs.iter().find(|f| f.name == *value.name);
        let tensor = match (given.get(&*value.name), feature) {
            (Some(t), Some(Described { kind: FeatureKind::Image(image), .. })) => planes(t, image.color)?,
            (Some(t), _) => t.clone(),
            (None, Some(feature)) => left_out(feature).ok_or_else(|| format!("no input {}", value.name))?,
            (None, None) => return Err(format!("no input {}", value.name)),
        };
        let tensor = tensor.cast(ty.dtype);
        let tensor = if ty.rank() == 0 { tensor.reshaped([]).map_err(|e| e.to_string())? } else { tensor };
        inputs.insert(value.name.clone(), Literal::Tensor(tensor));
    }
    Ok(inputs)
}

/// An optional input that was not given.
fn left_out(feature: &Described) -> Option<Tensor> {
    let FeatureKind::MultiArray(array) = &feature.kind else { return None };
    let value = match array.default.filter(|_| feature.optional)? {
        DefaultValue::Int(v) => f64::from(v),
        DefaultValue::Float(v) => f64::from(v),
        DefaultValue::Double(v) => v,
    };
    let shape: Vec<usize> = array.shape.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    let values = vec![value; shape.iter().product()];
    Tensor::from_f64s(DType::F32, shape, &values).ok()
}

/// `[height, width, 3]` or `[height, width]` to `[1, channels, height, width]`.
fn planes(picture: &Tensor, color: ColorSpace) -> Result<Tensor, String> {
    let (height, width, channels) = match *picture.shape() {
        [height, width] => (height, width, 1),
        [height, width, channels] => (height, width, channels),
        _ => return Err(format!("a picture of shape {:?}", picture.shape())),
    };
    let values = picture.to_f64s();
    let mut out = vec![0.0; values.len()];
    for (at, &value) in values.iter().enumerate() {
        let (pixel, channel) = (at / channels, at % channels);
        let channel = if color == ColorSpace::Bgr { channels - 1 - channel } else { channel };
        out[channel * height * width + pixel] = value;
    }
    Tensor::from_f64s(DType::F32, [1, channels, height, width], &out).map_err(|e| e.to_string())
}

/// The other way, rounded to what a picture can hold.
fn picture(planes: &Tensor, color: ColorSpace) -> Result<Tensor, String> {
    let [1, channels, height, width] = *planes.shape() else {
        return Err(format!("a picture from shape {:?}", planes.shape()));
    };
    let values = planes.to_f64s();
    let mut out = vec![0.0; values.len()];
    for (at, slot) in out.iter_mut().enumerate() {
        let (pixel, channel) = (at / channels, at % channels);
        let channel = if color == ColorSpace::Bgr { channels - 1 - channel } else { channel };
        let value = values[channel * height * width + pixel];
        *slot = if color == ColorSpace::GrayscaleF16 { value } else { value.round().clamp(0.0, 255.0) };
    }
    let shape = if channels == 1 { vec![height, width] } else { vec![height, width, channels] };
    Tensor::from_f64s(DType::F32, shape, &out).map_err(|e| e.to_string())
}
