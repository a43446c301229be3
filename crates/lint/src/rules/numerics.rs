//! Types and values.

use super::eligible::spoken;
use crate::fix::Fix;
use crate::rule::{Hit, Rule, Severity};
use crate::subject::Subject;
use anemone_ane::SUM_LIMIT;
use anemone_mil::{Const, DType, Dim};
use anemone_passes::engine::narrow_integers;
use anemone_passes::legalize;

pub(super) static INT32_ISLAND: Rule = Rule {
    name: "int32-island",
    severity: Severity::Warning,
    facts: &["ane-int32", "ane-int32-tail"],
    help: "keep integers at the edge of the graph, or compute in fp16 where the values are exact (up to 2048)",
    page: include_str!("../../../../docs/rules/int32-island.md"),
    fix: Fix::identical(|p, case| case.everywhere(p, "move_casts") + narrow_integers::run(case.of(p))),
    find: |s| {
        let mut hits = spoken(s, &["ane-int32"], &["ane-refused", "ane-refused-h17s"]);
        hits.retain(|h| h.op.is_some_and(|id| s.function.op(id).kind.name() != "gather"));
        hits
    },
};

pub(super) static FP32_OP: Rule = Rule {
    name: "fp32-op",
    severity: Severity::Warning,
    facts: &["ane-fp32"],
    help: "convert with `--precision fp16`, or cast around the few ops that need fp32",
    page: include_str!("../../../../docs/rules/fp32-op.md"),
    fix: Fix::rounding("every result to the 11 digits of fp16", |p, case| {
        legalize(case.of(p), DType::F16).iter().map(|(_, n)| n).sum()
    }),
    find: |s| spoken(s, &["ane-fp32"], &["ane-refused", "ane-refused-h17s"]),
};

pub(super) static ARG_OUTPUT: Rule = Rule {
    name: "arg-output",
    severity: Severity::Warning,
    facts: &["ane-int32", "ane-refused"],
    help: "return the scores and take the argmax on the host",
    page: include_str!("../../../../docs/rules/arg-output.md"),
    fix: Fix::Manual,
    find: |s| {
        let found =
            s.planned().filter(|op| matches!(&*op.kind, "reduce_argmax" | "reduce_argmin" | "argsort"));
        found
            .map(|op| Hit::at(op.id, format!("`{}` makes 32-bit indices, which the ANE does not", op.kind)))
            .collect()
    },
};

/// Two masks of this size, or one in a sum of products, are infinite on the ANE.
const MASK_LIMIT: f64 = SUM_LIMIT * (1.0 - 1.0 / 2048.0);

fn largest(constant: &Const) -> Option<f64> {
    let literal = constant.literal().ok()?;
    let tensor = literal.as_tensor()?;
    if !matches!(tensor.dtype(), DType::F16 | DType::F32) || tensor.len() > LOOKED_AT {
        return None;
    }
    let magnitude = |v: &f64| if v.is_nan() { f64::INFINITY } else { v.abs() };
    tensor.to_f64s().iter().map(magnitude).reduce(f64::max)
}

/// Constants longer than this are weights, not masks.
const LOOKED_AT: usize = 1 << 22;

pub(super) static FP16_CONSTANT: Rule = Rule {
    name: "fp16-constant",
    severity: Severity::Warning,
    facts: &["fp16-sums", "ane-fixed-sums", "ane-sdpa-mask"],
    help: "mask with a value such as -1e4, of which a few still add up to something finite",
    page: include_str!("../../../../docs/rules/fp16-constant.md"),
    fix: Fix::rounding(
        "nothing where one element of a row is not masked; rows that are masked as a whole become other numbers",
        |p, case| case.everywhere(p, "bound_masks"),
    )
    .always(),
    find: |s| {
        let mut hits = Vec::new();
        for (id, op) in s.ops().filter(|(_, op)| MASKED.contains(&op.kind.name())) {
            let large = op.operands().filter_map(|v| Some((v, largest(s.constant(v)?)?)));
            if let Some((v, most)) = large.into_iter().find(|(_, m)| *m >= MASK_LIMIT) {
                let name = &s.function.value(v).name;
                hits.push(Hit::at(id, format!("`{name}` holds {most:e}, and sums end at {SUM_LIMIT} on the ANE")));
            }
        }
        hits
    },
};

/// Ops through which masks enter.
const MASKED: [&str; 6] = ["add", "sub", "mul", "select", "where", "scaled_dot_product_attention"];

/// Elements up to which fp16 reductions are exact.
const EXACT_REDUCTION: usize = 2048;

pub(super) static LONG_REDUCTION: Rule = Rule {
    name: "long-reduction",
    severity: Severity::Warning,
    facts: &["fp16-sums"],
    help: "scale before summing, or sum in two steps with a mean each",
    page: include_str!("../../../../docs/rules/long-reduction.md"),
    fix: Fix::rounding("one more rounding per step and factor: 2^-11 of the result each", |p, case| {
        case.at_hits(p, "split_sum")
    })
    .always(),
    find: long_reduction,
};

const SUMS: [&str; 5] =
    ["reduce_sum", "reduce_sum_square", "reduce_l2_norm", "reduce_l1_norm", "reduce_log_sum_exp"];

fn long_reduction(s: &Subject<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (id, site) in s.sites(&SUMS) {
        let Ok(x) = site.tensor("x") else { continue };
        if x.dtype != DType::F16 {
            continue;
        }
        let axes = site.axes("axes", x.rank()).unwrap_or_else(|_| (0..x.rank()).collect());
        let axes = if site.has("axes") { axes } else { (0..x.rank()).collect() };
        let count = axes
            .iter()
            .filter_map(|&a| x.dims.get(a).and_then(Dim::known))
            .fold(1_usize, usize::saturating_mul);
        if count > EXACT_REDUCTION {
            hits.push(Hit::at(
                id,
                format!("`{}` sums {count} fp16 values, and {EXACT_REDUCTION} are exact", site.def.name),
            ));
        }
    }
    hits
}

pub(super) static NORM_OVERFLOW: Rule = Rule {
    name: "norm-overflow",
    severity: Severity::Note,
    facts: &["fp16-sums", "ane-fixed-sums"],
    help: "divide by the largest magnitude before squaring",
    page: include_str!("../../../../docs/rules/norm-overflow.md"),
    fix: Fix::rounding("three more roundings: 2^-11 of the result each", |p, case| {
        case.at_hits(p, "scale_norms")
    })
    .always(),
    find: |s| {
        let norms = s.ops().filter(|(id, _)| norms_squares(s, *id));
        norms
            .map(|(id, _)| {
                Hit::at(id, "it divides by the root of a mean of fp16 squares, which overflow from 256 on")
            })
            .collect()
    },
};

/// True when an op divides what is squared for it by the root of the mean of the squares.
fn norms_squares(s: &Subject<'_>, id: anemone_mil::OpId) -> bool {
    let op = s.function.op(id);
    let divides = op.is("mul") || op.is("real_div");
    let half = op.outputs.first().and_then(|&v| s.tensor(v)).is_some_and(|t| t.dtype == DType::F16);
    divides
        && half
        && [("x", "y"), ("y", "x")].iter().any(|(of, by)| match (op.value(of), op.value(by)) {
            (Some(of), Some(by)) => is_root_of_squares(s, by, of, false, 0),
            _ => false,
        })
}

/// Ops between the mean of squares and what it divides.
const ROOTS: [&str; 5] = ["rsqrt", "sqrt", "pow", "inverse", "real_div"];

/// True when a value is made of a mean of the squares of `x`, with a constant added, by roots and quotients.
fn is_root_of_squares(
    s: &Subject<'_>,
    v: anemone_mil::ValueId,
    x: anemone_mil::ValueId,
    added: bool,
    depth: usize,
) -> bool {
    let Some(op) = s.function.producer(v).map(|id| s.function.op(id)).filter(|_| depth < 6) else {
        return false;
    };
    let (a, b) = (op.value("x"), op.value("y"));
    match (op.kind.name(), a, b) {
        ("reduce_mean", Some(a), _) if added => {
            let square = s.function.producer(a).map(|id| s.function.op(id));
            square.is_some_and(|op| match op.kind.name() {
                "square" | "pow" => op.value("x") == Some(x),
                "mul" => op.value("x") == Some(x) && op.value("y") == Some(x),
                _ => false,
            })
        }
        ("add", Some(a), Some(b)) if !added => [(a, b), (b, a)].into_iter().any(|(mean, number)| {
            s.constant(number).is_some() && is_root_of_squares(s, mean, x, true, depth + 1)
        }),
        (kind, a, b) if !added && ROOTS.contains(&kind) => {
            let onward = if kind == "real_div" { b } else { a };
            onward.is_some_and(|v| is_root_of_squares(s, v, x, added, depth + 1))
        }
        _ => false,
    }
}
