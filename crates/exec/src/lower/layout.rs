//! Moving elements without computing.

use super::{Lowered, Lowering, plain};
use crate::kernels::Misfit;
use crate::kernels::layout::{
    CopyPlan, Indices, PadMode, RemapPlan, concat as join, copy, padded, split as part, tiled,
};
use anemone_mil::ops::{self, Concat, Pad, SliceByIndex, Split, transposition};
use anemone_mil::{DType, ValueId};

/// Ops that leave the elements as they are.
pub(super) fn alias(l: &Lowering<'_>) -> Option<Lowered> {
    Some(Lowered::Alias(l.value("x")?))
}

/// `cast` between float types: widening changes nothing, narrowing rounds.
pub(super) fn cast(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let from = l.site.tensor("x").ok()?.dtype;
    match (from, l.result()?.dtype) {
        (DType::F16, DType::F32) => Some(Lowered::Alias(x)),
        (DType::F32, DType::F16) => Some(plain(vec![x], |io, pool| copy(io.inputs[0], io.outputs[0], pool))),
        (a, b) if a == b => Some(Lowered::Alias(x)),
        _ => None,
    }
}

/// A copy of `x` by a plan, where there is one.
fn copied(x: ValueId, plan: Result<CopyPlan, Misfit>) -> Option<Lowered> {
    let plan = plan.ok()?;
    Some(plain(vec![x], move |io, pool| plan.run(io.inputs[0], io.outputs[0], pool)))
}

/// As [`copied`], with a number for what is no element of `x`.
fn indexed(x: ValueId, plan: Result<RemapPlan, Misfit>, fill: f32) -> Option<Lowered> {
    let plan = plan.ok()?;
    Some(plain(vec![x], move |io, pool| plan.run(io.inputs[0], fill, io.outputs[0], pool)))
}

/// `transpose`.
pub(super) fn transpose(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let perm = transposition(&l.site).ok()?;
    let kept = |d: &usize| shape[*d] != 1;
    // Moving dims of one element moves nothing.
    if perm.iter().filter(|d| kept(d)).is_sorted() {
        return Some(Lowered::Alias(x));
    }
    copied(x, CopyPlan::transpose(&shape, &perm))
}

/// `concat`.
pub(super) fn concat(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Concat::of(&l.site).ok()?;
    if view.interleave {
        return None;
    }
    let shapes: Option<Vec<Vec<usize>>> = view.values.iter().map(|&v| l.shape(v)).collect();
    let shapes = shapes?;
    let extents: Vec<usize> = shapes.iter().map(|s| s[view.axis]).collect();
    let (outer, _, inner) = Lowering::around(shapes.first()?, view.axis);
    Some(plain(view.values, move |io, pool| {
        let parts: Vec<(&[f32], usize)> = io.inputs.iter().copied().zip(extents.iter().copied()).collect();
        join(&parts, outer, inner, io.outputs[0], pool);
    }))
}

/// `split`.
pub(super) fn split(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Split::of(&l.site).ok()?;
    let shape = l.shape(view.x)?;
    let sizes: Option<Vec<usize>> = view.sizes.iter().map(anemone_mil::Dim::known).collect();
    let sizes = sizes?;
    let (outer, _, inner) = Lowering::around(&shape, view.axis);
    Some(plain(vec![view.x], move |io, pool| {
        let mut outs: Vec<(&mut [f32], usize)> =
            io.outputs.iter_mut().zip(&sizes).map(|(o, &n)| (&mut **o, n)).collect();
        part(io.inputs[0], outer, inner, &mut outs, pool);
    }))
}

/// `slice_by_index` with constant bounds.
pub(super) fn slice_by_index(l: &Lowering<'_>) -> Option<Lowered> {
    let view = SliceByIndex::of(&l.site).ok()?;
    let shape = l.shape(view.x)?;
    let dims = view.resolve(&shape).ok()?;
    let begin: Vec<usize> = dims.iter().map(|d| d.begin).collect();
    let count: Vec<usize> = dims.iter().map(|d| d.extent).collect();
    let stride: Option<Vec<isize>> = dims.iter().map(|d| isize::try_from(d.stride).ok()).collect();
    copied(view.x, CopyPlan::slice(&shape, &begin, &stride?, &count))
}

/// `pad` by constant amounts.
pub(super) fn pad(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Pad::of(&l.site).ok()?;
    let shape = l.shape(view.x)?;
    let (mode, fill) = match view.mode {
        #[allow(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
        ops::PadMode::Constant(v) => (PadMode::Constant, v as f32),
        ops::PadMode::Reflect => (PadMode::Reflect, 0.0),
        ops::PadMode::Replicate => (PadMode::Replicate, 0.0),
    };
    let pads = view.pads?;
    let lists: Result<Vec<Indices>, _> =
        shape.iter().zip(&pads).map(|(&n, &(before, after))| padded(n, before, after, mode)).collect();
    remap(l, view.x, &lists.ok()?, fill)
}

/// A copy of given indices of every dim.
pub(super) fn remap(l: &Lowering<'_>, x: ValueId, lists: &[Indices], fill: f32) -> Option<Lowered> {
    indexed(x, RemapPlan::new(&l.shape(x)?, lists), fill)
}

/// `tile` by constant factors.
pub(super) fn tile(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let reps = l.site.known_ints("reps")?;
    if reps.len() != shape.len() {
        return None;
    }
    let times: Option<Vec<usize>> = reps.iter().map(|&r| usize::try_from(r).ok()).collect();
    let lists: Vec<Indices> = shape.iter().zip(times?).map(|(&n, t)| tiled(n, t)).collect();
    remap(l, x, &lists, 0.0)
}

/// `gather` by constant indices.
pub(super) fn gather(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let axis = l.site.axis("axis", shape.len()).ok()?;
    if l.site.known_ints("batch_dims").is_some_and(|b| b.first() != Some(&0)) {
        return None;
    }
    let extent = i64::try_from(shape[axis]).ok()?;
    let front = |i: i64| usize::try_from(if i < 0 { i + extent } else { i }).ok();
    let indices: Option<Vec<usize>> = l.site.known_ints("indices")?.into_iter().map(front).collect();
    indexed(x, RemapPlan::gather(&shape, axis, &indices?), 0.0)
}

/// `stack` of floats.
pub(super) fn stack(l: &Lowering<'_>) -> Option<Lowered> {
    let values = l.site.values("values").to_vec();
    let shape = l.shape(*values.first()?)?;
    let axis = l.site.axis("axis", shape.len() + 1).ok()?;
    let (outer, inner) = (shape[..axis].iter().product(), shape[axis..].iter().product());
    Some(plain(values, move |io, pool| {
        let parts: Vec<(&[f32], usize)> = io.inputs.iter().map(|x| (*x, 1)).collect();
        join(&parts, outer, inner, io.outputs[0], pool);
    }))
}

/// `reverse` of floats.
pub(super) fn reverse(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let axes = match l.value("axes") {
        Some(_) => l.site.axes("axes", shape.len()).ok()?,
        None => (0..shape.len()).collect(),
    };
    let turned = |d: usize| axes.contains(&d) && shape[d] > 0;
    let begin: Vec<usize> = (0..shape.len()).map(|d| if turned(d) { shape[d] - 1 } else { 0 }).collect();
    let stride: Vec<isize> = (0..shape.len()).map(|d| if turned(d) { -1 } else { 1 }).collect();
    copied(x, CopyPlan::slice(&shape, &begin, &stride, &shape))
}

/// `depth_to_space`, `space_to_depth`, `pixel_shuffle` and `pixel_unshuffle` of floats: transpositions of rank 6.
pub(super) fn blocks(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let &[n, c, h, w] = l.shape(x)?.as_slice() else { return None };
    let kind = l.site.def.name;
    let param = match kind {
        "pixel_shuffle" => "upscale_factor",
        "pixel_unshuffle" => "downscale_factor",
        _ => "block_size",
    };
    let b = usize::try_from(l.site.int(param).ok()?).ok().filter(|&b| b > 0)?;
    let (parts, perm) = match kind {
        "pixel_shuffle" => ([n, c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3]),
        "depth_to_space" => ([n, b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2]),
        "pixel_unshuffle" => ([n, c, h / b, b, w / b, b], [0, 1, 3, 5, 2, 4]),
        _ => ([n, c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4]),
    };
    if parts.iter().product::<usize>() != n * c * h * w {
        return None;
    }
    copied(x, CopyPlan::transpose(&parts, &perm))
}
