//! Matrix products.

use super::{Io, Kernel, Lowered, Lowering, packed};
use crate::kernels::gemm::{self, Lhs, Mat, PackedRhs, Rhs, gemm, gemm_scratch};
use crate::kernels::{Activation, Bias, Epilogue};
use crate::pool::Pool;
use anemone_mil::ops::MatMul;

/// `linear`: `x [rows, k]` by packed weights `[k, n]`.
struct Linear {
    rows: usize,
    k: usize,
    n: usize,
    packed: PackedRhs,
    bias: Option<Vec<f32>>,
    activation: Activation,
    half: bool,
}

impl Kernel for Linear {
    fn scratch(&self, pool: &Pool) -> usize {
        gemm_scratch(self.rows, self.k, self.n, pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        let bias = self.bias.as_deref().map_or(Bias::None, Bias::Col);
        let epilogue = Epilogue { bias, activation: self.activation, half: self.half };
        let x = Lhs::Plain(Mat::new(io.inputs[0], self.rows, self.k));
        gemm(x, Rhs::Packed(&self.packed), epilogue, io.outputs[0], io.scratch, pool);
    }
}

/// `linear` with constant weight `[n, k]` and bias.
pub(super) fn linear(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, v) = (l.value("x")?, l.value("weight")?);
    let &[n, k] = l.shape(v)?.as_slice() else { return None };
    let bias = match l.value("bias") {
        Some(b) => Some(l.constant(b)?.to_f32s()),
        None => None,
    };
    let shape = l.shape(x)?;
    let rows: usize = shape[..shape.len().checked_sub(1)?].iter().product();
    if k == 0 || n == 0 || rows == 0 || bias.as_ref().is_some_and(|b| b.len() != n) {
        return None;
    }
    if let Some(packed) = packed::product(l, x, v, false, rows, bias.clone()) {
        return Some(packed);
    }
    let values = l.weights(v)?;
    let packed = PackedRhs::new(Mat::stored(&values, k, n, true), l.pool.isa());
    let kernel = Box::new(Linear { rows, k, n, packed, bias, activation: l.activation, half: l.half() });
    Some(Lowered::Kernel { kernel, reads: vec![x] })
}

struct Product {
    shape: gemm::MatMul,
    activation: Activation,
    half: bool,
}

impl Kernel for Product {
    fn scratch(&self, pool: &Pool) -> usize {
        self.shape.scratch(pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        let epilogue = Epilogue { bias: Bias::None, activation: self.activation, half: self.half };
        self.shape.run(io.inputs[0], io.inputs[1], epilogue, io.outputs[0], io.scratch, pool);
    }
}

/// `matmul`, batch dims broadcast; a constant matrix on the right that serves packed is taken so.
pub(super) fn matmul(l: &Lowering<'_>) -> Option<Lowered> {
    let view = MatMul::of(&l.site).ok()?;
    let (x, y) = (l.shape(view.x)?, l.shape(view.y)?);
    if x.len() < 2 || y.len() < 2 || x.contains(&0) || y.contains(&0) {
        return None;
    }
    let swap = |s: &[usize], t: bool| {
        let (r, c) = (s[s.len() - 2], s[s.len() - 1]);
        if t { (c, r) } else { (r, c) }
    };
    let ((m, k), (_, n)) = (swap(&x, view.transpose_x), swap(&y, view.transpose_y));
    if y.len() == 2 && !view.transpose_x {
        let rows = x[..x.len() - 1].iter().product();
        let packed = packed::product(l, view.x, view.y, !view.transpose_y, rows, None);
        if packed.is_some() {
            return packed;
        }
    }
    let batch = |s: &[usize]| s[..s.len() - 2].to_vec();
    let out = l.result_shape()?;
    let outer = &out[..out.len().checked_sub(2)?];
    let (xs, ys) = (offsets(&batch(&x), outer, m * k), offsets(&batch(&y), outer, k * n));
    let shape = gemm::MatMul {
        m,
        k,
        n,
        transpose_a: view.transpose_x,
        transpose_b: view.transpose_y,
        offsets: xs.into_iter().zip(ys).collect(),
    };
    let kernel = Box::new(Product { shape, activation: l.activation, half: l.half() });
    Some(Lowered::Kernel { kernel, reads: vec![view.x, view.y] })
}

/// Where the matrix of each product begins in an operand whose batch dims `from` broadcast to `to`.
pub(super) fn offsets(from: &[usize], to: &[usize], size: usize) -> Vec<usize> {
    let missing = to.len() - from.len();
    let mut steps = vec![0usize; to.len()];
    let mut step = size;
    for d in (0..from.len()).rev() {
        steps[missing + d] = if from[d] == 1 { 0 } else { step };
        step *= from[d];
    }
    let count: usize = to.iter().product();
    (0..count)
        .map(|flat| {
            let mut rest = flat;
            (0..to.len())
                .rev()
                .map(|d| {
                    let i = rest % to[d];
                    rest /= to[d];
                    i * steps[d]
                })
                .sum()
        })
        .collect()
}
