//! Values of `MIL.proto` to constants of the IR.

use super::{types, weights::Weights};
use crate::{Error, ErrorKind};
use anemone_formats::coreml::mil::{self, ImmediateKind, TensorElements, ValueKind};
use anemone_mil::{Const, Literal, Name, Tensor, TensorType, Type};
use anemone_tensor::{Bytes, DType, num};

/// The constant behind a value; a blob becomes a weight over the mapped file.
pub(super) fn constant(value: &mil::Value, weights: &mut Weights<'_>) -> Result<Const, Error> {
    let ty = types::required(value.value_type.as_deref())?;
    match &value.value {
        Some(ValueKind::Immediate(immediate)) => {
            immediate_literal(&ty, immediate.value.as_ref(), weights).map(Const::Literal)
        }
        Some(ValueKind::BlobFile(blob)) => {
            let tensor = ty.tensor().filter(|t| t.dtype != DType::String);
            let fixed = tensor.and_then(|t| Some((t.dtype, t.known_shape()?)));
            let Some((dtype, shape)) = fixed else {
                let message =
                    format!("is {ty} held in {}; only tensors of fixed shape can be", blob.file_name);
                return Err(Error::new(ErrorKind::Type, message));
            };
            weights.weight(&blob.file_name, blob.offset, dtype, shape).map(Const::Weight)
        }
        None => Err(Error::new(ErrorKind::Missing, format!("is {ty} without a value"))),
    }
}

/// The literal behind a value; a blob becomes a tensor over the mapped file.
pub(super) fn literal(value: &mil::Value, weights: &mut Weights<'_>) -> Result<Literal, Error> {
    constant(value, weights)?.literal().map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
}

fn immediate_literal(
    ty: &Type,
    kind: Option<&ImmediateKind>,
    weights: &mut Weights<'_>,
) -> Result<Literal, Error> {
    match (ty, kind) {
        (Type::Tensor(t), Some(ImmediateKind::Tensor(value))) => tensor(t, value.value.as_ref()),
        (Type::List { elem, .. }, Some(ImmediateKind::List(list))) => {
            let items = list.values.iter().map(|v| literal(v, weights)).collect::<Result<_, _>>()?;
            Ok(Literal::List { elem: (**elem).clone(), items })
        }
        (Type::Tuple(_), Some(ImmediateKind::Tuple(tuple))) => {
            Ok(Literal::Tuple(tuple.values.iter().map(|v| literal(v, weights)).collect::<Result<_, _>>()?))
        }
        (Type::Dict(key, value), Some(ImmediateKind::Dictionary(dict))) => {
            let side = |v: &Option<Box<mil::Value>>, weights: &mut Weights<'_>| match v {
                Some(v) => literal(v, weights),
                None => Err(Error::new(ErrorKind::Missing, "has a dictionary entry without key or value")),
            };
            let mut entries = Vec::new();
            for pair in &dict.values {
                entries.push((side(&pair.key, weights)?, side(&pair.value, weights)?));
            }
            Ok(Literal::Dict { key: (**key).clone(), value: (**value).clone(), entries })
        }
        (ty, Some(kind)) => {
            Err(Error::new(ErrorKind::Type, format!("is {ty}, but its value is a {}", kind.variant_name())))
        }
        (ty, None) => Err(Error::new(ErrorKind::Missing, format!("is {ty} without a value"))),
    }
}

/// A tensor written out in the model file.
///
/// Which list holds which element type: `backend/mil/helper.py` of apple/coremltools.
fn tensor(ty: &TensorType, elements: Option<&TensorElements>) -> Result<Literal, Error> {
    let Some(shape) = ty.known_shape() else {
        return Err(Error::new(ErrorKind::Type, format!("is a constant {ty}; its dims must be fixed")));
    };
    let Some(elements) = elements else {
        return match ty.element_count() {
            Some(0) => empty(ty.dtype, shape),
            _ => Err(Error::new(ErrorKind::Missing, format!("is {ty} without elements"))),
        };
    };
    if let (DType::String, TensorElements::Strings(texts)) = (ty.dtype, elements) {
        count(ty, texts.values.len())?;
        let values = texts.values.iter().map(|s| Name::from(s.as_str())).collect();
        return Ok(Literal::Strings { shape, values });
    }
    let bytes = packed(ty, elements)?;
    Tensor::new(ty.dtype, shape, bytes)
        .map(Literal::Tensor)
        .map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
}

fn empty(dtype: DType, shape: Vec<usize>) -> Result<Literal, Error> {
    if dtype == DType::String {
        return Ok(Literal::Strings { shape, values: Vec::new() });
    }
    let tensor = Tensor::new(dtype, shape, Bytes::new());
    tensor.map(Literal::Tensor).map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
}

fn count(ty: &TensorType, actual: usize) -> Result<(), Error> {
    match ty.element_count() {
        Some(expected) if expected == actual => Ok(()),
        Some(expected) => {
            let message = format!("is {ty} with {actual} elements; its dims ask for {expected}");
            Err(Error::new(ErrorKind::Length, message))
        }
        None => Err(Error::new(ErrorKind::Length, format!("is {ty}, too large to address"))),
    }
}

/// The packed bytes of numbers, which must be as many as the type asks for.
fn packed(ty: &TensorType, elements: &TensorElements) -> Result<Bytes, Error> {
    let dtype = ty.dtype;
    match elements {
        TensorElements::Bytes(list) if dtype != DType::String => {
            let actual = list.values.len();
            match ty.byte_len() {
                Some(expected) if expected == actual => Ok(list.values.clone()),
                expected => {
                    let expected = expected.map_or("too many".into(), |n| n.to_string());
                    let message = format!("is {ty} with {actual} bytes; it takes {expected}");
                    Err(Error::new(ErrorKind::Length, message))
                }
            }
        }
        TensorElements::Floats(list) if dtype == DType::F32 => {
            count(ty, list.values.len())?;
            Ok(list.values.bytes().clone())
        }
        TensorElements::Doubles(list) if dtype == DType::F64 => {
            count(ty, list.values.len())?;
            Ok(list.values.bytes().clone())
        }
        TensorElements::Floats(list) if matches!(dtype, DType::F16 | DType::Bf16) => {
            count(ty, list.values.len())?;
            let values: Vec<f64> = list.values.iter().map(f64::from).collect();
            floats(ty, &values)
        }
        TensorElements::Bools(list) if dtype == DType::Bool => {
            count(ty, list.values.len())?;
            Ok(list.values.iter().map(|&v| u8::from(v)).collect())
        }
        TensorElements::Ints(list) if dtype.is_int() => {
            count(ty, list.values.len())?;
            integers(ty, list.values.iter().map(|&v| i64::from(v)))
        }
        TensorElements::LongInts(list) if matches!(dtype, DType::I64 | DType::U64) => {
            count(ty, list.values.len())?;
            Ok(list.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        TensorElements::LongInts(list) if dtype.is_int() => {
            count(ty, list.values.len())?;
            integers(ty, list.values.iter().copied())
        }
        other => {
            let message = format!("is {ty}, but its elements are stored as {}", other.variant_name());
            Err(Error::new(ErrorKind::Type, message))
        }
    }
}

fn floats(ty: &TensorType, values: &[f64]) -> Result<Bytes, Error> {
    let tensor = Tensor::from_f64s(ty.dtype, vec![values.len()], values);
    tensor.map(|t| t.bytes().clone()).map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
}

fn integers(ty: &TensorType, values: impl Iterator<Item = i64>) -> Result<Bytes, Error> {
    let (low, high) = ty.dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
    let values: Vec<i64> = values.collect();
    if let Some(v) = values.iter().find(|v| !(low..=high).contains(*v)) {
        let message = format!("is {ty} with an element {v}; allowed are {low} to {high}");
        return Err(Error::new(ErrorKind::Type, message));
    }
    let tensor = Tensor::from_i64s(ty.dtype, vec![values.len()], &values);
    tensor.map(|t| t.bytes().clone()).map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
}

/// Extent of a constant for messages.
pub(super) fn describe(shape: &[usize], dtype: DType) -> String {
    let elements = num::element_count(shape);
    let bytes = elements.and_then(|n| dtype.packed_len(n));
    bytes.map_or_else(|| "more bytes than can be addressed".into(), |b| format!("{b} bytes"))
}
