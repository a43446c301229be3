//! `one_hot`.

use super::mixed::{Ints, Target, by_width, unforeseen};
use super::typed::{mixed, whole_bytes};
use super::{Lowered, Lowering};
use crate::kernels::elementwise::GRAIN;
use crate::pool::Pool;
use anemone_mil::Tensor;

/// `one_hot` with constant values.
pub(super) fn one_hot(l: &Lowering<'_>) -> Option<Lowered> {
    let (indices, result) = (l.value("indices")?, l.result_shape()?);
    let axis = l.site.axis("axis", result.len()).ok()?;
    let around = Lowering::around(&result, axis);
    let (dtype, width) = (l.result()?.dtype, whole_bytes(l.result()?)?);
    let value = |param: &str| {
        let t = match l.value(param) {
            Some(v) => l.constant(v)?,
            None => Tensor::scalar_i32(i32::from(param == "on_value")),
        };
        (t.len() == 1).then(|| t.cast(dtype))
    };
    let [on, off] = [value("on_value")?, value("off_value")?];
    let floats = [*on.to_f32s().first()?, *off.to_f32s().first()?];
    Some(mixed(vec![indices], move |io, outs, pool| {
        let ([indices], [out]) = (io, outs) else { return Err(unforeseen()) };
        let indices = indices.ints();
        match out {
            Target::Floats(out) => mark(&indices, around, floats, out, pool),
            Target::Bytes(out) => by_width!(width, N => {
                let packed = |t: &Tensor| t.bytes().as_chunks::<N>().0.first().copied().unwrap_or([0; N]);
                mark(&indices, around, [packed(&on), packed(&off)], out.as_chunks_mut::<N>().0, pool);
            }),
        }
        Ok(())
    }))
}

/// `out [outer, size, inner]`: `on` where the index of the place, `indices [outer, inner]`, is the one along `size`,
/// else `off`.
fn mark<T: Copy + Send + Sync>(
    indices: &Ints<'_>,
    (_, size, inner): (usize, usize, usize),
    [on, off]: [T; 2],
    out: &mut [T],
    pool: &Pool,
) {
    if inner == 1 {
        return pool.row_parts_mut(out, size, GRAIN, |row, offset, part| {
            part.fill(off);
            let hot = usize::try_from(indices.at(row)).ok().and_then(|i| i.checked_sub(offset));
            if let Some(place) = hot.and_then(|i| part.get_mut(i)) {
                *place = on;
            }
        });
    }
    pool.row_parts_mut(out, inner, GRAIN, |row, offset, part| {
        let here = (row % size) as i64;
        indices.map(row / size * inner + offset, part, |i| if i == here { on } else { off });
    });
}
