//! Attention, and the products of `einsum`.

use super::mixed::{Mixed, Operand, Target, unforeseen};
use super::{Io, Kernel, Lowered, Lowering};
use crate::kernels::layout::CopyPlan;
use crate::kernels::rows::Rows;
use crate::kernels::softmax::softmax;
use crate::kernels::{Epilogue, gemm};
use crate::pool::Pool;
use anemone_mil::ops::Fault;
use std::sync::Mutex;

/// Scores that are held at once.
const SCORES: usize = 1 << 22;

/// `softmax(query * key^T / sqrt(E) + mask) * value` for each of `batch` heads.
struct Attention {
    batch: usize,
    queries: usize,
    keys: usize,
    depth: usize,
    width: usize,
    /// How the mask lies beside the scores of all heads.
    mask: Option<Rows<2>>,
    /// Scores and the scratch of products.
    scratch: Mutex<Vec<f32>>,
}

/// `scaled_dot_product_attention`.
pub(super) fn attention(l: &Lowering<'_>) -> Option<Lowered> {
    let (query, key, value) = (l.value("query")?, l.value("key")?, l.value("value")?);
    let (q, k, v) = (l.shape(query)?, l.shape(key)?, l.shape(value)?);
    let ([heads @ .., queries, depth], [kb @ .., keys, kd], [vb @ .., vk, width]) =
        (q.as_slice(), k.as_slice(), v.as_slice())
    else {
        return None;
    };
    let empty = [&q, &k, &v].into_iter().any(|s| s.contains(&0));
    if empty || kb != heads || vb != heads || kd != depth || vk != keys {
        return None;
    }
    let mut reads = vec![query, key, value];
    let scores = [heads, &[*queries, *keys]].concat();
    let mask = match l.value("attn_mask") {
        Some(m) => {
            reads.push(m);
            Some(Rows::new(&scores, [&l.shape(m)?, &scores]).ok()?)
        }
        None => None,
    };
    let kernel = Box::new(Attention {
        batch: heads.iter().product(),
        queries: *queries,
        keys: *keys,
        depth: *depth,
        width: *width,
        mask,
        scratch: Mutex::default(),
    });
    Some(Lowered::Mixed { kernel, reads })
}

impl Mixed for Attention {
    fn run(&self, inputs: &[Operand<'_>], outputs: &mut [Target<'_>], pool: &Pool) -> Result<(), Fault> {
        let ([q, k, v, mask @ ..], [Target::Floats(out)]) = (inputs, outputs) else {
            return Err(unforeseen());
        };
        let (q, k, v) = (q.floats(), k.floats(), v.floats());
        let added = self.mask.as_ref().zip(mask.first()).map(|(rows, mask)| (rows, weights(mask)));
        let mut scratch = self.scratch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let size = self.queries * self.keys;
        let heads = (SCORES / size).clamp(1, self.batch);
        let mut first = 0;
        while first < self.batch {
            let count = heads.min(self.batch - first);
            self.heads(first, count, (&q, &k, &v), added.as_ref(), out, &mut scratch, pool);
            first += count;
        }
        Ok(())
    }
}

/// What is added to scores: floats as they are, minus infinity where a boolean is false.
fn weights(mask: &Operand<'_>) -> Vec<f32> {
    match mask {
        Operand::Floats(m) => m.to_vec(),
        Operand::Tensor(t) if t.dtype().is_float() => t.to_f32s(),
        Operand::Tensor(t) => {
            t.to_bools().into_iter().map(|b| if b { 0.0 } else { f32::NEG_INFINITY }).collect()
        }
    }
}

impl Attention {
    #[allow(clippy::too_many_arguments, reason = "operands, result, memory and threads of one computation")]
    fn heads(
        &self,
        first: usize,
        count: usize,
        (q, k, v): (&[f32], &[f32], &[f32]),
        mask: Option<&(&Rows<2>, Vec<f32>)>,
        out: &mut [f32],
        scratch: &mut Vec<f32>,
        pool: &Pool,
    ) {
        let Attention { queries, keys, depth, width, .. } = *self;
        let product = |m, k, n, transpose_b, a: usize, b: usize| gemm::MatMul {
            m,
            k,
            n,
            transpose_a: false,
            transpose_b,
            offsets: (0..count).map(|i| (i * a, i * b)).collect(),
        };
        let to_keys = product(queries, depth, keys, true, queries * depth, keys * depth);
        let to_values = product(queries, keys, width, false, queries * keys, keys * width);
        let len = count * queries * keys;
        let wanted = 2 * len + to_keys.scratch(pool).max(to_values.scratch(pool));
        if scratch.len() < wanted {
            scratch.resize(wanted, 0.0);
        }
        let (scores, rest) = scratch.split_at_mut(len);
        let (shares, rest) = rest.split_at_mut(len);
        let (q, k) = (&q[first * queries * depth..], &k[first * keys * depth..]);
        to_keys.run(q, k, Epilogue::default(), scores, rest, pool);
        let scale = 1.0 / (depth as f32).sqrt();
        scores.iter_mut().for_each(|s| *s *= scale);
        if let Some((rows, mask)) = mask {
            add_mask(rows, mask, first * queries * keys, scores);
        }
        softmax(scores, (count * queries, keys, 1), shares, pool);
        let out = &mut out[first * queries * width..(first + count) * queries * width];
        to_values.run(shares, &v[first * keys * width..], Epilogue::default(), out, rest, pool);
    }
}

/// Adds the mask to the scores from element `from` of all of them on.
fn add_mask(rows: &Rows<2>, mask: &[f32], from: usize, scores: &mut [f32]) {
    rows.each(|at, [m, _]| {
        let (start, end) = (at.max(from), (at + rows.len).min(from + scores.len()));
        if start < end {
            let scores = &mut scores[start - from..end - from];
            match rows.steps[0] {
                0 => scores.iter_mut().for_each(|s| *s += mask[m]),
                _ => scores.iter_mut().zip(&mask[m + start - at..]).for_each(|(s, m)| *s += m),
            }
        }
    });
}

/// `einsum` `nchw,nwhu->nchu`: transposed to `n * h` products, and back.
struct Einsum {
    left: CopyPlan,
    right: CopyPlan,
    back: CopyPlan,
    product: gemm::MatMul,
}

/// `einsum` in both of its forms, without broadcasting.
pub(super) fn einsum(l: &Lowering<'_>) -> Option<Lowered> {
    let &[x, y] = l.site.values("values") else { return None };
    let lift = |s: Vec<usize>| (s.len() <= 4).then(|| [vec![1; 4 - s.len()], s].concat());
    let (xs, ys) = (lift(l.shape(x)?)?, lift(l.shape(y)?)?);
    let ([n, c, h, w], [yn, yw, yh, u]) = (xs.as_slice().try_into().ok()?, ys.as_slice().try_into().ok()?);
    let ([n, c, h, w], [yn, yw, yh, u]): ([usize; 4], [usize; 4]) = ([n, c, h, w], [yn, yw, yh, u]);
    if (n, h, w) != (yn, yh, yw) || xs.contains(&0) || u == 0 {
        return None;
    }
    let product = gemm::MatMul {
        m: c,
        k: w,
        n: u,
        transpose_a: false,
        transpose_b: false,
        offsets: (0..n * h).map(|i| (i * c * w, i * w * u)).collect(),
    };
    let kernel = Box::new(Einsum {
        left: CopyPlan::transpose(&xs, &[0, 2, 1, 3]).ok()?,
        right: CopyPlan::transpose(&ys, &[0, 2, 1, 3]).ok()?,
        back: CopyPlan::transpose(&[n, h, c, u], &[0, 2, 1, 3]).ok()?,
        product,
    });
    Some(Lowered::Kernel { kernel, reads: vec![x, y] })
}

impl Kernel for Einsum {
    fn scratch(&self, pool: &Pool) -> usize {
        self.left.output_len() + self.right.output_len() + self.back.output_len() + self.product.scratch(pool)
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        let (left, rest) = io.scratch.split_at_mut(self.left.output_len());
        let (right, rest) = rest.split_at_mut(self.right.output_len());
        let (made, rest) = rest.split_at_mut(self.back.output_len());
        self.left.run(io.inputs[0], left, pool);
        self.right.run(io.inputs[1], right, pool);
        self.product.run(left, right, Epilogue::default(), made, rest, pool);
        self.back.run(made, io.outputs[0], pool);
    }
}
