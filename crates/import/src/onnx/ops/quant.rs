//! Quantized values.
//!
//! Constants become floats at once. Values made by `QuantizeLinear` with 8-bit types are MIL's own quantized values
//! where the op set has them; everything else is done in float arithmetic, with integers held as `int32`.

use super::{conv, matmul};
use crate::onnx::node::{Done, Node, axis, int32, volume};
use anemone_formats::onnx::ElementType;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Dim, Opset, Tensor, ValueId};
use anemone_tensor::num::{f32_of, i64_of};

/// Scale and zero point of a value.
#[derive(Clone, Copy)]
struct Params {
    scale: ValueId,
    zero: Option<ValueId>,
    /// The dim that they count along, where they are vectors.
    axis: i64,
    /// Elements along that dim that share a scale; 0 when the scales are no blocks.
    block: i64,
}

impl Params {
    fn of(n: &mut Node<'_, '_>, scale: usize, zero: usize) -> Result<Params, Fault> {
        let axis = n.int("axis").unwrap_or(1);
        let block = n.int("block_size").unwrap_or(0);
        Ok(Params { scale: n.input(scale)?, zero: n.maybe(zero)?, axis, block })
    }
}

/// Which scale counts for each element of a tensor.
struct Places {
    below: usize,
    extent: usize,
    scales: usize,
    block: usize,
}

impl Places {
    fn of(shape: &[usize], scale: &Tensor, params: Params) -> Result<Places, Fault> {
        if scale.len() == 1 {
            return Ok(Places { below: 1, extent: 1, scales: 1, block: 1 });
        }
        let at = axis(params.axis, shape.len())?;
        let extent = shape[at];
        let scales =
            if scale.rank() == 1 { scale.len() } else { scale.shape().get(at).copied().unwrap_or(0) };
        let block = usize::try_from(params.block).unwrap_or(0).max(1);
        let below = volume(&shape[at + 1..])?.max(1);
        let outer = volume(&shape[..at])?;
        let expected = if scale.rank() == 1 { scales } else { volume(&[outer, scales, below])? };
        if scales.saturating_mul(block) < extent || scale.len() != expected {
            return Err(Fault::new(format!(
                "scale has shape {:?}, which does not fit {shape:?} along axis {at}",
                scale.shape()
            )));
        }
        Ok(Places { below, extent, scales: if scale.rank() == 1 { 0 } else { scales }, block })
    }

    fn at(&self, i: usize) -> usize {
        if self.extent == 1 && self.scales == 1 && self.below == 1 {
            return 0;
        }
        let along = i / self.below % self.extent / self.block;
        match self.scales {
            // A vector counts along its axis alone.
            0 => along,
            scales => (i / (self.below * self.extent) * scales + along) * self.below + i % self.below,
        }
    }
}

/// `(x - zero) * scale` of constants.
fn constant_floats(
    x: &Tensor,
    scale: &Tensor,
    zero: Option<&Tensor>,
    params: Params,
) -> Result<Tensor, Fault> {
    let places = Places::of(x.shape(), scale, params)?;
    let (values, scales) = (x.to_f32s(), scale.to_f32s());
    let zeros = zero.map_or_else(|| vec![0.0; scales.len()], Tensor::to_f32s);
    if zeros.len() != scales.len() {
        return Err(Fault::new(format!("has {} zero points for {} scales", zeros.len(), scales.len())));
    }
    let one = |(i, v): (usize, &f32)| (v - zeros[places.at(i)]) * scales[places.at(i)];
    let floats: Vec<f32> = values.iter().enumerate().map(one).collect();
    let t = Tensor::from_f32s(x.shape(), &floats).map_err(|e| Fault::new(e.to_string()))?;
    Ok(t.cast(scale.dtype()))
}

/// A vector of one number per element along `axis`, shaped to broadcast against `rank` dims; scalars stay.
fn along(
    n: &mut Node<'_, '_>,
    v: ValueId,
    params: Params,
    rank: usize,
    what: &str,
) -> Result<ValueId, Fault> {
    if params.block != 0 {
        return Err(Fault::new("has blocks of scales on a value that is computed at run time"));
    }
    let dims = n.dims(v)?;
    if dims.is_empty() || rank == 0 {
        return Ok(v);
    }
    let mut wide = vec![Dim::Known(1); rank];
    if dims != [Dim::Known(1)] {
        wide[axis(params.axis, rank)?] = dims[0].clone();
    }
    let inner = n.inner(what);
    n.reshape(v, &wide, &inner)
}

/// The float value behind a quantized one.
fn to_float(n: &mut Node<'_, '_>, x: ValueId, params: Params, name: &str) -> Result<ValueId, Fault> {
    let zero = params.zero.map(|z| (z, n.numbers(z)));
    if let (Some(values), Some(scale)) = (n.numbers(x), n.numbers(params.scale))
        && zero.as_ref().is_none_or(|(_, t)| t.is_some())
    {
        let zero = zero.and_then(|(_, t)| t);
        let floats = constant_floats(&values, &scale, zero.as_ref(), params)?;
        return Ok(n.importer.constant(name, &floats));
    }
    let (x_type, dtype) = (n.ty(x)?, n.dtype(params.scale)?);
    if matches!(x_type.dtype, DType::I8 | DType::U8)
        && let Some((scale, zeros)) = literals(n, params, x_type.dtype)
    {
        let vector = scale.rank() == 1;
        let mut op = n.op("dequantize").arg("input", x).literal("scale", scale);
        if let Some(zeros) = zeros {
            op = op.literal("zero_point", zeros);
        }
        if vector {
            op = op.int("axis", int32(params.axis)?);
        }
        return op.one(name);
    }
    let rank = x_type.rank();
    let names =
        ["float", "zero_float", "zero_along", "shifted", "scale_along"].map(|s| format!("{name}_{s}"));
    let mut y = n.cast(x, dtype, &names[0])?;
    if let Some(zero) = params.zero {
        let zero = n.cast(zero, dtype, &names[1])?;
        let zero = along(n, zero, params, rank, "zero_along")?;
        y = n.binary("sub", y, zero, &names[3])?;
    }
    let scale = along(n, params.scale, params, rank, "scale_along")?;
    n.binary("mul", y, scale, name)
}

/// Constant scale and zero point as `quantize` and `dequantize` take them: scalars, or vectors with an axis.
fn literals(n: &Node<'_, '_>, params: Params, dtype: DType) -> Option<(Tensor, Option<Tensor>)> {
    if params.block != 0 {
        return None;
    }
    let scale = n.numbers(params.scale)?;
    let zero = match params.zero {
        None => None,
        Some(z) => Some(n.numbers(z)?.cast(dtype)),
    };
    let flat = |t: Tensor| if t.len() == 1 { t.reshaped([]).ok() } else { (t.rank() == 1).then_some(t) };
    let scale = flat(scale)?;
    match zero {
        None => Some((scale, None)),
        Some(zero) => {
            let zero = flat(zero).filter(|z| z.rank() == scale.rank())?;
            Some((scale, Some(zero)))
        }
    }
}

/// `DequantizeLinear`.
pub(crate) fn dequantize(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let params = Params::of(n, 1, 2)?;
    let y = to_float(n, x, params, &name)?;
    n.done(y)
}

/// The type that a quantized value has in ONNX: that of the zero point, else of `output_dtype`, else `uint8`.
fn quantized_type(n: &mut Node<'_, '_>, zero: Option<ValueId>) -> Result<DType, Fault> {
    if let Some(dtype) = zero.and_then(|z| n.importer.source_type(z)) {
        return Ok(dtype);
    }
    let dtype = match n.int("output_dtype").filter(|&code| code != 0) {
        Some(code) => {
            let element = ElementType(i32::try_from(code).unwrap_or(0));
            element.dtype().map_err(|e| Fault::new(e.to_string()))?
        }
        None if zero.is_some() => DType::I32,
        None => DType::U8,
    };
    if dtype.int_range().is_none() {
        return Err(Fault::new(format!("quantizes to {dtype}, but only integer types are supported")));
    }
    Ok(dtype)
}

/// The quantized value of a float one: MIL's where it has the type, else the number in `int32`.
fn to_quantized(
    n: &mut Node<'_, '_>,
    x: ValueId,
    params: Params,
    dtype: DType,
    name: &str,
) -> Result<ValueId, Fault> {
    let names = ["fp", "zero_fp", "quotient", "round", "shift", "clip"].map(|s| format!("{name}_{s}"));
    let scale_type = n.dtype(params.scale)?;
    let x = n.cast(x, scale_type, &names[0])?;
    let new = n.importer.builder.function().opset >= Opset::Ios17;
    if new
        && matches!(dtype, DType::I8 | DType::U8)
        && let Some((scale, zeros)) = literals(n, params, dtype)
    {
        let vector = scale.rank() == 1;
        let mut op =
            n.op("quantize").arg("input", x).literal("scale", scale).str("output_dtype", dtype.name());
        if let Some(zeros) = zeros {
            op = op.literal("zero_point", zeros);
        }
        if vector {
            op = op.int("axis", int32(params.axis)?);
        }
        return op.one(name);
    }
    let Some((low, high)) = dtype.int_range() else {
        return Err(Fault::new(format!("quantizes to {dtype}, but only integer types are supported")));
    };
    let rank = n.rank(x)?;
    let scale = along(n, params.scale, params, rank, "scale_along")?;
    let quotient = n.binary("real_div", x, scale, &names[2])?;
    let mut y = n.unary("round", quotient, &names[3])?;
    if let Some(zero) = params.zero {
        let zero = n.cast(zero, scale_type, &names[1])?;
        let zero = along(n, zero, params, rank, "zero_along")?;
        y = n.binary("add", y, zero, &names[4])?;
    }
    let (low, high) = (anemone_tensor::num::f64_of(low), anemone_tensor::num::f64_of(high));
    let y = n.op("clip").arg("x", y).float("alpha", "x", low).float("beta", "x", high).one(&names[5])?;
    n.cast(y, DType::I32, name)
}

/// `QuantizeLinear`: rounds halves to even.
pub(crate) fn quantize(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let params = Params::of(n, 1, 2)?;
    let dtype = quantized_type(n, params.zero)?;
    let y = to_quantized(n, x, params, dtype, &name)?;
    n.importer.set_source_type(y, dtype);
    n.done(y)
}

/// `DynamicQuantizeLinear`: scale and zero point from the extremes, 0 included.
pub(crate) fn dynamic(n: &mut Node<'_, '_>) -> Done {
    let (x, rank) = (n.input(0)?, {
        let x = n.input(0)?;
        n.rank(x)?
    });
    let base = n.name();
    let label = |s: &str| format!("{base}_{s}");
    let axes: Vec<i32> = (0..rank).map(|d| int32(i64_of(d))).collect::<Result<_, _>>()?;
    let mut extreme = |kind: &str, with: &str| {
        let zero = n.scalar_like("zero", x, 0.0)?;
        let e = n.op(kind).arg("x", x).ints("axes", &axes).bool("keep_dims", false).one(&label(kind))?;
        n.binary(with, e, zero, &label(with))
    };
    let (low, high) = (extreme("reduce_min", "minimum")?, extreme("reduce_max", "maximum")?);
    let steps = n.scalar_like("steps", x, 255.0)?;
    let span = n.binary("sub", high, low, &label("span"))?;
    let scale =
        n.binary("real_div", span, steps, &n.proto.output.get(1).cloned().unwrap_or_else(|| label("scale")))?;
    let minus = n.scalar_like("minus_one", x, -1.0)?;
    let start = n.binary("real_div", low, scale, &label("start"))?;
    let start = n.binary("mul", start, minus, &label("zero_real"))?;
    let start = n
        .op("clip")
        .arg("x", start)
        .float("alpha", "x", 0.0)
        .float("beta", "x", 255.0)
        .one(&label("zero_clip"))?;
    let zero = n.unary("round", start, &label("zero_float"))?;
    let params = Params { scale, zero: Some(zero), axis: 0, block: 0 };
    let y = to_quantized(n, x, params, DType::U8, &base)?;
    let zero_name = n.proto.output.get(2).cloned().unwrap_or_else(|| label("zero_point"));
    let zero = n.cast(zero, DType::I32, &zero_name)?;
    n.importer.set_source_type(y, DType::U8);
    n.importer.set_source_type(zero, DType::U8);
    n.bind(0, y)?;
    n.bind(1, scale)?;
    n.bind(2, zero)
}

/// An integer value as float, less its zero point.
fn shifted(
    n: &mut Node<'_, '_>,
    x: ValueId,
    zero: Option<ValueId>,
    at: i64,
    what: &str,
) -> Result<ValueId, Fault> {
    let one = n.constant_value("one", &Tensor::scalar_f64(DType::F32, 1.0));
    let name = n.inner(what);
    let params = Params { scale: one, zero, axis: at, block: 0 };
    if let Some(zero) = zero
        && n.numbers(x).is_some()
        && n.numbers(zero).is_some_and(|z| z.len() > 1)
    {
        // One scale per zero point.
        let count = n.numbers(zero).map_or(1, |z| z.len());
        let ones =
            Tensor::from_f32s([count], &vec![f32_of(1.0); count]).map_err(|e| Fault::new(e.to_string()))?;
        let scale = n.constant_value("ones", &ones);
        return to_float(n, x, Params { scale, ..params }, &name);
    }
    if zero.is_none() && n.numbers(x).is_none() {
        return n.cast(x, DType::F32, &name);
    }
    to_float(n, x, params, &name)
}

/// `MatMulInteger`: in floats, which are exact up to 2^24.
pub(crate) fn matmul_integer(n: &mut Node<'_, '_>) -> Done {
    let (a, b, name, inner) = (n.input(0)?, n.input(1)?, n.name(), n.inner("float"));
    let (a_zero, b_zero) = (n.maybe(2)?, n.maybe(3)?);
    let a = shifted(n, a, a_zero, -2, "a")?;
    let b = shifted(n, b, b_zero, -1, "b")?;
    let y = matmul::product(n, a, b, &inner)?;
    let y = n.cast(y, DType::I32, &name)?;
    n.done(y)
}

/// `ConvInteger`: in floats, which are exact up to 2^24.
pub(crate) fn conv_integer(n: &mut Node<'_, '_>) -> Done {
    let (x, w, name, inner) = (n.input(0)?, n.input(1)?, n.name(), n.inner("float"));
    let (x_zero, w_zero) = (n.maybe(2)?, n.maybe(3)?);
    let x = shifted(n, x, x_zero, 1, "x")?;
    let w = shifted(n, w, w_zero, 0, "w")?;
    let y = conv::convolve(n, x, w, None, &inner)?;
    let y = n.cast(y, DType::I32, &name)?;
    n.done(y)
}

/// `QLinearMatMul`: floats in between.
pub(crate) fn linear_matmul(n: &mut Node<'_, '_>) -> Done {
    let operand = |n: &mut Node<'_, '_>, i: usize, axis: i64, what: &str| {
        let (x, name) = (n.input(i)?, n.inner(what));
        let params = Params { scale: n.input(i + 1)?, zero: n.maybe(i + 2)?, axis, block: 0 };
        to_float(n, x, params, &name)
    };
    let (a, b) = (operand(n, 0, -2, "a")?, operand(n, 3, -1, "b")?);
    let (name, inner) = (n.name(), n.inner("float"));
    let y = matmul::product(n, a, b, &inner)?;
    let params = Params { scale: n.input(6)?, zero: n.maybe(7)?, axis: -2, block: 0 };
    let dtype = quantized_type(n, params.zero)?;
    let y = to_quantized(n, y, params, dtype, &name)?;
    n.importer.set_source_type(y, dtype);
    n.done(y)
}

/// `QLinearConv`: floats in between.
pub(crate) fn linear_conv(n: &mut Node<'_, '_>) -> Done {
    let names = [n.inner("x"), n.inner("w"), n.inner("float"), n.inner("bias"), n.inner("bias_scale")];
    let x = n.input(0)?;
    let x_scale = n.input(1)?;
    let x_params = Params { scale: x_scale, zero: n.maybe(2)?, axis: 1, block: 0 };
    let w = n.input(3)?;
    let w_scale = n.input(4)?;
    let w_params = Params { scale: w_scale, zero: n.maybe(5)?, axis: 0, block: 0 };
    let bias = match n.maybe(8)? {
        None => None,
        Some(b) => {
            let scale = n.binary("mul", x_scale, w_scale, &names[4])?;
            Some(to_float(n, b, Params { scale, zero: None, axis: 0, block: 0 }, &names[3])?)
        }
    };
    let x = to_float(n, x, x_params, &names[0])?;
    let w = to_float(n, w, w_params, &names[1])?;
    let y = conv::convolve(n, x, w, bias, &names[2])?;
    let params = Params { scale: n.input(6)?, zero: n.maybe(7)?, axis: 1, block: 0 };
    let dtype = quantized_type(n, params.zero)?;
    let name = n.name();
    let y = to_quantized(n, y, params, dtype, &name)?;
    n.importer.set_source_type(y, dtype);
    n.done(y)
}
