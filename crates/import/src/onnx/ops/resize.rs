//! Resizing of pictures, `[batch, channels, height, width]`.

use crate::onnx::node::{Done, Node, int32};
use anemone_mil::ops::Fault;
use anemone_mil::{Dim, Opset, ValueId};
use anemone_tensor::num::{f64_of_usize, i64_of, i64_trunc};

/// `Resize` in modes `nearest` and `linear`.
pub(crate) fn resize(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    let (scales_at, sizes_at) = if n.opset() < 11 { (1, usize::MAX) } else { (2, 3) };
    let scales = n.constant(scales_at)?.map(|t| t.to_f64s()).filter(|s| !s.is_empty());
    let sizes = if sizes_at == usize::MAX {
        None
    } else {
        n.constant_ints(sizes_at, "sizes")?.filter(|s| !s.is_empty())
    };
    let how = n.text("coordinate_transformation_mode").unwrap_or_else(|| default_mode(n.opset()).into());
    let rank = n.rank(x)?;
    if rank != 4 {
        return Err(Fault::new(format!(
            "operand has {rank} dims, but only [batch, channels, height, width] is supported"
        )));
    }
    let axes = n.ints("axes").unwrap_or_else(|| (0..4).collect());
    let target = target(n, x, scales.as_deref(), sizes.as_deref(), &axes)?;
    sample(n, x, &target, &how)
}

/// `Upsample`, the ancestor of `Resize`.
pub(crate) fn upsample(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    let scales = match n.floats("scales") {
        Some(s) => s,
        None => n
            .constant(1)?
            .map(|t| t.to_f64s())
            .ok_or_else(|| Fault::new("scales are computed at run time"))?,
    };
    let target = target(n, x, Some(&scales), None, &[0, 1, 2, 3])?;
    sample(n, x, &target, "asymmetric")
}

fn default_mode(opset: i64) -> &'static str {
    if opset < 11 { "asymmetric" } else { "half_pixel" }
}

/// Height and width before and after, and the factors between them.
struct Target {
    from: [usize; 2],
    to: [usize; 2],
    scale: [f64; 2],
}

fn target(
    n: &Node<'_, '_>,
    x: ValueId,
    scales: Option<&[f64]>,
    sizes: Option<&[i64]>,
    axes: &[i64],
) -> Result<Target, Fault> {
    let dims = n.ty(x)?.dims;
    let known = |d: usize| dims.get(d).and_then(Dim::known);
    let of_axis = |d: i64| axes.iter().position(|&a| a == d || a + 4 == d);
    let mut target = Target { from: [0; 2], to: [0; 2], scale: [1.0; 2] };
    for d in 0..4usize {
        let at = of_axis(i64_of(d));
        let scale = at.and_then(|i| scales.and_then(|s| s.get(i).copied()));
        let size = at.and_then(|i| sizes.and_then(|s| s.get(i).copied()));
        if d < 2 {
            let kept = scale.is_none_or(|s| (s - 1.0).abs() < 1e-6)
                && size.is_none_or(|s| known(d).is_none_or(|k| i64_of(k) == s));
            if !kept {
                return Err(Fault::new("resizes batch or channels, which MIL cannot do"));
            }
            continue;
        }
        let i = d - 2;
        let from = known(d);
        target.from[i] = from.unwrap_or(0);
        (target.to[i], target.scale[i]) = match (size, scale, from) {
            (Some(size), _, Some(from)) => {
                let size =
                    usize::try_from(size).map_err(|_| Fault::new(format!("size {size} is negative")))?;
                (size, f64_of_usize(size) / f64_of_usize(from.max(1)))
            }
            (None, Some(s), from) => {
                let to = from.map_or(0, |f| usize::try_from(i64_trunc(f64_of_usize(f) * s)).unwrap_or(0));
                (to, s)
            }
            (None, None, from) => (from.unwrap_or(0), 1.0),
            _ => return Err(Fault::new("needs a known input size; fix the input shapes with --input")),
        };
    }
    Ok(target)
}

fn sample(n: &mut Node<'_, '_>, x: ValueId, target: &Target, how: &str) -> Done {
    let name = n.name();
    let mode = n.text("mode").unwrap_or_else(|| "nearest".into());
    let whole = target.scale.iter().all(|s| s.fract() == 0.0 && *s >= 1.0);
    let y = match (mode.as_str(), how) {
        // Repeating each pixel is what every coordinate rule but align_corners does at whole factors.
        (
            "nearest",
            "asymmetric"
            | "half_pixel"
            | "half_pixel_symmetric"
            | "pytorch_half_pixel"
            | "tf_half_pixel_for_nn",
        ) if whole && nearest_repeats(n, how) => {
            let [h, w] = target.scale.map(|s| i64_trunc(s));
            n.op("upsample_nearest_neighbor")
                .arg("x", x)
                .int("scale_factor_height", int32(h)?)
                .int("scale_factor_width", int32(w)?)
                .one(&name)?
        }
        ("linear", "align_corners") => bilinear(n, x, target, "STRICT_ALIGN_CORNERS", &name)?,
        ("linear", "asymmetric") => bilinear(n, x, target, "DEFAULT", &name)?,
        ("linear", "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric") => {
            half_pixel(n, x, target, &name)?
        }
        _ => {
            let what =
                format!("mode {mode} with coordinates {how} and factors {:?} is not supported", target.scale);
            return Err(Fault::new(format!(
                "{what}; supported are linear (asymmetric, align_corners, half_pixel) and nearest with whole factors"
            )));
        }
    };
    n.done(y)
}

/// True when the rounding rule picks the pixel that is repeated.
fn nearest_repeats(n: &Node<'_, '_>, how: &str) -> bool {
    let rule = n.text("nearest_mode").unwrap_or_else(|| "round_prefer_floor".into());
    let asymmetric = how == "asymmetric";
    if n.opset() < 11 || n.proto.op_type == "Upsample" {
        return true;
    }
    if asymmetric { rule == "floor" } else { rule.starts_with("round") }
}

fn half_pixel(n: &mut Node<'_, '_>, x: ValueId, target: &Target, name: &str) -> Result<ValueId, Fault> {
    if n.importer.builder.function().opset < Opset::Ios16 {
        return bilinear(n, x, target, "UNALIGN_CORNERS", name);
    }
    let [h, w] = target.scale;
    let fp32 = |v: f64| anemone_mil::Tensor::scalar_f64(anemone_mil::DType::F32, v);
    n.op("upsample_bilinear")
        .arg("x", x)
        .literal("scale_factor_height", fp32(h))
        .literal("scale_factor_width", fp32(w))
        .bool("align_corners", false)
        .bool("half_pixel_centers", true)
        .one(name)
}

fn bilinear(
    n: &mut Node<'_, '_>,
    x: ValueId,
    target: &Target,
    mode: &str,
    name: &str,
) -> Result<ValueId, Fault> {
    if target.from.contains(&0) {
        return Err(Fault::new("needs a known input size; fix the input shapes with --input"));
    }
    let [h, w] = target.to.map(i64_of);
    n.op("resize_bilinear")
        .arg("x", x)
        .int("target_size_height", int32(h)?)
        .int("target_size_width", int32(w)?)
        .str("sampling_mode", mode)
        .one(name)
}
