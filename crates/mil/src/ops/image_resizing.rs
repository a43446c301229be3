//! Resizing, cropping and resampling of images, whose last two dims are height and width.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/image_resizing.py`,
//! `iOS16/image_resizing.py` and `iOS17/image_resizing.py`.

mod grid;
mod sample;
mod scale;

use super::common::{BOOL, INT32, STRING, T, T_FLOATS, T_FLOATS_INT32, U, for_each_index};
use super::{
    Accept, Default, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor,
};
use crate::eval::EvalSite;
use crate::{Dim, Literal, Opset, TensorType, Type};
use anemone_tensor::{DType, num};

pub use grid::{Interpolation, Sampling, Tap};
pub use scale::{Resize, Target};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &AFFINE,
    &CROP,
    &CROP_RESIZE,
    &RESAMPLE,
    &RESIZE,
    &RESIZE_BILINEAR,
    &RESIZE_NEAREST_NEIGHBOR,
    &UPSAMPLE_BILINEAR,
    &UPSAMPLE_NEAREST_NEIGHBOR,
];

const FP32: Accept = Accept::Types(&[DType::F32]);
const U_SCALES: Domain = Domain { name: "U", types: &[DType::I32, DType::F32] };
const SAMPLING_MODE: Param = constant("sampling_mode", STRING);
const SAMPLING_OR_DEFAULT: Param = SAMPLING_MODE.or(Default::Str("DEFAULT"));
const PADDING_MODE: Param = constant("padding_mode", STRING);
const PADDING_VALUE: Param = constant("padding_value", T);
const COORDINATES_MODE: Param = constant("coordinates_mode", STRING);
const ALIGN_CORNERS: Param = constant("align_corners", BOOL);
const TARGET_HEIGHT: Param = constant("target_height", INT32).or(Default::Int(1));
const TARGET_WIDTH: Param = constant("target_width", INT32).or(Default::Int(1));
const NORMALIZED: Param = constant("normalized_coordinates", BOOL).or(Default::Bool(false));
const SPATIAL_SCALE: Param = constant("spatial_scale", FP32).or(Default::Float(1.0));
const BOX_MODE: Param = constant("box_coordinate_mode", STRING).or(Default::Str("CORNERS_HEIGHT_FIRST"));
const PAD_VALUE: Param = constant("pad_value", T).or(Default::Float(0.0));
const SCALE_HEIGHT: Param = constant("scale_factor_height", U).or(Default::Int(1));
const SCALE_WIDTH: Param = constant("scale_factor_width", U).or(Default::Int(1));

static AFFINE: OpDef = OpDef {
    name: "affine",
    doc: "Reads an image at points that an affine transform of the output coordinates gives.",
    versions: &[Version {
        since: Opset::Ios15,
        params: &[
            tensor("x", T),
            tensor("transform_matrix", T),
            constant("output_height", INT32),
            constant("output_width", INT32),
            SAMPLING_MODE,
            PADDING_MODE,
            PADDING_VALUE,
            COORDINATES_MODE,
            ALIGN_CORNERS,
        ],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_affine,
    eval: Some(sample::affine),
    work: |site| Work::scaled(site, 21, 0),
};

static CROP: OpDef = OpDef {
    name: "crop",
    doc: "Cuts elements off the top and bottom, and off the left and right.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("crop_height", INT32), constant("crop_width", INT32)],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_crop,
    eval: Some(eval_crop),
    work: Work::none,
};

static CROP_RESIZE: OpDef = OpDef {
    name: "crop_resize",
    doc: "Cuts boxes out of images and resizes them linearly; points outside of the image are padding.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[
                tensor("x", T),
                tensor("roi", T),
                TARGET_HEIGHT,
                TARGET_WIDTH,
                NORMALIZED,
                SPATIAL_SCALE,
                BOX_MODE,
                SAMPLING_OR_DEFAULT,
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios16,
            params: &[
                tensor("x", T),
                tensor("roi", T),
                TARGET_HEIGHT,
                TARGET_WIDTH,
                NORMALIZED,
                SPATIAL_SCALE,
                BOX_MODE,
                SAMPLING_OR_DEFAULT,
                PAD_VALUE,
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("x", T),
                tensor("boxes", Accept::Domain("BOX_T")),
                tensor("box_indices", Accept::Domain("BOX_INDEX_T")).optional(),
                TARGET_HEIGHT,
                TARGET_WIDTH,
                NORMALIZED,
                SPATIAL_SCALE,
                BOX_MODE,
                SAMPLING_OR_DEFAULT,
                PAD_VALUE,
            ],
            domains: &[
                T_FLOATS,
                Domain { name: "BOX_T", types: &[DType::F16, DType::F32, DType::U16] },
                Domain { name: "BOX_INDEX_T", types: &[DType::U16, DType::I32] },
            ],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_crop_resize,
    eval: Some(sample::crop_resize),
    work: |site| Work::scaled(site, 9, 0),
};

const RESAMPLE_PARAMS: &[Param] = &[
    tensor("x", T),
    tensor("coordinates", U),
    SAMPLING_MODE,
    PADDING_MODE,
    PADDING_VALUE,
    COORDINATES_MODE,
    ALIGN_CORNERS,
];

static RESAMPLE: OpDef = OpDef {
    name: "resample",
    doc: "Reads an image at given points, linearly or the nearest element.",
    versions: &[
        Version {
            since: Opset::Ios15,
            params: RESAMPLE_PARAMS,
            domains: &[T_FLOATS, Domain { name: "U", types: &[DType::I32, DType::F32] }],
        },
        Version {
            since: Opset::Ios16,
            params: RESAMPLE_PARAMS,
            domains: &[T_FLOATS, Domain { name: "U", types: &[DType::I32, DType::F16, DType::F32] }],
        },
        Version {
            since: Opset::Ios17,
            params: RESAMPLE_PARAMS,
            domains: &[
                T_FLOATS,
                Domain {
                    name: "U",
                    types: &[
                        DType::I8,
                        DType::U8,
                        DType::I16,
                        DType::U16,
                        DType::I32,
                        DType::F16,
                        DType::F32,
                    ],
                },
            ],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_resample,
    eval: Some(sample::resample),
    work: |site| Work::scaled(site, 13, 0),
};

static RESIZE: OpDef = OpDef {
    name: "resize",
    doc: "Resizes the last dims to a shape that may be computed, linearly or by nearest neighbour.",
    versions: &[Version {
        since: Opset::Ios17,
        params: &[
            tensor("x", T),
            tensor("shape", U),
            constant("resized_dims", Accept::Types(&[DType::U32])),
            constant("interpolation_mode", STRING).or(Default::Str("LINEAR")),
            SAMPLING_OR_DEFAULT,
        ],
        domains: &[
            T_FLOATS_INT32,
            Domain { name: "U", types: &[DType::I32, DType::I16, DType::U16, DType::U32] },
        ],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_resize,
    eval: Some(scale::eval),
    work: resize_work,
};

static RESIZE_BILINEAR: OpDef = OpDef {
    name: "resize_bilinear",
    doc: "Resizes height and width to given extents, linearly.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            constant("target_size_height", INT32).or(Default::Int(1)),
            constant("target_size_width", INT32).or(Default::Int(1)),
            SAMPLING_OR_DEFAULT,
        ],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_resize,
    eval: Some(scale::eval),
    work: resize_work,
};

static RESIZE_NEAREST_NEIGHBOR: OpDef = OpDef {
    name: "resize_nearest_neighbor",
    doc: "Resizes height and width to given extents by repeating or dropping elements.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            constant("target_size_height", INT32),
            constant("target_size_width", INT32),
        ],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_resize,
    eval: Some(scale::eval),
    work: resize_work,
};

static UPSAMPLE_BILINEAR: OpDef = OpDef {
    name: "upsample_bilinear",
    doc: "Resizes height and width by factors, linearly.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), SCALE_HEIGHT, SCALE_WIDTH, ALIGN_CORNERS.or(Default::Bool(true))],
            domains: &[T_FLOATS, U_SCALES],
        },
        Version {
            since: Opset::Ios16,
            params: &[
                tensor("x", T),
                SCALE_HEIGHT,
                SCALE_WIDTH,
                ALIGN_CORNERS.or(Default::Bool(true)),
                constant("half_pixel_centers", BOOL).optional(),
            ],
            domains: &[T_FLOATS, U_SCALES],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_resize,
    eval: Some(scale::eval),
    work: resize_work,
};

static UPSAMPLE_NEAREST_NEIGHBOR: OpDef = OpDef {
    name: "upsample_nearest_neighbor",
    doc: "Resizes height and width by factors, repeating or dropping elements.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), SCALE_HEIGHT, SCALE_WIDTH],
        domains: &[T_FLOATS, Domain { name: "U", types: &[DType::F32, DType::I32] }],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_resize,
    eval: Some(scale::eval),
    work: resize_work,
};

fn infer_resize(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let dims = Resize::of(site)?.output_dims(&x.dims);
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

/// Two products and a sum per result and linearly resized dim.
fn resize_work(site: &Site<'_>) -> Option<Work> {
    let view = Resize::of(site).ok()?;
    match view.interpolation {
        Interpolation::Linear(_) => Work::scaled(site, 3 * u64::try_from(view.targets.len()).ok()?, 0),
        _ => Work::scaled(site, 0, 0),
    }
}

/// Elements to cut off before and after.
fn crop_pair(site: &Site<'_>, param: &str) -> Result<(usize, usize), Fault> {
    let given = site.ints(param)?;
    let pair: Option<Vec<usize>> = given.iter().map(|&v| num::usize_of(v)).collect();
    match pair.as_deref() {
        Some(&[before, after]) => Ok((before, after)),
        _ => Err(Fault::arg(param, format!("{given:?}"), "2 integers of at least 0")),
    }
}

fn cropped(param: &str, dim: &Dim, (before, after): (usize, usize)) -> Result<Dim, Fault> {
    let Some(n) = dim.known() else {
        return Ok(if before == 0 && after == 0 { dim.clone() } else { Dim::Unknown });
    };
    let rest = n.checked_sub(before).and_then(|n| n.checked_sub(after));
    let actual = format!("[{before}, {after}]");
    rest.map(Dim::Known).ok_or_else(|| Fault::arg(param, actual, format!("at most {n} together")))
}

fn infer_crop(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let [lead @ .., h, w] = x.dims.as_slice() else {
        return Err(Fault::arg("x", x, "of rank 3 or more"));
    };
    if lead.is_empty() {
        return Err(Fault::arg("x", x, "of rank 3 or more"));
    }
    let height = cropped("crop_height", h, crop_pair(site, "crop_height")?)?;
    let width = cropped("crop_width", w, crop_pair(site, "crop_width")?)?;
    let dims = [lead, &[height, width]].concat();
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

fn eval_crop(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let (vertical, horizontal) =
        (crop_pair(&site.site, "crop_height")?, crop_pair(&site.site, "crop_width")?);
    let [lead @ .., h, w] = x.shape() else {
        return Err(Fault::arg("x", format!("of shape {:?}", x.shape()), "of rank 3 or more"));
    };
    let known = |param: &str, n: usize, cut| cropped(param, &n.into(), cut).map(|d| d.known().unwrap_or(0));
    let (rows, columns) = (known("crop_height", *h, vertical)?, known("crop_width", *w, horizontal)?);
    let mut out = Vec::new();
    for_each_index(&[super::window::volume(lead), rows, columns], |i| {
        out.push(x.f64_at((i[0] * h + vertical.0 + i[1]) * w + horizontal.0 + i[2]));
    });
    EvalSite::floats(x.dtype(), &[lead, &[rows, columns]].concat(), &out)
}

/// `x`, which must be `[batch, channels, height, width]`.
fn image<'a>(site: &Site<'a>) -> Result<&'a TensorType, Fault> {
    let x = site.tensor("x")?;
    if x.rank() == 4 { Ok(x) } else { Err(Fault::arg("x", x, "of rank 4")) }
}

/// A constant name that must be `allowed`, in any case.
fn check_name(site: &Site<'_>, param: &str, allowed: &str) -> Result<(), Fault> {
    let name = site.str(param)?;
    if name.to_lowercase() == allowed { Ok(()) } else { Err(Fault::arg(param, name, allowed)) }
}

fn infer_affine(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, matrix) = (image(site)?, site.tensor("transform_matrix")?);
    let [count, six] = matrix.dims.as_slice() else {
        return Err(Fault::arg("transform_matrix", matrix, "of rank 2"));
    };
    let fits = count == &Dim::Known(1) || count.compatible(&x.dims[0]);
    if !six.compatible(&Dim::Known(6)) || !fits {
        return Err(Fault::arg("transform_matrix", matrix, format!("of shape [1, 6] or [{}, 6]", x.dims[0])));
    }
    check_name(site, "sampling_mode", "bilinear")?;
    check_name(site, "coordinates_mode", "normalized_minus_one_to_one")?;
    check_name(site, "padding_mode", "constant")?;
    let padding = site.float("padding_value")?;
    if padding != 0.0 {
        return Err(Fault::arg("padding_value", padding, 0));
    }
    let (height, width) = (scale::size(site, "output_height")?, scale::size(site, "output_width")?);
    let dims = vec![x.dims[0].clone(), x.dims[1].clone(), height.into(), width.into()];
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

fn infer_resample(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, at) = (image(site)?, site.tensor("coordinates")?);
    let [batch, height, width, two] = at.dims.as_slice() else {
        return Err(Fault::arg("coordinates", at, "of rank 4"));
    };
    if !batch.compatible(&x.dims[0]) || !two.compatible(&Dim::Known(2)) {
        return Err(Fault::arg("coordinates", at, format!("of shape [{}, height, width, 2]", x.dims[0])));
    }
    sample::Coordinates::of(site)?;
    sample::padding_mode(site)?;
    sample::takes_nearest(site)?;
    let dims = vec![x.dims[0].clone(), x.dims[1].clone(), height.clone(), width.clone()];
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

fn infer_crop_resize(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = image(site)?;
    scale::sampling(site)?;
    sample::BoxOrder::of(site)?;
    let target = [scale::size(site, "target_height")?.into(), scale::size(site, "target_width")?.into()];
    let lead = if site.has("roi") { roi_dims(site, x)? } else { box_dims(site, x)? };
    let dims = [lead, target.to_vec()].concat();
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

/// Dims before height and width for boxes given as `[n, 1, 4 or 5, 1, 1]`: those that coremltools declares, also where
/// a box names its image.
fn roi_dims(site: &Site<'_>, x: &TensorType) -> Result<Vec<Dim>, Fault> {
    let (roi, unit) = (site.tensor("roi")?, Dim::Known(1));
    let numbers = |d: &Dim| d.known().is_none_or(|d| d == 4 || d == 5);
    match roi.dims.as_slice() {
        [n, a, four, b, c] if numbers(four) && [a, b, c].into_iter().all(|d| d.compatible(&unit)) => {
            Ok(vec![n.clone(), x.dims[0].clone(), x.dims[1].clone()])
        }
        _ => Err(Fault::arg("roi", roi, "of shape [n, 1, 4 or 5, 1, 1]")),
    }
}

/// Dims before height and width for boxes given as `[n, 4]`.
fn box_dims(site: &Site<'_>, x: &TensorType) -> Result<Vec<Dim>, Fault> {
    let boxes = site.tensor("boxes")?;
    let [n, four] = boxes.dims.as_slice() else { return Err(Fault::arg("boxes", boxes, "of shape [n, 4]")) };
    if !four.compatible(&Dim::Known(4)) {
        return Err(Fault::arg("boxes", boxes, "of shape [n, 4]"));
    }
    if !boxes.dtype.is_float() && site.bool("normalized_coordinates")? {
        return Err(Fault::arg("boxes", boxes, "of floats where coordinates are normalized"));
    }
    let images = x.dims[0].known().map(num::i64_of);
    if let Some(indices) = site.optional_tensor("box_indices")? {
        if indices.rank() != 1 || !indices.dims[0].compatible(n) {
            return Err(Fault::arg("box_indices", indices, format!("of shape [{n}], one per box")));
        }
        let given = site.known_ints("box_indices").unwrap_or_default();
        if let Some((i, b)) = given.iter().find_map(|&i| images.filter(|&b| i >= b).map(|b| (i, b))) {
            return Err(Fault::arg("box_indices", i, format!("below {b}, the number of images")));
        }
    } else if let (Some(n), Some(b)) = (n.known(), x.dims[0].known())
        && n > b
    {
        let allowed = format!("at most {b}, the number of images, where `box_indices` is left out");
        return Err(Fault::arg("boxes", format!("{n} boxes"), allowed));
    }
    Ok(vec![n.clone(), x.dims[1].clone()])
}

#[cfg(test)]
mod tests;
