//! Compressed weights: ops that unpack constants when a model is loaded.
//!
//! Their operands are constants or results of other ops of this family. Before op set `ios18` indices and masks
//! are flat bytes beside a shape; from then on they have sub-byte types and their true shape.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS16/constexpr_ops.py` and
//! `iOS18/compression.py`.

mod eval;

use super::common::{INT32, STRING, T};
use super::{Accept, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant};
use crate::{Opset, TensorType, Type};
use anemone_tensor::{DType, num};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &AFFINE_DEQUANTIZE,
    &BLOCKWISE_SHIFT_SCALE,
    &CAST,
    &LUT_TO_DENSE,
    &LUT_TO_SPARSE,
    &SPARSE_BLOCKWISE_SHIFT_SCALE,
    &SPARSE_TO_DENSE,
];

const SRC: Accept = Accept::Domain("SrcT");
const DST: Accept = Accept::Domain("DstT");
const OFFSET: Accept = Accept::Domain("OffsetT");
const INDICES: Accept = Accept::Domain("IndicesT");
const UINT1: Accept = Accept::Types(&[DType::U1]);
const UINT8: Accept = Accept::Types(&[DType::U8]);
const UINT32: Accept = Accept::Types(&[DType::U32]);
const VECTOR_AXIS: Param = constant("vector_axis", INT32).optional();

const DST_FLOATS: Domain = Domain { name: "DstT", types: &[DType::F16, DType::F32] };
const T_BYTES: Domain = Domain { name: "T", types: &[DType::I8, DType::U8, DType::F16, DType::F32] };
const SRC_BLOCKS: Domain = Domain { name: "SrcT", types: BLOCK_TYPES };
const OFFSET_BLOCKS: Domain = Domain { name: "OffsetT", types: BLOCK_TYPES };
const T_BLOCKS: Domain = Domain { name: "T", types: BLOCK_TYPES };
const BLOCK_TYPES: &[DType] = &[DType::I4, DType::U4, DType::I8, DType::U8, DType::F16, DType::F32];
const INDICES_UINT: Domain =
    Domain { name: "IndicesT", types: &[DType::U1, DType::U2, DType::U3, DType::U4, DType::U6, DType::U8] };

static AFFINE_DEQUANTIZE: OpDef = OpDef {
    name: "constexpr_affine_dequantize",
    doc: "scale * (quantized_data - zero_point), one scale for all or one per index of an axis.",
    versions: &[Version {
        since: Opset::Ios16,
        params: &[
            constant("quantized_data", SRC),
            constant("zero_point", Accept::Domain("ZeroPointT")),
            constant("scale", DST),
            constant("axis", INT32),
        ],
        domains: &[
            Domain { name: "SrcT", types: &[DType::U8, DType::I8] },
            Domain { name: "ZeroPointT", types: &[DType::U8, DType::I8, DType::F32] },
            DST_FLOATS,
        ],
    }],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_affine,
    eval: Some(eval::affine),
    work: Work::none,
};

static BLOCKWISE_SHIFT_SCALE: OpDef = OpDef {
    name: "constexpr_blockwise_shift_scale",
    doc: "scale * (data - offset), one scale per block; a block is data's dim by scale's dim long.",
    versions: &[Version {
        since: Opset::Ios18,
        params: &[constant("data", SRC), constant("scale", DST), constant("offset", OFFSET).optional()],
        domains: &[SRC_BLOCKS, DST_FLOATS, OFFSET_BLOCKS],
    }],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_blockwise,
    eval: Some(eval::blockwise),
    work: Work::none,
};

const CAST_PARAMS: &[Param] =
    &[constant("source_val", Accept::Types(&[DType::F16])), constant("output_dtype", STRING)];

static CAST: OpDef = OpDef {
    name: "constexpr_cast",
    doc: "Half precision weights in single precision.",
    versions: &[
        Version { since: Opset::Ios16, params: CAST_PARAMS, domains: &[] },
        Version { since: Opset::Ios18, params: CAST_PARAMS, domains: &[] },
    ],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_cast,
    eval: Some(eval::cast),
    work: Work::none,
};

static LUT_TO_DENSE: OpDef = OpDef {
    name: "constexpr_lut_to_dense",
    doc: "Replaces every index by its entry of a look-up table, which may be a vector along an axis.",
    versions: &[
        Version {
            since: Opset::Ios16,
            params: &[constant("indices", UINT8), constant("lut", T), constant("shape", UINT32)],
            domains: &[T_BYTES],
        },
        Version {
            since: Opset::Ios18,
            params: &[constant("indices", INDICES), constant("lut", T), VECTOR_AXIS],
            domains: &[INDICES_UINT, T_BYTES],
        },
    ],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_lut_to_dense,
    eval: Some(eval::lut_to_dense),
    work: Work::none,
};

static LUT_TO_SPARSE: OpDef = OpDef {
    name: "constexpr_lut_to_sparse",
    doc: "Looks up the indices of a sparse weight; gives the mask, stretched along vectors, and the values.",
    versions: &[Version {
        since: Opset::Ios18,
        params: &[
            constant("indices_mask", UINT1),
            constant("indices_nonzero_data", INDICES),
            constant("lut", T),
            VECTOR_AXIS,
        ],
        domains: &[INDICES_UINT, T_BYTES],
    }],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_lut_to_sparse,
    eval: Some(eval::lut_to_sparse),
    work: Work::none,
};

static SPARSE_BLOCKWISE_SHIFT_SCALE: OpDef = OpDef {
    name: "constexpr_sparse_blockwise_shift_scale",
    doc: "Scales the values of a sparse weight by blocks of its dense shape; gives the mask and the values.",
    versions: &[Version {
        since: Opset::Ios18,
        params: &[
            constant("data_mask", UINT1),
            constant("nonzero_data", SRC),
            constant("scale", DST),
            constant("offset", OFFSET).optional(),
        ],
        domains: &[SRC_BLOCKS, DST_FLOATS, OFFSET_BLOCKS],
    }],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_sparse_blockwise,
    eval: Some(eval::sparse_blockwise),
    work: Work::none,
};

static SPARSE_TO_DENSE: OpDef = OpDef {
    name: "constexpr_sparse_to_dense",
    doc: "Puts values where a mask has a one, in order, and zeros elsewhere.",
    versions: &[
        Version {
            since: Opset::Ios16,
            params: &[constant("nonzero_data", T), constant("mask", UINT8), constant("shape", UINT32)],
            domains: &[T_BYTES],
        },
        Version {
            since: Opset::Ios18,
            params: &[constant("nonzero_data", T), constant("mask", UINT1)],
            domains: &[T_BLOCKS],
        },
    ],
    effect: Effect::Constexpr,
    form: Form::Other,
    infer: infer_sparse_to_dense,
    eval: Some(eval::sparse_to_dense),
    work: Work::none,
};

/// The fixed shape of an operand.
fn shape_of(site: &Site<'_>, param: &str) -> Result<Vec<usize>, Fault> {
    let ty = site.tensor(param)?;
    ty.known_shape().ok_or_else(|| Fault::arg(param, ty, "of fixed shape, as constants are"))
}

fn typed(dtype: DType, shape: &[usize]) -> Type {
    TensorType::new(dtype, shape.iter().copied()).into()
}

/// A flat operand: its length.
fn flat(site: &Site<'_>, param: &str) -> Result<usize, Fault> {
    match shape_of(site, param)?.as_slice() {
        [n] => Ok(*n),
        s => Err(Fault::arg(param, format!("of shape {s:?}"), "of rank 1")),
    }
}

fn infer_affine(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let shape = shape_of(site, "quantized_data")?;
    let along = shape[site.axis("axis", shape.len())?];
    for param in ["scale", "zero_point"] {
        match shape_of(site, param)?.as_slice() {
            [] => {}
            [n] if *n == along => {}
            s => {
                let allowed = format!("a scalar or of shape [{along}], the dim that `axis` names");
                return Err(Fault::arg(param, format!("of shape {s:?}"), allowed));
            }
        }
    }
    Ok(vec![typed(site.tensor("scale")?.dtype, &shape)])
}

/// Every dim of `blocks` divides the dim of `shape`, and there are as many.
fn check_blocks(param: &str, blocks: &[usize], shape: &[usize]) -> Result<(), Fault> {
    let divides = blocks.iter().zip(shape).all(|(&b, &n)| n.checked_rem(b).unwrap_or(n) == 0);
    if blocks.len() == shape.len() && !shape.is_empty() && divides {
        return Ok(());
    }
    let allowed = format!("of rank {} with dims that divide {shape:?}", shape.len().max(1));
    Err(Fault::arg(param, format!("of block counts {blocks:?}"), allowed))
}

/// Checks `scale` and `offset` against dense data of this shape and type; gives the type of the scale.
fn check_scale(site: &Site<'_>, shape: &[usize], data: DType) -> Result<DType, Fault> {
    let scale = shape_of(site, "scale")?;
    check_blocks("scale", &scale, shape)?;
    if let Some(offset) = site.optional_tensor("offset")? {
        if offset.known_shape().as_deref() != Some(&scale[..]) {
            return Err(Fault::arg("offset", offset, format!("of shape {scale:?}, like `scale`")));
        }
        if !offset.dtype.is_float() && offset.dtype != data {
            return Err(Fault::arg("offset", offset.dtype, format!("{data}, like the data, or a float")));
        }
    }
    Ok(site.tensor("scale")?.dtype)
}

fn infer_blockwise(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let shape = shape_of(site, "data")?;
    let dtype = check_scale(site, &shape, site.tensor("data")?.dtype)?;
    Ok(vec![typed(dtype, &shape)])
}

fn infer_cast(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    match site.str("output_dtype")?.as_str() {
        "fp32" => Ok(vec![typed(DType::F32, &shape_of(site, "source_val")?)]),
        other => Err(Fault::arg("output_dtype", other, "fp32")),
    }
}

/// The `shape` argument of the flat forms.
fn given_shape(site: &Site<'_>) -> Result<Vec<usize>, Fault> {
    let given = site.ints("shape")?;
    let shape: Option<Vec<usize>> = given.iter().map(|&n| num::usize_of(n)).collect();
    let fits = shape.filter(|s| num::element_count(s).is_some());
    fits.ok_or_else(|| Fault::arg("shape", format!("{given:?}"), "dims whose product can be addressed"))
}

/// A flat operand holds `bits` per element of `shape`.
fn check_packed(site: &Site<'_>, param: &str, bits: usize, shape: &[usize]) -> Result<(), Fault> {
    let count = num::element_count(shape).and_then(|n| n.checked_mul(bits));
    let (actual, wanted) = (flat(site, param)?, count.map_or(usize::MAX, |b| b.div_ceil(8)));
    if actual == wanted {
        return Ok(());
    }
    let allowed = format!("{wanted}: {bits} bits for each element of {shape:?}");
    Err(Fault::arg(param, format!("{actual} bytes long"), allowed))
}

/// Bits of an index into a flat table of `entries` entries, as before op set `ios18`.
fn flat_index_bits(entries: usize) -> Option<usize> {
    [1, 2, 4, 6, 8].into_iter().find(|&bits| 1usize << bits == entries)
}

fn infer_lut_to_dense(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let dtype = site.tensor("lut")?.dtype;
    if !site.has("shape") {
        let indices = site.tensor("indices")?.dtype;
        let table = check_lut(site, &shape_of(site, "indices")?, indices)?;
        return Ok(vec![typed(dtype, &table.dense)]);
    }
    let entries = flat(site, "lut")?;
    let bits = flat_index_bits(entries)
        .ok_or_else(|| Fault::arg("lut", format!("{entries} entries long"), "2, 4, 16, 64 or 256"))?;
    let shape = given_shape(site)?;
    check_packed(site, "indices", bits, &shape)?;
    Ok(vec![typed(dtype, &shape)])
}

/// Look-up tables over the shape of their indices.
struct Table {
    /// Shape of what the indices stand for.
    dense: Vec<usize>,
    /// Elements per index.
    vector: usize,
    /// Axis along which the elements of one index lie.
    axis: usize,
}

/// Checks `lut` and `vector_axis` against indices of this shape and type.
fn check_lut(site: &Site<'_>, indices: &[usize], index: DType) -> Result<Table, Fault> {
    let lut = shape_of(site, "lut")?;
    let [groups @ .., entries, vector] = lut.as_slice() else {
        let allowed = "of rank 2 more than its indices: groups, entries, vector";
        return Err(Fault::arg("lut", format!("of shape {lut:?}"), allowed));
    };
    check_blocks("lut", groups, indices)?;
    if index.bits() > 8 || 1usize << index.bits() != *entries {
        let allowed = format!("of 2^{} entries, as many as {index} can name", index.bits());
        return Err(Fault::arg("lut", format!("of {entries} entries per group"), allowed));
    }
    let axis = match site.has("vector_axis") {
        true => site.axis("vector_axis", indices.len())?,
        false if *vector == 1 => 0,
        false => {
            let message = format!("is missing; with vectors of {vector} elements it must say where they lie");
            return Err(Fault { param: Some("vector_axis".into()), message });
        }
    };
    let mut dense = indices.to_vec();
    dense[axis] = dense[axis].saturating_mul(*vector);
    Ok(Table { dense, vector: *vector, axis })
}

fn infer_lut_to_sparse(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let mask = shape_of(site, "indices_mask")?;
    let count = flat(site, "indices_nonzero_data")?;
    let table = check_lut(site, &mask, site.tensor("indices_nonzero_data")?.dtype)?;
    let values = typed(site.tensor("lut")?.dtype, &[count.saturating_mul(table.vector)]);
    Ok(vec![typed(DType::U1, &table.dense), values])
}

fn infer_sparse_blockwise(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let mask = shape_of(site, "data_mask")?;
    let count = flat(site, "nonzero_data")?;
    let dtype = check_scale(site, &mask, site.tensor("nonzero_data")?.dtype)?;
    Ok(vec![typed(DType::U1, &mask), typed(dtype, &[count])])
}

fn infer_sparse_to_dense(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    flat(site, "nonzero_data")?;
    let dtype = site.tensor("nonzero_data")?.dtype;
    if !site.has("shape") {
        return Ok(vec![typed(dtype, &shape_of(site, "mask")?)]);
    }
    let shape = given_shape(site)?;
    check_packed(site, "mask", 1, &shape)?;
    Ok(vec![typed(dtype, &shape)])
}

#[cfg(test)]
mod tests;
