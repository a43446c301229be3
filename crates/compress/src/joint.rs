//! Joint forms: what one scheme left is compressed by another, as coremltools does with `joint_compression=True`.
//!
//! | left by | then | becomes |
//! |---|---|---|
//! | pruning | palette | `constexpr_lut_to_sparse` before `constexpr_sparse_to_dense` |
//! | pruning | linear | `constexpr_sparse_blockwise_shift_scale` before `constexpr_sparse_to_dense` |
//! | palette | linear, per tensor | `constexpr_blockwise_shift_scale` makes the table |
//! | linear | palette | `constexpr_lut_to_dense` makes the integers |
//! | linear | pruning | `constexpr_sparse_blockwise_shift_scale` before `constexpr_sparse_to_dense` |
//! | palette | pruning | `constexpr_lut_to_sparse` before `constexpr_sparse_to_dense` |

use crate::apply::{Failure, Made, Work, block_sizes, palette_spec};
use crate::config::Scheme;
use crate::encode::{Encoder, New};
use crate::select::{Chosen, rule_of};
use crate::weight::pack_bits;
use crate::{Config, Error, Fit, LinearMode, Pruning, Refusal, palettize, prune, quantize};
use anemone_mil::{FoldLimits, Function, OpId, Opset, TensorType, Type, ValueId, constant_value};
use anemone_passes::Index;
use anemone_tensor::{DType, Tensor};

/// Compressed weights that a rule is for: the op that takes the last `constexpr` result names the rule.
pub(crate) fn select(function: &Function, index: &Index, config: &Config) -> Result<Vec<Chosen>, Error> {
    let mut chosen = Vec::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        if !matches!(
            op.kind.name(),
            "constexpr_sparse_to_dense" | "constexpr_lut_to_dense" | "constexpr_blockwise_shift_scale"
        ) {
            continue;
        }
        let Some(&value) = op.outputs.first() else { continue };
        let users: Vec<_> = index.users(value).iter().map(|&u| function.op(u)).collect();
        if users.is_empty() || users.iter().any(|u| u.kind.name().starts_with("constexpr_")) {
            continue;
        }
        let size = function.value(value).ty.tensor().and_then(TensorType::element_count).unwrap_or(0);
        if let Some(rule) = rule_of(&function.value(value).name, &users, config)?
            && size > rule.weight_threshold
            && takes(op.kind.name(), &rule.scheme)
        {
            if function.opset < Opset::Ios18 {
                return Err(Error::opset("a joint form", function.opset, Opset::Ios18));
            }
            chosen.push(Chosen { value, rule: rule.clone() });
        }
    }
    Ok(chosen)
}

/// True when a weight in the form `kind` can take the scheme on top.
fn takes(kind: &str, scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Linear(_) => kind != "constexpr_blockwise_shift_scale",
        Scheme::Palette(_) => kind != "constexpr_lut_to_dense",
        Scheme::Prune(_) => kind != "constexpr_sparse_to_dense",
        Scheme::Activation(_) => false,
    }
}

/// Compresses what a compressed weight is made of; the op that unpacks it takes the new form.
pub(crate) fn compressed(
    function: &mut Function,
    index: &Index,
    value: ValueId,
    scheme: &Scheme,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<Made, Failure> {
    let Some(id) = function.producer(value) else { return Err(Refusal::NotPlain.into()) };
    let before = dense(function, value)?;
    if let Scheme::Prune(how) = scheme {
        let (new, bytes) = pruned(function, value, id, *how, &before, encoder, work)?;
        let fit = fit(&before, &dense(function, new)?);
        return Ok(Made { value: new, bytes, fit });
    }
    let bytes = match (function.op(id).kind.name(), scheme) {
        ("constexpr_sparse_to_dense", _) => {
            sparse(function, index, value, id, scheme, &before, encoder, work)?
        }
        ("constexpr_lut_to_dense", Scheme::Linear(l)) => table(function, id, l.dtype, l.mode, encoder, work)?,
        (_, Scheme::Palette(_)) => integers(function, index, value, id, scheme, encoder, work)?,
        _ => return Err(Refusal::NotPlain.into()),
    };
    let fit = fit(&before, &dense(function, value)?);
    Ok(Made { value, bytes, fit })
}

/// How near a weight is to what it was.
pub(crate) fn fit(was: &Tensor, is: &Tensor) -> Fit {
    let mut fit = Fit::default();
    fit.add(&was.to_f32s(), &is.to_f32s());
    fit
}

/// What a compressed weight stands for.
pub(crate) fn dense(function: &Function, value: ValueId) -> Result<Tensor, Refusal> {
    let limits = FoldLimits { constexpr: true, max_elements: usize::MAX };
    let literal = constant_value(function, value, limits);
    literal.as_ref().and_then(|l| l.as_tensor()).cloned().ok_or(Refusal::NotPlain)
}

fn operand(function: &Function, id: OpId, param: &str) -> Result<(ValueId, Tensor), Refusal> {
    let value = function.op(id).value(param).ok_or(Refusal::NotPlain)?;
    let literal = function.constant(value).and_then(|c| c.literal().ok());
    let tensor = literal.as_ref().and_then(|l| l.as_tensor()).cloned().ok_or(Refusal::NotPlain)?;
    Ok((value, tensor))
}

/// Elements where the mask has a one.
fn left(tensor: &Tensor, mask: &Tensor) -> Result<Tensor, Refusal> {
    let kept: Vec<i64> = (0..mask.len()).filter(|&i| mask.i64_at(i) != 0).map(|i| tensor.i64_at(i)).collect();
    Tensor::from_i64s(tensor.dtype(), [kept.len()], &kept).map_err(Refusal::Tensor)
}

/// Prunes what a compressed weight stands for; what is left of its integers or indices stays as it is.
fn pruned(
    function: &mut Function,
    value: ValueId,
    id: OpId,
    how: Pruning,
    before: &Tensor,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<(ValueId, u64), Failure> {
    let made = prune(before, how)?;
    let name = function.value(value).name.to_string();
    let (kind, mask_param, data, data_param, others): (_, _, _, _, &[&str]) =
        match function.op(id).kind.name() {
            "constexpr_blockwise_shift_scale" => {
                let others: &[&str] = &["scale", "offset"];
                ("constexpr_sparse_blockwise_shift_scale", "data_mask", "data", "nonzero_data", others)
            }
            _ => ("constexpr_lut_to_sparse", "indices_mask", "indices", "indices_nonzero_data", &["lut"]),
        };
    if function.op(id).value("vector_axis").is_some() {
        return Err(Refusal::NotPlain.into());
    }
    let (_, data) = operand(function, id, data)?;
    let mut operands = vec![(mask_param, made.mask.clone()), (data_param, left(&data, &made.mask)?)];
    for param in others.iter().copied().filter(|p| function.op(id).value(p).is_some()) {
        operands.push((param, operand(function, id, param)?.1));
    }
    let kept: Type = TensorType::new(before.dtype(), [made.nonzero.len()]).into();
    let mask_type: Type = TensorType::new(DType::U1, before.shape().iter().copied()).into();
    let results = vec![mask_type, kept];
    let new = New { kind, name: format!("{name}_sparse"), operands, takes: Vec::new(), results };
    let (parts, bytes) = encoder.add(function, new, work)?;
    let takes = vec![("mask", parts[0]), ("nonzero_data", parts[1])];
    let results = vec![function.value(value).ty.clone()];
    let (kind, name) = ("constexpr_sparse_to_dense", format!("{name}_sparsified"));
    let (new, _) = encoder.add(function, New { kind, name, operands: Vec::new(), takes, results }, work)?;
    Ok((new[0], bytes))
}

/// True for every vector along `axis` that has an element that is left, in the shape of the indices.
fn any_left(mask: &Tensor, axis: usize, d: usize) -> Result<Tensor, Refusal> {
    let mut shape = mask.shape().to_vec();
    let (along, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    shape[axis] /= d;
    let count: usize = shape.iter().product();
    let any = |i: usize| {
        let (block, within) = (i / inner, i % inner);
        let (outer, vector) = (block / (along / d), block % (along / d));
        let at = |c: usize| (outer * along + vector * d + c) * inner + within;
        u8::from((0..d).any(|c| mask.i64_at(at(c)) != 0))
    };
    let bits: Vec<u8> = (0..count).map(any).collect();
    Tensor::new(DType::U1, shape, pack_bits(&bits, 1)).map_err(Refusal::Tensor)
}

#[expect(
    clippy::too_many_arguments,
    reason = "the place of a weight, its form before, and what is lent for the work"
)]
fn sparse(
    function: &mut Function,
    index: &Index,
    value: ValueId,
    id: OpId,
    scheme: &Scheme,
    before: &Tensor,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<u64, Failure> {
    let (mask_value, mask) = operand(function, id, "mask")?;
    let (_, nonzero) = operand(function, id, "nonzero_data")?;
    let name = function.value(value).name.to_string();
    let mut kept = nonzero.len();
    let mut takes = Vec::new();
    let (kind, name, operands) = match scheme {
        Scheme::Linear(l) => {
            let sizes = block_sizes(function, index, value, before.shape(), &l.granularity)?.0;
            let made = quantize(before, l.dtype, l.mode, &sizes, work.workers)?;
            let mut operands = vec![("nonzero_data", left(&made.data, &mask)?), ("scale", made.scale)];
            operands.extend(made.offset.map(|o| ("offset", o)));
            takes.push(("data_mask", mask_value));
            ("constexpr_sparse_blockwise_shift_scale", format!("{name}_quantized"), operands)
        }
        Scheme::Palette(p) => {
            let (sizes, axis) = block_sizes(function, index, value, before.shape(), &p.granularity)?;
            let spec = palette_spec(p, &sizes, axis, before.shape());
            let made = palettize(before, &spec, work.workers)?;
            let mut operands = Vec::new();
            if p.cluster_dim > 1 {
                // A vector is kept when one of its elements is; then it is kept whole.
                let vectors = any_left(&mask, axis, p.cluster_dim)?;
                let indices = left(&made.indices, &vectors)?;
                kept = indices.len() * p.cluster_dim;
                let axis = i32::try_from(axis).unwrap_or(0);
                operands.extend([("indices_mask", vectors), ("indices_nonzero_data", indices)]);
                operands.extend([("lut", made.lut), ("vector_axis", Tensor::scalar_i32(axis))]);
            } else {
                takes.push(("indices_mask", mask_value));
                operands.extend([("indices_nonzero_data", left(&made.indices, &mask)?), ("lut", made.lut)]);
            }
            ("constexpr_lut_to_sparse", format!("{name}_palettized"), operands)
        }
        Scheme::Prune(_) | Scheme::Activation(_) => return Err(Refusal::NotPlain.into()),
    };
    let mask_type: Type = TensorType::new(DType::U1, mask.shape().iter().copied()).into();
    let values_type: Type = TensorType::new(nonzero.dtype(), [kept]).into();
    let results = vec![mask_type, values_type];
    let shared = if takes.is_empty() { 0 } else { mask.bytes().len() };
    let new = New { kind, name, operands, takes, results };
    let (made, bytes) = encoder.add(function, new, work)?;
    function.op_mut(id).set_arg("mask", vec![made[0]]);
    function.op_mut(id).set_arg("nonzero_data", vec![made[1]]);
    Ok(bytes + u64::try_from(shared).unwrap_or(u64::MAX))
}

/// Quantises the table of a palette.
fn table(
    function: &mut Function,
    id: OpId,
    dtype: DType,
    mode: LinearMode,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<u64, Failure> {
    let (value, lut) = operand(function, id, "lut")?;
    let (_, indices) = operand(function, id, "indices")?;
    let made = quantize(&lut, dtype, mode, &vec![0; lut.rank()], work.workers)?;
    let mut operands = vec![("data", made.data), ("scale", made.scale)];
    operands.extend(made.offset.map(|o| ("offset", o)));
    let (kind, name) =
        ("constexpr_blockwise_shift_scale", format!("{}_quantized", function.value(value).name));
    let results = vec![function.value(value).ty.clone()];
    let (made, bytes) =
        encoder.add(function, New { kind, name, operands, takes: Vec::new(), results }, work)?;
    function.op_mut(id).set_arg("lut", made);
    Ok(bytes + u64::try_from(indices.bytes().len()).unwrap_or(u64::MAX))
}

/// Palettises the integers of a quantised weight.
fn integers(
    function: &mut Function,
    index: &Index,
    value: ValueId,
    id: OpId,
    scheme: &Scheme,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<u64, Failure> {
    let Scheme::Palette(p) = scheme else { return Err(Refusal::NotPlain.into()) };
    let (data_value, data) = operand(function, id, "data")?;
    let (_, scale) = operand(function, id, "scale")?;
    if !matches!(data.dtype(), DType::I8 | DType::U8) {
        return Err(Refusal::Type(data.dtype()).into());
    }
    let (sizes, axis) = block_sizes(function, index, value, data.shape(), &p.granularity)?;
    let spec = palette_spec(p, &sizes, axis, data.shape());
    let made = palettize(&data.cast(DType::F32), &spec, work.workers)?;
    let entries: Vec<f64> = made.lut.to_f64s().iter().map(|v| v.round_ties_even()).collect();
    let lut = Tensor::from_f64s(data.dtype(), made.lut.shape(), &entries).map_err(Refusal::Tensor)?;
    let mut operands = vec![("indices", made.indices), ("lut", lut)];
    let vector_axis = made.vector_axis.and_then(|a| i32::try_from(a).ok());
    operands.extend(vector_axis.map(|a| ("vector_axis", Tensor::scalar_i32(a))));
    let (kind, name) = ("constexpr_lut_to_dense", format!("{}_palettized", function.value(value).name));
    let results = vec![function.value(data_value).ty.clone()];
    let (made, bytes) =
        encoder.add(function, New { kind, name, operands, takes: Vec::new(), results }, work)?;
    function.op_mut(id).set_arg("data", made);
    Ok(bytes + u64::try_from(scale.bytes().len()).unwrap_or(u64::MAX))
}
