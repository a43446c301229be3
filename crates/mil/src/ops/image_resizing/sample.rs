//! Ops that read an image at computed points: `affine`, `crop_resize` and `resample`.

use super::scale::{blend, sampling, size};
use crate::eval::EvalSite;
use crate::ops::rearrange::made;
use crate::ops::window::volume;
use crate::ops::{Fault, Site};
use crate::{Literal, Tensor};
use anemone_tensor::num::{f64_of_usize, i64_trunc, usize_of};

/// What lies outside of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outside {
    /// Elements of this value.
    Constant(f64),
    /// The nearest element of the border.
    Border,
    /// The image mirrored, its border elements once.
    Reflection,
    /// The image mirrored, its border elements twice.
    Symmetric,
}

impl Outside {
    /// Moves a coordinate into the image, where elements stand at 0 to `extent - 1`; constants leave it.
    fn fold(self, at: f64, extent: usize) -> f64 {
        let last = f64_of_usize(extent.saturating_sub(1));
        match self {
            Outside::Constant(_) => at,
            Outside::Border => at.clamp(0.0, last),
            Outside::Reflection => mirror(at, 0.0, last),
            Outside::Symmetric => mirror(at, -0.5, last + 1.0).clamp(0.0, last),
        }
    }
}

/// Mirrors `at` into `[start, start + span]`, back and forth.
fn mirror(at: f64, start: f64, span: f64) -> f64 {
    if span <= 0.0 {
        return start;
    }
    let distance = (at - start).abs();
    let rest = distance % span;
    let turned = i64_trunc(distance / span) % 2 != 0;
    start + if turned { span - rest } else { rest }
}

/// One channel of one image.
struct Plane<'a> {
    values: &'a [f64],
    height: usize,
    width: usize,
    outside: Outside,
    nearest: bool,
}

impl Plane<'_> {
    /// The value at a point, in elements from the first.
    fn at(&self, y: f64, x: f64) -> f64 {
        let (y, x) = (self.outside.fold(y, self.height), self.outside.fold(x, self.width));
        if self.nearest {
            return self.element(y.round_ties_even(), x.round_ties_even());
        }
        let (top, left) = (y.floor(), x.floor());
        let row = |y: f64| blend(self.element(y, left), self.element(y, left + 1.0), x - left);
        blend(row(top), row(top + 1.0), y - top)
    }

    fn element(&self, y: f64, x: f64) -> f64 {
        let index = |v: f64, extent: usize| usize_of(i64_trunc(v)).filter(|&i| v >= 0.0 && i < extent);
        match (index(y, self.height), index(x, self.width)) {
            (Some(y), Some(x)) => self.values[y * self.width + x],
            _ => match self.outside {
                Outside::Constant(value) => value,
                _ => f64::NAN,
            },
        }
    }
}

/// An image batch `[batch, channels, height, width]`.
struct Images {
    values: Vec<f64>,
    shape: [usize; 4],
}

impl Images {
    fn of(x: &Tensor) -> Result<Images, Fault> {
        match *x.shape() {
            [b, c, h, w] => Ok(Images { values: x.to_f64s(), shape: [b, c, h, w] }),
            ref s => Err(Fault::arg("x", format!("of shape {s:?}"), "of rank 4")),
        }
    }

    fn plane(&self, batch: usize, channel: usize, outside: Outside, nearest: bool) -> Plane<'_> {
        let [_, channels, height, width] = self.shape;
        let size = height * width;
        let from = (batch * channels + channel) * size;
        Plane { values: &self.values[from..from + size], height, width, outside, nearest }
    }
}

/// Evaluates `affine`.
pub(super) fn affine(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, matrix) = (site.tensor("x")?, site.tensor("transform_matrix")?);
    let images = Images::of(&x)?;
    let [batch, channels, height, width] = images.shape;
    let (rows, columns) = (size(&site.site, "output_height")?, size(&site.site, "output_width")?);
    let matrices = matrix.to_f64s();
    if matrices.len() != 6 && matrices.len() != batch.saturating_mul(6) {
        let allowed = format!("[1, 6] or [{batch}, 6]");
        return Err(Fault::arg("transform_matrix", format!("of shape {:?}", matrix.shape()), allowed));
    }
    let outside = Outside::Constant(site.float("padding_value")?);
    let shape = [batch, channels, rows, columns];
    let mut out = Vec::with_capacity(made(&shape, x.len())?);
    let unit =
        |i: usize, n: usize| if n > 1 { 2.0 * f64_of_usize(i) / f64_of_usize(n - 1) - 1.0 } else { 0.0 };
    let pixel = |v: f64, extent: usize| (v + 1.0) / 2.0 * f64_of_usize(extent.saturating_sub(1));
    let images_read = if volume(&shape) == 0 { 0 } else { batch };
    for b in 0..images_read {
        let m = &matrices[if matrices.len() == 6 { 0 } else { b * 6 }..][..6];
        for c in 0..channels {
            let plane = images.plane(b, c, outside, false);
            for i in 0..rows {
                for j in 0..columns {
                    let (u, v) = (unit(j, columns), unit(i, rows));
                    let (px, py) = (m[0] * u + m[1] * v + m[2], m[3] * u + m[4] * v + m[5]);
                    out.push(plane.at(pixel(py, height), pixel(px, width)));
                }
            }
        }
    }
    EvalSite::floats(x.dtype(), &shape, &out)
}

/// The `padding_mode` of `resample`.
pub(super) fn padding_mode(site: &Site<'_>) -> Result<Outside, Fault> {
    let name = site.str("padding_mode")?.to_lowercase();
    match name.as_str() {
        "constant" => site.float("padding_value").map(Outside::Constant),
        "border" => Ok(Outside::Border),
        "reflection" => Ok(Outside::Reflection),
        "symmetric" => Ok(Outside::Symmetric),
        _ => Err(Fault::arg("padding_mode", name, "constant, border, reflection or symmetric")),
    }
}

/// True when `resample` takes the nearest element.
pub(super) fn takes_nearest(site: &Site<'_>) -> Result<bool, Fault> {
    let name = site.str("sampling_mode")?.to_lowercase();
    match name.as_str() {
        "bilinear" => Ok(false),
        "nearest" => Ok(true),
        _ => Err(Fault::arg("sampling_mode", name, "bilinear or nearest")),
    }
}

/// How coordinates name elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coordinates {
    /// Elements from the first.
    Elements,
    /// -1 to 1 over the image.
    MinusOneToOne,
    /// 0 to 1 over the image.
    ZeroToOne,
}

impl Coordinates {
    pub(super) fn of(site: &Site<'_>) -> Result<Coordinates, Fault> {
        let name = site.str("coordinates_mode")?.to_lowercase();
        match name.as_str() {
            "unnormalized" => Ok(Coordinates::Elements),
            "normalized_minus_one_to_one" => Ok(Coordinates::MinusOneToOne),
            "normalized_zero_to_one" => Ok(Coordinates::ZeroToOne),
            _ => {
                let allowed = "unnormalized, normalized_minus_one_to_one or normalized_zero_to_one";
                Err(Fault::arg("coordinates_mode", name, allowed))
            }
        }
    }

    /// A coordinate in elements; the ends of the range are the centres of the outer elements when `align`, their
    /// outer edges otherwise.
    fn pixel(self, v: f64, extent: usize, align: bool) -> f64 {
        let part = match self {
            Coordinates::Elements => return v,
            Coordinates::MinusOneToOne => (v + 1.0) / 2.0,
            Coordinates::ZeroToOne => v,
        };
        let extent = f64_of_usize(extent);
        if align { part * (extent - 1.0) } else { part * extent - 0.5 }
    }
}

/// Evaluates `resample`.
pub(super) fn resample(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, coordinates) = (site.tensor("x")?, site.tensor("coordinates")?);
    let images = Images::of(&x)?;
    let [batch, channels, height, width] = images.shape;
    let &[b2, rows, columns, 2] = coordinates.shape() else {
        let actual = format!("of shape {:?}", coordinates.shape());
        return Err(Fault::arg("coordinates", actual, format!("of shape [{batch}, height, width, 2]")));
    };
    if b2 != batch {
        return Err(Fault::arg(
            "coordinates",
            format!("for {b2} images"),
            format!("for {batch}, as many as `x`"),
        ));
    }
    let (mode, align) = (Coordinates::of(&site.site)?, site.bool("align_corners")?);
    let (outside, nearest) = (padding_mode(&site.site)?, takes_nearest(&site.site)?);
    let points = coordinates.to_f64s();
    let shape = [batch, channels, rows, columns];
    let mut out = Vec::with_capacity(made(&shape, x.len())?);
    let size = volume(&[rows, columns]);
    let images_read = if volume(&shape) == 0 { 0 } else { batch };
    for b in 0..images_read {
        for c in 0..channels {
            let plane = images.plane(b, c, outside, nearest);
            let list = points[b * size * 2..][..size * 2].as_chunks::<2>().0.iter();
            out.extend(
                list.map(|p| plane.at(mode.pixel(p[1], height, align), mode.pixel(p[0], width, align))),
            );
        }
    }
    EvalSite::floats(x.dtype(), &shape, &out)
}

/// The order of the four numbers of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoxOrder {
    /// The first two are the centre, the others the size; corners otherwise.
    center: bool,
    /// Horizontal before vertical.
    width_first: bool,
}

impl BoxOrder {
    pub(super) fn of(site: &Site<'_>) -> Result<BoxOrder, Fault> {
        let name = site.str("box_coordinate_mode")?;
        let (center, width_first) = match name.as_str() {
            "CORNERS_HEIGHT_FIRST" => (false, false),
            "CORNERS_WIDTH_FIRST" => (false, true),
            "CENTER_SIZE_HEIGHT_FIRST" => (true, false),
            "CENTER_SIZE_WIDTH_FIRST" => (true, true),
            _ => {
                let allowed = "CORNERS_ or CENTER_SIZE_, followed by HEIGHT_FIRST or WIDTH_FIRST";
                return Err(Fault::arg("box_coordinate_mode", name, allowed));
            }
        };
        Ok(BoxOrder { center, width_first })
    }

    /// Vertical and horizontal start and end of a box.
    fn spans(self, v: [f64; 4]) -> [(f64, f64); 2] {
        let span = |a: f64, b: f64| if self.center { (a - b / 2.0, a + b / 2.0) } else { (a, b) };
        let (first, second) = (span(v[0], v[2]), span(v[1], v[3]));
        if self.width_first { [second, first] } else { [first, second] }
    }
}

/// A box, and the image that it is cut from; every image when that is not said.
struct Cut {
    image: Option<i64>,
    numbers: [f64; 4],
}

/// The boxes of either signature: `roi` of `[n, 1, 4 or 5, 1, 1]`, or `boxes` of `[n, 4]` with `box_indices`.
fn cuts(site: &EvalSite<'_>) -> Result<Vec<Cut>, Fault> {
    if site.site.has("roi") {
        let roi = site.tensor("roi")?;
        let numbers = roi.to_f64s();
        return match roi.shape().get(2) {
            Some(4) => {
                Ok(numbers.as_chunks::<4>().0.iter().map(|&numbers| Cut { image: None, numbers }).collect())
            }
            Some(5) => {
                let one =
                    |c: &[f64; 5]| Cut { image: Some(i64_trunc(c[0])), numbers: [c[1], c[2], c[3], c[4]] };
                Ok(numbers.as_chunks::<5>().0.iter().map(one).collect())
            }
            _ => {
                Err(Fault::arg("roi", format!("of shape {:?}", roi.shape()), "of shape [n, 1, 4 or 5, 1, 1]"))
            }
        };
    }
    let numbers = site.tensor("boxes")?.to_f64s();
    let boxes = numbers.as_chunks::<4>().0;
    let given = site.optional("box_indices").map(|t| t.to_i64s());
    let index = |i: usize| given.as_ref().map_or(i64::try_from(i).ok(), |g| g.get(i).copied());
    let one = |(i, &numbers): (usize, &[f64; 4])| index(i).map(|image| Cut { image: Some(image), numbers });
    let all: Option<Vec<Cut>> = boxes.iter().enumerate().map(one).collect();
    all.ok_or_else(|| Fault::arg("box_indices", "too short", "as long as `boxes`"))
}

/// Evaluates `crop_resize`; a point outside of the image is `pad_value`, 0 where there is none.
///
/// A `roi` that names its image makes one crop, `[n, 1, channels, height, width]` by the op's page, yet coremltools
/// declares `[n, batch, ...]` whatever the roi is, and types of all that follows are made from that: the crop stands
/// for every image of the batch.
pub(super) fn crop_resize(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let images = Images::of(&x)?;
    let [batch, channels, height, width] = images.shape;
    let (rows, columns) = (size(&site.site, "target_height")?, size(&site.site, "target_width")?);
    let (mode, order) = (sampling(&site.site)?, BoxOrder::of(&site.site)?);
    let (normalized, scale) = (site.bool("normalized_coordinates")?, site.float("spatial_scale")?);
    let pad = site.optional("pad_value").map_or(0.0, |t| t.to_f64s().first().copied().unwrap_or(0.0));
    let points = |(start, end): (f64, f64), extent: usize, count: usize| {
        let unit = scale * if normalized { f64_of_usize(extent.saturating_sub(1)) } else { 1.0 };
        let steps = mode.points((end - start) * unit, count).into_iter();
        steps.map(|p| start * unit + p).collect::<Vec<_>>()
    };
    let (cuts, per_cut) = (cuts(site)?, if site.site.has("roi") { batch } else { 1 });
    let shape = match site.site.has("roi") {
        true => vec![cuts.len(), per_cut, channels, rows, columns],
        false => vec![cuts.len(), channels, rows, columns],
    };
    let mut out = Vec::with_capacity(made(&shape, x.len())?);
    if shape.contains(&0) {
        return EvalSite::floats(x.dtype(), &shape, &out);
    }
    for cut in &cuts {
        let [vertical, horizontal] = order.spans(cut.numbers);
        let (ys, xs) = (points(vertical, height, rows), points(horizontal, width, columns));
        let chosen: Vec<usize> = match cut.image {
            None => (0..batch).collect(),
            Some(i) => {
                let valid = usize_of(i).filter(|&i| i < batch);
                let param = if site.site.has("roi") { "roi" } else { "box_indices" };
                let allowed = || format!("an image below {batch}, the number of images");
                vec![valid.ok_or_else(|| Fault::arg(param, i, allowed()))?; per_cut]
            }
        };
        for plane in chosen.into_iter().flat_map(|b| (0..channels).map(move |c| (b, c))) {
            let plane = images.plane(plane.0, plane.1, Outside::Constant(pad), false);
            let inside = |v: f64, extent: usize| v >= 0.0 && v <= f64_of_usize(extent.saturating_sub(1));
            let value = |y: f64, x: f64| {
                if inside(y, height) && inside(x, width) { plane.at(y, x) } else { pad }
            };
            out.extend(ys.iter().flat_map(|&y| xs.iter().map(move |&x| (y, x))).map(|(y, x)| value(y, x)));
        }
    }
    EvalSite::floats(x.dtype(), &shape, &out)
}
