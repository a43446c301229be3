//! `non_maximum_suppression`.
//!
//! Rule, padding and the case that no box survives: `NonMaximumSuppressionLayerParams` in `NeuralNetwork.proto` of
//! apple/coremltools, `mlmodel/format`.

use crate::eval::EvalSite;
use crate::ops::common::{BOOL, INT32, T, T_FLOATS};
use crate::ops::rearrange::{at_least, int_tensor, made, of_rank, pick, same_dim};
use crate::ops::{Default, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, TensorType, Type, ValueId};
use anemone_tensor::{DType, Tensor, num};

const PER_CLASS: Param = constant("per_class_suppression", BOOL).or(Default::Bool(false));

pub(super) static NON_MAXIMUM_SUPPRESSION: OpDef = OpDef {
    name: "non_maximum_suppression",
    doc: "Picks boxes, best score first, that overlap no box picked before by more than a threshold.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[
                tensor("boxes", T),
                tensor("scores", T),
                constant("iou_threshold", T),
                constant("score_threshold", T),
                constant("max_boxes", INT32),
                PER_CLASS,
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("boxes", T),
                tensor("scores", T),
                constant("iou_threshold", T),
                constant("max_boxes", INT32),
                PER_CLASS,
            ],
            domains: &[T_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval),
    work,
};

/// A `non_maximum_suppression`, decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonMaximumSuppression {
    /// Centre x, centre y, width and height of every box.
    pub boxes: ValueId,
    /// Scores by box and class.
    pub scores: ValueId,
    /// A box goes when its intersection over union with a picked one is larger.
    pub iou_threshold: f64,
    /// A box whose best score is smaller is not looked at; none from `ios17` on.
    pub score_threshold: Option<f64>,
    /// Boxes in the result; missing ones are padded.
    pub max_boxes: usize,
    /// True when a box suppresses only boxes of its own class.
    pub per_class: bool,
    /// True from `ios17` on: boxes are the innermost dim of `boxes` and `scores`, and there is no fourth result.
    pub boxes_last: bool,
}

impl NonMaximumSuppression {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When one is missing or no constant in range.
    pub fn of(site: &Site<'_>) -> Result<NonMaximumSuppression, Fault> {
        let first = |param: &str| {
            let missing = || Fault::new(format!("has no `{param}`"));
            site.values(param).first().copied().ok_or_else(missing)
        };
        let boxes_last = site.version.since >= Opset::Ios17;
        Ok(NonMaximumSuppression {
            boxes: first("boxes")?,
            scores: first("scores")?,
            iou_threshold: site.float("iou_threshold")?,
            score_threshold: if boxes_last { None } else { Some(site.float("score_threshold")?) },
            max_boxes: at_least("max_boxes", site.int("max_boxes")?, 1)?,
            per_class: site.bool("per_class_suppression")?,
            boxes_last,
        })
    }
}

fn infer(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let nms = NonMaximumSuppression::of(site)?;
    let (boxes, scores) = (site.tensor("boxes")?, site.tensor("scores")?);
    of_rank("boxes", boxes, 3)?;
    of_rank("scores", scores, 3)?;
    let (box_axis, other) = if nms.boxes_last { (2, 1) } else { (1, 2) };
    same_dim("boxes", &boxes.dims[other], &Dim::Known(4))?;
    same_dim("scores", &scores.dims[box_axis], &boxes.dims[box_axis])?;
    let batch = same_dim("scores", &scores.dims[0], &boxes.dims[0])?;
    let max = Dim::Known(nms.max_boxes);
    let of = |ty: &TensorType, depth: Dim| {
        let dims = if nms.boxes_last { [depth, max.clone()] } else { [max.clone(), depth] };
        let [second, third] = dims;
        Type::from(TensorType::new(ty.dtype, [batch.clone(), second, third]))
    };
    let mut types = vec![
        of(boxes, Dim::Known(4)),
        of(scores, scores.dims[other].clone()),
        TensorType::new(DType::I32, [batch.clone(), max.clone()]).into(),
    ];
    if !nms.boxes_last {
        types.push(TensorType::new(DType::I32, [batch.clone()]).into());
    }
    Ok(types)
}

/// The best class of every box, and every pair of boxes compared once: some 15 operations each.
fn work(site: &Site<'_>) -> Option<Work> {
    let scores = u64::try_from(site.tensor("scores").ok()?.element_count()?).ok()?;
    let all = u64::try_from(site.tensor("boxes").ok()?.element_count()? / 4).ok()?;
    let batch = u64::try_from(site.tensor("boxes").ok()?.dims.first()?.known()?).ok()?.max(1);
    let pairs = all.checked_mul(all / batch)? / 2;
    Some(Work { flops: pairs.checked_mul(15)?.checked_add(scores)?, transcendental: 0 })
}

/// What decides about a box.
struct Candidate {
    index: usize,
    /// Centre x, centre y, width, height.
    at: [f64; 4],
    class: usize,
    score: f64,
}

fn eval(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let nms = NonMaximumSuppression::of(&site.site)?;
    let (boxes, scores) = (site.tensor("boxes")?, site.tensor("scores")?);
    let (b, s) = (shape3("boxes", &boxes)?, shape3("scores", &scores)?);
    let (count, classes) = if nms.boxes_last { (b[2], s[1]) } else { (b[1], s[2]) };
    let expected = |depth| if nms.boxes_last { [b[0], depth, count] } else { [b[0], count, depth] };
    if b != expected(4) || s != expected(classes) {
        return Err(Fault::arg(
            "scores",
            format!("{s:?} with boxes {b:?}"),
            "of the same boxes, of 4 numbers each",
        ));
    }
    let position = |depth: usize, n: usize, i: usize, d: usize| {
        if nms.boxes_last { (n * depth + d) * count + i } else { (n * count + i) * depth + d }
    };
    made(&[b[0], nms.max_boxes, classes.max(4)], 0)?;
    let mut picked = Vec::with_capacity(b[0]);
    for n in 0..b[0] {
        let candidates = (0..count).map(|index| {
            let (class, score) = best((0..classes).map(|c| scores.f64_at(position(classes, n, index, c))));
            Candidate {
                index,
                at: [0, 1, 2, 3].map(|d| boxes.f64_at(position(4, n, index, d))),
                class,
                score,
            }
        });
        picked.push(survivors(candidates.collect(), &nms));
    }
    let shape = |depth: usize| {
        if nms.boxes_last { [b[0], depth, nms.max_boxes] } else { [b[0], nms.max_boxes, depth] }
    };
    let taken = |x: &Tensor, depth: usize| {
        pick(x, &shape(depth), |at| {
            let (i, d) = if nms.boxes_last { (at[2], at[1]) } else { (at[1], at[2]) };
            picked[at[0]].get(i).map(|&index| position(depth, at[0], index, d))
        })
    };
    let padded = |p: &Vec<usize>| -> Vec<i64> {
        (0..nms.max_boxes).map(|i| p.get(i).map_or(-1, |&v| num::i64_of(v))).collect()
    };
    let coordinates = taken(&boxes, 4)?;
    let indices: Vec<i64> = picked.iter().flat_map(padded).collect();
    let mut out: Vec<Literal> = vec![coordinates.into(), taken(&scores, classes)?.into()];
    out.push(int_tensor(DType::I32, &[b[0], nms.max_boxes], &indices)?.into());
    if !nms.boxes_last {
        let counts: Vec<i64> = picked.iter().map(|p| num::i64_of(p.len())).collect();
        out.push(int_tensor(DType::I32, &[b[0]], &counts)?.into());
    }
    Ok(out)
}

fn shape3(param: &str, t: &Tensor) -> Result<[usize; 3], Fault> {
    let shape = <[usize; 3]>::try_from(t.shape());
    shape.map_err(|_| Fault::arg(param, format!("of rank {}", t.rank()), "of rank 3"))
}

/// The first largest score and its class.
fn best(scores: impl Iterator<Item = f64>) -> (usize, f64) {
    let first = (0, f64::NEG_INFINITY);
    scores.enumerate().fold(first, |best, (c, s)| if s > best.1 { (c, s) } else { best })
}

/// Indices of the boxes that remain, best score first; the best box remains even when all are below the threshold.
fn survivors(mut candidates: Vec<Candidate>, nms: &NonMaximumSuppression) -> Vec<usize> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut picked: Vec<Candidate> = Vec::new();
    for c in candidates {
        if picked.len() == nms.max_boxes {
            break;
        }
        let low = nms.score_threshold.is_some_and(|t| c.score < t);
        let covered = |p: &Candidate| {
            (!nms.per_class || p.class == c.class) && overlap(p.at, c.at) > num::f32_of(nms.iou_threshold)
        };
        if picked.is_empty() || !(low || picked.iter().any(covered)) {
            picked.push(c);
        }
    }
    picked.into_iter().map(|c| c.index).collect()
}

/// Intersection over union, in `f32` as the thresholds are.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f32 {
    let side = |i: usize| {
        let (low, high) = (|v: [f64; 4]| v[i] - v[i + 2] / 2.0, |v: [f64; 4]| v[i] + v[i + 2] / 2.0);
        (high(a).min(high(b)) - low(a).max(low(b))).max(0.0)
    };
    let common = side(0) * side(1);
    let all = a[2] * a[3] + b[2] * b[3] - common;
    num::f32_of(if all > 0.0 { common / all } else { 0.0 })
}
