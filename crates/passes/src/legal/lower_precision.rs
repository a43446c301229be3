//! `fp32` ops become `fp16` ops, with casts at the edges.
//!
//! ```text
//! y = conv(x: fp32)      becomes      x_h = cast(x, "fp16"); y_h = conv(x_h); y = cast(y_h, "fp32")
//! ```
//! An op stays in `fp32` where `fp16` would not do:
//!
//! * its signature does not take `fp16`;
//! * a finite constant of it would become infinite, unless it only masks what a `softmax` takes: then it becomes ±10000;
//! * a single number of it that is not zero would become zero (`x + 1e-10`), and so do the `log`, root, reciprocal or
//!   quotient that it was added for;
//! * it makes the squares that such a number is added to, however they are summed and rooted in between: `fp16` has
//!   nothing below 2^-24, which is the square of 2^-12; before a `log` also the linear ops that make what is squared;
//! * it computes shapes or positions, between a `cast` from integers and one back.
//!
//! An `epsilon` too small for `fp16` is raised to the smallest positive one, 2^-24. Nested blocks take and hand out
//! `fp32`. Compressed weights are unpacked as `fp16`. Inputs and outputs keep names and types.

use super::range::{self, Fit};
use super::squares;
use crate::Index;
use anemone_mil::ops::{Effect, Site};
use anemone_mil::{
    BlockId, Const, DType, Def, Function, Level, Literal, Name, Op, OpId, OpKind, Origin, Type, ValueId,
    verify_op,
};
use std::collections::{HashMap, HashSet};

/// Name of the pass.
pub const NAME: &str = "lower_precision";

/// Runs the pass; returns how many ops compute in `fp16` now.
pub fn run(function: &mut Function) -> usize {
    let body = function.body();
    let mut lowering = Lowering {
        index: Index::of(function),
        exact: range::counting(function).into_iter().chain(squares::before_small_numbers(function)).collect(),
        function,
        halves: HashMap::new(),
        singles: HashMap::new(),
        small: HashSet::new(),
        count: 0,
    };
    lowering.block(body);
    lowering.restore_outputs();
    let count = lowering.count;
    function.remove_dead_ops();
    count
}

struct Lowering<'f> {
    function: &'f mut Function,
    /// Uses as they were before the pass, homes, and names as they are.
    index: Index,
    /// Ops that compute shapes and positions, or squares that a small number is added to.
    exact: HashSet<OpId>,
    /// `fp16` version of values that are `fp32`, by value and, for constants, how they are rounded.
    halves: HashMap<(ValueId, Rounding), ValueId>,
    /// `fp32` version of values that have become `fp16`; `None` as long as nothing needs it.
    singles: HashMap<ValueId, Option<ValueId>>,
    /// `fp32` values that a small number keeps away from zero.
    small: HashSet<ValueId>,
    count: usize,
}

/// How a constant becomes `fp16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rounding {
    Plain,
    /// An epsilon is raised.
    Raised,
    /// A mask is bounded.
    Bounded,
}

impl Lowering<'_> {
    fn dtype(&self, v: ValueId) -> Option<DType> {
        self.function.value(v).ty.tensor().map(|t| t.dtype)
    }

    /// Goes through a block; its list of ops is built anew, so that a cast can be put behind what there is so far.
    fn block(&mut self, block: BlockId) {
        for id in std::mem::take(&mut self.function.block_mut(block).ops) {
            for inner in self.function.op(id).blocks.clone() {
                self.block(inner);
                let outputs = self.function.block(inner).outputs.clone();
                let outputs = outputs.into_iter().map(|v| self.single(v)).collect();
                self.function.block_mut(inner).outputs = outputs;
            }
            if self.lower(id) {
                self.count += 1;
            } else {
                self.keep(id);
            }
            self.function.block_mut(block).ops.push(id);
        }
    }

    /// True when an op computes with `fp32` numbers, all of them tensors, and nothing but computes.
    fn computes(&self, id: OpId) -> bool {
        let op = self.function.op(id);
        let pure = op.kind.def().is_some_and(|d| d.effect == Effect::Pure) && op.blocks.is_empty();
        let types: Vec<Option<DType>> =
            op.operands().chain(op.outputs.iter().copied()).map(|v| self.dtype(v)).collect();
        // The number of elements of a range depends on the exact values of its ends.
        let excluded = op.is("classify") || op.is("range_1d") || self.exact.contains(&id);
        let single =
            types.contains(&Some(DType::F32)) || op.operands().any(|v| self.singles.contains_key(&v));
        pure && !excluded && single && types.iter().all(Option::is_some)
    }

    /// Makes an op compute in `fp16`; false, with the op as it was, when it must not.
    fn lower(&mut self, id: OpId) -> bool {
        if !self.computes(id) || range::needs_small_numbers(self.function.op(id), &self.small) {
            return false;
        }
        let before = self.function.op(id).clone();
        if matches!(before.kind.name(), "cast" | "shape") {
            return self.follow(&before);
        }
        let Some(args) = self.half_args(id, &before) else { return false };
        self.function.op_mut(id).args = args;
        let types = Site::new(self.function, self.function.op(id)).and_then(|s| s.infer());
        let old: Vec<Type> = before.outputs.iter().map(|&v| self.function.value(v).ty.clone()).collect();
        for (&v, ty) in before.outputs.iter().zip(types.into_iter().flatten()) {
            self.retype(v, &ty);
        }
        if verify_op(self.function, self.function.op(id), Level::Canonical).is_err() {
            self.function.op_mut(id).args = before.args;
            for (&v, ty) in before.outputs.iter().zip(old) {
                self.function.value_mut(v).ty = ty;
            }
            return false;
        }
        let takes_half = before.operands().any(|v| self.singles.contains_key(&v));
        let mut changed = takes_half || self.function.op(id).args != before.args;
        for (&v, ty) in before.outputs.iter().zip(old) {
            if self.function.value(v).ty != ty {
                self.singles.insert(v, None);
                changed = true;
            }
        }
        changed
    }

    /// Gives a result the element type that was inferred, and leaves its dims.
    fn retype(&mut self, v: ValueId, inferred: &Type) {
        if let (Type::Tensor(t), Some(new)) = (&mut self.function.value_mut(v).ty, inferred.tensor()) {
            t.dtype = new.dtype;
        }
    }

    /// A `cast` or `shape` takes the `fp16` version of its operand where there is one, and asks for none.
    fn follow(&mut self, op: &Op) -> bool {
        op.operands().any(|v| self.singles.contains_key(&v))
            && op.outputs.iter().all(|&v| self.dtype(v) != Some(DType::F32))
    }

    /// Arguments with all `fp32` numbers replaced by their `fp16` versions; `None` when one loses its meaning.
    fn half_args(&mut self, id: OpId, op: &Op) -> Option<Vec<anemone_mil::Arg>> {
        let version = Site::new(self.function, op).ok()?.version;
        let mut args = op.args.clone();
        for arg in &mut args {
            let param = version.param(&arg.param);
            if !may_be_half(param.map_or(&[], |p| version.types(p))) {
                continue;
            }
            for v in &mut arg.values {
                if self.dtype(*v) == Some(DType::F32) {
                    *v = self.half(id, op, &arg.param, *v)?;
                }
            }
        }
        Some(args)
    }

    /// The `fp16` version of an operand; `None` when it would lose its meaning.
    fn half(&mut self, id: OpId, op: &Op, param: &str, v: ValueId) -> Option<ValueId> {
        let mut rounding = if param == "epsilon" { Rounding::Raised } else { Rounding::Plain };
        if let Some(constant) = self.function.constant(v) {
            match range::fit(op, param, constant) {
                Fit::Fits => {}
                Fit::Overflows if range::only_masks(self.function, &self.index, id) => {
                    rounding = Rounding::Bounded
                }
                Fit::Overflows => return None,
                Fit::Vanishes => {
                    self.small.extend(&op.outputs);
                    return None;
                }
            }
        } else {
            rounding = Rounding::Plain;
        }
        if let Some(&half) = self.halves.get(&(v, rounding)) {
            return Some(half);
        }
        let half = match self.function.constant(v) {
            Some(c) => {
                let constant = range::half(c, param, rounding == Rounding::Bounded);
                self.add_const(v, constant)
            }
            None => self.computed_half(v)?,
        };
        self.halves.insert((v, rounding), half);
        Some(half)
    }

    fn add_const(&mut self, v: ValueId, constant: Const) -> ValueId {
        let name = self.function.value(v).name.clone();
        // A constant without a name stands where it is used.
        let name = if name.is_empty() {
            name
        } else {
            self.index.take_name(self.function, &format!("{name}_to_fp16"))
        };
        self.function.add_const(name, constant)
    }

    /// The `fp16` version of a computed `fp32` value.
    fn computed_half(&mut self, v: ValueId) -> Option<ValueId> {
        if let Some(maker) = self.function.producer(v) {
            let op = self.function.op(maker).clone();
            if op.kind.def().is_some_and(|d| d.effect == Effect::Constexpr) {
                return self.unpacked_half(&op, v);
            }
            // What was cast to `fp32` is cast to `fp16` instead.
            if op.is("cast")
                && let Some(x) = op.value("x")
            {
                return match self.dtype(x) {
                    Some(DType::F16) => Some(x),
                    _ => self.cast(v, x, DType::F16),
                };
            }
        }
        self.cast(v, v, DType::F16)
    }

    /// A `constexpr_*` op that unpacks to `fp16`.
    fn unpacked_half(&mut self, op: &Op, v: ValueId) -> Option<ValueId> {
        if op.is("constexpr_cast") {
            return op.value("source_val");
        }
        let mut copy = op.clone();
        let version = Site::new(self.function, op).ok()?.version;
        let takes_half = |param: &str| version.param(param).is_some_and(|p| may_be_half(version.types(p)));
        for arg in copy.args.iter_mut().filter(|a| takes_half(&a.param)) {
            for value in &mut arg.values {
                let constant = self.function.constant(*value).filter(|c| is_single(&c.ty()));
                if let Some(c) = constant.map(|c| range::half(c, &arg.param, false)) {
                    *value = self.add_const(*value, c);
                }
            }
        }
        let types = Site::new(self.function, &copy).and_then(|s| s.infer()).ok()?;
        let ty = types.into_iter().next().filter(|t| t.tensor().is_some_and(|t| t.dtype == DType::F16))?;
        self.append(v, copy, "to_fp16", ty)
    }

    /// Leaves an op as it is: operands that have become `fp16` are cast back.
    fn keep(&mut self, id: OpId) {
        let args = self.function.op(id).args.clone();
        for arg in args {
            let values = arg.values.iter().map(|&v| self.single(v)).collect();
            self.function.op_mut(id).set_arg(&arg.param, values);
        }
        let op = self.function.op(id);
        if range::hands_on(op) && op.operands().any(|v| self.small.contains(&v)) {
            self.small.extend(op.outputs.clone());
        }
    }

    /// The version of an operand that has the type it had before the pass.
    fn single(&mut self, v: ValueId) -> ValueId {
        match self.singles.get(&v) {
            None => v,
            Some(Some(single)) => *single,
            Some(None) => match self.cast(v, v, DType::F32) {
                Some(single) => {
                    self.singles.insert(v, Some(single));
                    single
                }
                None => v,
            },
        }
    }

    /// Puts a cast of `x`, named after `v`, behind what there is so far of the block that `v` is made in.
    fn cast(&mut self, v: ValueId, x: ValueId, to: DType) -> Option<ValueId> {
        let suffix = format!("to_{}", to.name());
        let ty = Type::Tensor(self.function.value(x).ty.tensor()?.with_dtype(to));
        let dtype =
            self.index.take_name(self.function, &format!("{}_{suffix}_dtype", self.function.value(v).name));
        let dtype = self.function.add_const(dtype, Const::Literal(Literal::string(to.name())));
        let mut op = Op::new(OpKind::named("cast"), "");
        op.set_arg("x", vec![x]);
        op.set_arg("dtype", vec![dtype]);
        self.append(v, op, &suffix, ty)
    }

    fn append(&mut self, v: ValueId, mut op: Op, suffix: &str, ty: Type) -> Option<ValueId> {
        let block = match self.function.value(v).def {
            Def::Input(_) => self.function.body(),
            Def::BlockInput(block, _) => block,
            Def::Result(op, _) => self.index.home(op)?,
            Def::Const(_) => return None,
        };
        let name: Name =
            self.index.take_name(self.function, &format!("{}_{suffix}", self.function.value(v).name));
        let source = self.function.producer(v).and_then(|p| self.function.op(p).origin.source.clone());
        op.name = name.clone();
        op.origin = Origin { source, pass: Some(NAME) };
        let id = self.function.append(block, op, vec![(name, ty)]);
        self.function.op(id).outputs.first().copied()
    }

    /// Casts outputs back; the casts take over their names.
    fn restore_outputs(&mut self) {
        let outputs = self.function.outputs().to_vec();
        let mut renamed = HashSet::new();
        for (at, v) in outputs.into_iter().enumerate() {
            let single = self.single(v);
            if single == v {
                continue;
            }
            if renamed.insert(v) {
                let name = self.function.value(v).name.clone();
                let inner = self.index.take_name(self.function, &format!("{name}_fp16"));
                self.function.value_mut(v).name = inner;
                self.function.value_mut(single).name = name.clone();
                if let Some(cast) = self.function.producer(single) {
                    self.function.op_mut(cast).name = name;
                }
            }
            let body = self.function.body();
            self.function.block_mut(body).outputs[at] = single;
        }
    }
}

/// True when a parameter of these element types takes `fp16`; none stands for any.
fn may_be_half(types: &[DType]) -> bool {
    types.is_empty() || types.contains(&DType::F16)
}

fn is_single(ty: &Type) -> bool {
    ty.tensor().is_some_and(|t| t.dtype == DType::F32)
}
