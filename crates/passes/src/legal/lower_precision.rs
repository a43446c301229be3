//! `fp32` ops become `fp16` ops, with casts at the edges.
//!
//! ```text
//! y = conv(x: fp32)          x_h = cast(x, "fp16"); y_h = conv(x_h); y = cast(y_h, "fp32")
//! ```
//! An op stays in `fp32` when `fp16` is not in its type domain, when a finite constant of it would become infinite,
//! when a single number that is not zero would become zero (an `x + 1e-10`, for instance, and with it the logarithm,
//! root or quotient that it keeps away from zero), or when
//! a `constexpr_*` op unpacks it into an operand that must be constant, because a cast would make that a computed one.
//! An `epsilon` too small for `fp16` is raised to the smallest positive one, 2^-24. Nested blocks stay as they are.

use crate::patch::unused_name;
use anemone_mil::ops::{Effect, Kind, Site};
use anemone_mil::{
    BlockId, Const, DType, Function, Literal, Name, Op, OpId, OpKind, Origin, Tensor, Type, ValueId, Weight,
};
use anemone_tensor::f16;
use std::collections::{HashMap, HashSet};

/// Name of the pass.
pub const NAME: &str = "lower_precision";

/// Runs the pass on the body; returns how many ops compute in `fp16` now.
pub fn run(function: &mut Function) -> usize {
    let outputs: Vec<(ValueId, Type)> =
        function.outputs().iter().map(|&v| (v, function.value(v).ty.clone())).collect();
    let mut lowering = Lowering {
        function,
        halves: HashMap::new(),
        singles: HashMap::new(),
        lowered: HashSet::new(),
        guarded: HashSet::new(),
    };
    let mut lowered = 0;
    for id in lowering.function.block(lowering.function.body()).ops.clone() {
        if lowering.can_lower(id) && lowering.lower(id) {
            lowered += 1;
        } else {
            lowering.guard(id);
            lowering.keep(id);
        }
    }
    for (at, (value, ty)) in outputs.into_iter().enumerate() {
        lowering.restore_output(at, value, &ty);
    }
    function.remove_dead_ops();
    lowered
}

struct Lowering<'f> {
    function: &'f mut Function,
    /// `fp16` version of values that are `fp32`.
    halves: HashMap<ValueId, ValueId>,
    /// `fp32` version of values that have become `fp16`.
    singles: HashMap<ValueId, ValueId>,
    /// Values that have become `fp16`.
    lowered: HashSet<ValueId>,
    /// Values that a number too small for `fp16` keeps away from zero.
    guarded: HashSet<ValueId>,
}

/// Operands whose zeros make a result infinite or no number.
const SINGULAR: &[(&str, &str)] =
    &[("inverse", "x"), ("log", "x"), ("pow", "x"), ("real_div", "y"), ("rsqrt", "x"), ("sqrt", "x")];

fn dtype_of(function: &Function, v: ValueId) -> Option<DType> {
    function.value(v).ty.tensor().map(|t| t.dtype)
}

impl Lowering<'_> {
    fn can_lower(&self, id: OpId) -> bool {
        let (f, op) = (&*self.function, self.function.op(id));
        let Ok(site) = Site::new(f, op) else { return false };
        if site.def.effect != Effect::Pure || !op.blocks.is_empty() || op.is("classify") {
            return false;
        }
        let touches_floats = op
            .operands()
            .chain(op.outputs.iter().copied())
            .any(|v| matches!(dtype_of(f, v), Some(DType::F32 | DType::F16)));
        touches_floats
            && !self.relies_on_guard(op)
            && op.args.iter().all(|arg| {
                let param = site.version.param(&arg.param);
                let accepts = param.is_none_or(|p| {
                    let types = site.version.types(p);
                    types.is_empty() || types.contains(&DType::F16)
                });
                let constant = param.is_some_and(|p| p.kind == Kind::Const);
                let mut floats = arg.values.iter().filter(|&&v| dtype_of(f, v) == Some(DType::F32));
                floats.all(|&v| {
                    accepts && (!constant || f.constant(v).is_some()) && self.constant_fits(op, &arg.param, v)
                })
            })
    }

    /// True for an op that zeros harm, on a value that is kept away from zero in `fp32` alone.
    fn relies_on_guard(&self, op: &Op) -> bool {
        let harmed = SINGULAR.iter().filter(|(kind, _)| op.is(kind));
        harmed.filter_map(|(_, param)| op.value(param)).any(|v| self.guarded.contains(&v))
    }

    /// Remembers the results of an op that stays in `fp32` for its constants; a root of them is as delicate.
    fn guard(&mut self, id: OpId) {
        let op = self.function.op(id);
        let tiny = op.args.iter().any(|a| a.values.iter().any(|&v| !self.constant_fits(op, &a.param, v)));
        if tiny || op.is("sqrt") && self.relies_on_guard(op) {
            self.guarded.extend(op.outputs.iter().copied());
        }
    }

    /// True unless a constant loses its meaning in `fp16`.
    fn constant_fits(&self, op: &Op, param: &str, v: ValueId) -> bool {
        let Some(constant) = self.function.constant(v) else { return true };
        if param == "epsilon" || (op.is("clip") && matches!(param, "alpha" | "beta")) {
            return true;
        }
        let Ok(Literal::Tensor(t)) = constant.literal() else { return false };
        let single = t.len() == 1;
        t.to_f32s().into_iter().all(|v| {
            let half = f16::from_f32(v);
            let overflows = v.is_finite() && !half.is_finite();
            let vanishes = single && v != 0.0 && half == f16::ZERO;
            !overflows && !vanishes
        })
    }

    /// Retypes the op; false, with nothing but unused casts added, when it does not type-check in `fp16`.
    fn lower(&mut self, id: OpId) -> bool {
        let before = self.function.op(id).clone();
        for arg in &before.args {
            let values = arg.values.iter().map(|&v| self.half(id, &arg.param, v)).collect();
            self.function.op_mut(id).set_arg(&arg.param, values);
        }
        if before.is("cast") {
            self.retarget_cast(id);
        }
        let op = self.function.op(id);
        let Ok(types) = Site::new(self.function, op).and_then(|s| s.infer()) else {
            self.function.op_mut(id).args = before.args;
            return false;
        };
        for (&v, ty) in before.outputs.iter().zip(types) {
            if self.function.value(v).ty != ty {
                self.lowered.insert(v);
            }
            self.function.value_mut(v).ty = ty;
        }
        true
    }

    /// A cast to `fp32` becomes one to `fp16`.
    fn retarget_cast(&mut self, id: OpId) {
        let dtype = Site::new(self.function, self.function.op(id)).and_then(|s| s.str("dtype"));
        if dtype.is_ok_and(|d| d == "fp32") {
            let name = unused_name(self.function, &format!("{}_dtype_fp16", self.function.op(id).name));
            let value = self.function.add_const(name, Const::Literal(Literal::string("fp16")));
            self.function.op_mut(id).set_arg("dtype", vec![value]);
        }
    }

    /// Leaves the op in `fp32`: operands that have become `fp16` are cast back, also where nested blocks use them.
    fn keep(&mut self, id: OpId) {
        let op = self.function.op(id).clone();
        for &block in &op.blocks {
            self.keep_block(id, block);
        }
        for arg in &op.args {
            let values = arg.values.iter().map(|&v| self.around(id, v)).collect();
            self.function.op_mut(id).set_arg(&arg.param, values);
        }
    }

    /// Gives a block nested in `before` the `fp32` versions of the values around it.
    fn keep_block(&mut self, before: OpId, block: BlockId) {
        for id in self.function.block(block).ops.clone() {
            let op = self.function.op(id).clone();
            for arg in &op.args {
                let values = arg.values.iter().map(|&v| self.around(before, v)).collect();
                self.function.op_mut(id).set_arg(&arg.param, values);
            }
            for &inner in &op.blocks {
                self.keep_block(before, inner);
            }
        }
        let outputs = self.function.block(block).outputs.clone();
        let outputs = outputs.into_iter().map(|v| self.around(before, v)).collect();
        self.function.block_mut(block).outputs = outputs;
    }

    fn around(&mut self, before: OpId, v: ValueId) -> ValueId {
        if self.lowered.contains(&v) { self.single(before, v) } else { v }
    }

    /// The `fp16` version of an operand.
    fn half(&mut self, before: OpId, param: &str, v: ValueId) -> ValueId {
        if dtype_of(self.function, v) != Some(DType::F32) {
            return v;
        }
        if let Some(&half) = self.halves.get(&v) {
            return half;
        }
        let name = unused_name(self.function, &format!("{}_to_fp16", self.function.value(v).name));
        let half = match self.function.constant(v) {
            Some(c) => {
                let constant = half_constant(c, param);
                self.function.add_const(name, constant)
            }
            None => self.cast(before, v, DType::F16, name),
        };
        self.halves.insert(v, half);
        half
    }

    /// The `fp32` version of an operand.
    fn single(&mut self, before: OpId, v: ValueId) -> ValueId {
        let computed = self.function.constant(v).is_none();
        if dtype_of(self.function, v) != Some(DType::F16) || !computed {
            return v;
        }
        if let Some(&single) = self.singles.get(&v) {
            return single;
        }
        let name = unused_name(self.function, &format!("{}_to_fp32", self.function.value(v).name));
        let single = self.cast(before, v, DType::F32, name);
        self.singles.insert(v, single);
        single
    }

    /// Inserts a cast before op `before`, or at the end when that is not in the body.
    fn cast(&mut self, before: OpId, v: ValueId, to: DType, name: Name) -> ValueId {
        let body = self.function.body();
        let at = self.function.position(body, before).unwrap_or(usize::MAX);
        self.cast_at(at, v, to, name)
    }

    fn cast_at(&mut self, at: usize, v: ValueId, to: DType, name: Name) -> ValueId {
        let dtype = unused_name(self.function, &format!("{name}_dtype_0"));
        let dtype = self.function.add_const(dtype, Const::Literal(Literal::string(to.name())));
        let mut op = Op::new(OpKind::named("cast"), name.clone());
        op.set_arg("x", vec![v]);
        op.set_arg("dtype", vec![dtype]);
        let source = self.function.producer(v).and_then(|p| self.function.op(p).origin.source.clone());
        op.origin = Origin { source, pass: Some(NAME) };
        let ty = self.function.value(v).ty.tensor().map(|t| t.with_dtype(to));
        let ty = ty.map_or_else(|| self.function.value(v).ty.clone(), Type::Tensor);
        let id = self.function.insert(self.function.body(), at, op, vec![(name, ty)]);
        self.function.op(id).outputs[0]
    }

    /// Gives an output its old type back; the cast takes over the name.
    fn restore_output(&mut self, at: usize, v: ValueId, ty: &Type) {
        if self.function.value(v).ty == *ty {
            return;
        }
        let Some(dtype) = ty.tensor().map(|t| t.dtype) else { return };
        let name = self.function.value(v).name.clone();
        let inner = unused_name(self.function, &format!("{name}_cast_fp16"));
        self.function.value_mut(v).name = inner;
        let cast = self.cast_at(usize::MAX, v, dtype, name);
        let body = self.function.body();
        self.function.block_mut(body).outputs[at] = cast;
    }
}

fn half_constant(constant: &Const, param: &str) -> Const {
    match constant {
        Const::Weight(w) => w.clone().cast(DType::F16).into(),
        Const::Literal(Literal::Tensor(t)) if param == "epsilon" && t.len() == 1 => {
            let raised = t.f64_at(0).max(f64::from(f16::MIN_POSITIVE_SUBNORMAL.to_f32()));
            Tensor::scalar_f64(DType::F16, raised).into()
        }
        Const::Literal(Literal::Tensor(t)) if t.rank() > 0 => Weight::of(t).cast(DType::F16).into(),
        Const::Literal(Literal::Tensor(t)) => t.cast(DType::F16).into(),
        Const::Literal(other) => Const::Literal(other.clone()),
    }
}
