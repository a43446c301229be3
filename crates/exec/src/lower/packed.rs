//! Compressed weights that stay compressed: `constexpr_*` results that only products take.
//!
//! Who takes the bits as they are, and who unpacks:
//! - a product of at most [`MAX_ROWS`] rows reads the packed bits, also those of plain `fp16` weights;
//! - one of more rows unpacks a compressed weight panel by panel as it runs, and packs a plain one as `fp32` once:
//!   unpacking costs about as much as multiplying by a dozen rows does, which few rows feel and many do not;
//! - a convolution over more than a point unpacks once when it is planned, since every weight is used at every
//!   position and its memory is small beside that of the images.
//!
//! A weight whose form has no kernel (sparse, vector palettes) is unpacked once to its declared type.
//! Products with `fp16` results may multiply codes in whole numbers (see `kernels::packed`).

use super::{Io, Kernel, Lowered, Lowering};
use crate::kernels::gemm::{Mat, gemm_packed, gemm_scratch};
use crate::kernels::packed::{Code, Grid, MAX_ROWS, PackedMatrix, PackedProduct};
use crate::kernels::{Activation, Bias, Epilogue};
use crate::pool::Pool;
use anemone_mil::ops::{Effect, Site};
use anemone_mil::{
    Const, DType, FoldLimits, Function, Op, OpId, Packed, Recipe, Tensor, Uses, ValueId, Weight, WeightData,
    constant_value,
};
use anemone_tensor::TensorError;
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

/// A weight `[rows, ...]` that the engine keeps packed.
#[derive(Debug)]
struct PackedWeight {
    dtype: DType,
    shape: Vec<usize>,
    matrix: Arc<PackedMatrix>,
}

impl Packed for PackedWeight {
    fn unpack(&self) -> Result<Tensor, TensorError> {
        let tensor = Tensor::from_f32s(self.shape.clone(), &self.matrix.to_f32s())?;
        Ok(tensor.cast(self.dtype))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Replaces compressed weights that only products take by constants that keep the packed bits; those larger than
/// `limits` stay as they are.
pub(crate) fn keep_packed(function: &mut Function, limits: FoldLimits) {
    let uses = Uses::of(function);
    let mut gone: HashSet<OpId> = HashSet::new();
    for (_, id) in function.walk() {
        let [result] = *function.op(id).outputs.as_slice() else { continue };
        let users = uses.ops(result);
        let taken = !users.is_empty() && users.iter().all(|&u| takes_weight(function.op(u), result));
        if !taken || uses.escapes(result) || !is_constexpr(function.op(id)) {
            continue;
        }
        let Some(weight) = packed_weight(function, id, limits) else { continue };
        let (dtype, shape) = (weight.dtype, weight.shape.clone());
        let name = function.value(result).name.clone();
        let kept = function.add_const(name, Weight::packed(dtype, shape, Arc::new(weight)));
        for &user in users {
            let args = function.op_mut(user).args.iter_mut().flat_map(|a| a.values.iter_mut());
            args.filter(|v| **v == result).for_each(|v| *v = kept);
        }
        gone.insert(id);
    }
    // What only made the operands of those is left over.
    for (_, id) in function.walk().into_iter().rev() {
        let left = |v: &ValueId| !uses.escapes(*v) && uses.ops(*v).iter().all(|u| gone.contains(u));
        if is_constexpr(function.op(id)) && function.op(id).outputs.iter().all(left) {
            gone.insert(id);
        }
    }
    function.remove_ops(&gone);
}

fn is_constexpr(op: &Op) -> bool {
    op.kind.def().is_some_and(|d| d.effect == Effect::Constexpr)
}

/// True when the value is the weight of the op and nothing else of it.
fn takes_weight(op: &Op, v: ValueId) -> bool {
    let param = match op.kind.name() {
        "linear" | "conv" => "weight",
        "matmul" => "y",
        _ => return false,
    };
    op.value(param) == Some(v) && op.operands().filter(|&o| o == v).count() == 1
}

fn packed_weight(function: &Function, id: OpId, limits: FoldLimits) -> Option<PackedWeight> {
    let op = function.op(id);
    let ty = function.value(*op.outputs.first()?).ty.tensor()?;
    let (dtype, shape) = (ty.dtype, ty.known_shape()?);
    if !matches!(dtype, DType::F16 | DType::F32) || shape.len() < 2 || shape.contains(&0) {
        return None;
    }
    if ty.element_count()? > limits.max_elements {
        return None;
    }
    let dense = || dense(function, *op.outputs.first()?, limits);
    let matrix = as_stored(function, op, &shape).or_else(dense)?;
    Some(PackedWeight { dtype, shape, matrix: Arc::new(matrix) })
}

/// Rows and columns of a weight.
fn extents(shape: &[usize]) -> (usize, usize) {
    (shape[0], shape[1..].iter().product())
}

/// The weight over the bytes of the package; `None` for forms that have no kernel.
fn as_stored(function: &Function, op: &Op, shape: &[usize]) -> Option<PackedMatrix> {
    let site = Site::new(function, op).ok()?;
    match op.kind.name() {
        "constexpr_cast" => over(&site.numbers("source_val")?, shape),
        "constexpr_affine_dequantize" => affine(&site, shape),
        "constexpr_blockwise_shift_scale" => blockwise(&site, shape),
        "constexpr_lut_to_dense" => palette(&site, shape),
        _ => None,
    }
}

/// The weight unpacked once, in its declared type.
fn dense(function: &Function, v: ValueId, limits: FoldLimits) -> Option<PackedMatrix> {
    let tensor = constant_value(function, v, limits)?.as_tensor()?.clone();
    over(&tensor, tensor.shape())
}

/// A matrix over the elements of a tensor of numbers.
fn over(tensor: &Tensor, shape: &[usize]) -> Option<PackedMatrix> {
    let code = match tensor.dtype() {
        DType::F32 => Code::F32,
        DType::F16 => Code::F16,
        DType::I4 => Code::Int { bits: 4, signed: true },
        DType::U4 => Code::Int { bits: 4, signed: false },
        DType::I8 => Code::Int { bits: 8, signed: true },
        DType::U8 => Code::Int { bits: 8, signed: false },
        _ => return None,
    };
    let (rows, columns) = extents(shape);
    PackedMatrix::new(rows, columns, code, tensor.bytes().clone()).ok()
}

/// A grid whose blocks go along the first two dims alone, so that they are blocks of the matrix too.
fn grid(values: &Tensor, blocks: &[usize], width: usize) -> Option<Grid> {
    let (&down, rest) = blocks.split_first()?;
    let (&across, rest) = rest.split_first()?;
    rest.iter().all(|&b| b == 1).then(|| Grid { down, across, width, values: values.to_f32s() })
}

fn affine(site: &Site<'_>, shape: &[usize]) -> Option<PackedMatrix> {
    let matrix = over(&site.numbers("quantized_data")?, shape)?;
    let axis = site.axis("axis", shape.len()).ok()?;
    let along = |t: Tensor| {
        let mut blocks = vec![1; shape.len()];
        blocks[axis] = t.len();
        grid(&t, &blocks, 1)
    };
    let matrix = matrix.with_offsets(along(site.numbers("zero_point")?)?).ok()?;
    matrix.with_scales(along(site.numbers("scale")?)?).ok()
}

fn blockwise(site: &Site<'_>, shape: &[usize]) -> Option<PackedMatrix> {
    let function = site.function;
    let data = site.op.value("data")?;
    let matrix = match function.producer(data) {
        Some(id) if function.op(id).is("constexpr_lut_to_dense") => {
            palette(&Site::new(function, function.op(id)).ok()?, shape)?
        }
        Some(_) => return None,
        None => over(&site.numbers("data")?, shape)?,
    };
    let scale = site.numbers("scale")?;
    let matrix = matrix.with_scales(grid(&scale, scale.shape(), 1)?).ok()?;
    match site.has("offset") {
        false => Some(matrix),
        true => {
            let offset = site.numbers("offset")?;
            matrix.with_offsets(grid(&offset, offset.shape(), 1)?).ok()
        }
    }
}

fn palette(site: &Site<'_>, shape: &[usize]) -> Option<PackedMatrix> {
    let (indices, lut) = (site.numbers("indices")?, site.numbers("lut")?);
    let (bits, tables) = if site.has("shape") {
        (lut.len().ilog2(), Grid { down: 1, across: 1, width: lut.len(), values: lut.to_f32s() })
    } else {
        let (blocks, [entries, 1]) = lut.shape().split_at_checked(lut.rank().checked_sub(2)?)? else {
            return None;
        };
        (entries.ilog2(), grid(&lut, blocks, *entries)?)
    };
    let (rows, columns) = extents(shape);
    let matrix = PackedMatrix::new(rows, columns, Code::Index { bits }, indices.bytes().clone()).ok()?;
    matrix.with_tables(tables).ok()
}

/// What a constant weight of rank 2 or more is when nothing is unpacked.
pub(super) fn stored(function: &Function, v: ValueId) -> Option<Arc<PackedMatrix>> {
    let Const::Weight(weight) = function.constant(v)? else { return None };
    if weight.shape.len() < 2 || weight.shape.contains(&0) {
        return None;
    }
    let plain = |w: &Weight| over(&w.tensor().ok()?, &w.shape).map(Arc::new);
    match &weight.data {
        WeightData::Bytes(_) => plain(weight),
        WeightData::Computed(recipe) => match &**recipe {
            Recipe::Unpack(packed) => {
                packed.as_any().downcast_ref::<PackedWeight>().map(|p| Arc::clone(&p.matrix))
            }
            Recipe::Cast(w) if w.dtype == DType::F16 && matches!(w.data, WeightData::Bytes(_)) => plain(w),
            _ => None,
        },
        WeightData::Missing => None,
    }
}

/// A product with a packed weight.
struct PackedLinear {
    rows: usize,
    weight: Arc<PackedMatrix>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    half: bool,
}

impl Kernel for PackedLinear {
    fn scratch(&self, pool: &Pool) -> usize {
        if self.rows <= MAX_ROWS {
            return PackedProduct::new(&self.weight, self.rows, self.half, pool).scratch();
        }
        gemm_scratch(self.rows, self.weight.columns(), self.weight.rows(), pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        let bias = self.bias.as_deref().map_or(Bias::None, Bias::Col);
        let epilogue = Epilogue { bias, activation: self.activation, half: self.half };
        if self.rows <= MAX_ROWS {
            let product = PackedProduct::new(&self.weight, self.rows, self.half, pool);
            return product.run(io.inputs[0], epilogue, io.outputs[0], io.scratch, pool);
        }
        let x = Mat::new(io.inputs[0], self.rows, self.weight.columns());
        gemm_packed(x, &self.weight, epilogue, io.outputs[0], io.scratch, pool);
    }
}

/// A product of `rows` rows of `x` and a constant weight `[outputs, inputs]`, or the other way round when
/// `transposed`, where the packed bits serve better than a copy.
pub(super) fn product(
    l: &Lowering<'_>,
    x: ValueId,
    weight: ValueId,
    transposed: bool,
    rows: usize,
    bias: Option<Vec<f32>>,
) -> Option<Lowered> {
    let matrix = stored(l.site.function, weight)?;
    let serves = match matrix.code() {
        Code::F32 => rows == 1,
        Code::F16 => rows <= MAX_ROWS,
        Code::Int { .. } | Code::Index { .. } => true,
    };
    if !serves || rows == 0 {
        return None;
    }
    let weight = if transposed { Arc::new(matrix.transposed()) } else { matrix };
    if bias.as_ref().is_some_and(|b| b.len() != weight.rows()) {
        return None;
    }
    let kernel = Box::new(PackedLinear { rows, weight, bias, activation: l.activation, half: l.half() });
    Some(Lowered::Kernel { kernel, reads: vec![x] })
}
