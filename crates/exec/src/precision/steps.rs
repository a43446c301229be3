//! Ops that a chip computes in steps, written out in those steps, each with a result of the op's own type.
//!
//! ```text
//! y = softmax(x)      becomes      m = reduce_max(x); c = sub(x, m); e = exp(c); s = reduce_sum(e); y = real_div(e, s)
//! ```
//! An op whose steps cannot be written down (axes or extents that are not known, scales that are computed) stays whole.

use super::edit::{Edit, rebuild};
use anemone_mil::ops::{Reduction, Site};
use anemone_mil::{DType, Dim, Function, OpId, Tensor, ValueId};

/// Rewrites the function.
pub(super) fn expand(function: &mut Function) {
    expand_some(function, &|_| true);
}

/// Rewrites the ops whose first result has a wanted name, and says what the results of the steps are called.
pub(crate) fn expand_some(function: &mut Function, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut steps = Vec::new();
    rebuild(function, &mut |edit, id| {
        let result = edit.function.op(id).outputs.first().copied();
        if !result.is_some_and(|v| wanted(&edit.name(v))) {
            return edit.push(id);
        }
        let before = edit.len();
        match written_out(edit, id) {
            Some(result) => {
                let op = edit.function.op(id);
                let (old, name) = (op.outputs[0], format!("{}__whole", op.name));
                edit.replace(old, result, &name);
                steps.extend(edit.since(before));
            }
            None => {
                edit.truncate(before);
                edit.push(id);
            }
        }
    });
    steps
}

/// The result of the steps.
fn written_out(edit: &mut Edit<'_>, id: OpId) -> Option<ValueId> {
    let op = edit.function.op(id);
    let is_float = |v: &ValueId| edit.dtype(*v).is_some_and(DType::is_float);
    if op.outputs.len() != 1 || !op.outputs.iter().all(is_float) {
        return None;
    }
    let mut steps = Steps { name: op.name.to_string(), count: 0, id, edit };
    match steps.edit.function.op(id).kind.name() {
        "softmax" => steps.softmax(),
        "reduce_log_sum" => steps.reduced("reduce_sum", None, Some("log")),
        "reduce_sum_square" => steps.reduced("reduce_sum", Some("square"), None),
        "reduce_l2_norm" => steps.reduced("reduce_sum", Some("square"), Some("sqrt")),
        "reduce_log_sum_exp" => steps.log_sum_exp(),
        "layer_norm" => steps.layer_norm(),
        "instance_norm" => steps.instance_norm(),
        "l2_norm" => steps.l2_norm(),
        "scaled_dot_product_attention" => steps.attention(),
        _ => None,
    }
}

/// The steps of one op.
struct Steps<'e, 'f> {
    edit: &'e mut Edit<'f>,
    id: OpId,
    name: String,
    count: usize,
}

impl Steps<'_, '_> {
    fn value(&self, param: &str) -> Option<ValueId> {
        self.edit.function.op(self.id).value(param)
    }

    fn site<T>(&self, read: impl FnOnce(&Site<'_>) -> Option<T>) -> Option<T> {
        read(&Site::new(self.edit.function, self.edit.function.op(self.id)).ok()?)
    }

    fn step(&mut self, kind: &str, args: &[(&str, ValueId)]) -> Option<ValueId> {
        self.count += 1;
        let name = format!("{}__step{}", self.name, self.count);
        self.edit.op(kind, &name, args)
    }

    fn unary(&mut self, kind: &str, x: ValueId) -> Option<ValueId> {
        self.step(kind, &[("x", x)])
    }

    fn binary(&mut self, kind: &str, x: ValueId, y: ValueId) -> Option<ValueId> {
        self.step(kind, &[("x", x), ("y", y)])
    }

    fn reduce(&mut self, kind: &str, x: ValueId, axes: &[usize], keep: bool) -> Option<ValueId> {
        let list: Option<Vec<i32>> = axes.iter().map(|&a| i32::try_from(a).ok()).collect();
        let axes = self.edit.constant(Tensor::vector_i32(&list?));
        let keep = self.edit.constant(Tensor::scalar_bool(keep));
        self.step(kind, &[("x", x), ("axes", axes), ("keep_dims", keep)])
    }

    fn rank(&self, v: ValueId) -> Option<usize> {
        Some(self.edit.function.value(v).ty.tensor()?.rank())
    }

    fn softmax(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let axis = self.site(|s| s.axis("axis", s.tensor("x").ok()?.rank()).ok())?;
        self.softmax_of(x, axis)
    }

    fn softmax_of(&mut self, x: ValueId, axis: usize) -> Option<ValueId> {
        let top = self.reduce("reduce_max", x, &[axis], true)?;
        let centred = self.binary("sub", x, top)?;
        let exps = self.unary("exp", centred)?;
        let sum = self.reduce("reduce_sum", exps, &[axis], true)?;
        self.binary("real_div", exps, sum)
    }

    /// A reduction with a step before and one after it.
    fn reduced(&mut self, kind: &str, before: Option<&str>, after: Option<&str>) -> Option<ValueId> {
        let mut x = self.value("x")?;
        let view = self.site(|s| Reduction::of(s).ok())?;
        if let Some(step) = before {
            x = self.unary(step, x)?;
        }
        let sum = self.reduce(kind, x, &view.axes, view.keep_dims)?;
        match after {
            Some(step) => self.unary(step, sum),
            None => Some(sum),
        }
    }

    /// `log(sum(exp(x - max))) + max`.
    fn log_sum_exp(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let view = self.site(|s| Reduction::of(s).ok())?;
        let top = self.reduce("reduce_max", x, &view.axes, true)?;
        let centred = self.binary("sub", x, top)?;
        let exps = self.unary("exp", centred)?;
        let sum = self.reduce("reduce_sum", exps, &view.axes, view.keep_dims)?;
        let log = self.unary("log", sum)?;
        let top = self.reduce("reduce_max", x, &view.axes, view.keep_dims)?;
        self.binary("add", log, top)
    }

    /// `(x - mean) / sqrt(variance + epsilon)` over some axes.
    fn normalised(&mut self, x: ValueId, axes: &[usize]) -> Option<ValueId> {
        let mean = self.reduce("reduce_mean", x, axes, true)?;
        let centred = self.binary("sub", x, mean)?;
        let squares = self.unary("square", centred)?;
        let variance = self.reduce("reduce_mean", squares, axes, true)?;
        let root = self.reciprocal_root(variance)?;
        self.binary("mul", centred, root)
    }

    fn reciprocal_root(&mut self, x: ValueId) -> Option<ValueId> {
        let epsilon = self.site(|s| s.float("epsilon").ok())?;
        let epsilon = self.edit.number(x, epsilon);
        self.step("rsqrt", &[("x", x), ("epsilon", epsilon)])
    }

    /// Scale and shift where given, each along `axes` of `x`.
    fn affine(&mut self, x: ValueId, axes: &[usize]) -> Option<ValueId> {
        let mut y = x;
        for (param, kind) in [("gamma", "mul"), ("beta", "add")] {
            if let Some(v) = self.value(param) {
                let along = self.along(x, v, axes)?;
                y = self.binary(kind, y, along)?;
            }
        }
        Some(y)
    }

    /// A constant with the dims `axes` of `x`, shaped to stretch over `x`.
    fn along(&mut self, x: ValueId, v: ValueId, axes: &[usize]) -> Option<ValueId> {
        let literal = self.edit.function.constant(v)?.literal().ok()?;
        let tensor = literal.as_tensor()?;
        let mut shape = vec![1; self.rank(x)?];
        axes.iter().zip(tensor.shape()).for_each(|(&a, &n)| shape[a] = n);
        let shaped = tensor.cast(self.edit.dtype(x)?).reshaped(shape).ok()?;
        Some(self.edit.constant(shaped))
    }

    fn layer_norm(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let mut axes = self.site(|s| s.axes("axes", s.tensor("x").ok()?.rank()).ok())?;
        axes.sort_unstable();
        let normalised = self.normalised(x, &axes)?;
        self.affine(normalised, &axes)
    }

    fn instance_norm(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let axes: Vec<usize> = (2..self.rank(x)?).collect();
        let normalised = self.normalised(x, &axes)?;
        self.affine(normalised, &[1])
    }

    fn l2_norm(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let rank = self.rank(x)?;
        let axes: Vec<usize> = (rank.checked_sub(3)?..rank).collect();
        let squares = self.unary("square", x)?;
        let sum = self.reduce("reduce_sum", squares, &axes, true)?;
        let root = self.reciprocal_root(sum)?;
        self.binary("mul", x, root)
    }

    /// The query is scaled first, as coremltools does where it takes attention apart.
    fn attention(&mut self) -> Option<ValueId> {
        let (query, key, value) = (self.value("query")?, self.value("key")?, self.value("value")?);
        let width = match self.edit.function.value(query).ty.tensor()?.dims.last()? {
            Dim::Known(n) => u32::try_from(*n).ok()?,
            _ => return None,
        };
        let scale = self.edit.number(query, 1.0 / f64::from(width).sqrt());
        let scaled = self.binary("mul", query, scale)?;
        let transposed = self.edit.constant(Tensor::scalar_bool(true));
        let mut scores = self.step("matmul", &[("x", scaled), ("y", key), ("transpose_y", transposed)])?;
        if let Some(mask) = self.value("attn_mask") {
            scores = match self.edit.dtype(mask)? {
                DType::Bool => {
                    let masked = self.edit.number(scores, f64::NEG_INFINITY);
                    self.step("select", &[("cond", mask), ("a", scores), ("b", masked)])?
                }
                of => {
                    let to = self.edit.dtype(scores)?;
                    let mask = if of == to {
                        mask
                    } else {
                        self.edit.cast(mask, to, &format!("{}__mask", self.name))?
                    };
                    self.binary("add", scores, mask)?
                }
            };
        }
        let axis = self.rank(scores)?.checked_sub(1)?;
        let weights = self.softmax_of(scores, axis)?;
        self.binary("matmul", weights, value)
    }
}
