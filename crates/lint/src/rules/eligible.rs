//! Ops that the ANE refuses, or takes with a catch: rules that repeat what the plan's facts say.

use crate::fix::{Case, Fix};
use crate::lookups::hand_in_rows;
use crate::rule::{Hit, Rule, Severity};
use crate::subject::Subject;
use anemone_ane::OpPlan;
use anemone_mil::{DType, Dim, Program};
use anemone_passes::Limits;

/// What the plan says of an op, without its first words.
fn said(op: &OpPlan) -> String {
    let cut = ["refused by the ANE: ", "kept off the ANE, because it is not known whether it is taken: "];
    let rest = cut.iter().find_map(|c| op.reason.strip_prefix(c)).unwrap_or(&op.reason);
    format!("`{}` {rest}", op.kind)
}

/// Ops of which one of these facts speaks, unless one of `others` does, which has a rule of its own.
pub(super) fn spoken(subject: &Subject<'_>, keys: &[&str], others: &[&str]) -> Vec<Hit> {
    let speaks = |op: &OpPlan, keys: &[&str]| op.facts.iter().any(|f| keys.contains(&&*f.key));
    let found = subject.planned().filter(|op| speaks(op, keys) && !speaks(op, others));
    found.map(|op| Hit::at(op.id, said(op))).collect()
}

/// Ops of these kinds, with what the plan says.
fn kinds(subject: &Subject<'_>, kinds: &[&str]) -> Vec<Hit> {
    let found = subject.planned().filter(|op| kinds.contains(&&*op.kind));
    found.map(|op| Hit::at(op.id, said(op))).collect()
}

const RECURRENT_OPS: [&str; 3] = ["lstm", "gru", "rnn"];
const SCATTERS: [&str; 3] = ["scatter", "scatter_nd", "scatter_along_axis"];
const ARGS: [&str; 3] = ["reduce_argmax", "reduce_argmin", "argsort"];

/// How far a sum of partial results is from the whole.
pub(super) const SPLIT_BOUND: &str =
    "one more rounding per part: 2^-11 in fp16 of the largest partial sum, for each part and each addition";

/// How far rows that a product selects are from those that are looked up.
const SELECT_BOUND: &str = "nothing, unless a row that is not taken holds an infinite number";

/// How far a palette of 16 is from what it stands for.
const PALETTE_BOUND: &str =
    "a weight moves by at most half the distance between two neighbouring palette entries";

/// How far weights with one scale per output are from those with more.
const SCALE_BOUND: &str = "a weight moves by at most 1/254 of the largest weight of its output";

/// Widest kernel that the compiler takes as it is.
pub(super) const NARROW: usize = 8;

/// Splits kernels into parts that the compiler takes as they are.
pub(super) fn split_kernel(program: &mut Program, case: &Case<'_>) -> usize {
    let limits = Limits { conv_width: NARROW, ..case.limits() };
    case.with(program, "split_kernel", limits, |id| case.hits.contains(&id))
}

pub(super) static CONV_KERNEL: Rule = Rule {
    name: "conv-kernel",
    severity: Severity::Warning,
    facts: &["ane-conv-width", "ane-conv-height"],
    help: "split the kernel into narrower ones whose results are added, or use a pool for large averages",
    page: include_str!("../../../../docs/rules/conv-kernel.md"),
    fix: Fix::rounding(SPLIT_BOUND, split_kernel),
    find: |s| spoken(s, &["ane-conv-width", "ane-conv-height"], &[]),
};

pub(super) static CONV_16X16: Rule = Rule {
    name: "conv-16x16",
    severity: Severity::Warning,
    facts: &["ane-conv-16x16", "ane-conv-patch"],
    help: "cut patches by a reshape and transpose and multiply them as a 1 x 1 convolution",
    page: include_str!("../../../../docs/rules/conv-16x16.md"),
    fix: Fix::rounding(SPLIT_BOUND, split_kernel).always(),
    find: |s| {
        let hits = spoken(s, &["ane-conv-16x16"], &[]);
        let text = "a 16 x 16 kernel is taken after minutes of compiling and gigabytes of memory";
        hits.into_iter().map(|h| Hit { message: text.to_owned(), ..h }).collect()
    },
};

pub(super) static MAX_POOL: Rule = Rule {
    name: "max-pool-width",
    severity: Severity::Warning,
    facts: &["ane-max-pool-width"],
    help: "pool twice with smaller kernels: 9 wide is 5 wide, and 5 wide again with stride 1",
    page: include_str!("../../../../docs/rules/max-pool-width.md"),
    fix: Fix::identical(|p, case| case.at_hits(p, "split_pool")),
    find: |s| spoken(s, &["ane-max-pool-width"], &[]),
};

pub(super) static MATMUL_INNER: Rule = Rule {
    name: "matmul-inner",
    severity: Severity::Warning,
    facts: &["ane-matmul-inner", "ane-matmul-inner-16k"],
    help: "split the inner dim and add the partial products",
    page: include_str!("../../../../docs/rules/matmul-inner.md"),
    fix: Fix::rounding(SPLIT_BOUND, |p, case| case.at_hits(p, "split_matmul")),
    find: |s| spoken(s, &["ane-matmul-inner", "ane-matmul-inner-16k"], &[]),
};

pub(super) static RECURRENT: Rule = Rule {
    name: "recurrent",
    severity: Severity::Warning,
    facts: &["ane-recurrent"],
    help: "unroll short sequences into linear and elementwise ops, or leave the section to the CPU in a model of its own",
    page: include_str!("../../../../docs/rules/recurrent.md"),
    fix: Fix::Manual,
    find: |s| kinds(s, &RECURRENT_OPS),
};

pub(super) static SCATTER: Rule = Rule {
    name: "scatter",
    severity: Severity::Warning,
    facts: &["ane-scatter", "ane-rank5-scatter"],
    help: "write caches by concat and slice, or by a mask that selects between old and new",
    page: include_str!("../../../../docs/rules/scatter.md"),
    fix: Fix::identical(|p, case| case.at_hits(p, "replace_scatter")),
    find: |s| kinds(s, &SCATTERS),
};

pub(super) static GATHER_RUNTIME: Rule = Rule {
    name: "gather-runtime",
    severity: Severity::Warning,
    facts: &["ane-gather-indices"],
    help: "move the look-up to the edge of the graph or to the host, and hand the rows in",
    page: include_str!("../../../../docs/rules/gather-runtime.md"),
    fix: Fix::identical(hand_in_rows),
    find: |s| {
        let found =
            s.sites(&["gather"]).filter(|(_, site)| site.values("indices").iter().any(|&v| !s.is_weight(v)));
        found.map(|(id, _)| Hit::at(id, "`gather` takes `indices` that are known only at run time")).collect()
    },
};

pub(super) static GATHER_ND: Rule = Rule {
    name: "gather-nd",
    severity: Severity::Warning,
    facts: &["ane-gather-wrong", "ane-gather-indices"],
    help: "use slices or a product with a one-hot matrix, and compare the outputs on the device",
    page: include_str!("../../../../docs/rules/gather-nd.md"),
    fix: Fix::rounding(SELECT_BOUND, |p, case| {
        case.at_hits(p, "replace_gather_nd") + case.at_hits(p, "select_rows")
    })
    .always(),
    find: |s| {
        let found = s.planned().filter(|op| op.kind == "gather_nd");
        found
            .map(|op| Hit::at(op.id, "`gather_nd` was placed on the ANE of a phone and returned zeros"))
            .collect()
    },
};

pub(super) static SLICE_BEGIN: Rule = Rule {
    name: "slice-begin",
    severity: Severity::Warning,
    facts: &["ane-slice-begin"],
    help: "slice at constant positions, or select by a mask",
    page: include_str!("../../../../docs/rules/slice-begin.md"),
    fix: Fix::rounding(SELECT_BOUND, |p, case| case.at_hits(p, "select_rows")),
    find: |s| spoken(s, &["ane-slice-begin"], &[]),
};

pub(super) static PAD_VALUE: Rule = Rule {
    name: "pad-value",
    severity: Severity::Warning,
    facts: &["ane-pad-value"],
    help: "subtract the value, pad with zeros and add it again, or concat constant borders",
    page: include_str!("../../../../docs/rules/pad-value.md"),
    fix: Fix::identical(|p, case| case.at_hits(p, "pad_with_zeros")),
    find: |s| spoken(s, &["ane-pad-value"], &[]),
};

pub(super) static INT4_PER_BLOCK: Rule = Rule {
    name: "int4-per-block",
    severity: Severity::Warning,
    facts: &["ane-int4-per-block", "weights-palette"],
    help: "use a palette of 16 values (4 bits, hardware look-up), or 8-bit weights with one scale per tensor or channel",
    page: include_str!("../../../../docs/rules/int4-per-block.md"),
    fix: Fix::within(PALETTE_BOUND, 0.15, |p, case| case.everywhere(p, "palettize_blocks")),
    find: |s| spoken(s, &["ane-int4-per-block"], &[]),
};

pub(super) static INT8_PER_BLOCK: Rule = Rule {
    name: "int8-per-block",
    severity: Severity::Warning,
    facts: &["ane-w8-per-block", "weights-int8-tensor"],
    help: "use one scale per tensor or per output channel",
    page: include_str!("../../../../docs/rules/int8-per-block.md"),
    fix: Fix::within(SCALE_BOUND, 0.02, |p, case| case.at_hits(p, "merge_scales")).always(),
    find: |s| {
        let blocked = |site: &anemone_mil::ops::Site<'_>| {
            let (data, scale) = (site.tensor("data").ok()?, site.tensor("scale").ok()?);
            let blocks = scale.dims.iter().filter(|d| **d != Dim::Known(1)).count();
            (matches!(data.dtype, DType::I8 | DType::U8) && blocks > 1).then_some(blocks)
        };
        let found = s.sites(&["constexpr_blockwise_shift_scale"]).filter(|(_, site)| blocked(site).is_some());
        let text = "8-bit weights with a scale per block gave wrong values on a phone";
        found.map(|(id, _)| Hit::at(id, text)).collect()
    },
};

pub(super) static VECTOR_PALETTE: Rule = Rule {
    name: "vector-palette",
    severity: Severity::Warning,
    facts: &["ane-vector-palette"],
    help: "use a palette of single values",
    page: include_str!("../../../../docs/rules/vector-palette.md"),
    fix: Fix::Manual,
    find: |s| spoken(s, &["ane-vector-palette"], &[]),
};

pub(super) static UNSUPPORTED_OP: Rule = Rule {
    name: "unsupported-op",
    severity: Severity::Warning,
    facts: &["ane-refused", "ane-refused-h17s"],
    help: "express it with ops that the ANE takes, or move it to the edge of the graph",
    page: include_str!("../../../../docs/rules/unsupported-op.md"),
    fix: Fix::Manual,
    find: |s| {
        let own = |op: &str| [&RECURRENT_OPS[..], &SCATTERS, &ARGS].iter().any(|l| l.contains(&op));
        let mut hits = spoken(s, &["ane-refused", "ane-refused-h17s"], &[]);
        hits.retain(|h| h.op.is_some_and(|id| !own(s.function.op(id).kind.name())));
        hits
    },
};
