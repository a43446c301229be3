//! Resizing and sampling.
//!
//! Formulas of coordinates and weights: <https://onnx.ai/onnx/operators/onnx__Resize.html>.
//! Where MIL has an op of the same meaning it is used; else each axis is gathered with constant indices (`nearest`) or
//! multiplied with a constant matrix (`linear`, `cubic`).

use crate::onnx::node::{Done, Node, axis, int32};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Dim, Opset, Tensor, ValueId};
use anemone_tensor::num::{f32_of, f64_of, f64_of_usize, i64_of, i64_trunc};

/// How to resize.
struct Plan {
    mode: String,
    coordinates: String,
    rounding: String,
    /// `cubic_coeff_a`.
    a: f64,
    exclude_outside: bool,
    antialias: bool,
    axes: Vec<Axis>,
}

/// One dim before and after; 0 where it is free.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
}

impl Axis {
    fn changes(&self) -> bool {
        self.from != self.to || (self.scale - 1.0).abs() > 1e-9
    }

    /// True when the factor is what the extents say.
    fn exact(&self) -> bool {
        (f64_of_usize(self.from) * self.scale - f64_of_usize(self.to)).abs() < 1e-6
    }
}

/// `Resize`.
pub(crate) fn resize(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    let (scales_at, sizes_at) = if n.opset() < 11 { (1, usize::MAX) } else { (2, 3) };
    let scales = numbers(n, scales_at, "scales")?;
    let sizes = numbers(n, sizes_at, "sizes")?;
    let rank = n.rank(x)?;
    let axes = match n.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let usual = if n.opset() < 11 { "asymmetric" } else { "half_pixel" };
    let coordinates = n.text("coordinate_transformation_mode").unwrap_or_else(|| usual.into());
    let rounding = if n.opset() < 11 {
        "floor".into()
    } else {
        n.text("nearest_mode").unwrap_or_else(|| "round_prefer_floor".into())
    };
    let extents = targets(n, x, &axes, scales, sizes)?;
    let plan = Plan { coordinates, rounding, ..plan(n, extents) };
    apply(n, x, &plan)
}

/// `Upsample`, the ancestor of `Resize`.
pub(crate) fn upsample(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    let scales = match n.floats("scales") {
        Some(s) => Some(s),
        None => numbers(n, 1, "scales")?,
    };
    let axes: Vec<usize> = (0..n.rank(x)?).collect();
    let extents = targets(n, x, &axes, scales, None)?;
    let plan = plan(n, extents);
    apply(n, x, &plan)
}

fn plan(n: &Node<'_, '_>, axes: Vec<Axis>) -> Plan {
    Plan {
        mode: n.text("mode").unwrap_or_else(|| "nearest".into()),
        coordinates: "asymmetric".into(),
        rounding: "floor".into(),
        a: n.float("cubic_coeff_a").unwrap_or(-0.75),
        exclude_outside: n.int("exclude_outside").unwrap_or(0) != 0,
        antialias: n.int("antialias").unwrap_or(0) != 0,
        axes,
    }
}

/// Constant numbers of an operand that may be left out or empty.
fn numbers(n: &mut Node<'_, '_>, i: usize, what: &str) -> Result<Option<Vec<f64>>, Fault> {
    let Some(v) = n.maybe(i)? else { return Ok(None) };
    if n.dims(v)?.first().and_then(Dim::known) == Some(0) {
        return Ok(None);
    }
    match n.numbers(v) {
        Some(t) => Ok(Some(t.to_f64s())),
        None => Err(Fault::new(format!(
            "{what} (operand {i}) is computed at run time; only a constant is supported"
        ))),
    }
}

/// Extents before and after, dim by dim.
fn targets(
    n: &Node<'_, '_>,
    x: ValueId,
    axes: &[usize],
    scales: Option<Vec<f64>>,
    sizes: Option<Vec<f64>>,
) -> Result<Vec<Axis>, Fault> {
    let dims = n.dims(x)?;
    let given =
        sizes.as_ref().or(scales.as_ref()).ok_or_else(|| Fault::new("has neither scales nor sizes"))?;
    if given.len() != axes.len() {
        return Err(Fault::new(format!("has {} scales or sizes for {} axes", given.len(), axes.len())));
    }
    let free = || Fault::new("needs a known input size; fix the input shapes with --input");
    let mut out: Vec<Axis> = dims
        .iter()
        .map(|d| {
            d.known().map_or(Axis { from: 0, to: 0, scale: 1.0 }, |k| Axis { from: k, to: k, scale: 1.0 })
        })
        .collect();
    let policy = n.text("keep_aspect_ratio_policy").unwrap_or_else(|| "stretch".into());
    let factor = |i: usize| -> Result<f64, Fault> {
        let from = dims[axes[i]].known().filter(|&f| f > 0).ok_or_else(free)?;
        Ok(given[i] / f64_of_usize(from))
    };
    let common = match (&sizes, policy.as_str()) {
        (None, _) | (_, "stretch" | "") => None,
        (Some(_), policy) => {
            let factors = (0..axes.len()).map(factor).collect::<Result<Vec<f64>, _>>()?;
            let start = if policy == "not_larger" { f64::INFINITY } else { 0.0 };
            let pick = if policy == "not_larger" { f64::min } else { f64::max };
            Some(factors.into_iter().fold(start, pick))
        }
    };
    for (i, &d) in axes.iter().enumerate() {
        let from = out[d].from;
        out[d] = match (&sizes, common) {
            (None, _) => {
                let scale = given[i];
                if !(scale > 0.0 && scale.is_finite()) {
                    return Err(Fault::new(format!("scale {i} is {scale}, but must be a positive number")));
                }
                // A hair more, as scales are stored in single precision.
                let to = whole(f64_of_usize(from) * scale + 1e-6)?;
                Axis { from, to, scale }
            }
            (Some(_), Some(common)) => {
                Axis { from, to: whole((f64_of_usize(from) * common).round())?, scale: common }
            }
            (Some(_), None) => {
                let to = whole(given[i])?;
                match dims[d].known() {
                    Some(from) if from == to => Axis { from, to, scale: 1.0 },
                    _ => Axis { from, to, scale: factor(i)? },
                }
            }
        };
    }
    Ok(out)
}

fn whole(size: f64) -> Result<usize, Fault> {
    usize::try_from(i64_trunc(size.floor()))
        .ok()
        .filter(|&s| s < 1 << 31)
        .ok_or_else(|| Fault::new(format!("size {size} is no extent")))
}

fn apply(n: &mut Node<'_, '_>, x: ValueId, plan: &Plan) -> Done {
    let name = n.name();
    let float = n.is_float(x);
    if float && let Some(y) = native(n, x, plan, &name)? {
        return n.done(y);
    }
    if plan.axes.iter().any(|a| a.from == 0 && a.changes()) {
        return Err(Fault::new("needs a known input size; fix the input shapes with --input"));
    }
    let y = axis_by_axis(n, x, plan, &name)?;
    n.done(y)
}

/// MIL's own op, for pictures `[batch, channels, height, width]` where one has the same meaning.
fn native(n: &mut Node<'_, '_>, x: ValueId, plan: &Plan, name: &str) -> Result<Option<ValueId>, Fault> {
    let [batch, channels, height, width] = plan.axes[..] else { return Ok(None) };
    if batch.changes() || channels.changes() || plan.antialias || plan.exclude_outside {
        return Ok(None);
    }
    let both = [height, width];
    if both.iter().any(|a| a.to == 0 && a.from != 0) {
        return Ok(None);
    }
    let factors = both.map(|a| a.scale.fract() == 0.0 && a.scale >= 1.0 && (a.from == 0 || a.exact()));
    let free = both.iter().any(|a| a.from == 0);
    match (plan.mode.as_str(), plan.coordinates.as_str()) {
        ("nearest", how) if factors == [true, true] && repeats(plan, how) => {
            let [h, w] = both.map(|a| int32(i64_trunc(a.scale)));
            let op = n.op("upsample_nearest_neighbor").arg("x", x);
            op.int("scale_factor_height", h?).int("scale_factor_width", w?).one(name).map(Some)
        }
        ("linear", "align_corners") if !free && both.iter().all(Axis::exact) => {
            bilinear(n, x, both, "STRICT_ALIGN_CORNERS", name).map(Some)
        }
        ("linear", "asymmetric") if !free && both.iter().all(Axis::exact) => {
            bilinear(n, x, both, "DEFAULT", name).map(Some)
        }
        ("linear", "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric") => {
            half_pixel(n, x, plan, both, name)
        }
        _ => Ok(None),
    }
}

/// True when, at whole factors, the rounding rule picks the element that is repeated.
fn repeats(plan: &Plan, how: &str) -> bool {
    match how {
        "asymmetric" | "tf_half_pixel_for_nn" => plan.rounding == "floor",
        "half_pixel" | "half_pixel_symmetric" | "pytorch_half_pixel" => plan.rounding.starts_with("round"),
        _ => false,
    }
}

fn half_pixel(
    n: &mut Node<'_, '_>,
    x: ValueId,
    plan: &Plan,
    both: [Axis; 2],
    name: &str,
) -> Result<Option<ValueId>, Fault> {
    let free = both.iter().any(|a| a.from == 0);
    let exact = both.iter().all(Axis::exact);
    let single = both.iter().any(|a| a.to == 1);
    if plan.coordinates == "pytorch_half_pixel" && single
        || plan.coordinates == "half_pixel_symmetric" && !exact
    {
        return Ok(None);
    }
    // Factors that single precision holds exactly give the extents that ONNX computes.
    let short = both.iter().all(|a| (f64::from(f32_of(a.scale)) - a.scale).abs() < f64::EPSILON);
    let new = n.importer.builder.function().opset >= Opset::Ios16;
    // A free extent may be cut off, and then what lies between the elements is no longer what the factor says.
    let whole = both.iter().all(|a| a.scale.fract() == 0.0);
    if new && short && (exact || free && whole) {
        let [h, w] = both.map(|a| Tensor::scalar_f64(DType::F32, a.scale));
        let op = n.op("upsample_bilinear").arg("x", x);
        let op = op.literal("scale_factor_height", h).literal("scale_factor_width", w);
        return op.bool("align_corners", false).bool("half_pixel_centers", true).one(name).map(Some);
    }
    if free || !exact {
        return Ok(None);
    }
    bilinear(n, x, both, "UNALIGN_CORNERS", name).map(Some)
}

fn bilinear(
    n: &mut Node<'_, '_>,
    x: ValueId,
    both: [Axis; 2],
    mode: &str,
    name: &str,
) -> Result<ValueId, Fault> {
    let [h, w] = both.map(|a| int32(i64_of(a.to)));
    let op = n.op("resize_bilinear").arg("x", x).int("target_size_height", h?).int("target_size_width", w?);
    op.str("sampling_mode", mode).one(name)
}

/// Any rule in any number of dims.
fn axis_by_axis(n: &mut Node<'_, '_>, x: ValueId, plan: &Plan, name: &str) -> Result<ValueId, Fault> {
    let changed: Vec<usize> = (0..plan.axes.len()).filter(|&d| plan.axes[d].changes()).collect();
    let dtype = n.dtype(x)?;
    let nearest = plan.mode == "nearest";
    let mut y = if nearest {
        x
    } else {
        let inner = n.inner("float");
        let float = if dtype.is_float() { dtype } else { DType::F32 };
        n.cast(x, float, &inner)?
    };
    for &d in &changed {
        let inner = format!("{name}_dim_{d}");
        y = match plan.mode.as_str() {
            "nearest" => picked(n, y, plan, d, &inner)?,
            "linear" | "cubic" => weighted(n, y, plan, d, &inner)?,
            other => {
                return Err(Fault::new(format!("mode is {other}, but must be nearest, linear or cubic")));
            }
        };
    }
    if changed.is_empty() {
        return Ok(x);
    }
    if !nearest && !dtype.is_float() {
        let inner = format!("{name}_rounded");
        y = n.unary("round", y, &inner)?;
        y = n.cast(y, dtype, name)?;
    }
    Ok(y)
}

/// Gathers the elements that `nearest` picks along dim `d`.
fn picked(n: &mut Node<'_, '_>, x: ValueId, plan: &Plan, d: usize, name: &str) -> Result<ValueId, Fault> {
    let a = plan.axes[d];
    n.room(&[a.to])?;
    let mut places = Vec::with_capacity(a.to);
    for i in 0..a.to {
        let at = coordinate(plan, a, i)?;
        let rounded = match plan.rounding.as_str() {
            "round_prefer_floor" => (at - 0.5).ceil(),
            "round_prefer_ceil" => (at + 0.5).floor(),
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            other => return Err(Fault::new(format!("nearest_mode {other} is unknown"))),
        };
        places.push(i64_trunc(rounded).clamp(0, i64_of(a.from) - 1));
    }
    let indices = Tensor::from_i64s(DType::I32, [a.to], &places).map_err(|e| Fault::new(e.to_string()))?;
    let indices = n.constant_value(&format!("places_{d}"), &indices);
    n.op("gather").arg("x", x).arg("indices", indices).int("axis", int32(i64_of(d))?).one(name)
}

/// Multiplies dim `d` with a constant matrix of weights `[to, from]`.
fn weighted(n: &mut Node<'_, '_>, x: ValueId, plan: &Plan, d: usize, name: &str) -> Result<ValueId, Fault> {
    let a = plan.axes[d];
    n.room(&[a.to, a.from])?;
    let rank = plan.axes.len();
    let mut matrix = vec![0.0; a.from * a.to];
    for i in 0..a.to {
        weigh(plan, a, coordinate(plan, a, i)?, &mut matrix[i * a.from..][..a.from]);
    }
    let dtype = n.dtype(x)?;
    let as_tensor = |shape: [usize; 2], data: &[f64]| {
        Tensor::from_f64s(dtype, shape, data).map_err(|e| Fault::new(e.to_string()))
    };
    if rank >= 2 && d == rank - 2 {
        let weights = n.constant_value(&format!("weights_{d}"), &as_tensor([a.to, a.from], &matrix)?);
        return n.binary("matmul", weights, x, name);
    }
    let columns: Vec<f64> = (0..a.from)
        .flat_map(|f| (0..a.to).map(move |t| (t, f)))
        .map(|(t, f)| matrix[t * a.from + f])
        .collect();
    let weights = n.constant_value(&format!("weights_{d}"), &as_tensor([a.from, a.to], &columns)?);
    if rank >= 2 && d == rank - 1 {
        return n.binary("matmul", x, weights, name);
    }
    let names = [format!("{name}_last"), format!("{name}_product")];
    let mut perm: Vec<i32> =
        (0..rank).filter(|&e| e != d).chain([d]).map(|e| int32(i64_of(e))).collect::<Result<_, _>>()?;
    if rank == 1 {
        let row = n.op("expand_dims").arg("x", x).ints("axes", &[0]).one(&names[0])?;
        let y = n.binary("matmul", row, weights, &names[1])?;
        return n.op("squeeze").arg("x", y).ints("axes", &[0]).one(name);
    }
    let moved = n.op("transpose").arg("x", x).ints("perm", &perm).one(&names[0])?;
    let y = n.binary("matmul", moved, weights, &names[1])?;
    for (e, p) in perm.iter_mut().enumerate() {
        let from = if e == d {
            rank - 1
        } else if e < d {
            e
        } else {
            e - 1
        };
        *p = int32(i64_of(from))?;
    }
    n.op("transpose").arg("x", y).ints("perm", &perm).one(name)
}

/// Where element `i` of the result lies in the operand.
fn coordinate(plan: &Plan, a: Axis, i: usize) -> Result<f64, Fault> {
    let (i, from, to, scale) = (f64_of_usize(i), f64_of_usize(a.from), f64_of_usize(a.to), a.scale);
    let half = (i + 0.5) / scale - 0.5;
    Ok(match plan.coordinates.as_str() {
        "half_pixel" => half,
        "pytorch_half_pixel" => {
            if a.to > 1 {
                half
            } else {
                0.0
            }
        }
        "half_pixel_symmetric" => {
            let adjustment = to / (scale * from);
            from / 2.0 * (1.0 - adjustment) + half
        }
        // The extent before it was rounded counts.
        "align_corners" => {
            let span = scale * from - 1.0;
            if a.to > 1 || span > 0.0 { i * (from - 1.0) / span.max(f64::MIN_POSITIVE) } else { 0.0 }
        }
        "asymmetric" => i / scale,
        "tf_half_pixel_for_nn" => (i + 0.5) / scale,
        other => {
            return Err(Fault::new(format!(
                "coordinate_transformation_mode {other} is not supported; all but tf_crop_and_resize are"
            )));
        }
    })
}

/// Adds the weights of the elements around `at` to a row.
fn weigh(plan: &Plan, a: Axis, at: f64, row: &mut [f64]) {
    let shrink = if plan.antialias { a.scale.min(1.0) } else { 1.0 };
    let reach = if plan.mode == "cubic" { 2.0 } else { 1.0 };
    let start = i64_trunc((-reach / shrink).floor()) + 1;
    let count = 2 * (i64_trunc(reach) - start);
    let whole = at.floor();
    // On an element, the step before it counts with ratio 1.
    let (base, ratio) =
        if at.fract() == 0.0 { (i64_trunc(whole) - 1, 1.0) } else { (i64_trunc(whole), at - whole) };
    let last = i64_of(row.len()) - 1;
    let mut weights: Vec<(i64, f64)> = (start..start + count)
        .map(|k| {
            let distance = ((f64_of(k) - ratio) * shrink).abs();
            let w = if plan.mode == "cubic" { cubic(distance, plan.a) } else { (1.0 - distance).max(0.0) };
            (base + k, w)
        })
        .collect();
    if plan.exclude_outside {
        weights.iter_mut().filter(|(j, _)| *j < 0 || *j > last).for_each(|(_, w)| *w = 0.0);
    }
    let sum: f64 =
        if plan.exclude_outside || plan.antialias { weights.iter().map(|(_, w)| w).sum() } else { 1.0 };
    for (j, w) in weights {
        if let Some(slot) = usize::try_from(j.clamp(0, last)).ok().and_then(|j| row.get_mut(j)) {
            *slot += w / sum;
        }
    }
}

/// Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981.
fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// `GridSample` of pictures.
pub(crate) fn grid_sample(n: &mut Node<'_, '_>) -> Done {
    let (x, grid, name) = (n.input(0)?, n.input(1)?, n.name());
    let rank = n.rank(x)?;
    if rank != 4 {
        return Err(Fault::new(format!(
            "operand has {rank} dims, but only [batch, channels, height, width] is supported"
        )));
    }
    let mode = match n.text("mode").as_deref() {
        None | Some("" | "bilinear" | "linear") => "bilinear",
        Some("nearest") => "nearest",
        Some(other) => return Err(Fault::new(format!("mode is {other}, but must be linear or nearest"))),
    };
    let padding = match n.text("padding_mode").as_deref() {
        None | Some("" | "zeros") => "constant",
        Some("border") => "border",
        Some("reflection") => "reflection",
        Some(other) => {
            return Err(Fault::new(format!(
                "padding_mode is {other}, but must be zeros, border or reflection"
            )));
        }
    };
    let corners = n.int("align_corners").unwrap_or(0) != 0;
    if padding == "reflection" && !corners {
        return Err(Fault::new(
            "reflects about the outer edges, but MIL reflects about the centres of the outer pixels",
        ));
    }
    let op = n.op("resample").arg("x", x).arg("coordinates", grid).str("sampling_mode", mode);
    let op = op.str("padding_mode", padding).float("padding_value", "x", 0.0);
    let y = op
        .str("coordinates_mode", "normalized_minus_one_to_one")
        .bool("align_corners", corners)
        .one(&name)?;
    n.done(y)
}
