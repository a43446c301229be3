//! Types and constants of the IR to those of `MIL.proto`.

use super::plan::Plan;
use crate::{Error, ErrorKind};
use anemone_formats::coreml::mil;
use anemone_mil::{Const, Dim, Literal, Name, Tensor, TensorType, Type, Weight};
use anemone_tensor::DType;
use std::collections::BTreeMap;

/// The blob file as every reader expects it to be named.
const BLOB_FILE: &str = "@model_path/weights/weight.bin";

/// A tensor with at least this many elements goes into the weight file.
const BLOB_MIN_ELEMENTS: usize = 10;

/// A type.
pub(super) fn value_type(ty: &Type) -> mil::ValueType {
    let boxed = |t: &Type| Some(Box::new(value_type(t)));
    match ty {
        Type::Tensor(t) => tensor_type(t),
        Type::State(t) => mil::TypeKind::State(mil::StateType {
            wrapped_type: Some(Box::new(tensor_type(t))),
            ..Default::default()
        })
        .into(),
        Type::List { elem, len } => mil::TypeKind::List(mil::ListType {
            element: boxed(elem),
            length: Some(mil::Dimension::new(extent(len))),
            ..Default::default()
        })
        .into(),
        Type::Tuple(items) => mil::TypeKind::Tuple(mil::TupleType {
            types: items.iter().map(value_type).collect(),
            ..Default::default()
        })
        .into(),
        Type::Dict(key, value) => mil::TypeKind::Dictionary(mil::DictionaryType {
            key_type: boxed(key),
            value_type: boxed(value),
            ..Default::default()
        })
        .into(),
    }
}

fn tensor_type(t: &TensorType) -> mil::ValueType {
    mil::ValueType::tensor(t.dtype, t.dims.iter().map(extent))
}

/// The extent of a fixed dim; every other dim is known at run time.
fn extent(d: &Dim) -> Option<u64> {
    d.known().and_then(|n| u64::try_from(n).ok())
}

/// Attributes, and `name`, by key.
pub(super) fn attributes(
    literals: &[(Name, Literal)],
    name: Option<&Name>,
) -> Result<BTreeMap<String, mil::Value>, Error> {
    let mut out = BTreeMap::new();
    for (key, l) in literals {
        let value = literal(l).map_err(|e| e.within(format!("attribute {key}")))?;
        out.insert(key.to_string(), value);
    }
    if let Some(name) = name.filter(|n| !n.is_empty()) {
        out.insert("name".to_owned(), literal(&Literal::string(name.clone()))?);
    }
    Ok(out)
}

/// A constant: in the weight file when it is large enough and of a type that may be there, else written out.
///
/// Size and types are those of `backend/mil/load.py` of apple/coremltools; int4, uint1 to uint6 and the types
/// that Core ML has no op for follow the rule of `int8`.
pub(super) fn constant(c: &Const, plan: &mut Plan) -> Result<mil::Value, Error> {
    let ty = c.ty();
    let count = c.element_count().unwrap_or(0);
    let blob = ty.tensor().filter(|t| count >= BLOB_MIN_ELEMENTS && plan.takes(t.dtype));
    match (c, blob) {
        (Const::Weight(w), Some(_)) => blob_value(&ty, plan.place(w)?),
        (Const::Literal(Literal::Tensor(t)), Some(_)) => blob_value(&ty, plan.place(&Weight::of(t))?),
        (Const::Literal(l), _) => literal(l),
        (Const::Weight(w), None) => {
            available(w)?;
            let tensor = w.tensor().map_err(|e| Error::new(ErrorKind::Length, e.to_string()))?;
            tensor_value(&tensor)
        }
    }
}

fn blob_value(ty: &Type, offset: u64) -> Result<mil::Value, Error> {
    Ok(mil::Value::blob(value_type(ty), BLOB_FILE, offset))
}

/// Refuses a weight whose bytes are not at hand.
pub(super) fn available(w: &Weight) -> Result<(), Error> {
    if w.is_available() {
        return Ok(());
    }
    let place =
        w.origin.as_ref().map_or_else(String::new, |o| format!(" of {} at offset {}", o.path, o.offset));
    let message = format!("its bytes{place} are not at hand; open the program together with its weight file");
    Err(Error::new(ErrorKind::Weight, message))
}

/// A literal, written out.
pub(super) fn literal(l: &Literal) -> Result<mil::Value, Error> {
    let ty = value_type(&l.ty());
    let kind = match l {
        Literal::Tensor(t) => return tensor_value(t),
        Literal::Strings { values, .. } => {
            let texts = values.iter().map(|v| v.to_string()).collect();
            return Ok(mil::Value::tensor(ty, texts));
        }
        Literal::List { items, .. } => {
            let values = items.iter().map(literal).collect::<Result<_, _>>()?;
            mil::ImmediateKind::List(mil::ListValue { values, ..Default::default() })
        }
        Literal::Tuple(items) => {
            let values = items.iter().map(literal).collect::<Result<_, _>>()?;
            mil::ImmediateKind::Tuple(mil::TupleValue { values, ..Default::default() })
        }
        Literal::Dict { entries, .. } => {
            let values = entries.iter().map(pair).collect::<Result<_, _>>()?;
            mil::ImmediateKind::Dictionary(mil::DictionaryValue { values, ..Default::default() })
        }
    };
    Ok(mil::Value::immediate(ty, kind))
}

fn pair((key, value): &(Literal, Literal)) -> Result<mil::KeyValuePair, Error> {
    let (key, value) = (Some(Box::new(literal(key)?)), Some(Box::new(literal(value)?)));
    Ok(mil::KeyValuePair { key, value, ..Default::default() })
}

/// A tensor, written out in the list that its element type has in `backend/mil/helper.py` of apple/coremltools.
fn tensor_value(t: &Tensor) -> Result<mil::Value, Error> {
    let ty = value_type(&TensorType::new(t.dtype(), t.shape().iter().copied()).into());
    let words = |width: usize| t.bytes().chunks_exact(width);
    let elements: mil::TensorElements = match t.dtype() {
        DType::Bool => t.bytes().iter().map(|&b| b != 0).collect(),
        DType::F32 => words(4).filter_map(|w| w.try_into().ok()).map(f32::from_le_bytes).collect(),
        DType::F64 => words(8).filter_map(|w| w.try_into().ok()).map(f64::from_le_bytes).collect(),
        DType::I64 | DType::U64 => {
            words(8).filter_map(|w| w.try_into().ok()).map(i64::from_le_bytes).collect()
        }
        DType::I32 => words(4).filter_map(|w| w.try_into().ok()).map(i32::from_le_bytes).collect(),
        DType::I16 => {
            words(2).filter_map(|w| w.try_into().ok()).map(|w| i32::from(i16::from_le_bytes(w))).collect()
        }
        DType::U16 => {
            words(2).filter_map(|w| w.try_into().ok()).map(|w| i32::from(u16::from_le_bytes(w))).collect()
        }
        DType::String => return Err(Error::new(ErrorKind::Type, "a tensor of strings has no packed bytes")),
        _ => t.bytes().clone().into(),
    };
    Ok(mil::Value::tensor(ty, elements))
}
