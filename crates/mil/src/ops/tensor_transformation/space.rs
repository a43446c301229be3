//! Ops that trade channels or batches for space, all on `[n, C, H, W]`.

use crate::eval::EvalSite;
use crate::ops::common::{INT32, T, T_FLOATS, offset, strides};
use crate::ops::rearrange::{at_least, of_rank, one, pick};
use crate::ops::{Accept, Effect, Fault, Form, OpDef, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, Type};
use anemone_tensor::{DType, Tensor};

pub(super) static DEPTH_TO_SPACE: OpDef = OpDef {
    name: "depth_to_space",
    doc: "Moves blocks of channels into space; the block is the outer part of the channel.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("block_size", INT32)],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| to_space(site, "block_size"),
    eval: Some(|site| {
        let (x, [n, c, h, w], b) = operands(site, "block_size")?;
        let depth = c / (b * b);
        let from = |i: [usize; 4]| [i[0], (i[2] % b * b + i[3] % b) * depth + i[1], i[2] / b, i[3] / b];
        moved(&x, [n, depth, h * b, w * b], from)
    }),
    work: Work::none,
};

pub(super) static PIXEL_SHUFFLE: OpDef = OpDef {
    name: "pixel_shuffle",
    doc: "Moves blocks of channels into space; the block is the inner part of the channel.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("upscale_factor", INT32)],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| to_space(site, "upscale_factor"),
    eval: Some(|site| {
        let (x, [n, c, h, w], b) = operands(site, "upscale_factor")?;
        let from = |i: [usize; 4]| [i[0], (i[1] * b + i[2] % b) * b + i[3] % b, i[2] / b, i[3] / b];
        moved(&x, [n, c / (b * b), h * b, w * b], from)
    }),
    work: Work::none,
};

pub(super) static SPACE_TO_DEPTH: OpDef = OpDef {
    name: "space_to_depth",
    doc: "Moves blocks of space into channels; the block is the outer part of the channel.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("block_size", INT32)],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| to_depth(site, "block_size"),
    eval: Some(|site| {
        let (x, [n, c, h, w], b) = operands(site, "block_size")?;
        let from = |i: [usize; 4]| {
            let block = i[1] / c.max(1);
            [i[0], i[1] % c.max(1), i[2] * b + block / b, i[3] * b + block % b]
        };
        moved(&x, [n, c * b * b, h / b, w / b], from)
    }),
    work: Work::none,
};

pub(super) static PIXEL_UNSHUFFLE: OpDef = OpDef {
    name: "pixel_unshuffle",
    doc: "Moves blocks of space into channels; the block is the inner part of the channel.",
    versions: &[Version {
        since: Opset::Ios16,
        params: &[tensor("x", T), constant("downscale_factor", Accept::Types(&[DType::U32]))],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| to_depth(site, "downscale_factor"),
    eval: Some(|site| {
        let (x, [n, c, h, w], b) = operands(site, "downscale_factor")?;
        let from = |i: [usize; 4]| [i[0], i[1] / (b * b), i[2] * b + i[1] / b % b, i[3] * b + i[1] % b];
        moved(&x, [n, c * b * b, h / b, w / b], from)
    }),
    work: Work::none,
};

/// Largest block: its square fits any index.
const MAX_BLOCK: usize = 1 << 15;

fn block(site: &Site<'_>, param: &str) -> Result<usize, Fault> {
    let size = at_least(param, site.int(param)?, 1)?;
    if size > MAX_BLOCK { Err(Fault::arg(param, size, format!("at most {MAX_BLOCK}"))) } else { Ok(size) }
}

fn divided(dim: &Dim, by: usize, name: &str) -> Result<Dim, Fault> {
    if let Some(n) = dim.known().filter(|n| n % by != 0) {
        return Err(Fault::arg("x", format!("of extent {n} in {name}"), format!("a multiple of {by} there")));
    }
    if by == 1 { Ok(dim.clone()) } else { Ok(dim.map(|n| Some(n / by))) }
}

fn times(dim: &Dim, by: usize) -> Dim {
    if by == 1 { dim.clone() } else { dim.map(|n| n.checked_mul(by)) }
}

fn to_space(site: &Site<'_>, param: &str) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    of_rank("x", x, 4)?;
    let b = block(site, param)?;
    let channels = divided(&x.dims[1], b * b, "channels")?;
    Ok(one(x.dtype, vec![x.dims[0].clone(), channels, times(&x.dims[2], b), times(&x.dims[3], b)]))
}

fn to_depth(site: &Site<'_>, param: &str) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    of_rank("x", x, 4)?;
    let b = block(site, param)?;
    let (h, w) = (divided(&x.dims[2], b, "height")?, divided(&x.dims[3], b, "width")?);
    Ok(one(x.dtype, vec![x.dims[0].clone(), times(&x.dims[1], b * b), h, w]))
}

/// `x`, its shape and the block size.
fn operands(site: &EvalSite<'_>, param: &str) -> Result<(Tensor, [usize; 4], usize), Fault> {
    let x = site.tensor("x")?;
    let (shape, b) = (shape4(&x)?, block(&site.site, param)?);
    if shape.iter().any(|n| n.checked_mul(b * b).is_none()) {
        return Err(Fault::arg(param, b, "small enough for an addressable result"));
    }
    Ok((x, shape, b))
}

fn shape4(x: &Tensor) -> Result<[usize; 4], Fault> {
    let shape = <[usize; 4]>::try_from(x.shape());
    shape.map_err(|_| Fault::arg("x", format!("of rank {}", x.rank()), "of rank 4"))
}

/// A result of that shape whose element at an index comes from the index of `x` that `from` gives.
fn moved(
    x: &Tensor,
    shape: [usize; 4],
    from: impl Fn([usize; 4]) -> [usize; 4],
) -> Result<Vec<Literal>, Fault> {
    let steps = strides(x.shape());
    let source = |index: &[usize]| <[usize; 4]>::try_from(index).ok().map(|i| offset(&from(i), &steps));
    Ok(vec![pick(x, &shape, source)?.into()])
}

pub(super) static SPACE_TO_BATCH: OpDef = OpDef {
    name: "space_to_batch",
    doc: "Pads space with zeros and moves its blocks into the batch; the block is the outer part of the batch.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("block_shape", INT32), constant("paddings", INT32)],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Fill(&["x"]),
    infer: infer_space_to_batch,
    eval: Some(eval_space_to_batch),
    work: Work::none,
};

/// Block height and width, and what is added or cut `[[top, bottom], [left, right]]`.
fn blocks(site: &Site<'_>, edges: &str) -> Result<([usize; 2], [[usize; 2]; 2]), Fault> {
    of_rank("x", site.tensor("x")?, 4)?;
    let block = site.ints("block_shape")?;
    let &[h, w] = block.as_slice() else {
        return Err(Fault::arg("block_shape", format!("of {} values", block.len()), "of 2 values"));
    };
    let cut = site.ints(edges)?;
    let &[top, bottom, left, right] = cut.as_slice() else {
        return Err(Fault::arg(edges, format!("of {} values", cut.len()), "of shape [2, 2]"));
    };
    let side = |v: i64| at_least("block_shape", v, 1);
    let edge = |v: i64| at_least(edges, v, 0);
    Ok(([side(h)?, side(w)?], [[edge(top)?, edge(bottom)?], [edge(left)?, edge(right)?]]))
}

fn infer_space_to_batch(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let (b, pads) = blocks(site, "paddings")?;
    let side = |d: &Dim, b: usize, pad: [usize; 2], name: &str| {
        let padded =
            if pad == [0, 0] { d.clone() } else { d.map(|n| n.checked_add(pad[0])?.checked_add(pad[1])) };
        divided(&padded, b, name)
    };
    let (h, w) = (side(&x.dims[2], b[0], pads[0], "height")?, side(&x.dims[3], b[1], pads[1], "width")?);
    let n = times(&x.dims[0], b[0].saturating_mul(b[1]));
    Ok(one(x.dtype, vec![n, x.dims[1].clone(), h, w]))
}

/// The extents of the first inferred type for an operand of the shape at hand.
fn fixed(dims: [Option<usize>; 4]) -> Result<[usize; 4], Fault> {
    match dims {
        [Some(n), Some(c), Some(h), Some(w)] => Ok([n, c, h, w]),
        _ => Err(Fault::new("the operand does not divide into blocks of that shape, or is too large")),
    }
}

fn eval_space_to_batch(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let [n, c, h, w] = shape4(&x)?;
    let (b, pads) = blocks(&site.site, "paddings")?;
    let side = |n: usize, b: usize, pad: [usize; 2]| {
        let padded = n.checked_add(pad[0])?.checked_add(pad[1])?;
        (padded % b == 0).then_some(padded / b)
    };
    let area = b[0].checked_mul(b[1]);
    let batch = area.and_then(|a| n.checked_mul(a));
    let shape = fixed([batch, Some(c), side(h, b[0], pads[0]), side(w, b[1], pads[1])])?;
    let steps = strides(x.shape());
    let from = |i: &[usize]| {
        let &[k, c, row, column] = i else { return None };
        let block = k / n.max(1);
        let y = (row * b[0] + block / b[1]).checked_sub(pads[0][0]).filter(|&y| y < h)?;
        let x = (column * b[1] + block % b[1]).checked_sub(pads[1][0]).filter(|&x| x < w)?;
        Some(offset(&[k % n.max(1), c, y, x], &steps))
    };
    Ok(vec![pick(&x, &shape, from)?.into()])
}

pub(super) static BATCH_TO_SPACE: OpDef = OpDef {
    name: "batch_to_space",
    doc: "Moves blocks of the batch into space and crops it; the block is the outer part of the batch.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("block_shape", INT32), constant("crops", INT32)],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_batch_to_space,
    eval: Some(eval_batch_to_space),
    work: Work::none,
};

/// Extent of one side after blocks moved in and the edges went.
fn grown(n: usize, b: usize, crop: [usize; 2]) -> Option<usize> {
    n.checked_mul(b)?.checked_sub(crop[0])?.checked_sub(crop[1])
}

fn infer_batch_to_space(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let (b, crops) = blocks(site, "crops")?;
    let n = divided(&x.dims[0], b[0].saturating_mul(b[1]), "batch")?;
    let mut dims = vec![n, x.dims[1].clone()];
    for (axis, (&b, &crop)) in b.iter().zip(&crops).enumerate() {
        let d = &x.dims[axis + 2];
        if d.known().is_some_and(|n| grown(n, b, crop).is_none()) {
            let extent = d.map(|n| n.checked_mul(b));
            return Err(Fault::arg(
                "crops",
                format!("{crop:?}"),
                format!("at most {extent} in dim {}", axis + 2),
            ));
        }
        dims.push(if b == 1 && crop == [0, 0] { d.clone() } else { d.map(|n| grown(n, b, crop)) });
    }
    Ok(one(x.dtype, dims))
}

fn eval_batch_to_space(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let [n, c, h, w] = shape4(&x)?;
    let (b, crops) = blocks(&site.site, "crops")?;
    let area = b[0].checked_mul(b[1]).filter(|a| n % a == 0);
    let batch = area.map(|a| n / a);
    let shape = fixed([batch, Some(c), grown(h, b[0], crops[0]), grown(w, b[1], crops[1])])?;
    let from = |i: [usize; 4]| {
        let (row, column) = (i[2] + crops[0][0], i[3] + crops[1][0]);
        let block = row % b[0] * b[1] + column % b[1];
        [block * shape[0] + i[0], i[1], row / b[0], column / b[1]]
    };
    moved(&x, shape, from)
}
