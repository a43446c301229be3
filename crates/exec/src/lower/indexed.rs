//! Gathering, scattering and slicing at places that are known only at run time.

use super::mixed::{Operand, Target, is_plain, unforeseen, write_ints};
use super::typed::{mixed, whole_bytes};
use super::{Lowered, Lowering};
use crate::kernels::layout::{CopyPlan, FILL};
use crate::pool::Pool;
use anemone_mil::ops::{Bounds, Fault, Gather, Scatter, ScatterMode, SliceByIndex, SliceDim};
use anemone_mil::{DType, Tensor, ValueId};

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

    /// Copies rows of `len` elements that start at `starts` ([`FILL`]: zeros) one after the other.
    fn rows(
        &self,
        io: &[Operand<'_>],
        starts: &[usize],
        len: usize,
        width: usize,
        out: &mut Target<'_>,
    ) -> Result<(), Fault> {
        match (self, io.get(1), out) {
            (Table::Constant(t), _, Target::Floats(out)) => decode_rows(t, starts, len, out),
            (Table::Operand, Some(x), Target::Floats(out)) => {
                copy_rows(&x.floats(), starts, len, 0.0, out);
            }
            (Table::Operand, Some(Operand::Tensor(x)), Target::Bytes(out)) => {
                let at: Vec<usize> =
                    starts.iter().map(|&s| if s == FILL { FILL } else { s * width }).collect();
                copy_rows(x.bytes(), &at, len * width, 0, out);
            }
            _ => return Err(unforeseen()),
        }
        Ok(())
    }
}

fn copy_rows<T: Copy>(x: &[T], starts: &[usize], len: usize, fill: T, out: &mut [T]) {
    for (row, &at) in out.chunks_exact_mut(len.max(1)).zip(starts) {
        match at {
            FILL => row.fill(fill),
            _ if len == 1 => row[0] = x[at],
            _ => row.copy_from_slice(&x[at..at + len]),
        }
    }
}

fn decode_rows(t: &Tensor, starts: &[usize], len: usize, out: &mut [f32]) {
    let bytes = t.bytes();
    for (row, &at) in out.chunks_exact_mut(len.max(1)).zip(starts) {
        match (at, t.dtype()) {
            (FILL, _) => row.fill(0.0),
            (_, DType::F16) => {
                let from = bytes[at * 2..(at + len) * 2].as_chunks::<2>().0;
                row.iter_mut().zip(from).for_each(|(o, v)| *o = half::f16::from_le_bytes(*v).to_f32());
            }
            _ => {
                let from = bytes[at * 4..(at + len) * 4].as_chunks::<4>().0;
                row.iter_mut().zip(from).for_each(|(o, v)| *o = f32::from_le_bytes(*v));
            }
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
    let (batch, outer) = (product(&x[..view.batch_dims]), product(&x[view.batch_dims..view.axis]));
    let (n, len) = (x[view.axis], product(&x[view.axis + 1..]));
    let count = product(&indices[view.batch_dims..]);
    let (table, reads) = Table::of(l, view.x, view.indices);
    Some(mixed(reads, move |io, outs, _| {
        let ([indices, ..], [out]) = (io, outs) else { return Err(unforeseen()) };
        let at = located(bounds, &indices.ints(), n)?;
        let mut starts = Vec::with_capacity(batch * outer * count);
        for b in 0..batch {
            for o in 0..outer {
                let place = |i: &usize| if *i == FILL { FILL } else { ((b * outer + o) * n + i) * len };
                starts.extend(at[b * count..(b + 1) * count].iter().map(place));
            }
        }
        table.rows(io, &starts, len, width, out)
    }))
}

/// Indices into a dim of extent `n`, from the front; [`FILL`] in a dim without elements.
fn located(bounds: Bounds, indices: &[i64], n: usize) -> Result<Vec<usize>, Fault> {
    indices.iter().map(|&i| bounds.nearest(i, n).map(|at| at.unwrap_or(FILL))).collect()
}

/// `gather_along_axis`.
pub(super) fn gather_along_axis(l: &Lowering<'_>) -> Option<Lowered> {
    let (x, indices) = (l.value("x")?, l.value("indices")?);
    let (shape, out) = (l.shape(x)?, l.shape(indices)?);
    let axis = l.site.axis("axis", shape.len()).ok()?;
    let (bounds, width) = (Bounds::of(&l.site), whole_bytes(l.result()?)?);
    let ((_, n, inner), (_, m, _)) = (Lowering::around(&shape, axis), Lowering::around(&out, axis));
    let (table, reads) = Table::of(l, x, indices);
    Some(mixed(reads, move |io, outs, _| {
        let ([indices, ..], [out]) = (io, outs) else { return Err(unforeseen()) };
        let mut starts = located(bounds, &indices.ints(), n)?;
        let block = (m * inner).max(1);
        let places = starts.iter_mut().enumerate().filter(|(_, s)| **s != FILL);
        places.for_each(|(i, s)| *s = (i / block * n + *s) * inner + i % inner);
        table.rows(io, &starts, 1, width, out)
    }))
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
    Some(mixed(reads, move |io, outs, _| {
        let ([indices, ..], [out]) = (io, outs) else { return Err(unforeseen()) };
        let values = indices.ints();
        let mut starts = Vec::with_capacity(values.len() / depth);
        for (row, index) in values.chunks_exact(depth).enumerate() {
            let mut at = Some(row / per_batch.max(1));
            for (&i, &n) in index.iter().zip(&addressed) {
                at = at.zip(bounds.nearest(i, n)?).map(|(at, i)| at * n + i);
            }
            starts.push(at.map_or(FILL, |at| at * len));
        }
        table.rows(io, &starts, len, width, out)
    }))
}

/// Where each row of updates goes: start in `data`, or [`FILL`] for nowhere.
type Places = Box<dyn Fn(&[i64]) -> Result<Vec<usize>, Fault> + Send>;

/// `scatter`, `scatter_along_axis` and `scatter_nd`.
pub(super) fn scatter(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Scatter::of(&l.site).ok()?;
    let (data, indices) = (l.shape(view.data)?, l.shape(view.indices)?);
    let (bounds, axis, dtype) = (Bounds::of(&l.site), view.axis, l.result()?.dtype);
    let resolved = move |i: i64, n: usize| bounds.resolve(i, n).map(|at| at.unwrap_or(FILL));
    let (len, places): (usize, Places) = match l.site.def.name {
        "scatter" => {
            let (outer, n, len) = Lowering::around(&data, axis);
            let places = move |indices: &[i64]| {
                let at: Vec<usize> = indices.iter().map(|&i| resolved(i, n)).collect::<Result<_, _>>()?;
                let one =
                    |o: usize| at.iter().map(move |&i| if i == FILL { FILL } else { (o * n + i) * len });
                Ok((0..outer).flat_map(one).collect())
            };
            (len, Box::new(places))
        }
        "scatter_along_axis" => {
            let ((_, n, inner), (_, m, _)) =
                (Lowering::around(&data, axis), Lowering::around(&indices, axis));
            let block = (m * inner).max(1);
            let places = move |indices: &[i64]| {
                let one = |(j, &i): (usize, &i64)| {
                    let at = resolved(i, n)?;
                    Ok(if at == FILL { FILL } else { (j / block * n + at) * inner + j % inner })
                };
                indices.iter().enumerate().map(one).collect()
            };
            (1, Box::new(places))
        }
        _ => {
            let depth = *indices.last()?;
            let (addressed, rest) = (data.get(..depth)?.to_vec(), data.get(depth..)?);
            let len = product(rest);
            let places = move |indices: &[i64]| {
                let one = |index: &[i64]| {
                    let mut at = Some(0);
                    for (&i, &n) in index.iter().zip(&addressed) {
                        at = at.zip(bounds.resolve(i, n)?).map(|(at, i)| at * n + i);
                    }
                    Ok(at.map_or(FILL, |at| at * len))
                };
                indices.chunks_exact(depth).map(one).collect()
            };
            if depth == 0 {
                return None;
            }
            (len, Box::new(places))
        }
    };
    if !(is_plain(dtype) || matches!(dtype, DType::F16 | DType::F32)) || dtype == DType::Bool {
        return None;
    }
    let mode = view.mode;
    Some(mixed(vec![view.data, view.indices, view.updates], move |io, outs, _| {
        let ([data, indices, updates], [out]) = (io, outs) else { return Err(unforeseen()) };
        let starts = places(&indices.ints())?;
        match out {
            Target::Floats(out) => {
                out.copy_from_slice(&data.floats());
                let f = floats(mode);
                put(&starts, len, &updates.floats(), out, f);
            }
            Target::Bytes(out) => {
                let mut values = data.ints();
                put(&starts, len, &updates.ints(), &mut values, integers(mode));
                write_ints(dtype, values.into_iter(), out);
            }
        }
        Ok(())
    }))
}

fn put<T: Copy>(starts: &[usize], len: usize, updates: &[T], out: &mut [T], f: fn(T, T) -> T) {
    for (row, &at) in updates.chunks_exact(len.max(1)).zip(starts) {
        if at != FILL {
            out[at..at + row.len()].iter_mut().zip(row).for_each(|(o, &u)| *o = f(*o, u));
        }
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
    Some(mixed(given.to_vec(), move |io, outs, _| {
        let ([x, update, begin, end], [out]) = (io, outs) else { return Err(unforeseen()) };
        let dims = view.with_bounds(&begin.ints(), &end.ints())?.resolve(&shape)?;
        let kept: Vec<usize> = dims.iter().filter(|d| !d.squeeze).map(|d| d.extent).collect();
        if kept != wanted {
            return Err(Fault::arg("update", format!("of shape {wanted:?}"), format!("of shape {kept:?}")));
        }
        match (x, update, out) {
            (x, update, Target::Floats(out)) => {
                out.copy_from_slice(&x.floats());
                overwrite(&shape, &dims, &update.floats(), 1, out);
            }
            (Operand::Tensor(x), Operand::Tensor(update), Target::Bytes(out)) => {
                out.copy_from_slice(x.bytes());
                overwrite(&shape, &dims, update.bytes(), width, out);
            }
            _ => return Err(unforeseen()),
        }
        Ok(())
    }))
}

/// Writes `update` into the places of `dims`; an element is `width` long.
pub(crate) fn overwrite<T: Copy>(
    shape: &[usize],
    dims: &[SliceDim],
    update: &[T],
    width: usize,
    out: &mut [T],
) {
    let Some((last, outer)) = dims.split_last() else { return };
    let extents: Vec<usize> = outer.iter().map(|d| d.extent).collect();
    let rows = product(&extents);
    let row = last.extent * width;
    if rows == 0 || row == 0 {
        return;
    }
    let mut index = vec![0; outer.len()];
    for from in update.chunks_exact(row) {
        let places = index.iter().zip(outer).zip(shape);
        let at = places.fold(0, |at, ((&i, d), &n)| at * n + d.position(i)) * shape[shape.len() - 1];
        if last.stride == 1 {
            let to = (at + last.begin) * width;
            out[to..to + row].copy_from_slice(from);
        } else {
            for (i, from) in from.chunks_exact(width).enumerate() {
                let to = (at + last.position(i)) * width;
                out[to..to + width].copy_from_slice(from);
            }
        }
        for (i, &n) in index.iter_mut().zip(&extents).rev() {
            *i += 1;
            if *i < n {
                break;
            }
            *i = 0;
        }
    }
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
        let begin = begin.ints();
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
        (Operand::Tensor(x), Target::Bytes(out)) => match width {
            1 => plan.run(x.bytes(), out, pool),
            2 => plan.run(x.bytes().as_chunks::<2>().0, out.as_chunks_mut::<2>().0, pool),
            4 => plan.run(x.bytes().as_chunks::<4>().0, out.as_chunks_mut::<4>().0, pool),
            _ => plan.run(x.bytes().as_chunks::<8>().0, out.as_chunks_mut::<8>().0, pool),
        },
        _ => return Err(unforeseen()),
    }
    Ok(())
}
