//! Simulated against published latencies: the models rebuilt at their published shapes.

mod catalog;
mod diffusion;
mod language;
mod net;
mod small;
mod vision;

use anemone_ane::simulate::Coefficients;
use catalog::Case;
use serde_json::Value;

/// Every record: rebuilt, or why not.
pub struct Latencies {
    /// Those that could be rebuilt.
    pub cases: Vec<Case>,
    /// Id, model and reason of the others.
    pub left: Vec<(String, String, String)>,
}

impl Latencies {
    /// Rebuilds the models of all records.
    pub fn of(records: &[Value]) -> Latencies {
        let mut found = Latencies { cases: Vec::new(), left: Vec::new() };
        for record in records {
            match catalog::case(record) {
                Ok(case) => found.cases.push(case),
                Err(why) => {
                    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
                    let name = format!("{}, {}, {}", text("model"), text("precision"), text("chip"));
                    found.left.push((text("id"), name, why));
                }
            }
        }
        found
    }
}

impl Case {
    /// Simulated time of one call, in ms.
    pub fn simulated(&self, c: &Coefficients) -> f64 {
        self.programs.iter().map(|(p, times)| p.latency(c) * times).sum()
    }

    /// What the measurement ran on, as the spreads name it.
    pub fn kind(&self, c: &Coefficients) -> &'static str {
        self.programs.first().map_or("ane", |(p, _)| p.kind(c))
    }

    /// True for one record in three, by its number: the numbers of the simulator are fitted to the others.
    pub fn is_held_out(&self) -> bool {
        let digits: String = self.id.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u32>().is_ok_and(|n| n % 3 == 1)
    }
}

/// Agreement of simulated and measured times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agreement {
    /// How many.
    pub rows: usize,
    /// Median of |simulated / measured - 1|.
    pub median: f64,
    /// Spearman's rank correlation.
    pub rank: f64,
}

/// Compares (measured, simulated) pairs.
pub fn agreement(pairs: &[(f64, f64)]) -> Agreement {
    let mut errors: Vec<f64> = pairs.iter().map(|(m, s)| (s / m - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let median = errors.get(errors.len() / 2).copied().unwrap_or(0.0);
    let measured = ranks(pairs.iter().map(|p| p.0));
    let simulated = ranks(pairs.iter().map(|p| p.1));
    Agreement { rows: pairs.len(), median, rank: correlation(&measured, &simulated) }
}

/// Rank of each value; equal values share the mean of theirs.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let rank = |v: f64| {
        let below = values.iter().filter(|o| **o < v).count();
        let equal = values.iter().filter(|o| **o == v).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(|v| rank(*v)).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let (ma, mb) = (mean(a), mean(b));
    let product: f64 = a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum();
    let square = |v: &[f64], m: f64| v.iter().map(|x| (x - m).powi(2)).sum::<f64>();
    let scale = (square(a, ma) * square(b, mb)).sqrt();
    if scale > 0.0 { product / scale } else { 0.0 }
}

/// The table of all records with the agreement below it, and the agreement over all that were rebuilt.
pub fn report(latencies: &Latencies, c: &Coefficients) -> (String, Agreement) {
    let mut out =
        format!("{:<6} {:<62} {:>10} {:>10} {:>7} ran on\n", "id", "model", "measured", "simulated", "off");
    let mut pairs = Vec::new();
    let mut held = Vec::new();
    for case in &latencies.cases {
        let simulated = case.simulated(c);
        pairs.push((case.measured, simulated));
        if case.is_held_out() {
            held.push((case.measured, simulated));
        }
        let name: String = case.name.chars().take(62).collect();
        out += &format!(
            "{:<6} {name:<62} {:>7.3} ms {simulated:>7.3} ms {:>+5.0} % {}{}\n",
            case.id,
            case.measured,
            (simulated / case.measured - 1.0) * 100.0,
            case.kind(c),
            if case.is_held_out() { ", held out" } else { "" },
        );
    }
    let line = |name: &str, a: Agreement| {
        format!(
            "{name}: {} rows, median error {:.1} %, rank correlation {:.3}\n",
            a.rows,
            a.median * 100.0,
            a.rank
        )
    };
    let all = agreement(&pairs);
    out += &line("all", all);
    out += &line("held out of the fit", agreement(&held));
    for (id, name, why) in &latencies.left {
        out += &format!("not modelled: {id} {name}: {why}\n");
    }
    (out, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_agree_when_order_does() {
        let same = agreement(&[(1.0, 1.3), (2.0, 2.0), (10.0, 11.0), (100.0, 50.0)]);
        assert!((same.rank - 1.0).abs() < 1e-12 && same.rows == 4, "{same:?}");
        assert!((agreement(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]).rank + 1.0).abs() < 1e-12);
        assert_eq!(ranks([3.0, 1.0, 3.0].into_iter()), [2.5, 1.0, 2.5]);
    }
}
