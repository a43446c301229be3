//! What a compressed weight stands for.

use crate::Palettized;

/// The elements of a palettised weight of shape `shape`.
pub(crate) fn palette(made: &Palettized, shape: &[usize]) -> Vec<f32> {
    let rank = shape.len();
    let lut = made.lut.to_f32s();
    let (entries, d) = (made.lut.shape()[rank], made.lut.shape()[rank + 1]);
    let axis = made.vector_axis.or_else(|| made.lut.shape()[..rank].iter().position(|&g| g > 1)).unwrap_or(0);
    let (inner, along): (usize, usize) = (shape[axis + 1..].iter().product(), shape[axis]);
    let group = along / made.lut.shape()[axis].max(1);
    let count: usize = shape.iter().product();
    let element = |i: usize| {
        let (outer, channel, at) = (i / (inner * along), i / inner % along, i % inner);
        let index = made.indices.i64_at((outer * (along / d) + channel / d) * inner + at);
        lut[(channel / group * entries + usize::try_from(index).unwrap_or(0)) * d + channel % d]
    };
    (0..count).map(element).collect()
}
