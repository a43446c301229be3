//! Ops computed as the Neural Engine does.

use super::elementwise::{binary_op, unary_op};
use super::mixed::{Mixed, Operand, Target, unforeseen};
use super::product::offsets;
use super::window::{constants, conv_geometry};
use super::{Lowered, Lowering, plain};
use crate::emulate::{
    Conv, Finish, Gauge, How, Product, ProductKernel, Ready, Side, TableFunction, decode, round_all_away,
};
use crate::kernels::Activation;
use crate::kernels::elementwise::{View, binary, unary};
use crate::pool::Pool;
use anemone_mil::ops::{self, Fault, MatMul, Site};
use anemone_mil::{Function, OpId};
use std::borrow::Cow;
use std::sync::Arc;

/// Elements that are worth waking a thread for.
const GRAIN: usize = 1 << 12;

/// Lowers an op that is to be emulated; `None` when it is computed as without emulation.
pub(crate) fn lower(ready: &Ready, function: &Function, id: OpId, pool: &Pool) -> Option<Lowered> {
    let how = ready.how(function, id)?;
    let site = Site::new(function, function.op(id)).ok()?;
    let l = Lowering { site, activation: Activation::None, pool, memory_limit: 0 };
    let gauge = ready.gauge(function, id);
    match (how, l.site.def.name) {
        (How::WholeSums, "conv") => whole_conv(&l, ready, id, gauge),
        (How::WholeSums, _) => whole_linear(&l, ready, id, gauge),
        (How::Sums, "conv") => conv(&l, gauge),
        (How::Sums, "linear") => linear(&l, gauge),
        (How::Sums, "matmul") => matmul(&l, gauge),
        (How::Sums, _) => einsum(&l, gauge),
        (How::Elementwise, _) => elementwise(&l),
        (How::Table | How::Fitted, _) => table(&l),
        (How::Moves | How::Unknown, _) => None,
    }
}

fn conv(l: &Lowering<'_>, gauge: Option<Arc<Gauge>>) -> Option<Lowered> {
    let view = ops::Conv::of(&l.site).ok()?;
    let (weight, bias) = constants(l, view.weight, view.bias)?;
    let geometry = conv_geometry(&l.site, &view)?;
    let conv = Conv::new(geometry, &weight, Finish::fixed(bias.as_deref()), gauge)?;
    Some(Lowered::Kernel { kernel: Box::new(conv), reads: vec![view.x] })
}

/// Bias of an 8-bit product, which is added after the scale.
fn whole_finish(l: &Lowering<'_>, scales: &[f64]) -> Option<Finish> {
    let bias = match l.value("bias") {
        Some(b) => l.constant(b)?.to_f64s(),
        None => Vec::new(),
    };
    Some(Finish::Scaled { scales: scales.to_vec(), bias })
}

fn whole_conv(l: &Lowering<'_>, ready: &Ready, id: OpId, gauge: Option<Arc<Gauge>>) -> Option<Lowered> {
    let whole = ready.whole(l.site.function, id)?;
    let view = ops::Conv::of(&l.site).ok()?;
    let geometry = conv_geometry(&l.site, &view)?;
    let conv = Conv::new(geometry, &whole.weight, whole_finish(l, &whole.scales)?, gauge)?;
    Some(Lowered::Mixed { kernel: Box::new(WholeConv(conv)), reads: vec![whole.input] })
}

struct WholeConv(Conv);

impl Mixed for WholeConv {
    fn scratch(&self, _: &Pool) -> usize {
        self.0.memory()
    }

    fn own_memory(&self, pool: &Pool) -> usize {
        self.0.own_memory(pool)
    }

    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        scratch: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault> {
        let ([x], [Target::Floats(out)]) = (inputs, outputs) else { return Err(unforeseen()) };
        self.0.compute(&x.floats(), out, scratch, pool);
        Ok(())
    }
}

/// `x [rows, k]` by `weight [n, k]`.
fn linear_product(l: &Lowering<'_>, finish: Finish, gauge: Option<Arc<Gauge>>) -> Option<Product> {
    let (x, weight) = (l.shape(l.value("x")?)?, l.shape(l.value("weight")?)?);
    let &[n, k] = weight.as_slice() else { return None };
    let rows = x[..x.len().checked_sub(1)?].iter().product();
    Some(Product {
        left: Side { offsets: vec![0], step: k, term: 1, count: rows },
        right: Side { offsets: vec![0], step: k, term: 1, count: n },
        terms: k,
        out: (vec![0], n, 1),
        channels_are_rows: false,
        finish,
        gauge,
    })
}

fn linear(l: &Lowering<'_>, gauge: Option<Arc<Gauge>>) -> Option<Lowered> {
    let bias = match l.value("bias") {
        Some(b) => Some(l.constant(b)?.to_f32s()),
        None => None,
    };
    let product = linear_product(l, Finish::fixed(bias.as_deref()), gauge)?;
    let reads = vec![l.value("x")?, l.value("weight")?];
    Some(Lowered::Kernel { kernel: Box::new(product.kernel()), reads })
}

fn whole_linear(l: &Lowering<'_>, ready: &Ready, id: OpId, gauge: Option<Arc<Gauge>>) -> Option<Lowered> {
    let whole = ready.whole(l.site.function, id)?;
    let product = linear_product(l, whole_finish(l, &whole.scales)?, gauge)?;
    let kernel = Box::new(WholeLinear { weight: whole.weight.clone(), product: product.kernel() });
    Some(Lowered::Mixed { kernel, reads: vec![whole.input] })
}

struct WholeLinear {
    weight: Vec<f32>,
    product: ProductKernel,
}

impl Mixed for WholeLinear {
    fn own_memory(&self, pool: &Pool) -> usize {
        self.product.own_memory(pool)
    }

    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        _: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault> {
        let ([x], [Target::Floats(out)]) = (inputs, outputs) else { return Err(unforeseen()) };
        self.product.compute(&x.floats(), &self.weight, out, pool);
        Ok(())
    }
}

fn matmul(l: &Lowering<'_>, gauge: Option<Arc<Gauge>>) -> Option<Lowered> {
    let view = MatMul::of(&l.site).ok()?;
    let (mut x, mut y) = (l.shape(view.x)?, l.shape(view.y)?);
    let mut out = l.result_shape()?;
    // Vectors are a row on the left and a column on the right.
    if x.len() == 1 {
        x.insert(0, 1);
        out.insert(out.len() - usize::from(y.len() > 1), 1);
    }
    if y.len() == 1 {
        y.push(1);
        out.push(1);
    }
    let side = |s: &[usize], swap: bool| {
        let (r, c) = (s[s.len() - 2], s[s.len() - 1]);
        if swap { ((c, 1), (r, c)) } else { ((r, c), (c, 1)) }
    };
    let ((m, down), (k, left_term)) = side(&x, view.transpose_x);
    let ((_, right_term), (n, across)) = side(&y, view.transpose_y);
    let batch = |s: &[usize]| s[..s.len() - 2].to_vec();
    let outer = out.get(..out.len().checked_sub(2)?)?;
    let count: usize = outer.iter().product();
    let product = Product {
        left: Side { offsets: offsets(&batch(&x), outer, m * k), step: down, term: left_term, count: m },
        right: Side { offsets: offsets(&batch(&y), outer, k * n), step: across, term: right_term, count: n },
        terms: k,
        out: ((0..count).map(|i| i * m * n).collect(), n, 1),
        channels_are_rows: false,
        finish: Finish::fixed(None),
        gauge,
    };
    Some(Lowered::Kernel { kernel: Box::new(product.kernel()), reads: vec![view.x, view.y] })
}

/// `nchw,nwhu->nchu`, the first dim left out in its other form.
fn einsum(l: &Lowering<'_>, gauge: Option<Arc<Gauge>>) -> Option<Lowered> {
    let &[x, y] = l.site.values("values") else { return None };
    let lift = |s: Vec<usize>| (s.len() <= 4).then(|| [vec![1; 4 - s.len()], s].concat());
    let (xs, ys) = (lift(l.shape(x)?)?, lift(l.shape(y)?)?);
    let (&[n, c, h, w], &[yn, yw, yh, u]) = (xs.as_slice(), ys.as_slice()) else { return None };
    if (n, h, w) != (yn, yh, yw) {
        return None;
    }
    let each = |block: usize, line: usize| {
        (0..n).flat_map(move |i| (0..h).map(move |j| i * block + j * line)).collect()
    };
    let product = Product {
        left: Side { offsets: each(c * h * w, w), step: h * w, term: 1, count: c },
        right: Side { offsets: each(w * h * u, u), step: 1, term: h * u, count: u },
        terms: w,
        out: (each(c * h * u, u), h * u, 1),
        channels_are_rows: false,
        finish: Finish::fixed(None),
        gauge,
    };
    Some(Lowered::Kernel { kernel: Box::new(product.kernel()), reads: vec![x, y] })
}

/// Operands as the engine decodes them.
fn decoded(x: &[f32]) -> Cow<'_, [f32]> {
    if x.iter().all(|v| v.abs() < 65536.0) { x.into() } else { x.iter().map(|&v| decode(v)).collect() }
}

/// The engine of floats computes sums, products and quotients of `fp16` numbers with digits to spare, so that rounding
/// twice gives what rounding once does.
fn elementwise(l: &Lowering<'_>) -> Option<Lowered> {
    let away = |out: &mut [f32], pool: &Pool| pool.chunks_mut(out, GRAIN, |_, part| round_all_away(part));
    if let Some(op) = unary_op(&l.site) {
        let x = l.value("x")?;
        return Some(plain(vec![x], move |io, pool| {
            unary(op, &decoded(io.inputs[0]), io.outputs[0], pool);
            away(io.outputs[0], pool);
        }));
    }
    let op = binary_op(l.site.def.name)?;
    let (x, y) = (l.value("x")?, l.value("y")?);
    let (a, b, out) = (l.shape(x)?, l.shape(y)?, l.result_shape()?);
    Some(plain(vec![x, y], move |io, pool| {
        let (left, right) = (decoded(io.inputs[0]), decoded(io.inputs[1]));
        let (left, right) = (View { data: &left, shape: &a }, View { data: &right, shape: &b });
        binary(op, left, right, &out, io.outputs[0], pool);
        away(io.outputs[0], pool);
    }))
}

fn table(l: &Lowering<'_>) -> Option<Lowered> {
    let epsilon = match l.site.def.name {
        "log" | "rsqrt" | "inverse" => l.site.float("epsilon").ok()?,
        _ => 0.0,
    };
    let function = TableFunction::named(l.site.def.name, epsilon)?;
    Some(plain(vec![l.value("x")?], move |io, pool| {
        let x = io.inputs[0];
        pool.chunks_mut(io.outputs[0], GRAIN, |i, part| {
            let x = &x[i * GRAIN..];
            part.iter_mut().zip(x).for_each(|(o, &x)| *o = function.of(decode(x)));
        });
    }))
}
