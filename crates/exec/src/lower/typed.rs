//! Comparisons, logic, selection, casts and integer arithmetic.

use super::mixed::{
    BLOCK, Closure, Ints, Operand, Target, by_width, fill_ints, is_plain, unforeseen, write_ints,
};
use super::{Lowered, Lowering};
use crate::kernels::elementwise::GRAIN;
use crate::kernels::layout;
use crate::kernels::rows::Rows;
use crate::pool::Pool;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, TensorType, ValueId};
use anemone_tensor::num;

/// A kernel over any tensors from a closure.
pub(super) fn mixed(
    reads: Vec<ValueId>,
    run: impl Fn(&[Operand<'_>], &mut [Target<'_>], &Pool) -> Result<(), Fault> + Send + 'static,
) -> Lowered {
    Lowered::Mixed { kernel: Box::new(Closure(run)), reads }
}

fn in_arena(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::F32)
}

/// Types, shapes and rows of `x` and `y` beside the result.
fn pair(l: &Lowering<'_>) -> Option<(ValueId, ValueId, DType, Rows<2>)> {
    let (x, y) = (l.value("x")?, l.value("y")?);
    let rows = Rows::new(&l.result_shape()?, [&l.shape(x)?, &l.shape(y)?]).ok()?;
    let dtype = l.site.tensor("x").ok()?.dtype;
    (dtype == l.site.tensor("y").ok()?.dtype).then_some((x, y, dtype, rows))
}

/// Truths about each pair of elements.
fn compare_all<T: Copy + Sync>(
    (x, y): (&[T], &[T]),
    rows: &Rows<2>,
    out: &mut [u8],
    pool: &Pool,
    f: impl Fn(T, T) -> bool + Sync,
) {
    rows.share(out, 1, pool, |out, [i, j]| {
        let out = out.iter_mut();
        match rows.steps {
            [1, 1] => out.zip(&x[i..]).zip(&y[j..]).for_each(|((o, &a), &b)| *o = u8::from(f(a, b))),
            [1, _] => out.zip(&x[i..]).for_each(|(o, &a)| *o = u8::from(f(a, y[j]))),
            [_, 1] => out.zip(&y[j..]).for_each(|(o, &b)| *o = u8::from(f(x[i], b))),
            _ => out.for_each(|o| *o = u8::from(f(x[i], y[j]))),
        }
    });
}

/// Calls `f(results, one operand, the other)` for blocks of at most [`BLOCK`] pairs of integers; a result takes
/// `width` bytes.
fn pairs_of_ints(
    (x, y): (&Ints<'_>, &Ints<'_>),
    rows: &Rows<2>,
    (out, width): (&mut [u8], usize),
    pool: &Pool,
    f: impl Fn(&mut [u8], &[i64], &[i64]) + Sync,
) {
    let take = |from: &Ints<'_>, at: usize, step: usize, block: &mut [i64]| match step {
        0 => block.fill(from.at(at)),
        _ => from.map(at, block, |v| v),
    };
    let [step, other] = rows.steps;
    rows.share(out, width, pool, |out, [i, j]| {
        let mut blocks = [[0; BLOCK]; 2];
        for (n, out) in out.chunks_mut(BLOCK * width).enumerate() {
            let [a, b] = blocks.each_mut().map(|block| &mut block[..out.len() / width]);
            take(x, i + n * BLOCK * step, step, a);
            take(y, j + n * BLOCK * other, other, b);
            f(out, a, b);
        }
    });
}

/// Runs `$body` with `$f` the comparison that an op makes.
macro_rules! comparing {
    ($kind:expr, $f:ident => $body:expr) => {
        comparing!($kind, $f, $body,
            "equal" ==, "not_equal" !=, "less" <, "less_equal" <=, "greater" >, "greater_equal" >=)
    };
    ($kind:expr, $f:ident, $body:expr, $($name:literal $op:tt),*) => {
        match $kind {
            $($name => {
                let $f = |a, b| a $op b;
                $body
            })*
            _ => return Err(unforeseen()),
        }
    };
}

/// `equal`, `not_equal`, `less` and the others: floats as they are, all else as integers.
pub(super) fn compare(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, y, dtype, rows) = pair(l)?;
    let kind = l.site.def.name;
    Some(mixed(vec![x, y], move |io, outs, pool| {
        let ([x, y], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        if in_arena(dtype) {
            let (x, y) = (x.floats(), y.floats());
            comparing!(kind, f => compare_all::<f32>((&x, &y), &rows, out, pool, f));
            return Ok(());
        }
        comparing!(kind, f => pairs_of_ints((&x.ints(), &y.ints()), &rows, (out, 1), pool, |out, x, y| {
            out.iter_mut().zip(x).zip(y).for_each(|((o, &a), &b)| *o = u8::from(f(a, b)));
        }));
        Ok(())
    }))
}

/// `logical_and`, `logical_or`, `logical_xor`.
pub(super) fn logical(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, y, dtype, rows) = pair(l)?;
    let kind = l.site.def.name;
    if dtype != DType::Bool {
        return None;
    }
    Some(mixed(vec![x, y], move |io, outs, pool| {
        let ([Operand::Tensor(x), Operand::Tensor(y)], [Target::Bytes(out)]) = (io, outs) else {
            return Err(unforeseen());
        };
        let both = (&**x.bytes(), &**y.bytes());
        match kind {
            "logical_and" => compare_all(both, &rows, out, pool, |a, b| a != 0 && b != 0),
            "logical_or" => compare_all(both, &rows, out, pool, |a, b| a != 0 || b != 0),
            _ => compare_all(both, &rows, out, pool, |a, b| (a != 0) != (b != 0)),
        }
        Ok(())
    }))
}

/// `logical_not`.
pub(super) fn logical_not(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    Some(mixed(vec![x], |io, outs, pool| {
        let ([Operand::Tensor(x)], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        pool.rows_mut(out, 1, GRAIN, |first, out| {
            out.iter_mut().zip(&x.bytes()[first..]).for_each(|(o, v)| *o = u8::from(*v == 0));
        });
        Ok(())
    }))
}

type Arithmetic = fn(i64, i64) -> i64;

/// Arithmetic of two integer tensors, wrapped into their type.
pub(super) fn arithmetic(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, y, dtype, rows) = pair(l)?;
    if !is_plain(dtype) || dtype == DType::Bool {
        return None;
    }
    let f: Arithmetic = match l.site.def.name {
        "add" => i64::wrapping_add,
        "sub" => i64::wrapping_sub,
        "mul" => i64::wrapping_mul,
        "maximum" => i64::max,
        "minimum" => i64::min,
        "floor_div" => floor_div,
        "mod" => |x, y| if y == 0 { 0 } else { x.wrapping_sub(floor_div(x, y).wrapping_mul(y)) },
        "real_div" => |x, y| {
            let quotient = num::i64_trunc(num::f64_of(x) / num::f64_of(y));
            quotient.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
        },
        _ => return None,
    };
    let width = dtype.bits() / 8;
    Some(mixed(vec![x, y], move |io, outs, pool| {
        let ([x, y], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        pairs_of_ints((&x.ints(), &y.ints()), &rows, (out, width), pool, |out, x, y| {
            write_ints(dtype, x.iter().zip(y).map(|(&a, &b)| f(a, b)), out);
        });
        Ok(())
    }))
}

/// Rounded toward negative infinity; by 0 it is 0.
fn floor_div(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let inexact = x.wrapping_rem(y) != 0 && (x < 0) != (y < 0);
    x.wrapping_div(y).wrapping_sub(i64::from(inexact))
}

/// A function of single integers.
pub(super) fn unary(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let dtype = l.site.tensor("x").ok()?.dtype;
    let f: fn(i64) -> i64 = match l.site.def.name {
        "abs" => i64::wrapping_abs,
        "sign" => i64::signum,
        "square" => |x| x.wrapping_mul(x),
        _ => return None,
    };
    let plain = is_plain(dtype) && dtype != DType::Bool;
    plain.then(|| {
        mixed(vec![x], move |io, outs, pool| {
            let ([x], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
            map_ints(&x.ints(), dtype, out, pool, f);
            Ok(())
        })
    })
}

/// `cast` between any two of floats in the arena, plain integers and booleans.
pub(super) fn cast(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let (from, to) = (l.site.tensor("x").ok()?.dtype, l.result()?.dtype);
    let known = |d: DType| in_arena(d) || is_plain(d);
    if !known(from) || !known(to) {
        return None;
    }
    let (low, high) = to.int_range().unwrap_or((0, 1));
    Some(mixed(vec![x], move |io, outs, pool| {
        match (io, outs) {
            ([Operand::Floats(x)], [Target::Floats(out)]) => layout::copy(x, out, pool),
            ([Operand::Floats(x)], [Target::Bytes(out)]) if to == DType::Bool => {
                fill_ints(to, out, pool, |i| i64::from(x[i] != 0.0));
            }
            // Truncated toward zero, saturating; NaN is 0.
            ([Operand::Floats(x)], [Target::Bytes(out)]) => {
                fill_ints(to, out, pool, |i| (x[i] as i64).clamp(low, high));
            }
            ([Operand::Tensor(t)], [Target::Floats(out)]) => {
                let x = Ints::of(t);
                pool.rows_mut(out, 1, GRAIN, |first, out| x.map(first, out, |v| v as f32));
            }
            ([Operand::Tensor(t)], [Target::Bytes(out)]) => map_ints(&Ints::of(t), to, out, pool, |v| v),
            _ => return Err(unforeseen()),
        }
        Ok(())
    }))
}

/// Writes what `f` makes of every integer, wrapped into `dtype`.
fn map_ints(x: &Ints<'_>, dtype: DType, out: &mut [u8], pool: &Pool, f: impl Fn(i64) -> i64 + Sync) {
    let width = dtype.bits() / 8;
    pool.rows_mut(out, width, GRAIN * width, |first, out| {
        let mut block = [0; BLOCK];
        for (n, out) in out.chunks_mut(BLOCK * width).enumerate() {
            let block = &mut block[..out.len() / width];
            x.map(first + n * BLOCK, block, &f);
            write_ints(dtype, block.iter().copied(), out);
        }
    });
}

/// `select`: all three broadcast.
pub(super) fn select(l: &Lowering<'_>) -> Option<Lowered> {
    let (cond, a, b) = (l.value("cond")?, l.value("a")?, l.value("b")?);
    let rows = Rows::new(&l.result_shape()?, [&l.shape(cond)?, &l.shape(a)?, &l.shape(b)?]).ok()?;
    let width = whole_bytes(l.result()?)?;
    Some(mixed(vec![cond, a, b], move |io, outs, pool| {
        let ([Operand::Tensor(cond), a, b], [out]) = (io, outs) else { return Err(unforeseen()) };
        let cond = cond.bytes();
        match (out, a, b) {
            (Target::Floats(out), a, b) => choose(cond, (&a.floats(), &b.floats()), &rows, out, pool),
            (Target::Bytes(out), Operand::Tensor(a), Operand::Tensor(b)) => by_width!(width, N => {
                let both = (a.bytes().as_chunks::<N>().0, b.bytes().as_chunks::<N>().0);
                choose(cond, both, &rows, out.as_chunks_mut::<N>().0, pool);
            }),
            _ => return Err(unforeseen()),
        }
        Ok(())
    }))
}

/// Bytes of an element, where it is 1, 2, 4 or 8.
pub(super) fn whole_bytes(ty: &TensorType) -> Option<usize> {
    matches!(ty.dtype.bits(), 8 | 16 | 32 | 64).then(|| ty.dtype.bits() / 8)
}

fn choose<T: Copy + Send + Sync>(
    cond: &[u8],
    (a, b): (&[T], &[T]),
    rows: &Rows<3>,
    out: &mut [T],
    pool: &Pool,
) {
    let [sc, sa, sb] = rows.steps;
    rows.share(out, 1, pool, |out, [c, i, j]| {
        if sc == 0 {
            let (from, at, step) = if cond[c] != 0 { (a, i, sa) } else { (b, j, sb) };
            match step {
                0 => out.fill(from[at]),
                _ => out.copy_from_slice(&from[at..at + out.len()]),
            }
            return;
        }
        let cond = &cond[c..c + out.len()];
        let pick = |c: &u8, a: T, b: T| if *c != 0 { a } else { b };
        let out = out.iter_mut().zip(cond);
        match (sa, sb) {
            (0, 0) => out.for_each(|(o, c)| *o = pick(c, a[i], b[j])),
            (0, _) => out.zip(&b[j..]).for_each(|((o, c), b)| *o = pick(c, a[i], *b)),
            (_, 0) => out.zip(&a[i..]).for_each(|((o, c), a)| *o = pick(c, *a, b[j])),
            _ => out.zip(a[i..].iter().zip(&b[j..])).for_each(|((o, c), (a, b))| *o = pick(c, *a, *b)),
        }
    });
}

/// Scale and zero point of every element: constant, one or one for each index of an axis, which repeats every
/// `inner` elements.
struct Scaling {
    scale: Vec<f32>,
    zero: Vec<i64>,
    inner: usize,
}

impl Scaling {
    fn of(l: &Lowering<'_>) -> Option<Scaling> {
        let scale = l.floats("scale")?;
        let zero = match l.value("zero_point") {
            Some(z) => l.constant(z)?.to_i64s(),
            None => vec![0; scale.len()],
        };
        let shape = l.shape(l.value("input")?)?;
        let (along, inner) = match l.site.tensor("scale").ok()?.rank() {
            0 => (1, 1),
            _ => {
                let axis = l.site.axis("axis", shape.len()).ok()?;
                (shape[axis], shape[axis + 1..].iter().product::<usize>().max(1))
            }
        };
        (scale.len() == along && zero.len() == along && along > 0).then_some(Scaling { scale, zero, inner })
    }

    fn at(&self, i: usize) -> (f32, i64) {
        let k = if self.scale.len() == 1 { 0 } else { i / self.inner % self.scale.len() };
        (self.scale[k], self.zero[k])
    }
}

/// `dequantize` with constant scale and zero point.
pub(super) fn dequantize(l: &Lowering<'_>) -> Option<Lowered> {
    let (input, scaling) = (l.value("input")?, Scaling::of(l)?);
    let (from, to) = (l.site.tensor("input").ok()?.dtype, l.result()?.dtype);
    (is_plain(from) && in_arena(to)).then(|| {
        mixed(vec![input], move |io, outs, pool| {
            let ([Operand::Tensor(x)], [Target::Floats(out)]) = (io, outs) else { return Err(unforeseen()) };
            let x = Ints::of(x);
            pool.rows_mut(out, 1, GRAIN, |first, out| {
                for (i, o) in (first..).zip(out) {
                    let (scale, zero) = scaling.at(i);
                    *o = scale * (x.at(i) - zero) as f32;
                }
            });
            Ok(())
        })
    })
}

/// `quantize` with constant scale and zero point: the quotient is rounded to the type of the input, then to the
/// nearest integer, ties to even.
pub(super) fn quantize(l: &Lowering<'_>) -> Option<Lowered> {
    let (input, scaling) = (l.value("input")?, Scaling::of(l)?);
    let (from, to) = (l.site.tensor("input").ok()?.dtype, l.result()?.dtype);
    let (low, high) = to.int_range()?;
    (in_arena(from) && is_plain(to)).then(|| {
        mixed(vec![input], move |io, outs, pool| {
            let ([x], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
            let x = x.floats();
            let half = |v: f32| if from == DType::F16 { half::f16::from_f32(v).to_f32() } else { v };
            fill_ints(to, out, pool, |i| {
                let (scale, zero) = scaling.at(i);
                (half(x[i] / scale).round_ties_even() as i64).saturating_add(zero).clamp(low, high)
            });
            Ok(())
        })
    })
}
