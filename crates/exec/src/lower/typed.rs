//! Comparisons, logic, selection, casts and integer arithmetic.

use super::mixed::{Closure, Operand, Target, ints, is_plain, unforeseen, write_ints};
use super::{Lowered, Lowering};
use crate::kernels::rows::Rows;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, TensorType, ValueId};
use anemone_tensor::num;

/// A kernel over any tensors from a closure.
pub(super) fn mixed(
    reads: Vec<ValueId>,
    run: impl Fn(&[Operand<'_>], &mut [Target<'_>], &crate::pool::Pool) -> Result<(), Fault> + Send + 'static,
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

/// Calls `f` with each pair of elements of a row.
fn row<T: Copy>(x: &[T], y: &[T], at: [usize; 2], rows: &Rows<2>, mut f: impl FnMut(usize, T, T)) {
    match rows.steps {
        [1, 1] => {
            let pairs = x[at[0]..].iter().zip(&y[at[1]..]).take(rows.len);
            pairs.enumerate().for_each(|(i, (&a, &b))| f(i, a, b));
        }
        [1, _] => x[at[0]..].iter().take(rows.len).enumerate().for_each(|(i, &a)| f(i, a, y[at[1]])),
        [_, 1] => y[at[1]..].iter().take(rows.len).enumerate().for_each(|(i, &b)| f(i, x[at[0]], b)),
        _ => (0..rows.len).for_each(|i| f(i, x[at[0]], y[at[1]])),
    }
}

fn compare_all<T: Copy>(x: &[T], y: &[T], rows: &Rows<2>, out: &mut [u8], f: impl Fn(T, T) -> bool) {
    rows.each(|to, at| {
        let out = &mut out[to..to + rows.len];
        row(x, y, at, rows, |i, a, b| out[i] = u8::from(f(a, b)));
    });
}

/// `equal`, `not_equal`, `less` and the others: floats as they are, all else as integers.
pub(super) fn compare(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, y, dtype, rows) = pair(l)?;
    let kind = l.site.def.name;
    Some(mixed(vec![x, y], move |io, outs, _| {
        let ([x, y], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        if in_arena(dtype) {
            let (x, y) = (x.floats(), y.floats());
            match kind {
                "equal" => compare_all(&x, &y, &rows, out, |a, b| a == b),
                "not_equal" => compare_all(&x, &y, &rows, out, |a, b| a != b),
                "less" => compare_all(&x, &y, &rows, out, |a, b| a < b),
                "less_equal" => compare_all(&x, &y, &rows, out, |a, b| a <= b),
                "greater" => compare_all(&x, &y, &rows, out, |a, b| a > b),
                _ => compare_all(&x, &y, &rows, out, |a, b| a >= b),
            }
            return Ok(());
        }
        let (x, y) = (x.ints(), y.ints());
        match kind {
            "equal" => compare_all(&x, &y, &rows, out, |a, b| a == b),
            "not_equal" => compare_all(&x, &y, &rows, out, |a, b| a != b),
            "less" => compare_all(&x, &y, &rows, out, |a, b| a < b),
            "less_equal" => compare_all(&x, &y, &rows, out, |a, b| a <= b),
            "greater" => compare_all(&x, &y, &rows, out, |a, b| a > b),
            _ => compare_all(&x, &y, &rows, out, |a, b| a >= b),
        }
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
    Some(mixed(vec![x, y], move |io, outs, _| {
        let ([Operand::Tensor(x), Operand::Tensor(y)], [Target::Bytes(out)]) = (io, outs) else {
            return Err(unforeseen());
        };
        let (x, y) = (x.bytes(), y.bytes());
        match kind {
            "logical_and" => compare_all(x, y, &rows, out, |a, b| a != 0 && b != 0),
            "logical_or" => compare_all(x, y, &rows, out, |a, b| a != 0 || b != 0),
            _ => compare_all(x, y, &rows, out, |a, b| (a != 0) != (b != 0)),
        }
        Ok(())
    }))
}

/// `logical_not`.
pub(super) fn logical_not(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    Some(mixed(vec![x], |io, outs, _| {
        let ([Operand::Tensor(x)], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        out.iter_mut().zip(x.bytes().iter()).for_each(|(o, v)| *o = u8::from(*v == 0));
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
    Some(mixed(vec![x, y], move |io, outs, _| {
        let ([x, y], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        let (x, y) = (x.ints(), y.ints());
        let mut values = vec![0; out.len() * 8 / dtype.bits()];
        rows.each(|to, at| {
            let values = &mut values[to..to + rows.len];
            row(&x, &y, at, &rows, |i, a, b| values[i] = f(a, b));
        });
        write_ints(dtype, values.into_iter(), out);
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
        mixed(vec![x], move |io, outs, _| {
            let ([x], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
            write_ints(dtype, x.ints().into_iter().map(f), out);
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
    Some(mixed(vec![x], move |io, outs, _| {
        match (io, outs) {
            ([Operand::Floats(x)], [Target::Floats(out)]) => out.copy_from_slice(x),
            ([Operand::Floats(x)], [Target::Bytes(out)]) => write_floats(to, x, out),
            ([Operand::Tensor(t)], [Target::Floats(out)]) => {
                out.iter_mut().zip(ints(t)).for_each(|(o, v)| *o = v as f32);
            }
            ([Operand::Tensor(t)], [Target::Bytes(out)]) => write_ints(to, ints(t).into_iter(), out),
            _ => return Err(unforeseen()),
        }
        Ok(())
    }))
}

/// Floats truncated toward zero, saturating; NaN is 0, and true.
fn write_floats(dtype: DType, x: &[f32], out: &mut [u8]) {
    let (low, high) = dtype.int_range().unwrap_or((0, 1));
    let saturated = |v: &f32| match dtype {
        DType::Bool => i64::from(*v != 0.0),
        _ => (*v as i64).clamp(low, high),
    };
    write_ints(dtype, x.iter().map(saturated), out);
}

/// `select`: all three broadcast.
pub(super) fn select(l: &Lowering<'_>) -> Option<Lowered> {
    let (cond, a, b) = (l.value("cond")?, l.value("a")?, l.value("b")?);
    let rows = Rows::new(&l.result_shape()?, [&l.shape(cond)?, &l.shape(a)?, &l.shape(b)?]).ok()?;
    let width = whole_bytes(l.result()?)?;
    Some(mixed(vec![cond, a, b], move |io, outs, _| {
        let ([Operand::Tensor(cond), a, b], [out]) = (io, outs) else { return Err(unforeseen()) };
        let cond = cond.bytes();
        match (out, a, b) {
            (Target::Floats(out), a, b) => choose(cond, &a.floats(), &b.floats(), &rows, out),
            (Target::Bytes(out), Operand::Tensor(a), Operand::Tensor(b)) => {
                let (a, b) = (a.bytes(), b.bytes());
                match width {
                    1 => choose(cond, a, b, &rows, out),
                    2 => choose(cond, chunks::<2>(a), chunks(b), &rows, out.as_chunks_mut::<2>().0),
                    4 => choose(cond, chunks::<4>(a), chunks(b), &rows, out.as_chunks_mut::<4>().0),
                    _ => choose(cond, chunks::<8>(a), chunks(b), &rows, out.as_chunks_mut::<8>().0),
                }
            }
            _ => return Err(unforeseen()),
        }
        Ok(())
    }))
}

fn chunks<const N: usize>(bytes: &[u8]) -> &[[u8; N]] {
    bytes.as_chunks::<N>().0
}

/// Bytes of an element, where it is 1, 2, 4 or 8.
pub(super) fn whole_bytes(ty: &TensorType) -> Option<usize> {
    matches!(ty.dtype.bits(), 8 | 16 | 32 | 64).then(|| ty.dtype.bits() / 8)
}

fn choose<T: Copy>(cond: &[u8], a: &[T], b: &[T], rows: &Rows<3>, out: &mut [T]) {
    let [sc, sa, sb] = rows.steps;
    rows.each(|to, [c, i, j]| {
        let out = &mut out[to..to + rows.len];
        if sc == 0 {
            let (from, at, step) = if cond[c] != 0 { (a, i, sa) } else { (b, j, sb) };
            match step {
                0 => out.fill(from[at]),
                _ => out.copy_from_slice(&from[at..at + out.len()]),
            }
            return;
        }
        for (k, (o, c)) in out.iter_mut().zip(&cond[c..]).enumerate() {
            *o = if *c != 0 { a[i + k * sa] } else { b[j + k * sb] };
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
        mixed(vec![input], move |io, outs, _| {
            let ([Operand::Tensor(x)], [Target::Floats(out)]) = (io, outs) else { return Err(unforeseen()) };
            for (i, (o, v)) in out.iter_mut().zip(ints(x)).enumerate() {
                let (scale, zero) = scaling.at(i);
                *o = scale * (v - zero) as f32;
            }
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
        mixed(vec![input], move |io, outs, _| {
            let ([x], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
            let x = x.floats();
            let half = |v: f32| if from == DType::F16 { half::f16::from_f32(v).to_f32() } else { v };
            let quantized = x.iter().enumerate().map(|(i, &x)| {
                let (scale, zero) = scaling.at(i);
                (half(x / scale).round_ties_even() as i64).saturating_add(zero).clamp(low, high)
            });
            write_ints(to, quantized, out);
            Ok(())
        })
    })
}
