//! Shapes: reading, changing, joining.

use crate::onnx::node::{Done, Node, axis, int32, int32s, volume};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Dim, Literal, Tensor, ValueId};
use anemone_tensor::num::i64_of;

/// `Identity`, and `Dropout` as it infers: the operand itself.
pub(crate) fn pass_on(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    if n.proto.op_type == "Dropout" {
        let training = n.constant(2)?.is_some_and(|t| t.to_bools().contains(&true));
        let ratio = n.constant(1)?.filter(|t| !t.is_empty()).map_or(0.5, |t| t.f64_at(0));
        if training && ratio != 0.0 {
            return Err(Fault::new("is in training mode; export the model for inference"));
        }
        if n.maybe(2)?.is_some() && n.constant(2)?.is_none() {
            return Err(Fault::new(
                "training_mode (operand 2) is computed at run time; only a constant is supported",
            ));
        }
        if n.wants(1) {
            // What is kept when nothing is dropped: everything.
            let (name, inner) = (n.proto.output[1].clone(), n.inner("all_true"));
            let shape = n.op("shape").arg("x", x).one(&inner)?;
            let mask =
                n.op("fill").arg("shape", shape).literal("value", Tensor::scalar_bool(true)).one(&name)?;
            n.bind(1, mask)?;
        }
    }
    n.done(x)
}

/// `Constant`.
pub(crate) fn constant(n: &mut Node<'_, '_>) -> Done {
    let wrong = |e: anemone_tensor::TensorError| Fault::new(e.to_string());
    let name = n.name();
    let tensor = if let Some(t) = n.tensor("value") {
        n.importer.tensor(t)?
    } else if let Some(f) = n.float("value_float") {
        Tensor::scalar_f64(DType::F32, f)
    } else if let Some(i) = n.int("value_int") {
        Tensor::scalar_i32(int32(i)?)
    } else if let Some(f) = n.floats("value_floats") {
        Tensor::from_f64s(DType::F32, [f.len()], &f).map_err(wrong)?
    } else if let Some(i) = n.ints("value_ints") {
        Tensor::from_i64s(DType::I32, [i.len()], &i).map_err(wrong)?
    } else {
        return Err(Fault::new(
            "holds no dense tensor of numbers; text and sparse constants are not supported",
        ));
    };
    let v = n.importer.constant(&name, &tensor);
    n.done(v)
}

/// `Shape`, with `start` and `end` since opset 15.
pub(crate) fn shape(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("full"));
    let rank = i64_of(n.rank(x)?);
    let clamp = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank);
    let (start, end) = (clamp(n.int("start").unwrap_or(0)), clamp(n.int("end").unwrap_or(rank)));
    if (start, end) == (0, rank) {
        let y = n.op("shape").arg("x", x).one(&name)?;
        return n.done(y);
    }
    let all = n.op("shape").arg("x", x).one(&inner)?;
    let y = n
        .op("slice_by_index")
        .arg("x", all)
        .ints("begin", &[int32(start)?])
        .ints("end", &[int32(end)?])
        .one(&name)?;
    n.done(y)
}

/// `Size`.
pub(crate) fn size(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("shape"));
    let all = n.op("shape").arg("x", x).one(&inner)?;
    let y = n.op("reduce_prod").arg("x", all).ints("axes", &[0]).bool("keep_dims", false).one(&name)?;
    n.done(y)
}

/// `Reshape`: 0 keeps an extent (unless `allowzero`), -1 takes what is left.
pub(crate) fn reshape(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let target = match n.ints("shape") {
        Some(shape) => Some(shape),
        None => n.constant(1)?.map(|t| t.to_i64s()),
    };
    let keep = n.int("allowzero").unwrap_or(0) == 0;
    let unknown = target.as_ref().is_none_or(|t| t.contains(&0));
    if !keep && unknown {
        return Err(Fault::new(
            "allowzero may ask for an extent of 0, which MIL's reshape takes for the operand's own",
        ));
    }
    let Some(target) = target else {
        let shape = computed_shape(n, x)?;
        let y = n.op("reshape").arg("x", x).arg("shape", shape).one(&name)?;
        return n.done(y);
    };
    let dims = n.ty(x)?.dims;
    let kept = |i: usize, d: i64| match dims.get(i).and_then(Dim::known) {
        Some(known) if d == 0 && keep => i64_of(known),
        _ => d,
    };
    let target: Vec<i64> = target.into_iter().enumerate().map(|(i, d)| kept(i, d)).collect();
    let y = n.op("reshape").arg("x", x).ints("shape", &int32s(&target)?).one(&name)?;
    n.done(y)
}

/// A shape computed at run time, its zeros replaced by the operand's own extents where they could be there: extents
/// put together by `concat` from computed parts are taken for positive.
fn computed_shape(n: &mut Node<'_, '_>, x: ValueId) -> Result<ValueId, Fault> {
    let shape = n.input(1)?;
    if !may_hold_zero(n, shape) {
        return Ok(shape);
    }
    let rank = n.rank(x)?;
    let count = n.dims(shape)?.first().and_then(Dim::known);
    let count = count.ok_or_else(|| Fault::new("the number of dims of the result is unknown"))?;
    n.room(&[count])?;
    let names = ["own", "own_first", "own_padded", "is_zero", "shape"].map(|s| n.inner(s));
    let own = n.op("shape").arg("x", x).one(&names[0])?;
    let own = if rank > count {
        n.op("slice_by_index")
            .arg("x", own)
            .ints("begin", &[0])
            .ints("end", &[int32(i64_of(count))?])
            .one(&names[1])?
    } else if rank < count {
        let ones = n.constant_value("ones", &Tensor::vector_i32(&vec![1; count - rank]));
        let both = n.op("concat").args("values", vec![own, ones]).int("axis", 0).bool("interleave", false);
        both.one(&names[2])?
    } else {
        own
    };
    let zero = n.constant_value("zero", &Tensor::scalar_i32(0));
    let is_zero = n.binary("equal", shape, zero, &names[3])?;
    n.op("select").arg("cond", is_zero).arg("a", own).arg("b", shape).one(&names[4])
}

fn may_hold_zero(n: &Node<'_, '_>, shape: ValueId) -> bool {
    let function = n.importer.builder.function();
    let Some(op) = function.producer(shape).map(|id| function.op(id)) else { return true };
    let zero = |v: &ValueId| n.numbers(*v).is_some_and(|t| t.to_i64s().contains(&0));
    match op.kind.name() {
        "concat" => op.values("values").iter().any(zero),
        "shape" => false,
        _ => true,
    }
}

/// `Flatten` to a matrix at `axis`.
pub(crate) fn flatten(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let dims = n.ty(x)?.dims;
    let at = n.int("axis").unwrap_or(1);
    let at = if at == i64_of(dims.len()) { dims.len() } else { axis(at, dims.len())? };
    let product = |part: &[Dim]| {
        let known: Option<Vec<usize>> = part.iter().map(Dim::known).collect();
        known.map_or(Ok(Dim::Unknown), |k| volume(&k).map(Dim::Known))
    };
    let y = n.reshape(x, &[product(&dims[..at])?, product(&dims[at..])?], &name)?;
    n.done(y)
}

/// `Transpose`; without `perm` the dims are reversed.
pub(crate) fn transpose(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let rank = n.rank(x)?;
    let perm = n.ints("perm").unwrap_or_else(|| (0..rank).rev().map(i64_of).collect());
    let y = n.op("transpose").arg("x", x).ints("perm", &int32s(&perm)?).one(&name)?;
    n.done(y)
}

/// Axes as attribute, or since opset 13 as operand.
fn axes(n: &mut Node<'_, '_>) -> Result<Option<Vec<i64>>, Fault> {
    match n.ints("axes") {
        Some(axes) => Ok(Some(axes)),
        None => n.constant_ints(1, "axes"),
    }
}

/// `Squeeze`.
pub(crate) fn squeeze(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let axes = axes(n)?;
    let op = n.op("squeeze").arg("x", x);
    let y = match axes {
        Some(axes) => op.ints("axes", &int32s(&axes)?),
        None => op,
    };
    let y = y.one(&name)?;
    n.done(y)
}

/// `Unsqueeze`.
pub(crate) fn unsqueeze(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let axes = axes(n)?.ok_or_else(|| Fault::new("axes are missing"))?;
    let rank = n.rank(x)? + axes.len();
    let mut front = axes.iter().map(|&a| axis(a, rank).map(i64_of)).collect::<Result<Vec<_>, _>>()?;
    front.sort_unstable();
    let y = n.op("expand_dims").arg("x", x).ints("axes", &int32s(&front)?).one(&name)?;
    n.done(y)
}

/// `Concat`.
pub(crate) fn concat(n: &mut Node<'_, '_>) -> Done {
    let (values, name) = (n.inputs()?, n.name());
    let at = n.int("axis").ok_or_else(|| Fault::new("attribute `axis` is missing"))?;
    let y =
        n.op("concat").args("values", values).int("axis", int32(at)?).bool("interleave", false).one(&name)?;
    n.done(y)
}

/// `Tile` by constant factors.
pub(crate) fn tile(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let reps = n.input(1)?;
    let y = n.op("tile").arg("x", x).arg("reps", reps).one(&name)?;
    n.done(y)
}

/// `Expand`: broadcasting to a shape; by tiling where the extents are known, else by a product with ones.
pub(crate) fn expand(n: &mut Node<'_, '_>) -> Done {
    let (x, name, names) =
        (n.input(0)?, n.name(), [n.inner("x"), n.inner("ones"), n.inner("int32"), n.inner("product")]);
    let ty = n.ty(x)?;
    let target = n.constant(1)?.map(|t| t.to_i64s());
    if let (Some(target), Some(shape)) = (target, ty.known_shape()) {
        let rank = target.len().max(shape.len());
        let missing = rank - shape.len();
        let mut padded: Vec<usize> = vec![1; missing];
        padded.extend(&shape);
        let skipped = rank - target.len();
        let mut reps = Vec::with_capacity(rank);
        for (i, &have) in padded.iter().enumerate() {
            let want = if i < skipped { 1 } else { target[i - skipped] };
            let fits = want == 1 || i64_of(have) == want || have == 1;
            if !fits || want < 0 {
                return Err(Fault::new(format!("{shape:?} does not broadcast to {target:?}")));
            }
            reps.push(if have == 1 { want } else { 1 });
        }
        let plain = reps.iter().all(|&r| r == 1);
        let axes: Vec<i64> = (0..missing).map(i64_of).collect();
        let mut y = x;
        if missing > 0 {
            let last = if plain { &name } else { &names[0] };
            y = n.op("expand_dims").arg("x", y).ints("axes", &int32s(&axes)?).one(last)?;
        }
        if !plain {
            y = n.op("tile").arg("x", y).ints("reps", &int32s(&reps)?).one(&name)?;
        }
        return n.done(y);
    }
    let shape = n.input(1)?;
    let number = if ty.dtype == DType::Bool { DType::I32 } else { ty.dtype };
    let one = Literal::Tensor(Tensor::scalar_f64(number, 1.0));
    let ones = n.op("fill").arg("shape", shape).literal("value", one).one(&names[1])?;
    let factor = n.cast(x, number, &names[2])?;
    let y = n.binary("mul", factor, ones, if number == ty.dtype { &name } else { &names[3] })?;
    let y = n.cast(y, ty.dtype, &name)?;
    n.done(y)
}

/// `ConstantOfShape`.
pub(crate) fn constant_of_shape(n: &mut Node<'_, '_>) -> Done {
    let (shape, name) = (n.input(0)?, n.name());
    let value = match n.tensor("value") {
        Some(t) => n.importer.tensor(t)?,
        None => Tensor::scalar_f64(DType::F32, 0.0),
    };
    if value.is_empty() {
        return Err(Fault::new("attribute `value` is empty"));
    }
    let dtype = crate::onnx::graph::narrowed(value.dtype());
    let literal = Tensor::scalar_f64(dtype, value.f64_at(0));
    // A tensor without dims is one number.
    if n.ty(shape)?.dims.first().and_then(Dim::known) == Some(0) {
        let v = n.constant_value("value", &literal);
        return n.done(v);
    }
    let y = n.op("fill").arg("shape", shape).literal("value", literal).one(&name)?;
    n.done(y)
}

/// `Range`.
pub(crate) fn range(n: &mut Node<'_, '_>) -> Done {
    let (start, limit, delta, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let scalar = |n: &mut Node<'_, '_>, v: ValueId, suffix: &str| {
        let inner = n.inner(suffix);
        if n.rank(v)? == 0 { Ok(v) } else { n.op("squeeze").arg("x", v).one(&inner) }
    };
    let start = scalar(n, start, "start")?;
    let limit = scalar(n, limit, "end")?;
    let delta = scalar(n, delta, "step")?;
    let y = n.op("range_1d").arg("start", start).arg("end", limit).arg("step", delta).one(&name)?;
    n.done(y)
}

/// `DepthToSpace`: depth first (`DCR`) is MIL's depth_to_space, column first (`CRD`) its pixel_shuffle.
pub(crate) fn depth_to_space(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let block = int32(n.int("blocksize").ok_or_else(|| Fault::new("attribute `blocksize` is missing"))?)?;
    let y = match n.text("mode").as_deref() {
        Some("CRD") => n.op("pixel_shuffle").arg("x", x).int("upscale_factor", block).one(&name)?,
        _ => n.op("depth_to_space").arg("x", x).int("block_size", block).one(&name)?,
    };
    n.done(y)
}

/// `SpaceToDepth`.
pub(crate) fn space_to_depth(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let block = int32(n.int("blocksize").ok_or_else(|| Fault::new("attribute `blocksize` is missing"))?)?;
    if n.text("mode").as_deref() == Some("CRD") {
        let factor = Tensor::scalar_f64(DType::U32, f64::from(block));
        let y = n.op("pixel_unshuffle").arg("x", x).literal("downscale_factor", factor).one(&name)?;
        return n.done(y);
    }
    let y = n.op("space_to_depth").arg("x", x).int("block_size", block).one(&name)?;
    n.done(y)
}
