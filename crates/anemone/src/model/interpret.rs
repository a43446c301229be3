//! Functions with states, through the reference evaluation.

use super::state::Memory;
use crate::{Error, ErrorKind};
use anemone_mil::eval::{self, EvalError};
use anemone_mil::{Function, Literal, Name, Type};
use anemone_model::{DictKey, Feature, Features};
use std::collections::BTreeMap;

/// One prediction; the state is as before when it fails.
pub(super) fn run(
    function: &Function,
    inputs: &Features,
    memory: &mut Memory,
    max_steps: u64,
) -> Result<Features, Error> {
    let mut named: BTreeMap<Name, Literal> = BTreeMap::new();
    for value in function.inputs.iter().map(|&v| function.value(v)) {
        let (Type::Tensor(ty), Some(tensor)) = (&value.ty, inputs.tensor(&value.name)) else { continue };
        let tensor = tensor.cast(ty.dtype);
        let scalar = ty.rank() == 0 && tensor.len() == 1;
        let tensor = if scalar { tensor.reshaped([]).map_err(Error::from_cause)? } else { tensor };
        named.insert(value.name.clone(), tensor.into());
    }
    let mut states = memory.clone();
    let mut options = eval::Options { max_steps, ..eval::Options::default() };
    let mut results = eval::run(function, &named, &mut states, &mut options).map_err(failed)?;
    *memory = states;
    let names = function.outputs().iter().map(|&v| function.value(v).name.clone());
    Ok(names.filter_map(|n| Some((n.to_string(), feature(results.remove(&n)?)))).collect())
}

fn failed(e: EvalError) -> Error {
    let kind = match &e {
        EvalError::StepLimit { .. } => ErrorKind::StepLimit,
        EvalError::Input { .. } => ErrorKind::WrongShape,
        _ => ErrorKind::Compute,
    };
    Error::from_cause(e).of_kind(kind)
}

fn feature(literal: Literal) -> Feature {
    match literal {
        Literal::Tensor(t) => Feature::Tensor(t),
        Literal::Strings { values, .. } => {
            Feature::Text(values.first().map_or_else(String::new, |v| v.to_string()))
        }
        Literal::List { items, .. } | Literal::Tuple(items) => {
            items.into_iter().next().map_or_else(|| Feature::Text(String::new()), feature)
        }
        Literal::Dict { entries, .. } => {
            Feature::Dict(entries.into_iter().filter_map(|(k, v)| entry(&k, &v)).collect())
        }
    }
}

fn entry(key: &Literal, value: &Literal) -> Option<(DictKey, f64)> {
    let number = value.as_tensor().filter(|t| !t.is_empty())?.f64_at(0);
    let key = match key {
        Literal::Tensor(t) if !t.is_empty() => DictKey::Int(t.i64_at(0)),
        other => DictKey::Text(other.as_str()?.to_owned()),
    };
    Some((key, number))
}
