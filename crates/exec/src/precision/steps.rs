//! Ops that are made of simpler ones, written out in those, each with a result of the op's own type.
//!
//! ```text
//! y = softmax(x)      becomes      m = reduce_max(x); c = sub(x, m); e = exp(c); s = reduce_sum(e); y = real_div(e, s)
//! ```
//! The formulas are those of the MIL op reference of coremltools 9.0; where it leaves the order open, the function says
//! whose order it is. An op whose steps cannot be written down (axes or extents that are not known, scales that are
//! computed) stays whole.

use super::edit::{Edit, rebuild};
use anemone_mil::ops::{Reduction, Site};
use anemone_mil::{DType, Dim, Function, OpId, Tensor, ValueId};

/// Ops that a chip computes at once, and that are written out only to be rounded wherever they can be.
const WHOLE_ON_A_CHIP: [&str; 5] = ["batch_norm", "local_response_norm", "lstm", "gru", "rnn"];

/// Writes out every op, with results of `fp32` rounded to `fp16`; true when there was one.
pub(super) fn expand(function: &mut Function) -> bool {
    !write_out(function, true, &|_, _| true).is_empty()
}

/// Writes out the ops that a chip computes in steps whose first result has a wanted name, and says what the results of
/// the steps are called.
pub(crate) fn expand_some(function: &mut Function, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    write_out(function, false, &|kind, name| !WHOLE_ON_A_CHIP.contains(&kind) && wanted(name))
}

/// Writes out the ops whose kind and first result are wanted; what the results of the steps are called.
fn write_out(function: &mut Function, rounds: bool, wanted: &dyn Fn(&str, &str) -> bool) -> Vec<String> {
    let mut steps = Vec::new();
    rebuild(function, &mut |edit, id| {
        let op = edit.function.op(id);
        let result = op.outputs.first().copied();
        if !result.is_some_and(|v| wanted(op.kind.name(), &edit.name(v))) {
            return edit.push(id);
        }
        let before = edit.len();
        match written_out(edit, id, rounds) {
            Some(results) => {
                let op = edit.function.op(id);
                let (old, name) = (op.outputs.clone(), op.name.clone());
                for (i, (old, new)) in old.into_iter().zip(results).enumerate() {
                    let whole = if i == 0 { format!("{name}__whole") } else { format!("{name}__whole{i}") };
                    edit.replace(old, new, &whole);
                }
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

/// The results of the steps, one for each of the op.
fn written_out(edit: &mut Edit<'_>, id: OpId, rounds: bool) -> Option<Vec<ValueId>> {
    let op = edit.function.op(id);
    let is_float = |v: &ValueId| edit.dtype(*v).is_some_and(DType::is_float);
    if !op.outputs.iter().all(is_float) {
        return None;
    }
    let (count, kind) = (op.outputs.len(), op.kind.name().to_owned());
    let mut steps = Steps { name: op.name.to_string(), count: 0, rounds, id, edit };
    let result = match kind.as_str() {
        "softmax" => steps.softmax(),
        "reduce_log_sum" => steps.reduced("reduce_sum", None, Some("log")),
        "reduce_sum_square" => steps.reduced("reduce_sum", Some("square"), None),
        "reduce_l2_norm" => steps.reduced("reduce_sum", Some("square"), Some("sqrt")),
        "reduce_log_sum_exp" => steps.log_sum_exp(),
        "layer_norm" => steps.layer_norm(),
        "instance_norm" => steps.instance_norm(),
        "batch_norm" => steps.batch_norm(),
        "local_response_norm" => steps.local_response_norm(),
        "l2_norm" => steps.l2_norm(),
        "scaled_dot_product_attention" => steps.attention(),
        "lstm" | "gru" | "rnn" => return steps.recurrent().filter(|results| results.len() == count),
        _ => None,
    };
    result.filter(|_| count == 1).map(|v| vec![v])
}

/// The steps of one op.
pub(super) struct Steps<'e, 'f> {
    pub(super) edit: &'e mut Edit<'f>,
    id: OpId,
    name: String,
    count: usize,
    /// Results of `fp32` are rounded to `fp16`.
    rounds: bool,
}

impl Steps<'_, '_> {
    pub(super) fn value(&self, param: &str) -> Option<ValueId> {
        self.edit.function.op(self.id).value(param)
    }

    pub(super) fn site<T>(&self, read: impl FnOnce(&Site<'_>) -> Option<T>) -> Option<T> {
        read(&Site::new(self.edit.function, self.edit.function.op(self.id)).ok()?)
    }

    fn next_name(&mut self) -> String {
        self.count += 1;
        format!("{}__step{}", self.name, self.count)
    }

    /// A step that computes, with its one result.
    pub(super) fn step(&mut self, kind: &str, args: &[(&str, ValueId)]) -> Option<ValueId> {
        let name = self.next_name();
        let result = self.edit.op(kind, &name, args)?;
        if !self.rounds || self.edit.dtype(result) != Some(DType::F32) {
            return Some(result);
        }
        let half = self.edit.cast(result, DType::F16, &format!("{name}__fp16"))?;
        self.edit.cast(half, DType::F32, &format!("{name}__rounded"))
    }

    /// A step that moves numbers as they are.
    pub(super) fn moved(&mut self, kind: &str, args: &[(&str, &[ValueId])]) -> Option<Vec<ValueId>> {
        let name = self.next_name();
        self.edit.ops(kind, &name, args)
    }

    /// A constant whole number.
    pub(super) fn whole(&mut self, value: usize) -> Option<ValueId> {
        let tensor = Tensor::scalar_i32(i32::try_from(value).ok()?);
        Some(self.edit.constant(tensor))
    }

    /// A constant list of whole numbers.
    pub(super) fn wholes(&mut self, values: &[usize]) -> Option<ValueId> {
        let list: Option<Vec<i32>> = values.iter().map(|&v| i32::try_from(v).ok()).collect();
        Some(self.edit.constant(Tensor::vector_i32(&list?)))
    }

    pub(super) fn unary(&mut self, kind: &str, x: ValueId) -> Option<ValueId> {
        self.step(kind, &[("x", x)])
    }

    pub(super) fn binary(&mut self, kind: &str, x: ValueId, y: ValueId) -> Option<ValueId> {
        self.step(kind, &[("x", x), ("y", y)])
    }

    fn reduce(&mut self, kind: &str, x: ValueId, axes: &[usize], keep: bool) -> Option<ValueId> {
        let axes = self.wholes(axes)?;
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

    /// In the order in which the PyTorch frontend of coremltools 9.0 takes it apart: difference from the mean, quotient by
    /// `sqrt(variance + epsilon)`, product with `gamma`, sum with `beta`.
    fn batch_norm(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let epsilon = self.site(|s| s.float("epsilon").ok())?;
        let mean = self.along(x, self.value("mean")?, &[1])?;
        let variance = self.along(x, self.value("variance")?, &[1])?;
        let centred = self.binary("sub", x, mean)?;
        let epsilon = self.edit.number(x, epsilon);
        let sum = self.binary("add", variance, epsilon)?;
        let root = self.unary("sqrt", sum)?;
        let normalised = self.binary("real_div", centred, root)?;
        self.affine(normalised, &[1])
    }

    /// In the order of PyTorch's `torch.nn.functional.local_response_norm`: square, mean over `size` channels with zeros
    /// beyond the edges, product with `alpha`, sum with `k`, power of `beta`, quotient.
    fn local_response_norm(&mut self) -> Option<ValueId> {
        let x = self.value("x")?;
        let size = self.site(|s| usize::try_from(s.int("size").ok()?).ok())?;
        let channels = self.edit.function.value(x).ty.tensor()?.dims.get(1)?.known()?;
        let (before, after) = (size / 2, size.checked_sub(1)? / 2);
        if before >= channels {
            return None;
        }
        let squares = self.unary("square", x)?;
        let mut pads = vec![0; 2 * self.rank(x)?];
        (pads[2], pads[3]) = (before, after);
        let (pads, axis) = (self.wholes(&pads)?, self.whole(1)?);
        let (size, stride) = (self.whole(size)?, self.whole(1)?);
        let padded = self.moved("pad", &[("x", &[squares]), ("pad", &[pads])])?;
        let windows = [("x", &padded[..]), ("axis", &[axis]), ("size", &[size]), ("stride", &[stride])];
        let windows = self.moved("sliding_windows", &windows)?;
        let mut y = self.reduce("reduce_mean", *windows.first()?, &[2], false)?;
        for (param, kind) in [("alpha", "mul"), ("k", "add"), ("beta", "pow")] {
            let number = self.site(|s| s.float(param).ok())?;
            let number = self.edit.number(x, number);
            y = self.binary(kind, y, number)?;
        }
        self.binary("real_div", x, y)
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
