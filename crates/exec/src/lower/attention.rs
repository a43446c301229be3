//! Attention, and the products of `einsum`.

use super::mixed::{Ints, Mixed, Operand, Target, unforeseen};
use super::{Io, Kernel, Lowered, Lowering};
use crate::kernels::elementwise::GRAIN;
use crate::kernels::layout::CopyPlan;
use crate::kernels::rows::Rows;
use crate::kernels::softmax::softmax;
use crate::kernels::{Epilogue, gemm};
use crate::pool::Pool;
use anemone_mil::ops::Fault;
use std::borrow::Cow;

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
}

/// What is added to scores.
enum Mask<'a> {
    /// These.
    Floats(Cow<'a, [f32]>),
    /// Minus infinity where one is 0.
    Bools(Ints<'a>),
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
    });
    Some(Lowered::Mixed { kernel, reads })
}

impl Mixed for Attention {
    /// Scores, their shares, and what the products want.
    fn scratch(&self, pool: &Pool) -> usize {
        let count = self.at_once();
        let products = [self.to_keys(count).scratch(pool), self.to_values(count).scratch(pool)];
        2 * count * self.queries * self.keys + products[0].max(products[1])
    }

    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        scratch: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault> {
        let ([q, k, v, mask @ ..], [Target::Floats(out)]) = (inputs, outputs) else {
            return Err(unforeseen());
        };
        let (q, k, v) = (q.floats(), k.floats(), v.floats());
        let mask = mask.first().map(|mask| match mask {
            Operand::Tensor(t) if !t.dtype().is_float() => Mask::Bools(Ints::of(t)),
            other => Mask::Floats(other.floats()),
        });
        for first in (0..self.batch).step_by(self.at_once()) {
            let count = self.at_once().min(self.batch - first);
            let from = |all: &[f32], size: usize| first * size..all.len();
            let out = &mut out[first * self.queries * self.width..][..count * self.queries * self.width];
            let (q, k) = (&q[from(&q, self.queries * self.depth)], &k[from(&k, self.keys * self.depth)]);
            let v = &v[from(&v, self.keys * self.width)];
            let (scores, rest) = scratch.split_at_mut(count * self.queries * self.keys);
            let (shares, rest) = rest.split_at_mut(scores.len());
            self.to_keys(count).run(q, k, Epilogue::default(), scores, rest, pool);
            self.scale(first, mask.as_ref(), scores, pool);
            softmax(scores, (count * self.queries, self.keys, 1), shares, pool);
            self.to_values(count).run(shares, v, Epilogue::default(), out, rest, pool);
        }
        Ok(())
    }
}

impl Attention {
    /// Heads whose scores are held at once.
    fn at_once(&self) -> usize {
        (SCORES / (self.queries * self.keys)).clamp(1, self.batch)
    }

    fn to_keys(&self, count: usize) -> gemm::MatMul {
        let Attention { queries, keys, depth, .. } = *self;
        let offsets = (0..count).map(|i| (i * queries * depth, i * keys * depth)).collect();
        gemm::MatMul { m: queries, k: depth, n: keys, transpose_a: false, transpose_b: true, offsets }
    }

    fn to_values(&self, count: usize) -> gemm::MatMul {
        let Attention { queries, keys, width, .. } = *self;
        let offsets = (0..count).map(|i| (i * queries * keys, i * keys * width)).collect();
        gemm::MatMul { m: queries, k: keys, n: width, transpose_a: false, transpose_b: false, offsets }
    }

    /// Divides the scores from head `first` on by the root of the depth and adds the mask.
    fn scale(&self, first: usize, mask: Option<&Mask<'_>>, scores: &mut [f32], pool: &Pool) {
        let scale = 1.0 / (self.depth as f32).sqrt();
        let (Some(rows), Some(mask)) = (&self.mask, mask) else {
            return pool.rows_mut(scores, 1, GRAIN, |_, scores| scores.iter_mut().for_each(|s| *s *= scale));
        };
        let lost = |kept: bool| if kept { 0.0 } else { f32::NEG_INFINITY };
        let step = rows.steps[0];
        rows.share_from(first * self.queries * self.keys, scores, 1, pool, |scores, [m, _]| match mask {
            Mask::Floats(mask) if step == 0 => scores.iter_mut().for_each(|s| *s = *s * scale + mask[m]),
            Mask::Floats(mask) => {
                scores.iter_mut().zip(&mask[m..]).for_each(|(s, mask)| *s = *s * scale + mask);
            }
            Mask::Bools(mask) => {
                let places = scores.iter_mut().enumerate();
                places.for_each(|(i, s)| *s = *s * scale + lost(mask.at(m + i * step) != 0));
            }
        });
    }
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
