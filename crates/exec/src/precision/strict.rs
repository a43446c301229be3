//! `fp16` after every op.
//!
//! ```text
//! y = add(a, b): fp32      becomes      y_exact = add(a, b); y_fp16 = cast(y_exact, "fp16"); y = cast(y_fp16, "fp32")
//! ```
//! Results that are declared `fp16` are rounded anyway. Shapes and positions, computed in floats between a cast from
//! integers and one back, are no business of a chip and stay exact.

use super::edit::{Edit, rebuild};
use anemone_mil::ops::Effect;
use anemone_mil::{DType, Function, OpId, ValueId};
use std::collections::HashSet;

/// Rewrites the function.
pub(super) fn round_results(function: &mut Function) {
    let exact = positions(function);
    rebuild(function, &mut |edit, id| {
        edit.push(id);
        let op = edit.function.op(id);
        let computes = op.kind.def().is_some_and(|d| matches!(d.effect, Effect::Pure | Effect::Random));
        if computes && op.blocks.is_empty() && !exact.contains(&id) {
            round(edit, id);
        }
    });
}

fn round(edit: &mut Edit<'_>, id: OpId) {
    for v in edit.function.op(id).outputs.clone() {
        if edit.dtype(v) != Some(DType::F32) {
            continue;
        }
        let name = edit.name(v);
        let half = edit.cast(v, DType::F16, &format!("{name}__fp16"));
        if let Some(rounded) = half.and_then(|h| edit.cast(h, DType::F32, "")) {
            edit.replace(v, rounded, &format!("{name}__exact"));
        }
    }
}

/// Ops that compute from integers alone what becomes integers again.
fn positions(function: &Function) -> HashSet<OpId> {
    let dtype = |v: ValueId| function.value(v).ty.tensor().map(|t| t.dtype);
    let is_float = |v: ValueId| dtype(v).is_some_and(|d| d.is_float());
    let is_int = |v: ValueId| dtype(v).is_some_and(|d| d.is_int());
    let walk = function.walk();
    let mut counted: HashSet<ValueId> = HashSet::new();
    for &(_, id) in &walk {
        let op = function.op(id);
        let known = |v: ValueId| counted.contains(&v) || function.constant(v).is_some();
        let mut floats = op.operands().filter(|&v| is_float(v)).peekable();
        let from_ints = op.is("cast") && op.value("x").is_some_and(is_int);
        if from_ints || floats.peek().is_some() && floats.all(known) {
            counted.extend(op.outputs.iter().copied().filter(|&v| is_float(v)));
        }
    }
    let mut wanted: HashSet<ValueId> = HashSet::new();
    let mut found = HashSet::new();
    for &(_, id) in walk.iter().rev() {
        let op = function.op(id);
        let to_ints = op.is("cast") && op.outputs.iter().all(|&v| is_int(v));
        if to_ints || op.outputs.iter().any(|v| wanted.contains(v)) {
            wanted.extend(op.operands().filter(|v| counted.contains(v)));
        }
        if op.outputs.iter().any(|v| wanted.contains(v)) {
            found.insert(id);
        }
    }
    found
}
