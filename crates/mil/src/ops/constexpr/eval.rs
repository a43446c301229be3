//! Unpacks compressed weights.

use super::{check_blocks, check_lut, flat_index_bits, given_shape};
use crate::eval::EvalSite;
use crate::ops::Fault;
use crate::ops::common::{element_count, for_each_index, offset, strides};
use crate::ops::window::volume;
use crate::{Literal, Tensor};
use anemone_tensor::DType;

fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Literal, Fault> {
    Tensor::from_f64s(dtype, shape, values).map(Literal::Tensor).map_err(|e| Fault::new(e.to_string()))
}

/// For every element of `shape`, in row-major order, the position of its block in a tensor of shape `blocks`.
fn block_offsets(shape: &[usize], blocks: &[usize]) -> Result<Vec<usize>, Fault> {
    check_blocks("scale", blocks, shape)?;
    let sizes: Vec<usize> = shape.iter().zip(blocks).map(|(n, &b)| n.checked_div(b).unwrap_or(1)).collect();
    let steps = strides(blocks);
    let mut out = Vec::with_capacity(element_count(shape)?);
    let mut block = vec![0; shape.len()];
    for_each_index(shape, |index| {
        for (b, (i, size)) in block.iter_mut().zip(index.iter().zip(&sizes)) {
            *b = i / size;
        }
        out.push(offset(&block, &steps));
    });
    Ok(out)
}

/// `scale * (data - offset)` for elements whose scale stands at `at`.
fn shift_scale(
    data: &[f64],
    at: impl Iterator<Item = usize>,
    scale: &Tensor,
    shift: Option<&Tensor>,
) -> Result<Vec<f64>, Fault> {
    let (scales, shifts) = (scale.to_f64s(), shift.map(Tensor::to_f64s));
    let one = |(v, at): (&f64, usize)| {
        let shift = shifts.as_ref().map_or(Some(0.0), |s| s.get(at).copied());
        Some(scales.get(at)? * (v - shift?))
    };
    let values: Option<Vec<f64>> = data.iter().zip(at).map(one).collect();
    values.ok_or_else(|| Fault::arg("offset", "smaller than `scale`", "of the same shape"))
}

/// Evaluates `constexpr_affine_dequantize`.
pub(super) fn affine(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (data, scale, zero) =
        (site.tensor("quantized_data")?, site.tensor("scale")?, site.tensor("zero_point")?);
    let axis = site.site.axis("axis", data.rank())?;
    let blocks = |t: &Tensor| {
        let mut blocks = vec![1; data.rank()];
        blocks[axis] = t.len();
        block_offsets(data.shape(), &blocks)
    };
    let scaled = shift_scale(&data.to_f64s(), blocks(&zero)?.into_iter(), &ones(zero.len())?, Some(&zero))?;
    let values = shift_scale(&scaled, blocks(&scale)?.into_iter(), &scale, None)?;
    Ok(vec![tensor(scale.dtype(), data.shape(), &values)?])
}

fn ones(count: usize) -> Result<Tensor, Fault> {
    Tensor::from_f64s(DType::F64, [count], &vec![1.0; count]).map_err(|e| Fault::new(e.to_string()))
}

/// Evaluates `constexpr_blockwise_shift_scale`.
pub(super) fn blockwise(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (data, scale, shift) = (site.tensor("data")?, site.tensor("scale")?, site.optional("offset"));
    let at = block_offsets(data.shape(), scale.shape())?;
    let values = shift_scale(&data.to_f64s(), at.into_iter(), &scale, shift.as_ref())?;
    Ok(vec![tensor(scale.dtype(), data.shape(), &values)?])
}

/// Evaluates `constexpr_cast`.
pub(super) fn cast(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    Ok(vec![site.tensor("source_val")?.cast(DType::F32).into()])
}

/// The elements of a flat operand, `bits` each, as a tensor of `shape`.
fn unpacked(param: &str, packed: &Tensor, bits: usize, shape: &[usize]) -> Result<Tensor, Fault> {
    let dtype = match bits {
        1 => DType::U1,
        2 => DType::U2,
        4 => DType::U4,
        6 => DType::U6,
        _ => DType::U8,
    };
    Tensor::new(dtype, shape, packed.bytes().clone())
        .map_err(|e| Fault { param: Some(param.into()), message: e.to_string() })
}

/// Evaluates `constexpr_lut_to_dense`.
pub(super) fn lut_to_dense(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (indices, lut) = (site.tensor("indices")?, site.tensor("lut")?);
    if !site.site.has("shape") {
        let (shape, values) = look_up(site, &indices, &lut)?;
        return Ok(vec![tensor(lut.dtype(), &shape, &values)?]);
    }
    let shape = given_shape(&site.site)?;
    let bits = flat_index_bits(lut.len())
        .ok_or_else(|| Fault::arg("lut", format!("{} entries long", lut.len()), "2, 4, 16, 64 or 256"))?;
    let (indices, entries) = (unpacked("indices", &indices, bits, &shape)?, lut.to_f64s());
    let values: Option<Vec<f64>> =
        indices.to_i64s().into_iter().map(|i| entries.get(usize::try_from(i).ok()?).copied()).collect();
    let values = values.ok_or_else(|| Fault::arg("indices", "beyond the table", "within it"))?;
    Ok(vec![tensor(lut.dtype(), &shape, &values)?])
}

/// The dense shape and the elements that `indices` stand for.
fn look_up(site: &EvalSite<'_>, indices: &Tensor, lut: &Tensor) -> Result<(Vec<usize>, Vec<f64>), Fault> {
    let table = check_lut(&site.site, indices.shape(), indices.dtype())?;
    let (entries, steps) = (lut.to_f64s(), strides(indices.shape()));
    let Some((groups, tables)) = lut.shape().split_at_checked(indices.rank()) else {
        return Err(Fault::arg(
            "lut",
            format!("of shape {:?}", lut.shape()),
            "of rank 2 more than its indices",
        ));
    };
    let (per_group, groups) = (volume(tables), block_offsets(indices.shape(), groups)?);
    let codes = indices.to_i64s();
    let mut out = Vec::with_capacity(element_count(&table.dense)?);
    let mut at = vec![0; indices.rank()];
    for_each_index(&table.dense, |index| {
        at.copy_from_slice(index);
        at[table.axis] = index[table.axis] / table.vector.max(1);
        let i = offset(&at, &steps);
        let entry = usize::try_from(codes[i]).unwrap_or(0) * table.vector;
        out.extend(entries.get(groups[i] * per_group + entry + index[table.axis] % table.vector));
    });
    if out.len() != volume(&table.dense) {
        return Err(Fault::arg("lut", format!("of shape {:?}", lut.shape()), "large enough for its indices"));
    }
    Ok((table.dense, out))
}

/// Spreads values over the ones of a mask, `fill` elsewhere.
fn spread(mask: &Tensor, values: &[f64], fill: f64) -> Result<Vec<f64>, Fault> {
    let mask = mask.to_bools();
    let ones = mask.iter().filter(|&&m| m).count();
    if ones != values.len() {
        let allowed = format!("{ones} elements long, as many as the mask has ones");
        return Err(Fault::arg("nonzero_data", format!("{} elements long", values.len()), allowed));
    }
    let mut rest = values.iter();
    Ok(mask.iter().map(|&m| if m { rest.next().copied().unwrap_or(fill) } else { fill }).collect())
}

/// The elements of `values` where the mask has ones.
fn picked<V: Copy>(mask: &[bool], values: &[V]) -> Vec<V> {
    mask.iter().zip(values).filter(|(m, _)| **m).map(|(_, v)| *v).collect()
}

/// Evaluates `constexpr_sparse_to_dense`.
pub(super) fn sparse_to_dense(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (data, mut mask) = (site.tensor("nonzero_data")?, site.tensor("mask")?);
    if site.site.has("shape") {
        mask = unpacked("mask", &mask, 1, &given_shape(&site.site)?)?;
    }
    let values = spread(&mask, &data.to_f64s(), 0.0)?;
    Ok(vec![tensor(data.dtype(), mask.shape(), &values)?])
}

/// Evaluates `constexpr_lut_to_sparse`.
pub(super) fn lut_to_sparse(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (mask, data) = (site.tensor("indices_mask")?, site.tensor("indices_nonzero_data")?);
    let lut = site.tensor("lut")?;
    let codes = spread(&mask, &data.to_f64s(), 0.0)?;
    let indices =
        Tensor::from_f64s(data.dtype(), mask.shape(), &codes).map_err(|e| Fault::new(e.to_string()))?;
    let (shape, values) = look_up(site, &indices, &lut)?;
    let stretched = stretch(&site.site, &mask, &shape)?;
    let values = picked(&stretched.to_bools(), &values);
    Ok(vec![stretched.into(), tensor(lut.dtype(), &[values.len()], &values)?])
}

/// The mask with every element repeated along the vector axis, so that it has the dense shape.
fn stretch(site: &crate::ops::Site<'_>, mask: &Tensor, dense: &[usize]) -> Result<Tensor, Fault> {
    let axis = if site.has("vector_axis") { site.axis("vector_axis", mask.rank())? } else { 0 };
    let vector = dense[axis].checked_div(mask.shape()[axis]).unwrap_or(1).max(1);
    let steps = strides(mask.shape());
    let mut bits = Vec::with_capacity(element_count(dense)?);
    let mut at = vec![0; mask.rank()];
    for_each_index(dense, |index| {
        at.copy_from_slice(index);
        at[axis] = index[axis] / vector;
        bits.push(mask.i64_at(offset(&at, &steps)));
    });
    Tensor::from_i64s(DType::U1, dense, &bits).map_err(|e| Fault::new(e.to_string()))
}

/// Evaluates `constexpr_sparse_blockwise_shift_scale`.
pub(super) fn sparse_blockwise(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (mask, data) = (site.tensor("data_mask")?, site.tensor("nonzero_data")?);
    let (scale, shift) = (site.tensor("scale")?, site.optional("offset"));
    let (ones, at) = (mask.to_bools(), block_offsets(mask.shape(), scale.shape())?);
    spread(&mask, &data.to_f64s(), 0.0)?;
    let at = picked(&ones, &at);
    let values = shift_scale(&data.to_f64s(), at.into_iter(), &scale, shift.as_ref())?;
    Ok(vec![mask.into(), tensor(scale.dtype(), data.shape(), &values)?])
}
