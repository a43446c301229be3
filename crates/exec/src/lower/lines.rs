//! What runs along one axis: running sums, sorting, positions of extremes; and normalisations over windows.

use super::mixed::{Mixed, Operand, Target, by_width, is_plain, unforeseen, write_ints};
use super::typed::mixed;
use super::{Lowered, Lowering, plain};
use crate::kernels::elementwise::GRAIN;
use crate::kernels::norm::{self, LocalResponse};
use crate::kernels::reduce::{Extreme, arg_extreme};
use crate::kernels::scan::{Scan, running_sum};
use crate::kernels::sort::{Ranking, float_key};
use crate::pool::{Disjoint, Pool};
use anemone_mil::ops::{Fault, Reduction, TopK};
use anemone_mil::{DType, ValueId};

fn floats(l: &Lowering<'_>, x: ValueId) -> bool {
    l.site.function.value(x).ty.tensor().is_some_and(|t| matches!(t.dtype, DType::F16 | DType::F32))
}

/// `cumsum` of floats.
pub(super) fn cumsum(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let axis = l.site.axis("axis", shape.len()).ok()?;
    let (exclusive, reverse) = (l.site.bool("exclusive").ok()?, l.site.bool("reverse").ok()?);
    let (scan, around) = (Scan { exclusive, reverse }, Lowering::around(&shape, axis));
    Some(plain(vec![x], move |io, pool| running_sum(scan, io.inputs[0], around, io.outputs[0], pool)))
}

/// `reduce_argmax` and `reduce_argmin` of floats.
pub(super) fn extreme(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let view = Reduction::of(&l.site).ok()?;
    let (&[axis], dtype) = (view.axes.as_slice(), l.result()?.dtype) else { return None };
    let around = Lowering::around(&shape, axis);
    let which = if l.site.def.name == "reduce_argmax" { Extreme::Max } else { Extreme::Min };
    let (counts, width) = (is_plain(dtype) && dtype != DType::Bool, dtype.bits() / 8);
    if !floats(l, x) || !counts || around.1 == 0 {
        return None;
    }
    Some(mixed(vec![x], move |io, outs, pool| {
        let ([x], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        by_width!(width, N => {
            let put = |i: usize| -> [u8; N] { std::array::from_fn(|b| (i >> (8 * b)) as u8) };
            arg_extreme(which, &x.floats(), around, out.as_chunks_mut::<N>().0, pool, put);
        });
        Ok(())
    }))
}

/// `topk` and `argsort` of floats and integers.
pub(super) fn sort(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let values = l.site.def.name == "topk";
    let (axis, ascending, k) = if values {
        let view = TopK::of(&l.site).ok()?;
        (view.axis, view.ascending, view.k.unwrap_or(shape[view.axis]))
    } else {
        let axis = l.site.axis("axis", shape.len()).ok()?;
        (axis, l.site.bool("ascending").ok()?, shape[axis])
    };
    let ranking = Ranking::new(Lowering::around(&shape, axis), k).ok()?;
    let dtypes: Option<Vec<DType>> =
        l.site.op.outputs.iter().map(|&v| l.site.function.value(v).ty.tensor().map(|t| t.dtype)).collect();
    let (from, dtypes) = (l.site.function.value(x).ty.tensor()?.dtype, dtypes?);
    let known = |d: DType| is_plain(d) || matches!(d, DType::F16 | DType::F32);
    if !known(from) || !dtypes.iter().all(|d| known(*d)) {
        return None;
    }
    let kernel = Box::new(Sort { ranking, ascending, from, values, dtypes });
    Some(Lowered::Mixed { kernel, reads: vec![x] })
}

/// `topk` and `argsort`.
struct Sort {
    ranking: Ranking,
    ascending: bool,
    from: DType,
    /// The first result is the sorted elements.
    values: bool,
    /// Types of the results.
    dtypes: Vec<DType>,
}

/// A result whose elements are written one by one.
enum Places<'a> {
    None,
    Floats(Disjoint<'a, f32>),
    Ints(DType, Disjoint<'a, u8>),
}

impl Places<'_> {
    /// Writes an integer into place `at`.
    ///
    /// # Safety
    /// Nothing else writes it at the same time.
    unsafe fn put(&self, at: usize, v: i64) {
        if let Places::Ints(dtype, out) = self {
            let width = dtype.bits() / 8;
            // SAFETY: as the caller promises.
            write_ints(*dtype, std::iter::once(v), unsafe { out.slice(at * width..(at + 1) * width) });
        }
    }
}

impl Mixed for Sort {
    /// Keys of 64 bits, and what it takes to align them.
    fn scratch(&self, pool: &Pool) -> usize {
        2 * self.ranking.scratch(pool) + 1
    }

    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        scratch: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault> {
        let [x] = inputs else { return Err(unforeseen()) };
        // SAFETY: any bytes are a `u64`.
        let keys = unsafe { scratch.align_to_mut::<u64>() }.1;
        let mut places = outputs.iter_mut().zip(&self.dtypes).map(|(out, &dtype)| match out {
            Target::Floats(out) => Places::Floats(Disjoint::new(out)),
            Target::Bytes(out) => Places::Ints(dtype, Disjoint::new(out)),
        });
        let sorted = if self.values { places.next() } else { None }.unwrap_or(Places::None);
        let positions = places.next().unwrap_or(Places::None);
        let ascending = self.ascending;
        if !is_plain(self.from) {
            let x = x.floats();
            self.ranking.run(
                |at| float_key(x[at], ascending),
                keys,
                pool,
                |to, from, i| {
                    // SAFETY: every place is written once.
                    unsafe {
                        if let Places::Floats(sorted) = &sorted {
                            sorted.slice(to..to + 1)[0] = x[from];
                        }
                        positions.put(to, i as i64);
                    }
                },
            );
            return Ok(());
        }
        let x = x.ints();
        let start = if self.from == DType::U32 { 0 } else { i64::from(i32::MIN) };
        let key = |at: usize| {
            let key = (x.at(at) - start) as u32;
            if ascending { key } else { !key }
        };
        self.ranking.run(key, keys, pool, |to, from, i| {
            // SAFETY: every place is written once.
            unsafe {
                sorted.put(to, x.at(from));
                positions.put(to, i as i64);
            }
        });
        Ok(())
    }
}

/// `l2_norm`.
pub(super) fn l2_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let (shape, epsilon) = (l.shape(x)?, l.float("epsilon")?);
    let n: usize = shape[shape.len().checked_sub(3)?..].iter().product();
    let empty = shape.contains(&0);
    (!empty)
        .then(|| plain(vec![x], move |io, pool| norm::l2_norm(io.inputs[0], n, epsilon, io.outputs[0], pool)))
}

/// `local_response_norm`.
pub(super) fn local_response_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let size = usize::try_from(l.site.int("size").ok()?).ok().filter(|&n| n > 0)?;
    let p = LocalResponse { size, alpha: l.float("alpha")?, beta: l.float("beta")?, k: l.float("k")? };
    let (channels, inner) = (*shape.get(1)?, shape[2..].iter().product());
    let empty = shape.contains(&0);
    (!empty).then(|| {
        plain(vec![x], move |io, pool| {
            norm::local_response_norm(io.inputs[0], p, (channels, inner), io.outputs[0], pool);
        })
    })
}

/// `prelu` and `softplus_parametric` with constant parameters.
pub(super) fn per_channel(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let (channels, inner) = (*shape.get(1)?, shape[2..].iter().product::<usize>());
    let spread = |v: Vec<f32>| match v.len() {
        1 => Some(vec![v[0]; channels]),
        n if n == channels => Some(v),
        _ => None,
    };
    let alpha = spread(l.floats("alpha")?)?;
    if shape.contains(&0) {
        return None;
    }
    if l.site.def.name == "prelu" {
        let leaky = move |c: usize, x: f32| if x < 0.0 { alpha[c] * x } else { x };
        return Some(plain(vec![x], move |io, pool| {
            each_channel(io.inputs[0], (channels, inner), io.outputs[0], pool, &leaky);
        }));
    }
    let beta = spread(l.floats("beta")?)?;
    let softplus = |x: f32| (-x.abs()).exp().ln_1p() + x.max(0.0);
    let scaled = move |c: usize, x: f32| alpha[c] * softplus(beta[c] * x);
    Some(plain(vec![x], move |io, pool| {
        each_channel(io.inputs[0], (channels, inner), io.outputs[0], pool, &scaled);
    }))
}

/// `out = f(channel, x)` for every element of `x [batch, channels, inner]`.
fn each_channel(
    x: &[f32],
    (channels, inner): (usize, usize),
    out: &mut [f32],
    pool: &Pool,
    f: &(impl Fn(usize, f32) -> f32 + Sync),
) {
    pool.rows_mut(out, inner, GRAIN, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(inner).enumerate() {
            let (c, x) = ((first + i) % channels, &x[(first + i) * inner..][..inner]);
            row.iter_mut().zip(x).for_each(|(o, &x)| *o = f(c, x));
        }
    });
}
