//! `scatter` at constant indices becomes slices and a `concat`; an update at one run-time index becomes a `select`.
//!
//! ```text
//! y = scatter(data: [8, 4], indices = [2], updates, mode = "update")
//! becomes      y = concat(data[0:2], updates, data[3:8])
//! y = scatter(data: [8, 4], indices = i, updates: [1, 4], mode = "update")
//! becomes      y = select(equal([0, .., 7], i), updates, data)
//! ```
//! `scatter_nd` at indices of one dim is the same along dim 0. Modes other than `update` compute on the slices.

use super::Limits;
use super::pieces::{Span, along, binary, cast, concat, cut, extents, positions, reshape};
use super::select_rows::from_front;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::{Scatter, ScatterMode};
use anemone_mil::{DType, ValueId};

/// More slices than this are no gain.
const MOST_RUNS: usize = 16;

/// The rewrite; looks at `scatter` and `scatter_nd`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["scatter", "scatter_nd"])?;
    let scatter = Scatter::of(&op.site()?)?;
    let places = op.shape(scatter.indices)?;
    let dims = if op.is(&["scatter_nd"]) { places.split_last() } else { None };
    let list = match (op.kind(), dims, places.as_slice()) {
        ("scatter", ..) => places.len() == 1,
        (_, Some((1, outer)), _) => outer.len() == 1,
        _ => false,
    };
    if !list {
        return Err("the indices are no list".into());
    }
    if op.function.constant(scatter.indices).is_none() { selected(op, scatter) } else { joined(op, scatter) }
}

/// Runs of neighbours among the indices: first index, place of the first update, length.
fn runs(indices: &[i64], extent: usize) -> Option<Vec<(usize, usize, usize)>> {
    let counted = |&i: &i64| {
        let i = if i < 0 { i.checked_add(i64::try_from(extent).ok()?)? } else { i };
        usize::try_from(i).ok().filter(|&i| i < extent)
    };
    let mut places: Vec<(usize, usize)> =
        indices.iter().enumerate().map(|(n, i)| Some((counted(i)?, n))).collect::<Option<_>>()?;
    places.sort_unstable();
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (at, update) in places {
        match runs.last_mut() {
            Some((first, from, n)) if *first + *n == at && *from + *n == update => *n += 1,
            Some((first, _, n)) if at < *first + *n => return None,
            _ => runs.push((at, update, 1)),
        }
    }
    Some(runs)
}

fn joined(op: OpRef<'_>, scatter: Scatter) -> Result<Patch, Miss> {
    let (data, updates) = (extents(op, scatter.data)?, extents(op, scatter.updates)?);
    let axis = scatter.axis;
    let indices = op.constant(scatter.indices)?.to_i64s();
    let runs = runs(&indices, data[axis]).ok_or("an index is given twice, or out of range")?;
    if runs.len() > MOST_RUNS {
        return Err(Miss::because(format!("the indices make {} runs", runs.len())));
    }
    let mut patch = Patch::default();
    let part = |patch: &mut Patch, v: ValueId, shape: &[usize], span: Span| {
        if span == (0, shape[axis]) {
            Ok(Ref::Value(v))
        } else {
            cut(patch, Ref::Value(v), &along(shape, axis, span))
        }
    };
    let (mut parts, mut done) = (Vec::new(), 0);
    for (first, from, n) in runs {
        if first > done {
            parts.push(part(&mut patch, scatter.data, &data, (done, first))?);
        }
        let update = part(&mut patch, scatter.updates, &updates, (from, from + n))?;
        done = first + n;
        parts.push(match combine(scatter.mode) {
            None => update,
            Some(kind) => {
                let old = part(&mut patch, scatter.data, &data, (first, done))?;
                binary(&mut patch, kind, "updated", old, update)
            }
        });
    }
    if done < data[axis] {
        parts.push(part(&mut patch, scatter.data, &data, (done, data[axis]))?);
    }
    let joined = concat(&mut patch, parts, axis)?;
    Ok(patch.replacing(op.result()?, joined))
}

/// The op that computes what a mode says; `None` for the update itself.
fn combine(mode: ScatterMode) -> Option<&'static str> {
    match mode {
        ScatterMode::Update => None,
        ScatterMode::Add => Some("add"),
        ScatterMode::Sub => Some("sub"),
        ScatterMode::Mul => Some("mul"),
        ScatterMode::Div => Some("real_div"),
        ScatterMode::Max => Some("maximum"),
        ScatterMode::Min => Some("minimum"),
    }
}

fn selected(op: OpRef<'_>, scatter: Scatter) -> Result<Patch, Miss> {
    let data = extents(op, scatter.data)?;
    let dtype = op.tensor(scatter.data)?.dtype;
    let one = op.shape(scatter.indices)?.iter().all(|&n| n == 1);
    if scatter.mode != ScatterMode::Update || !one || !matches!(dtype, DType::F16 | DType::F32) {
        return Err("it is no update of floats at one run-time index".into());
    }
    let rank = data.len();
    let mut patch = Patch::default();
    let index = cast(&mut patch, Ref::Value(scatter.indices), dtype);
    let index = reshape(&mut patch, index, &vec![1; rank])?;
    let index = from_front(&mut patch, index, dtype, data[scatter.axis]);
    let all = positions(&mut patch, dtype, data[scatter.axis], scatter.axis, rank)?;
    let here = binary(&mut patch, "equal", "here", all, index);
    let args = vec![("cond", here), ("a", Ref::Value(scatter.updates)), ("b", Ref::Value(scatter.data))];
    let new = patch.op("select", "selected", args);
    Ok(patch.replacing(op.result()?, new))
}
