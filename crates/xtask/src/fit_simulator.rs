//! The simulator's numbers, from published latencies.
//!
//! Fits them to two records in three of `corpus/placement/latencies.jsonl` that could be rebuilt, and writes
//! `simulate-fitted.toml` beside it: each number, and how far simulated times are from measured ones.

use crate::latencies::{Latencies, agreement};
use anemone_ane::simulate::Coefficients;
use serde_json::Value;
use std::fmt::Write;

/// Name, smallest and largest value that is tried, unit, and what it is.
const NAMES: [(&str, f64, f64, &str, &str); 10] = [
    ("conv_share", 0.3, 1.0, "", "share of the peak that convolutions reach"),
    ("depthwise_share", 0.002, 1.0, "", "share of the peak that depthwise convolutions reach"),
    ("product_share", 0.1, 1.0, "", "share of the peak that products with a matrix reach"),
    ("half_rate_flop", 1e4, 1e9, "FLOP", "FLOP at which a product reaches half of its rate"),
    ("on_chip_gb_s", 20.0, 1000.0, "GB/s", "activations that stay on the chip, at 2.16 GHz"),
    ("spill_gb_s", 10.0, 100.0, "GB/s", "activations that go through memory, which may be slower"),
    (
        "reduction_per_s",
        1e8,
        1e12,
        "1/s",
        "elements per second of reductions, norms and softmax, at 2.16 GHz",
    ),
    ("handoff_gb_s", 2.0, 100.0, "GB/s", "tensors in and out through Core ML"),
    ("handoff_direct_gb_s", 2.0, 100.0, "GB/s", "tensors in and out through the private interface"),
    ("unpacking", 1.0, 4.0, "", "time of compressed weights over that of as many plain bytes"),
];

/// Where the fit begins; it ends at the same place from a factor of two around.
const START: [f64; 10] = [0.9, 0.05, 0.55, 2e7, 100.0, 40.0, 2e10, 10.0, 24.0, 1.5];

/// Fewest measurements that an interval is drawn from.
const FEWEST: usize = 10;

/// The text of the fitted file.
///
/// # Errors
/// When `carried`, the text of the numbers with sources of their own, is faulty.
pub fn fitted(records: &[Value], carried: &str) -> Result<String, String> {
    let latencies = Latencies::of(records);
    let start = Coefficients::read(&written(&START, "", ""), carried)?;
    let best = fit(&latencies, &start);
    let mut named = best.clone();
    let values = NAMES.map(|(name, ..)| named.named_mut(name).map_or(0.0, |v| *v)).map(four_digits);
    let pairs = |held: bool| -> Vec<(f64, f64)> {
        let wanted = latencies.cases.iter().filter(|c| c.is_held_out() == held);
        wanted.map(|c| (c.measured, c.simulated(&best))).collect()
    };
    let (used, held) = (agreement(&pairs(false)), agreement(&pairs(true)));
    let head = format!(
        "# Fitted to {} records, median error {:.1} %; on {} held out the median error is {:.1} %, the rank correlation {:.3}.\n",
        used.rows,
        used.median * 100.0,
        held.rows,
        held.median * 100.0,
        held.rank
    );
    Ok(written(&values, &head, &spreads(&latencies, &best)))
}

/// Four significant digits are more than the measurements hold.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

fn written(values: &[f64; 10], head: &str, spreads: &str) -> String {
    let mut out = String::from(
        "# Numbers of the simulator that are fitted to published latencies.\n\
         # Written by `cargo xtask fit` from latencies.jsonl; never edited by hand.\n",
    );
    out += head;
    for ((name, _, _, unit, what), value) in NAMES.iter().zip(values) {
        let _ = write!(
            out,
            "\n[[coefficient]]\nname = \"{name}\"\nvalue = {value:?}\nunit = \"{unit}\"\nstrength = \"derived\"\n\
             source = \"project: fitted to latencies.jsonl\"\nwhat = \"{what}\"\n"
        );
    }
    out + spreads
}

/// Mean of |ln(simulated / measured)| over the records that are fitted to.
fn distance(latencies: &Latencies, c: &Coefficients) -> f64 {
    let fitted = latencies.cases.iter().filter(|case| !case.is_held_out());
    let each: Vec<f64> = fitted.map(|case| (case.simulated(c) / case.measured).ln().abs()).collect();
    each.iter().sum::<f64>() / each.len().max(1) as f64
}

/// Coordinate descent on the logarithms, with steps that shrink.
fn fit(latencies: &Latencies, start: &Coefficients) -> Coefficients {
    let mut best = start.clone();
    let mut least = distance(latencies, &best);
    let mut step = 2.0_f64;
    while step > 1.02 {
        let mut moved = false;
        for (name, low, high, ..) in NAMES {
            for factor in [step, 1.0 / step] {
                let mut tried = best.clone();
                let Some(value) = tried.named_mut(name) else { continue };
                *value = (*value * factor).clamp(low, high);
                let found = distance(latencies, &tried);
                if found < least - 1e-9 {
                    (best, least, moved) = (tried, found, true);
                }
            }
        }
        if !moved {
            step = step.sqrt();
        }
    }
    best
}

/// How far measured times are from simulated ones, 10th to 90th percentile, by what they ran on.
fn spreads(latencies: &Latencies, c: &Coefficients) -> String {
    let mut out = String::new();
    let mut widest = (1.0_f64, 1.0_f64);
    for kind in ["ane", "ane-carried"] {
        let of_kind = latencies.cases.iter().filter(|case| case.kind(c) == kind);
        let mut ratios: Vec<f64> = of_kind.map(|case| case.measured / case.simulated(c)).collect();
        ratios.sort_by(f64::total_cmp);
        if ratios.len() < FEWEST {
            continue;
        }
        let last = ratios.len() - 1;
        // Few kinds of model were measured on chips whose figures are carried over: they are not surer than the others.
        widest = (ratios[last / 10].min(widest.0), ratios[last - last / 10].max(widest.1));
        let (low, high) = widest;
        let _ = write!(
            out,
            "\n[[spread]]\nof = \"{kind}\"\nlow = {:?}\nhigh = {:?}\nrows = {}\nstrength = \"derived\"\n\
             source = \"project: measured over simulated in latencies.jsonl, 10th and 90th percentile\"\n",
            four_digits(low),
            four_digits(high),
            ratios.len()
        );
    }
    out
}
