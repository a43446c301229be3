//! Types in both dialects.

use super::Dialect;
use crate::{TensorType, Type};
use std::fmt::Write;

/// Appends a type.
pub(super) fn write_type(out: &mut String, ty: &Type, dialect: Dialect) {
    match ty {
        Type::Tensor(t) => write_tensor(out, t, dialect),
        Type::State(t) => {
            out.push_str("state<");
            write_tensor(out, t, dialect);
            out.push('>');
        }
        Type::List { elem, len } => {
            out.push_str("list<");
            write_type(out, elem, dialect);
            write!(out, ", {len}>").unwrap_or_default();
        }
        Type::Tuple(items) => {
            out.push_str("tuple<");
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_type(out, item, dialect);
            }
            out.push('>');
        }
        Type::Dict(key, value) => {
            out.push_str("dict<");
            write_type(out, key, dialect);
            out.push_str(", ");
            write_type(out, value, dialect);
            out.push('>');
        }
    }
}

fn write_tensor(out: &mut String, ty: &TensorType, dialect: Dialect) {
    match dialect {
        Dialect::V1_3 if ty.dims.is_empty() => out.push_str(ty.dtype.name()),
        _ => write!(out, "{ty}").unwrap_or_default(),
    }
}
