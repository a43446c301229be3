//! Constants whose parts agree.

use super::Check;
use crate::{Const, DType, Literal, Recipe, ValueId, Weight, WeightData};
use anemone_tensor::num::element_count;

impl Check<'_, '_> {
    /// Checks every constant of the arena.
    pub(super) fn constants(&mut self) {
        for i in 0..self.function.value_count() {
            let value = self.function.value(ValueId::of(i));
            let Some(constant) = value.as_const() else { continue };
            let fault = match constant {
                _ if value.ty != constant.ty() => {
                    Some(format!("is typed {}, but its value is {}", value.ty, constant.ty()))
                }
                Const::Literal(literal) => literal_fault(literal),
                Const::Weight(weight) => weight_fault(weight),
            };
            if let Some(fault) = fault {
                self.fault(format!("constant `{}` {fault}", value.name));
            }
        }
    }
}

fn literal_fault(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Tensor(_) => None,
        Literal::Strings { shape, values } => (element_count(shape) != Some(values.len()))
            .then(|| format!("has {} strings, but its shape is {shape:?}", values.len())),
        Literal::List { elem, items } => items.iter().find_map(|item| {
            let wrong = !elem.compatible(&item.ty());
            wrong
                .then(|| format!("has an element {} in a list of {elem}", item.ty()))
                .or_else(|| literal_fault(item))
        }),
        Literal::Tuple(items) => items.iter().find_map(literal_fault),
        Literal::Dict { key, value, entries } => entries.iter().find_map(|(k, v)| {
            let wrong = !key.compatible(&k.ty()) || !value.compatible(&v.ty());
            wrong
                .then(|| format!("has an entry {} to {} in a dict of {key} to {value}", k.ty(), v.ty()))
                .or_else(|| literal_fault(k).or_else(|| literal_fault(v)))
        }),
    }
}

fn weight_fault(weight: &Weight) -> Option<String> {
    let Weight { dtype, shape, data, .. } = weight;
    if *dtype == DType::String {
        return Some("is a weight of strings, which have no packed form".into());
    }
    let Some(expected) = element_count(shape).and_then(|n| dtype.packed_len(n)) else {
        return Some(format!("has shape {shape:?}, which memory cannot address"));
    };
    match data {
        WeightData::Missing => None,
        WeightData::Bytes(bytes) => (bytes.len() != expected)
            .then(|| format!("takes {expected} bytes as {dtype} {shape:?}, but has {}", bytes.len())),
        WeightData::Computed(recipe) => match &**recipe {
            Recipe::Unpack(_) => None,
            Recipe::Cast(source) => (source.shape != *shape)
                .then(|| format!("is a cast of {:?} to another shape, {shape:?}", source.shape))
                .or_else(|| weight_fault(source)),
            Recipe::Scale(source, axis, factors) => {
                let fits = source.shape.get(*axis) == Some(&factors.len()) && source.dtype.is_float();
                (!fits || source.shape != *shape || source.dtype != *dtype)
                    .then(|| {
                        format!("is {shape:?}, but scales {:?} by {} factors", source.shape, factors.len())
                    })
                    .or_else(|| weight_fault(source))
            }
            Recipe::Transpose(source, perm) => {
                let permuted = permutation(perm, &source.shape);
                (permuted.as_ref() != Some(shape) || source.dtype != *dtype)
                    .then(|| format!("is {shape:?}, but permutes {:?} by {perm:?}", source.shape))
                    .or_else(|| weight_fault(source))
            }
        },
    }
}

/// The permuted shape, when `perm` names every dim once.
fn permutation(perm: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    let complete = sorted.iter().copied().eq(0..shape.len());
    complete.then(|| perm.iter().filter_map(|&p| shape.get(p).copied()).collect())
}
