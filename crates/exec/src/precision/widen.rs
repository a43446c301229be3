//! `fp32` throughout.
//!
//! ```text
//! (x: fp16, state s: fp16) -> y: fp16      becomes      x_f32 = cast(x); ...; y = cast(y_f32)
//! ```
//! Constants and results that are `fp16` become `fp32`, and casts to `fp16` with them. What a function takes, hands out
//! and keeps as state stays as declared; casts stand at that border.

use super::edit::{Edit, rebuild};
use anemone_mil::{Const, DType, Def, Function, Literal, Op, OpId, OpKind, Type, ValueId};
use std::collections::HashMap;

/// Rewrites the function.
pub(super) fn widen(function: &mut Function) {
    let outputs: Vec<(ValueId, bool)> =
        function.outputs().iter().map(|&v| (v, is_half(function, v))).collect();
    let values: Vec<ValueId> = function.values().map(|(v, _)| v).collect();
    values.into_iter().for_each(|v| widen_value(function, v));
    for (_, id) in function.walk() {
        widen_names(function, id);
    }
    rebuild(function, &mut |edit, id| {
        let function = &edit.function;
        let op = function.op(id);
        if op.operands().any(|v| matches!(function.value(v).ty, Type::State(_))) {
            cast_around(edit, id);
        } else if let (true, Some(source), [result]) =
            (op.is("constexpr_cast"), op.value("source_val"), op.outputs.as_slice())
        {
            // Takes nothing but `fp16`, and its source is `fp32` by now.
            let (result, name) = (*result, format!("{}__cast", edit.name(*result)));
            edit.replace(result, source, &name);
        } else {
            edit.push(id);
        }
    });
    for v in function.inputs.clone() {
        cast_input(function, v);
    }
    cast_outputs(function, &outputs);
}

fn is_half(function: &Function, v: ValueId) -> bool {
    function.value(v).ty.tensor().is_some_and(|t| t.dtype == DType::F16)
}

/// Inputs, and states with them, stay as declared.
fn widen_value(function: &mut Function, v: ValueId) {
    let value = function.value_mut(v);
    match &mut value.def {
        Def::Input(_) => {}
        Def::Const(constant) => {
            widen_const(constant);
            value.ty = constant.ty();
        }
        Def::BlockInput(..) | Def::Result(..) => widen_type(&mut value.ty),
    }
}

fn widen_type(ty: &mut Type) {
    match ty {
        Type::Tensor(t) if t.dtype == DType::F16 => t.dtype = DType::F32,
        Type::List { elem, .. } => widen_type(elem),
        Type::Tuple(items) => items.iter_mut().for_each(widen_type),
        Type::Dict(key, value) => [key, value].into_iter().for_each(|t| widen_type(t)),
        Type::Tensor(_) | Type::State(_) => {}
    }
}

fn widen_const(constant: &mut Const) {
    match constant {
        Const::Weight(w) if w.dtype == DType::F16 => *w = w.clone().cast(DType::F32),
        Const::Weight(_) => {}
        Const::Literal(literal) => widen_literal(literal),
    }
}

fn widen_literal(literal: &mut Literal) {
    match literal {
        Literal::Tensor(t) if t.dtype() == DType::F16 => *t = t.cast(DType::F32),
        Literal::List { elem, items } => {
            widen_type(elem);
            items.iter_mut().for_each(widen_literal);
        }
        Literal::Tuple(items) => items.iter_mut().for_each(widen_literal),
        Literal::Dict { key, value, entries } => {
            [key, value].into_iter().for_each(widen_type);
            entries.iter_mut().flat_map(|(k, v)| [k, v]).for_each(widen_literal);
        }
        Literal::Tensor(_) | Literal::Strings { .. } => {}
    }
}

/// Parameters that name an element type: those of `cast`, `make_list` and `constexpr_cast`.
const TYPE_NAMES: [&str; 2] = ["dtype", "output_dtype"];

fn widen_names(function: &mut Function, id: OpId) {
    for param in TYPE_NAMES {
        let named = function.op(id).value(param).and_then(|v| function.constant(v)?.literal().ok());
        if named.as_ref().and_then(Literal::as_str) == Some(DType::F16.name()) {
            let wide = text(function, DType::F32);
            function.op_mut(id).set_arg(param, vec![wide]);
        }
    }
}

fn text(function: &mut Function, dtype: DType) -> ValueId {
    function.add_const("", Const::Literal(Literal::string(dtype.name())))
}

/// Puts back an op on a state, which holds what is declared: casts what goes in and what comes out.
fn cast_around(edit: &mut Edit<'_>, id: OpId) {
    let held = edit.function.op(id).operands().find_map(|v| match &edit.function.value(v).ty {
        Type::State(t) => Some(t.dtype),
        _ => None,
    });
    for arg in edit.function.op(id).args.clone() {
        let [v] = *arg.values else { continue };
        if held == Some(DType::F16)
            && edit.dtype(v) == Some(DType::F32)
            && let Some(half) = edit.cast(v, DType::F16, &format!("{}__held", edit.name(v)))
        {
            edit.function.op_mut(id).set_arg(&arg.param, vec![half]);
        }
    }
    edit.push(id);
    for v in edit.function.op(id).outputs.clone() {
        if held != Some(DType::F16) {
            continue;
        }
        if let Type::Tensor(t) = &mut edit.function.value_mut(v).ty {
            t.dtype = DType::F16;
        }
        let held = format!("{}__held", edit.name(v));
        if let Some(wide) = edit.cast(v, DType::F32, "") {
            edit.replace(v, wide, &held);
        }
    }
}

/// Casts an input at the start of the body.
fn cast_input(function: &mut Function, input: ValueId) {
    let Type::Tensor(t) = &function.value(input).ty else { return };
    if t.dtype != DType::F16 {
        return;
    }
    let ty = Type::Tensor(t.with_dtype(DType::F32));
    let name = format!("{}__f32", function.value(input).name);
    let dtype = text(function, DType::F32);
    let mut op = Op::new(OpKind::named("cast"), name.as_str());
    op.set_arg("dtype", vec![dtype]);
    let cast = function.insert(function.body(), 0, op, vec![(name.as_str().into(), ty)]);
    let wide = function.op(cast).outputs[0];
    function.replace_uses(input, wide);
    function.op_mut(cast).set_arg("x", vec![input]);
}

/// Casts outputs that are declared `fp16` at the end of the body; the casts take over their names.
fn cast_outputs(function: &mut Function, outputs: &[(ValueId, bool)]) {
    let body = function.body();
    let mut casts: HashMap<ValueId, ValueId> = HashMap::new();
    for (at, &(declared, _)) in outputs.iter().enumerate().filter(|(_, o)| o.1) {
        if matches!(function.value(declared).def, Def::Input(_)) {
            function.block_mut(body).outputs[at] = declared;
            continue;
        }
        let wide = function.outputs()[at];
        let narrow = match casts.get(&wide) {
            Some(&v) => v,
            None => cast_output(function, wide),
        };
        casts.insert(wide, narrow);
        function.block_mut(body).outputs[at] = narrow;
    }
}

fn cast_output(function: &mut Function, wide: ValueId) -> ValueId {
    let name = function.value(wide).name.clone();
    let Some(t) = function.value(wide).ty.tensor() else { return wide };
    let ty = Type::Tensor(t.with_dtype(DType::F16));
    let dtype = text(function, DType::F16);
    let mut op = Op::new(OpKind::named("cast"), name.clone());
    op.set_arg("x", vec![wide]);
    op.set_arg("dtype", vec![dtype]);
    function.value_mut(wide).name = format!("{name}__f32").as_str().into();
    let cast = function.append(function.body(), op, vec![(name, ty)]);
    function.op(cast).outputs[0]
}
