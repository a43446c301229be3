//! Resizing.

use super::layout::remap;
use super::{Io, Kernel, Lowered, Lowering};
use crate::kernels::layout::Indices;
use crate::kernels::resize::{Axis, bilinear, bilinear_scratch};
use crate::pool::Pool;
use anemone_mil::ops::{Interpolation, Resize, Tap};

struct Bilinear {
    rows: Axis,
    columns: Axis,
}

impl Kernel for Bilinear {
    fn scratch(&self, pool: &Pool) -> usize {
        bilinear_scratch(&self.columns, pool)
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        bilinear(io.inputs[0], (&self.rows, &self.columns), io.outputs[0], io.scratch, pool);
    }
}

/// `resize`, `resize_bilinear`, `resize_nearest_neighbor`, `upsample_bilinear`, `upsample_nearest_neighbor`.
pub(super) fn resize(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Resize::of(&l.site).ok()?;
    let (shape, out) = (l.shape(view.x)?, l.result_shape()?);
    if shape.contains(&0) || out.contains(&0) || shape.len() != out.len() {
        return None;
    }
    let first = shape.len() - view.targets.len();
    let taps = |d: usize| match d >= first {
        true => view.interpolation.taps(shape[d], out[d]),
        false => (0..shape[d]).map(Tap::whole).collect(),
    };
    if !matches!(view.interpolation, Interpolation::Linear(_)) {
        let list = |d: usize| match d >= first {
            true => Indices::List(taps(d).iter().map(|t| t.low).collect()),
            false => Indices::All,
        };
        let lists: Vec<Indices> = (0..shape.len()).map(list).collect();
        return remap(l, view.x, &lists, 0.0);
    }
    let rank = shape.len();
    // Dims before the last two stay as they are.
    if rank == 0 || shape[..rank.saturating_sub(2)] != out[..rank.saturating_sub(2)] {
        return None;
    }
    let axis = |d: Option<usize>| {
        let taps = d.map_or_else(|| vec![Tap::whole(0)], taps);
        Axis::of(d.map_or(1, |d| shape[d]), taps.iter().map(|t| (t.low, t.high, t.weight as f32)))
    };
    let kernel = Box::new(Bilinear { rows: axis(rank.checked_sub(2)), columns: axis(Some(rank - 1)) });
    Some(Lowered::Kernel { kernel, reads: vec![view.x] })
}
