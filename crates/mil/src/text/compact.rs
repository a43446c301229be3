//! The compact form, for reading: no `const` statements, constants in place and abbreviated.

use super::PrintOptions;
use super::literal::write_string;
use crate::{BlockId, Const, Dim, Function, Literal, Op, Program, Tensor, TensorType, Type, ValueId, Weight};
use std::fmt::Write;

/// Elements shown of a long constant.
const SHOWN: usize = 8;

/// The program in compact form.
pub(super) fn print(program: &Program, options: &PrintOptions) -> String {
    let mut out = String::new();
    for function in &program.functions {
        if options.function.as_ref().is_none_or(|wanted| *wanted == function.name) {
            out.push_str(if out.is_empty() { "" } else { "\n" });
            write_function(&mut out, function);
        }
    }
    out
}

fn write_function(out: &mut String, function: &Function) {
    write!(out, "func {}<{}>(", function.name, function.opset).unwrap_or_default();
    declarations(out, function, &function.inputs);
    out.push_str(") {\n");
    block(out, function, function.body(), 1);
    out.push_str("} -> (");
    operands(out, function, function.outputs());
    out.push_str(")\n");
}

fn block(out: &mut String, function: &Function, id: BlockId, depth: usize) {
    for &op in &function.block(id).ops {
        indent(out, depth);
        statement(out, function, function.op(op), depth);
        out.push('\n');
    }
}

fn statement(out: &mut String, function: &Function, op: &Op, depth: usize) {
    declarations(out, function, &op.outputs);
    out.push_str(if op.outputs.is_empty() { "" } else { " = " });
    write!(out, "{}(", op.kind.name()).unwrap_or_default();
    for (i, arg) in op.args.iter().enumerate() {
        write!(out, "{}{} = ", if i > 0 { ", " } else { "" }, arg.param).unwrap_or_default();
        match arg.values.as_slice() {
            [one] => operand(out, function, *one),
            several => {
                out.push('(');
                operands(out, function, several);
                out.push(')');
            }
        }
    }
    out.push(')');
    for &nested in &op.blocks {
        out.push_str(" {");
        declarations(out, function, &function.block(nested).inputs);
        out.push('\n');
        block(out, function, nested, depth + 1);
        indent(out, depth);
        out.push_str("} -> (");
        operands(out, function, &function.block(nested).outputs);
        out.push(')');
    }
}

fn declarations(out: &mut String, function: &Function, values: &[ValueId]) {
    for (i, &id) in values.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_type(out, &function.value(id).ty);
        write!(out, " {}", function.value(id).name).unwrap_or_default();
    }
}

fn operands(out: &mut String, function: &Function, values: &[ValueId]) {
    for (i, &id) in values.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        operand(out, function, id);
    }
}

fn operand(out: &mut String, function: &Function, id: ValueId) {
    match function.constant(id) {
        Some(Const::Literal(literal)) => write_literal(out, literal),
        Some(Const::Weight(weight)) => write_weight(out, weight),
        None => out.push_str(&function.value(id).name),
    }
}

fn write_type(out: &mut String, ty: &Type) {
    match ty {
        Type::Tensor(t) => write_tensor_type(out, t),
        Type::State(t) => {
            out.push_str("state ");
            write_tensor_type(out, t);
        }
        other => write!(out, "{other}").unwrap_or_default(),
    }
}

/// `fp16[1, 3, 224, 224]`; a scalar is its element type alone.
fn write_tensor_type(out: &mut String, ty: &TensorType) {
    out.push_str(ty.dtype.name());
    if !ty.dims.is_empty() {
        let dims: Vec<String> = ty.dims.iter().map(Dim::to_string).collect();
        write!(out, "[{}]", dims.join(", ")).unwrap_or_default();
    }
}

fn write_weight(out: &mut String, weight: &Weight) {
    out.push('<');
    write_tensor_type(out, &TensorType::new(weight.dtype, weight.shape.iter().copied()));
    if let Some(origin) = &weight.origin {
        write!(out, " @{}", origin.offset).unwrap_or_default();
    }
    out.push('>');
}

fn write_literal(out: &mut String, literal: &Literal) {
    match literal {
        Literal::Tensor(t) => abbreviated(out, t.shape(), t.len(), |out, i| number(out, t, i)),
        Literal::Strings { shape, values } => abbreviated(out, shape, values.len(), |out, i| {
            write_string(out, values.get(i).map_or("", |v| v));
        }),
        Literal::List { items, .. } | Literal::Tuple(items) => {
            abbreviated(out, &[items.len()], items.len(), |out, i| write_literal(out, &items[i]));
        }
        Literal::Dict { entries, .. } => abbreviated(out, &[entries.len()], entries.len(), |out, i| {
            write_literal(out, &entries[i].0);
            out.push_str(": ");
            write_literal(out, &entries[i].1);
        }),
    }
}

/// A scalar as it is; otherwise the first elements in brackets, and of several dims their shape.
fn abbreviated(out: &mut String, shape: &[usize], len: usize, mut element: impl FnMut(&mut String, usize)) {
    if shape.is_empty() {
        return element(out, 0);
    }
    out.push('[');
    let shown = if len > SHOWN { SHOWN / 2 } else { len };
    for i in 0..shown {
        out.push_str(if i > 0 { ", " } else { "" });
        element(out, i);
    }
    if len > shown {
        write!(out, ", … {} more", len - shown).unwrap_or_default();
    }
    out.push(']');
    if shape.len() > 1 {
        let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
        write!(out, ":{}", dims.join("x")).unwrap_or_default();
    }
}

fn number(out: &mut String, t: &Tensor, i: usize) {
    match t.dtype() {
        d if d.is_float() => {
            let v = anemone_tensor::num::f32_of(t.f64_at(i));
            write!(out, "{v:?}").unwrap_or_default();
        }
        _ => super::literal::write_element(out, t, i),
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("    ", depth));
}
