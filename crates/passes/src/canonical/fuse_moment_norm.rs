//! A normalisation written out with moments becomes one `layer_norm`.
//!
//! ```text
//! m = mean(x); v = max(0, mean(x * x) - m * m)
//! y = (x - m) * (gamma / sqrt(v + epsilon)) + beta      becomes      y = layer_norm(x, gamma, beta, epsilon)
//! ```
//! The difference of the moments cancels: in `fp16` it loses all its digits, inside of `layer_norm` it is not formed.

use super::affine;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::{Reduction, Site};
use anemone_mil::{Dim, Function, Op, Tensor, ValueId};

/// The rewrite; looks at the `add` of beta.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(root: OpRef<'_>) -> Result<Patch, Miss> {
    root.expect(&["add"])?;
    let (function, op) = (root.function, root.op());
    let graph = Graph { function };
    let (beta, scaled) = graph.constant_and_other(op)?;
    let (x, mean, gain) = graph.centred(scaled)?;
    let (gamma, deviation) = graph.constant_and_other(graph.made_by(gain, "mul")?)?;
    let (variance, epsilon) = graph.reciprocal_root(deviation)?;
    let (mean, axes) = graph.mean(mean, x)?;
    graph.variance(variance, x, mean, &axes)?;
    let dims = &root.tensor(x)?.dims;
    let (gamma, beta) = (affine::along(&gamma, dims, &axes)?, affine::along(&beta, dims, &axes)?);
    let mut patch = Patch::default();
    let list: Result<Vec<i32>, Miss> =
        axes.iter().map(|&a| i32::try_from(a).map_err(|_| Miss::from("an axis is too large"))).collect();
    let axes = patch.literal("axes", Tensor::vector_i32(&list?));
    let dtype = gamma.dtype();
    let (gamma, beta) = (patch.constant("gamma", gamma), patch.constant("beta", beta));
    let epsilon = patch.literal("epsilon", Tensor::scalar_f64(dtype, epsilon));
    let args =
        vec![("x", Ref::Value(x)), ("axes", axes), ("gamma", gamma), ("beta", beta), ("epsilon", epsilon)];
    let new = patch.op("layer_norm", "norm", args);
    Ok(patch.replacing(root.result()?, new))
}

struct Graph<'f> {
    function: &'f Function,
}

impl<'f> Graph<'f> {
    fn op_of(&self, v: ValueId) -> Result<&'f Op, Miss> {
        let producer = self.function.producer(v).ok_or("an operand is not the result of an op")?;
        Ok(self.function.op(producer))
    }

    fn made_by(&self, v: ValueId, kind: &str) -> Result<&'f Op, Miss> {
        let op = self.op_of(v)?;
        if op.is(kind) {
            Ok(op)
        } else {
            Err(Miss::because(format!("a {} stands where a {kind} should", op.kind.name())))
        }
    }

    /// The value before any change of shape.
    fn unshaped(&self, mut v: ValueId) -> ValueId {
        while let Ok(op) = self.op_of(v)
            && matches!(op.kind.name(), "reshape" | "expand_dims" | "squeeze")
            && let Some(x) = op.value("x")
        {
            v = x;
        }
        v
    }

    fn constant_and_other(&self, op: &Op) -> Result<(Tensor, ValueId), Miss> {
        for (constant, other) in [("x", "y"), ("y", "x")] {
            let numbers = op.value(constant).and_then(|v| self.function.constant(v)?.literal().ok());
            if let (Some(t), Some(v)) = (numbers.and_then(|l| l.as_tensor().cloned()), op.value(other)) {
                return Ok((t, v));
            }
        }
        Err("neither operand is constant".into())
    }

    /// `(x - mean) * gain`: the three of them.
    fn centred(&self, v: ValueId) -> Result<(ValueId, ValueId, ValueId), Miss> {
        let op = self.made_by(v, "mul")?;
        for (centred, gain) in [("x", "y"), ("y", "x")] {
            let (Some(c), Some(g)) = (op.value(centred), op.value(gain)) else { continue };
            if let Ok(sub) = self.made_by(c, "sub")
                && let (Some(x), Some(mean)) = (sub.value("x"), sub.value("y"))
            {
                return Ok((x, self.unshaped(mean), g));
            }
        }
        Err("nothing is centred".into())
    }

    /// `1 / sqrt(v + epsilon)` in any of its spellings: `v` and the small number.
    fn reciprocal_root(&self, v: ValueId) -> Result<(ValueId, f64), Miss> {
        let op = self.op_of(self.unshaped(v))?;
        let root = match op.kind.name() {
            "rsqrt" => op,
            "inverse" if Site::new(self.function, op)?.float("epsilon")? > 1e-9 => {
                return Err("the reciprocal is moved away from zero".into());
            }
            "inverse" => self.made_by(self.unshaped(op.value("x").ok_or("no operand")?), "sqrt")?,
            other => return Err(Miss::because(format!("{other} is no reciprocal root"))),
        };
        let sum = self.made_by(self.unshaped(root.value("x").ok_or("no operand")?), "add")?;
        let (epsilon, variance) = self.constant_and_other(sum)?;
        if epsilon.len() != 1 {
            return Err("the small number is a tensor".into());
        }
        Ok((self.unshaped(variance), epsilon.f64_at(0)))
    }

    /// The mean of `x` over some axes: its value and the axes.
    fn mean(&self, v: ValueId, x: ValueId) -> Result<(ValueId, Vec<usize>), Miss> {
        let (of, axes) = self.averaged(v)?;
        if of == x {
            Ok((v, axes))
        } else {
            Err("what is subtracted is not the mean of what it is subtracted from".into())
        }
    }

    /// An average: what it is taken of, and over which axes.
    fn averaged(&self, v: ValueId) -> Result<(ValueId, Vec<usize>), Miss> {
        let op = self.op_of(v)?;
        let (reduce, factor) = match op.kind.name() {
            "reduce_mean" => (op, None),
            "mul" => {
                let (factor, sum) = self.constant_and_other(op)?;
                (self.made_by(self.unshaped(sum), "reduce_sum")?, Some(factor))
            }
            other => return Err(Miss::because(format!("{other} is no average"))),
        };
        let site = Site::new(self.function, reduce)?;
        let mut axes = Reduction::of(&site)?.axes;
        axes.sort_unstable();
        if let Some(f) = factor {
            let dims = &site.tensor("x")?.dims;
            let count: Option<usize> = axes.iter().map(|&a| dims.get(a).and_then(Dim::known)).product();
            let count = count.ok_or("a normalised dim is unknown")?;
            let wanted = 1.0 / anemone_tensor::num::f64_of_usize(count.max(1));
            // The factor is a rounded number itself.
            if f.len() != 1 || (f.f64_at(0) - wanted).abs() > 1e-6 * wanted {
                return Err("the sum is not divided by the number of elements".into());
            }
        }
        Ok((reduce.value("x").ok_or("no operand")?, axes))
    }

    /// Checks that `v` is `max(0, mean(x * x) - mean * mean)`, with or without the `max`.
    fn variance(&self, v: ValueId, x: ValueId, mean: ValueId, axes: &[usize]) -> Result<(), Miss> {
        let mut op = self.op_of(v)?;
        if op.is("maximum") {
            let (low, other) = self.constant_and_other(op)?;
            if low.to_f64s().iter().any(|&l| l != 0.0) {
                return Err("the variance is bounded by another number than 0".into());
            }
            op = self.op_of(self.unshaped(other))?;
        }
        if !op.is("sub") {
            return Err("the variance is no difference of moments".into());
        }
        let (second, square) = (op.value("x").ok_or("no operand")?, op.value("y").ok_or("no operand")?);
        let (of, over) = self.averaged(self.unshaped(second))?;
        if self.squared(of)? != x
            || over != axes
            || self.unshaped(self.squared(self.unshaped(square))?) != mean
        {
            return Err("the moments are not those of one tensor".into());
        }
        Ok(())
    }

    /// What a square is the square of.
    fn squared(&self, v: ValueId) -> Result<ValueId, Miss> {
        let op = self.op_of(v)?;
        let (x, y) = (op.value("x"), op.value("y"));
        match op.kind.name() {
            "square" => x.ok_or("no operand".into()),
            "mul" if x == y => x.ok_or("no operand".into()),
            _ => Err("not a square".into()),
        }
    }
}
