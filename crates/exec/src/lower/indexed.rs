//! Gathering, scattering and slicing at places that are known only at run time.

use super::mixed::{First, Ints, Operand, Target, by_width, is_plain, unforeseen};
use super::typed::{mixed, whole_bytes};
use super::{Lowered, Lowering};
use crate::kernels::elementwise::GRAIN;
use crate::kernels::layout::{self, CopyPlan, FILL};
use crate::pool::{Disjoint, Pool};
use anemone_mil::ops::{Bounds, Fault, Gather, Scatter, ScatterMode, SliceByIndex, SliceDim};
use anemone_mil::{DType, Tensor, ValueId};
use std::ops::Range;

/// Columns of a part of a scatter at the least: a line of the cache.
const COLUMNS: usize = 16;

/// The tensor that is gathered from: an operand, or a constant in the type it is stored in.
enum Table {
    Operand,
    Constant(Tensor),
}

impl Table {
    /// The table of value `x`, and what has to be read for it beside `indices`.
    fn of(l: &Lowering<'_>, x: ValueId, indices: ValueId) -> (Table, Vec<ValueId>) {
        match l.constant(x).filter(|t| matches!(t.dtype(), DType::F16 | DType::F32)) {
            Some(t) => (Table::Constant(t), vec![indices]),
            None => (Table::Operand, vec![indices, x]),
        }
    }

    /// Fills every row of `len` elements of `out` with those from `start(row)` on ([`FILL`]: zeros); an element takes
    /// `width` bytes.
    fn rows(
        &self,
        x: Option<&Operand<'_>>,
        (len, width): (usize, usize),
        out: &mut Target<'_>,
        pool: &Pool,
        start: impl Fn(usize) -> Result<usize, Fault> + Sync,
    ) -> Result<(), Fault> {
        match (self, x, out) {
            (Table::Constant(t), _, Target::Floats(out)) if t.dtype() == DType::F16 => {
                let x = t.bytes().as_chunks::<2>().0;
                let wide = |v: [u8; 2]| half::f16::from_le_bytes(v).to_f32();
                each_row(out, len, pool, start, |at, row| take(x, at, row, wide))
            }
            (Table::Constant(t), _, Target::Floats(out)) => {
                let x = t.bytes().as_chunks::<4>().0;
                each_row(out, len, pool, start, |at, row| take(x, at, row, f32::from_le_bytes))
            }
            (Table::Operand, Some(x), Target::Floats(out)) => {
                let x = x.floats();
                each_row(out, len, pool, start, |at, row| take(&x, at, row, |v| v))
            }
            (Table::Operand, Some(Operand::Tensor(x)), Target::Bytes(out)) => by_width!(width, N => {
                let x = x.bytes().as_chunks::<N>().0;
                each_row(out.as_chunks_mut::<N>().0, len, pool, start, |at, row| take(x, at, row, |v| v))
            }),
            _ => Err(unforeseen()),
        }
    }
}

/// Fills every row of `len` elements by `take(start(row), row)`.
fn each_row<T: Send>(
    out: &mut [T],
    len: usize,
    pool: &Pool,
    start: impl Fn(usize) -> Result<usize, Fault> + Sync,
    take: impl Fn(usize, &mut [T]) + Sync,
) -> Result<(), Fault> {
    let faults = First::default();
    pool.rows_mut(out, len, GRAIN, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(len.max(1)).enumerate() {
            match start(first + i) {
                Ok(at) => take(at, row),
                Err(fault) => return faults.note(first + i, fault),
            }
        }
    });
    faults.done()
}

fn take<S: Copy, T: Copy + Default>(x: &[S], at: usize, row: &mut [T], f: impl Fn(S) -> T) {
    match (at, row) {
        (FILL, row) => row.fill(T::default()),
        (_, [one]) => *one = f(x[at]),
        (_, row) => {
            let from = &x[at..at + row.len()];
            row.iter_mut().zip(from).for_each(|(o, v)| *o = f(*v));
        }
    }
}

fn product(dims: &[usize]) -> usize {
    dims.iter().product()
}

/// `gather`.
pub(super) fn gather(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Gather::of(&l.site).ok()?;
    let (x, indices) = (l.shape(view.x)?, l.shape(view.indices)?);
    let (bounds, width) = (Bounds::of(&l.site), whole_bytes(l.result()?)?);
    let outer = product(&x[view.batch_dims..view.axis]);
    let (n, len) = (x[view.axis], product(&x[view.axis + 1..]));
    let count = product(&indices[view.batch_dims..]);
    let (table, reads) = Table::of(l, view.x, view.indices);
    Some(mixed(reads, move |io, outs, pool| {
        let ([indices, x @ ..], [out]) = (io, outs) else { return Err(unforeseen()) };
        let indices = indices.ints();
        table.rows(x.first(), (len, width), out, pool, |row| {
            let (slice, i) = (row / count, row % count);
            let at = bounds.nearest(indices.at(slice / outer * count + i), n)?;
            Ok(at.map_or(FILL, |at| (slice * n + at) * len))
        })
    }))
}

/// `gather_along_axis`.
pub(super) fn gather_along_axis(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, indices) = (l.value("x")?, l.value("indices")?);
    let (shape, out) = (l.shape(x)?, l.shape(indices)?);
    let axis = l.site.axis("axis", shape.len()).ok()?;
    let (bounds, width) = (Bounds::of(&l.site), whole_bytes(l.result()?)?);
    let ((_, n, inner), (_, m, _)) = (Lowering::around(&shape, axis), Lowering::around(&out, axis));
    let (table, reads) = Table::of(l, x, indices);
    Some(mixed(reads, move |io, outs, pool| {
        let ([indices, x @ ..], [out]) = (io, outs) else { return Err(unforeseen()) };
        let indices = indices.ints();
        table.rows(x.first(), (1, width), out, pool, |i| {
            let at = bounds.nearest(indices.at(i), n)?;
            Ok(at.map_or(FILL, |at| (i / (m * inner) * n + at) * inner + i % inner))
        })
    }))
}

/// Place of an index of several dims of the extents `dims`, each of which `find` looks up; [`FILL`] for none.
fn folded(
    index: impl Iterator<Item = i64>,
    dims: &[usize],
    first: usize,
    find: impl Fn(i64, usize) -> Result<Option<usize>, Fault>,
) -> Result<usize, Fault> {
    let mut place = Some(first);
    for (i, &n) in index.zip(dims) {
        place = place.zip(find(i, n)?).map(|(place, i)| place * n + i);
    }
    Ok(place.unwrap_or(FILL))
}

/// `gather_nd`.
pub(super) fn gather_nd(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, indices) = (l.value("x")?, l.value("indices")?);
    let (shape, index_shape) = (l.shape(x)?, l.shape(indices)?);
    let batch = match l.site.version.param("batch_dims") {
        Some(_) => usize::try_from(l.site.int("batch_dims").ok()?).ok()?,
        None => 0,
    };
    let (&depth, outer) = index_shape.split_last()?;
    let (addressed, rest) = (shape.get(batch..batch + depth)?.to_vec(), shape.get(batch + depth..)?);
    if outer.get(..batch)? != shape.get(..batch)? || depth == 0 {
        return None;
    }
    let (len, per_batch) = (product(rest), product(outer.get(batch..)?));
    let (bounds, width) = (Bounds::of(&l.site), whole_bytes(l.result()?)?);
    let (table, reads) = Table::of(l, x, indices);
    Some(mixed(reads, move |io, outs, pool| {
        let ([indices, x @ ..], [out]) = (io, outs) else { return Err(unforeseen()) };
        let indices = indices.ints();
        table.rows(x.first(), (len, width), out, pool, |row| {
            let index = (row * depth..(row + 1) * depth).map(|i| indices.at(i));
            let at = folded(index, &addressed, row / per_batch.max(1), |i, n| bounds.nearest(i, n))?;
            Ok(if at == FILL { FILL } else { at * len })
        })
    }))
}

/// Which row of a slice of `data` an update, or a single element of one, goes into; [`FILL`] for none.
type Place = Box<dyn Fn(&Ints<'_>, usize) -> Result<usize, Fault> + Send + Sync>;

/// `scatter`, `scatter_along_axis` and `scatter_nd`.
pub(super) fn scatter(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Scatter::of(&l.site).ok()?;
    let (data, indices) = (l.shape(view.data)?, l.shape(view.indices)?);
    let (bounds, axis, dtype) = (Bounds::of(&l.site), view.axis, l.result()?.dtype);
    let ((outer, n, len), kind) = (Lowering::around(&data, axis), l.site.def.name);
    let one = move |n: usize| -> Place {
        Box::new(move |indices, i| Ok(bounds.resolve(indices.at(i), n)?.unwrap_or(FILL)))
    };
    let (spread, place) = match kind {
        "scatter" => (Spread { outer, updates: product(&indices), rows: n, len, single: false }, one(n)),
        "scatter_along_axis" => {
            (Spread { outer, updates: indices[axis], rows: n, len, single: true }, one(n))
        }
        _ => {
            let depth = *indices.last()?;
            let (addressed, rest) = (data.get(..depth)?.to_vec(), data.get(depth..)?);
            if depth == 0 {
                return None;
            }
            let (rows, len, updates) = (product(&addressed), product(rest), product(&indices) / depth);
            let place: Place = Box::new(move |indices, i| {
                let index = (i * depth..(i + 1) * depth).map(|i| indices.at(i));
                folded(index, &addressed, 0, |i, n| bounds.resolve(i, n))
            });
            (Spread { outer: 1, updates, rows, len, single: false }, place)
        }
    };
    let float = matches!(dtype, DType::F16 | DType::F32);
    if !(float || is_plain(dtype)) || dtype == DType::Bool {
        return None;
    }
    let (mode, width) = (view.mode, dtype.bits() / 8);
    Some(mixed(vec![view.data, view.indices, view.updates], move |io, outs, pool| {
        let ([data, indices, updates], [out]) = (io, outs) else { return Err(unforeseen()) };
        let indices = indices.ints();
        let place = |i: usize| place(&indices, i);
        match (data, updates, out) {
            (data, updates, Target::Floats(out)) => {
                let updates = updates.floats();
                layout::copy(&data.floats(), out, pool);
                match mode {
                    ScatterMode::Update => spread.put(&updates, out, pool, place, |_, b| b),
                    ScatterMode::Add => spread.put(&updates, out, pool, place, |a, b| a + b),
                    _ => spread.put(&updates, out, pool, place, floats(mode)),
                }
            }
            (Operand::Tensor(data), Operand::Tensor(updates), Target::Bytes(out)) => {
                layout::copy(data.bytes(), out, pool);
                by_width!(width, N => {
                    let (f, updates) = (integers(mode), updates.bytes().as_chunks::<N>().0);
                    let narrow = |v: i64| -> [u8; N] { std::array::from_fn(|b| (v >> (8 * b)) as u8) };
                    let apply = |a, b| narrow(f(widened(dtype, a), widened(dtype, b)));
                    spread.put(updates, out.as_chunks_mut::<N>().0, pool, place, apply)
                })
            }
            _ => Err(unforeseen()),
        }
    }))
}

/// The integer of plain type `dtype` that `bytes` are.
fn widened<const N: usize>(dtype: DType, bytes: [u8; N]) -> i64 {
    let number = bytes.iter().rev().fold(0u64, |v, &b| v << 8 | u64::from(b));
    let unused = 64 - 8 * N;
    match dtype {
        DType::U8 | DType::U16 | DType::U32 => number.cast_signed(),
        _ => (number << unused).cast_signed() >> unused,
    }
}

/// How updates `[outer, updates, len]` go into rows of `[outer, rows, len]`.
#[derive(Clone, Copy)]
struct Spread {
    outer: usize,
    updates: usize,
    rows: usize,
    len: usize,
    /// Every element of an update has a place of its own.
    single: bool,
}

/// A part of what is updated, which no other task touches.
struct Part {
    outer: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Spread {
    /// Cuts the work so that every element is updated in the order of the updates, whoever does it.
    fn parts(&self, pool: &Pool) -> Vec<Part> {
        let Spread { outer, rows, len, .. } = *self;
        let tasks = (outer * self.updates * len / GRAIN).clamp(1, pool.threads());
        let cut = |n: usize, i: usize| n * i / tasks..n * (i + 1) / tasks;
        let part = |i: usize| {
            let mut part = Part { outer: 0..outer, rows: 0..rows, columns: 0..len };
            match () {
                () if outer >= tasks => part.outer = cut(outer, i),
                () if len >= tasks * COLUMNS => part.columns = cut(len, i),
                () => part.rows = cut(rows, i),
            }
            part
        };
        (0..tasks).map(part).collect()
    }

    /// Makes `out = f(out, update)` at every place; `place(update)` is a row, or none.
    fn put<T: Copy + Send + Sync>(
        &self,
        updates: &[T],
        out: &mut [T],
        pool: &Pool,
        place: impl Fn(usize) -> Result<usize, Fault> + Sync,
        f: impl Fn(T, T) -> T + Sync,
    ) -> Result<(), Fault> {
        let (parts, faults, out) = (self.parts(pool), First::default(), Disjoint::new(out));
        pool.run(parts.len(), |i| {
            if let Err((at, fault)) = self.part(&parts[i], updates, &out, &place, &f) {
                faults.note(at, fault);
            }
        });
        faults.done()
    }

    /// The updates of one part; a fault comes with its place among them.
    fn part<T: Copy + Send + Sync>(
        &self,
        part: &Part,
        updates: &[T],
        out: &Disjoint<'_, T>,
        place: impl Fn(usize) -> Result<usize, Fault>,
        f: impl Fn(T, T) -> T,
    ) -> Result<(), (usize, Fault)> {
        let width = if self.single { 1 } else { part.columns.len() };
        for o in part.outer.clone() {
            for k in 0..self.updates {
                for column in part.columns.clone().step_by(width.max(1)) {
                    let from = (o * self.updates + k) * self.len + column;
                    let row = place(if self.single { from } else { k }).map_err(|e| (from, e))?;
                    if !part.rows.contains(&row) {
                        continue;
                    }
                    let to = (o * self.rows + row) * self.len + column;
                    // SAFETY: parts have no element in common.
                    let own = unsafe { out.slice(to..to + width) };
                    own.iter_mut().zip(&updates[from..from + width]).for_each(|(o, &u)| *o = f(*o, u));
                }
            }
        }
        Ok(())
    }
}

fn floats(mode: ScatterMode) -> fn(f32, f32) -> f32 {
    match mode {
        ScatterMode::Add => |a, b| a + b,
        ScatterMode::Div => |a, b| a / b,
        ScatterMode::Max => f32::max,
        ScatterMode::Min => f32::min,
        ScatterMode::Mul => |a, b| a * b,
        ScatterMode::Sub => |a, b| a - b,
        ScatterMode::Update => |_, b| b,
    }
}

/// Wraps around; a division by 0 gives 0.
fn integers(mode: ScatterMode) -> fn(i64, i64) -> i64 {
    match mode {
        ScatterMode::Add => i64::wrapping_add,
        ScatterMode::Div => |a, b| a.checked_div(b).unwrap_or(0),
        ScatterMode::Max => i64::max,
        ScatterMode::Min => i64::min,
        ScatterMode::Mul => i64::wrapping_mul,
        ScatterMode::Sub => i64::wrapping_sub,
        ScatterMode::Update => |_, b| b,
    }
}

/// `slice_update`: `x` with a part replaced, its bounds known at run time.
pub(super) fn slice_update(l: &Lowering<'_>) -> Option<Lowered> {
    let view = SliceByIndex::of(&l.site).ok()?;
    let update = l.value("update")?;
    let (shape, wanted, width) = (l.shape(view.x)?, l.shape(update)?, whole_bytes(l.result()?)?);
    let given = [view.x, update, l.value("begin")?, l.value("end")?];
    Some(mixed(given.to_vec(), move |io, outs, pool| {
        let ([x, update, begin, end], [out]) = (io, outs) else { return Err(unforeseen()) };
        let dims = view.with_bounds(&begin.ints().to_vec(), &end.ints().to_vec())?.resolve(&shape)?;
        let kept: Vec<usize> = dims.iter().filter(|d| !d.squeeze).map(|d| d.extent).collect();
        if kept != wanted {
            return Err(Fault::arg("update", format!("of shape {wanted:?}"), format!("of shape {kept:?}")));
        }
        match (x, update, out) {
            (x, update, Target::Floats(out)) => {
                layout::copy(&x.floats(), out, pool);
                overwrite(&shape, &dims, &update.floats(), 1, out, pool);
            }
            (Operand::Tensor(x), Operand::Tensor(update), Target::Bytes(out)) => {
                layout::copy(x.bytes(), out, pool);
                overwrite(&shape, &dims, update.bytes(), width, out, pool);
            }
            _ => return Err(unforeseen()),
        }
        Ok(())
    }))
}

/// Writes `update` into the places of `dims`; an element is `width` long.
pub(crate) fn overwrite<T: Copy + Send + Sync>(
    shape: &[usize],
    dims: &[SliceDim],
    update: &[T],
    width: usize,
    out: &mut [T],
    pool: &Pool,
) {
    let (Some((last, outer)), Some(&extent)) = (dims.split_last(), shape.last()) else { return };
    let row = last.extent * width;
    if update.is_empty() || row == 0 {
        return;
    }
    let out = Disjoint::new(out);
    let rows = outer.iter().map(|d| d.extent).product::<usize>();
    pool.parallel_for(rows, GRAIN.div_ceil(row), |range| {
        for r in range {
            let (mut rest, mut at, mut step) = (r, 0, extent);
            for (d, &n) in outer.iter().zip(shape).rev() {
                at += d.position(rest % d.extent) * step;
                (rest, step) = (rest / d.extent, step * n);
            }
            let from = &update[r * row..(r + 1) * row];
            // SAFETY: every row of the update goes to places of its own.
            let put = |to: usize, from: &[T]| unsafe {
                out.slice(to * width..to * width + from.len()).copy_from_slice(from);
            };
            if last.stride == 1 {
                put(at + last.begin, from);
            } else {
                from.chunks_exact(width).enumerate().for_each(|(i, v)| put(at + last.position(i), v));
            }
        }
    });
}

/// `slice_by_size` of constant size from a place that is known at run time.
pub(super) fn slice_by_size(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, begin) = (l.value("x")?, l.value("begin")?);
    let (shape, count, width) = (l.shape(x)?, l.result_shape()?, whole_bytes(l.result()?)?);
    if l.site.known_ints("size")?.contains(&-1) || shape.len() != count.len() {
        return None;
    }
    Some(mixed(vec![x, begin], move |io, outs, pool| {
        let ([x, begin], [out]) = (io, outs) else { return Err(unforeseen()) };
        let begin = begin.ints().to_vec();
        let mut from = Vec::with_capacity(shape.len());
        for (d, ((&b, &n), &len)) in begin.iter().zip(&shape).zip(&count).enumerate() {
            let front = if b < 0 { b.saturating_add(n as i64) } else { b };
            let at = usize::try_from(front).ok().filter(|&at| at <= n && len <= n - at);
            let allowed = || format!("an index of dim {d}, extent {n}, with {len} elements from it on");
            from.push(at.ok_or_else(|| Fault::arg("begin", b, allowed()))?);
        }
        let plan = CopyPlan::slice(&shape, &from, &vec![1; shape.len()], &count);
        let plan = plan.map_err(|e| Fault::new(e.to_string()))?;
        copy(&plan, x, out, width, pool)
    }))
}

/// Runs a copy on elements of any type.
fn copy(
    plan: &CopyPlan,
    x: &Operand<'_>,
    out: &mut Target<'_>,
    width: usize,
    pool: &Pool,
) -> Result<(), Fault> {
    match (x, out) {
        (x, Target::Floats(out)) => plan.run(&x.floats(), out, pool),
        (Operand::Tensor(x), Target::Bytes(out)) => by_width!(width, N => {
            plan.run(x.bytes().as_chunks::<N>().0, out.as_chunks_mut::<N>().0, pool);
        }),
        _ => return Err(unforeseen()),
    }
    Ok(())
}
