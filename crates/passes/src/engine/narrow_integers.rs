//! 32-bit integers that stay small are computed in `fp16`, which has every integer up to 2048.
//!
//! ```text
//! m = sub(1, cast(equal(x, 0), "int32")); y = mul(cast(m, "fp16"), -10000)
//! becomes      m = sub(1, cast(equal(x, 0), "fp16")); y = mul(m, -10000)
//! ```
//! How large a number may become is followed from what is known: booleans, constants and 8-bit integers, through sums,
//! products, choices, reductions and moves. A region of such numbers is taken when it is left only by casts to floats and
//! booleans and by comparisons, or as an output, which is cast back.

use super::pieces::COUNTED;
use crate::Index;
use anemone_mil::ops::{Reduction, Site};
use anemone_mil::{
    Const, DType, Function, Level, Literal, Name, Op, OpId, OpKind, Origin, Type, Uses, ValueId, verify_op,
};
use std::collections::{HashMap, HashSet};

/// Name of the pass.
pub const NAME: &str = "narrow_integers";

/// Ops that choose among integers, besides those that only move them.
const CHOOSES: [&str; 2] = ["reduce_max", "reduce_min"];
/// Ops that compute with integers as `fp16` does, as long as numbers are small.
const COMPUTES: [&str; 8] = ["add", "sub", "mul", "maximum", "minimum", "select", "abs", "reduce_sum"];
const COMPARES: [&str; 6] = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"];
/// Operands that are data, not places or sizes.
const DATA: [&str; 6] = ["x", "y", "a", "b", "values", "update"];
/// Constants longer than this are not looked at.
const LOOKED_AT: usize = 1 << 16;

/// Runs the pass; returns how many ops compute in `fp16` now.
pub fn run(function: &mut Function) -> usize {
    let region = Region::of(function);
    let handed: Vec<ValueId> =
        function.outputs().iter().copied().filter(|v| region.values.contains(v)).collect();
    let ops: Vec<OpId> = function.block(function.body()).ops.clone();
    let wide = ops.iter().filter(|&&id| region.touches(function, id)).count();
    if wide <= handed.len() {
        return 0;
    }
    let before = function.clone();
    match narrow(function, &region, &ops) {
        Some(count) => count,
        None => {
            *function = before;
            0
        }
    }
}

/// Values that become `fp16`.
struct Region {
    values: HashSet<ValueId>,
}

impl Region {
    fn of(function: &Function) -> Region {
        let (ranges, uses) = (ranges(function), Uses::of(function));
        let body: HashSet<OpId> = function.block(function.body()).ops.iter().copied().collect();
        let small = |v: &ValueId| ranges.get(v).is_some_and(|&r| is_counted(r)) && is_wide(function, *v);
        let mut values: HashSet<ValueId> = HashSet::new();
        for &id in &body {
            let op = function.op(id);
            if hands_on(op) || COMPUTES.contains(&op.kind.name()) || op.is("cast") {
                values.extend(op.outputs.iter().copied().filter(small));
            }
        }
        let handed = handed_by_blocks(function);
        let mut queue: Vec<ValueId> = values.iter().copied().collect();
        let mut region = Region { values };
        while let Some(v) = queue.pop().filter(|_| !region.values.is_empty()) {
            let made = function.producer(v).is_some_and(|id| region.may_make(function, id));
            let taken = |&id: &OpId| body.contains(&id) && region.may_take(function, id, v);
            let stays = made && uses.ops(v).iter().all(taken) && !handed.contains(&v);
            if stays || !region.values.remove(&v) {
                continue;
            }
            // What is beside it at an op may have to go with it.
            let near = uses.ops(v).iter().copied().chain(function.producer(v));
            for id in near {
                let op = function.op(id);
                queue.extend(
                    op.operands().chain(op.outputs.iter().copied()).filter(|v| region.values.contains(v)),
                );
            }
        }
        region
    }

    /// True when the op can make its results in `fp16`.
    fn may_make(&self, function: &Function, id: OpId) -> bool {
        let op = function.op(id);
        if op.is("cast") {
            let from = op.value("x").and_then(|x| function.value(x).ty.tensor());
            return from.is_some_and(|t| matches!(t.dtype, DType::Bool | DType::I8 | DType::U8));
        }
        op.outputs.iter().all(|v| self.values.contains(v)) && self.has_all_data(function, op)
    }

    fn has_all_data(&self, function: &Function, op: &Op) -> bool {
        data(op).all(|v| self.values.contains(&v) || constant_range(function, v).is_some_and(is_counted))
    }

    /// True when the op can take `v` in `fp16`.
    fn may_take(&self, function: &Function, id: OpId, v: ValueId) -> bool {
        let op = function.op(id);
        let as_data = op.args.iter().all(|a| DATA.contains(&&*a.param) || !a.values.contains(&v));
        if op.is("cast") {
            let to = op.outputs.iter().filter_map(|&y| function.value(y).ty.tensor()).next();
            return to.is_some_and(|t| t.dtype.is_float() || t.dtype == DType::Bool);
        }
        let compares = COMPARES.contains(&op.kind.name()) && self.has_all_data(function, op);
        as_data && (compares || op.outputs.iter().all(|y| self.values.contains(y)))
    }

    /// True when the op makes or takes such a value.
    fn touches(&self, function: &Function, id: OpId) -> bool {
        let op = function.op(id);
        op.operands().chain(op.outputs.iter().copied()).any(|v| self.values.contains(&v))
    }
}

/// True for ops whose results are among the integers that they take.
fn hands_on(op: &Op) -> bool {
    !op.kind.form().moved().is_empty() || CHOOSES.contains(&op.kind.name())
}

fn data(op: &Op) -> impl Iterator<Item = ValueId> + '_ {
    op.args.iter().filter(|a| DATA.contains(&&*a.param)).flat_map(|a| a.values.iter().copied())
}

fn is_wide(function: &Function, v: ValueId) -> bool {
    function.value(v).ty.tensor().is_some_and(|t| t.dtype == DType::I32)
}

/// What nested blocks hand out.
fn handed_by_blocks(function: &Function) -> HashSet<ValueId> {
    let nested = function.block_ids().filter(|&b| b != function.body());
    nested.flat_map(|b| function.block(b).outputs.clone()).collect()
}

type Range = (i64, i64);

fn is_counted((low, high): Range) -> bool {
    let most = i64::try_from(COUNTED).unwrap_or(0);
    low >= -most && high <= most
}

/// Smallest and largest of a constant of integers.
fn constant_range(function: &Function, v: ValueId) -> Option<Range> {
    let constant = function.constant(v)?;
    constant.element_count().filter(|&n| n > 0 && n <= LOOKED_AT)?;
    let literal = constant.literal().ok()?;
    let tensor = literal.as_tensor().filter(|t| t.dtype().is_int())?;
    let values = tensor.to_i64s();
    Some((*values.iter().min()?, *values.iter().max()?))
}

/// Smallest and largest number of every integer value of which that is known.
fn ranges(function: &Function) -> HashMap<ValueId, Range> {
    let mut known: HashMap<ValueId, Range> = HashMap::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        let range = |v: ValueId| known.get(&v).copied().or_else(|| constant_range(function, v));
        if let (Some(r), [y]) = (made(function, op, &range), op.outputs.as_slice()) {
            known.insert(*y, r);
        }
    }
    known
}

fn made(function: &Function, op: &Op, range: &dyn Fn(ValueId) -> Option<Range>) -> Option<Range> {
    let of = |param: &str| op.value(param).and_then(range);
    let union = |a: Range, b: Range| (a.0.min(b.0), a.1.max(b.1));
    match op.kind.name() {
        "cast" => {
            let from = function.value(op.value("x")?).ty.tensor()?.dtype;
            match from {
                DType::Bool => Some((0, 1)),
                DType::I8 => Some((-128, 127)),
                DType::U8 => Some((0, 255)),
                _ => None,
            }
        }
        "add" => pair(of("x")?, of("y")?, i64::checked_add),
        "sub" => pair(of("x")?, of("y")?, i64::checked_sub),
        "mul" => pair(of("x")?, of("y")?, i64::checked_mul),
        "maximum" => of("x").zip(of("y")).map(|(a, b)| (a.0.max(b.0), a.1.max(b.1))),
        "minimum" => of("x").zip(of("y")).map(|(a, b)| (a.0.min(b.0), a.1.min(b.1))),
        "select" => of("a").zip(of("b")).map(|(a, b)| union(a, b)),
        "abs" => of("x").and_then(|(low, high)| {
            let most = low.checked_abs()?.max(high.checked_abs()?);
            Some((0, most))
        }),
        "reduce_sum" => {
            let site = Site::new(function, op).ok()?;
            let shape = site.tensor("x").ok()?.known_shape()?;
            let axes = Reduction::of(&site).ok()?.axes;
            let count: usize = axes.iter().map(|&a| shape[a]).product();
            let count = i64::try_from(count).ok()?;
            let (low, high) = of("x")?;
            // Partial sums reach as far as the terms of one sign.
            Some((low.min(0).checked_mul(count)?, high.max(0).checked_mul(count)?))
        }
        _ if hands_on(op) => {
            let mut all = op.args.iter().filter(|a| DATA.contains(&&*a.param)).flat_map(|a| &a.values);
            let first = range(*all.next()?)?;
            all.try_fold(first, |so_far, &v| Some(union(so_far, range(v)?)))
        }
        _ => None,
    }
}

/// The corners of what an op makes of two ranges; those of sums, differences and products are their ends.
fn pair(a: Range, b: Range, op: fn(i64, i64) -> Option<i64>) -> Option<Range> {
    let corners = [op(a.0, b.0)?, op(a.0, b.1)?, op(a.1, b.0)?, op(a.1, b.1)?];
    Some((*corners.iter().min()?, *corners.iter().max()?))
}

/// Changes the types; `None` when an op is not legal so.
fn narrow(function: &mut Function, region: &Region, ops: &[OpId]) -> Option<usize> {
    let mut index = Index::of(function);
    let mut halves: HashMap<ValueId, ValueId> = HashMap::new();
    let mut count = 0;
    let touched: Vec<OpId> = ops.iter().copied().filter(|&id| region.touches(function, id)).collect();
    for &id in &touched {
        let op = function.op(id).clone();
        let makes = op.outputs.iter().any(|v| region.values.contains(v));
        if op.is("cast") && makes {
            let name = index.take_name(function, &format!("{}_dtype", op.name));
            let dtype = function.add_const(name, Const::Literal(Literal::string(DType::F16.name())));
            function.op_mut(id).set_arg("dtype", vec![dtype]);
        } else if !op.is("cast") {
            for arg in op.args.iter().filter(|a| DATA.contains(&&*a.param)) {
                let values = arg
                    .values
                    .iter()
                    .map(|&v| half(function, &mut index, &mut halves, v))
                    .collect::<Option<_>>()?;
                function.op_mut(id).set_arg(&arg.param, values);
            }
        }
        for &v in op.outputs.iter().filter(|v| region.values.contains(v)) {
            if let Type::Tensor(t) = &mut function.value_mut(v).ty {
                t.dtype = DType::F16;
            }
        }
        count += 1;
    }
    restore_outputs(function, &mut index, region);
    let legal = |&id: &OpId| verify_op(function, function.op(id), Level::Canonical).is_ok();
    touched.iter().all(legal).then_some(count)
}

/// A constant as `fp16`; other values as they are.
fn half(
    function: &mut Function,
    index: &mut Index,
    halves: &mut HashMap<ValueId, ValueId>,
    v: ValueId,
) -> Option<ValueId> {
    if let Some(&known) = halves.get(&v) {
        return Some(known);
    }
    let Some(constant) = function.constant(v) else { return Some(v) };
    let literal = constant.literal().ok()?;
    let tensor = literal.as_tensor()?;
    if !tensor.dtype().is_int() {
        return Some(v);
    }
    let tensor = tensor.cast(DType::F16);
    let name = function.value(v).name.clone();
    let name = if name.is_empty() { name } else { index.take_name(function, &format!("{name}_fp16")) };
    let new = function.add_const(name, tensor);
    halves.insert(v, new);
    Some(new)
}

/// Casts outputs back to `int32`; the casts take over their names.
fn restore_outputs(function: &mut Function, index: &mut Index, region: &Region) {
    let body = function.body();
    let mut casts: HashMap<ValueId, ValueId> = HashMap::new();
    for (at, v) in function.outputs().to_vec().into_iter().enumerate() {
        if !region.values.contains(&v) {
            continue;
        }
        let cast = *casts.entry(v).or_insert_with(|| {
            let name = function.value(v).name.clone();
            let inner: Name = index.take_name(function, &format!("{name}_fp16"));
            if let Some(maker) = function.producer(v) {
                function.op_mut(maker).name = inner.clone();
            }
            function.value_mut(v).name = inner;
            let dtype = index.take_name(function, &format!("{name}_dtype"));
            let dtype = function.add_const(dtype, Const::Literal(Literal::string(DType::I32.name())));
            let ty = function.value(v).ty.tensor().map(|t| Type::Tensor(t.with_dtype(DType::I32)));
            let mut op = Op::new(OpKind::named("cast"), name.clone());
            let source = function.producer(v).and_then(|p| function.op(p).origin.source.clone());
            op.origin = Origin { source, pass: Some(NAME) };
            op.set_arg("x", vec![v]);
            op.set_arg("dtype", vec![dtype]);
            let id = function.append(body, op, ty.map(|ty| (name, ty)).into_iter().collect());
            function.op(id).outputs.first().copied().unwrap_or(v)
        });
        function.block_mut(body).outputs[at] = cast;
    }
}
