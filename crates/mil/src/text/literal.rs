//! Literals: what stands between the parentheses after a type.

use super::Dialect;
use super::number::write_hex;
use super::types::write_type;
use crate::{Literal, Type};
use anemone_tensor::{DType, Tensor, codec};
use std::fmt::Write;

/// Appends a value: its type, and its literal in parentheses.
pub(super) fn write_value(out: &mut String, literal: &Literal, dialect: Dialect) {
    write_type(out, &literal.ty(), dialect);
    out.push('(');
    write_literal(out, literal, dialect);
    out.push(')');
}

/// Appends a literal without its type.
fn write_literal(out: &mut String, literal: &Literal, dialect: Dialect) {
    match literal {
        Literal::Tensor(t) => write_nested(out, t.shape(), &mut 0, &mut |out, i| write_element(out, t, i)),
        Literal::Strings { shape, values } => write_nested(out, shape, &mut 0, &mut |out, i| {
            write_string(out, values.get(i).map_or("", |v| v));
        }),
        Literal::List { elem, items } => {
            let types = vec![elem; items.len()];
            write_items(out, ['[', ']'], items, &types, dialect);
        }
        Literal::Tuple(items) => {
            let types: Vec<Type> = items.iter().map(Literal::ty).collect();
            write_items(out, ['(', ')'], items, &types.iter().collect::<Vec<_>>(), dialect);
        }
        Literal::Dict { key, value, entries } => {
            out.push('{');
            for (i, (k, v)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", {" } else { "{" });
                write_item(out, k, key, dialect);
                out.push_str(", ");
                write_item(out, v, value, dialect);
                out.push('}');
            }
            out.push('}');
        }
    }
}

fn write_items(out: &mut String, ends: [char; 2], items: &[Literal], types: &[&Type], dialect: Dialect) {
    out.push(ends[0]);
    for (i, (item, ty)) in items.iter().zip(types).enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_item(out, item, ty, dialect);
    }
    out.push(ends[1]);
}

/// An item is bare when its type is the one that its place gives it.
fn write_item(out: &mut String, item: &Literal, expected: &Type, dialect: Dialect) {
    if item.ty() == *expected {
        write_literal(out, item, dialect);
    } else {
        write_value(out, item, dialect);
    }
}

/// Appends elements in brackets, one level per dim; `next` counts elements in row-major order.
fn write_nested(
    out: &mut String,
    shape: &[usize],
    next: &mut usize,
    element: &mut dyn FnMut(&mut String, usize),
) {
    let Some((&extent, inner)) = shape.split_first() else {
        element(out, *next);
        *next += 1;
        return;
    };
    out.push('[');
    // An empty inner dim has nothing to show, however many outer ones there are.
    let extent = if inner.contains(&0) { 0 } else { extent };
    for i in 0..extent {
        out.push_str(if i > 0 { ", " } else { "" });
        write_nested(out, inner, next, element);
    }
    out.push(']');
}

/// Appends element `i` of a tensor.
pub(super) fn write_element(out: &mut String, t: &Tensor, i: usize) {
    match t.dtype() {
        DType::Bool => out.push_str(if t.i64_at(i) != 0 { "true" } else { "false" }),
        DType::U64 => write!(out, "{}", raw_bits(t, i)).unwrap_or_default(),
        d if d.is_float() => {
            let v = t.f64_at(i);
            write_hex(out, v);
            if v.is_nan() && raw_bits(t, i) != nan_bits(d) {
                write!(out, "({:#x})", raw_bits(t, i)).unwrap_or_default();
            }
        }
        _ => write!(out, "{}", t.i64_at(i)).unwrap_or_default(),
    }
}

/// Bits of element `i` of a type of whole bytes.
fn raw_bits(t: &Tensor, i: usize) -> u64 {
    let width = t.dtype().bits() / 8;
    let bytes = t.bytes().get(i * width..(i + 1) * width).unwrap_or(&[]);
    bytes.iter().rev().fold(0, |bits, &b| bits << 8 | u64::from(b))
}

/// Bits of the NaN that is written without bits.
pub(super) fn nan_bits(dtype: DType) -> u64 {
    let mut bytes = [0u8; 8];
    codec::write_f64(dtype, &mut bytes, 0, f64::NAN);
    u64::from_le_bytes(bytes)
}

/// Appends a string in quotes; quotes, backslashes and control characters are escaped.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out.push('"');
}
