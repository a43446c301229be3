//! Gates: one condition each that a model must meet, as `ane>=95%` or `shard<=250MB`.

use anemone_ane::Plan;
use anemone_ane::simulate::Interval;
use std::fmt;
use std::str::FromStr;

/// What a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Ane,
    AneCost,
    Latency,
    Shard,
    Crossings,
    Convolutions,
}

/// Names of the measures: name, unit of its number, and what it is.
const MEASURES: [(&str, Measure, &str); 6] = [
    ("ane", Measure::Ane, "ops that prefer the ANE"),
    ("ane-cost", Measure::AneCost, "estimated cost on the ANE"),
    ("latency", Measure::Latency, "as simulated"),
    ("shard", Measure::Shard, "weights"),
    ("crossings", Measure::Crossings, "changes of unit"),
    ("all-convs-on-ane", Measure::Convolutions, "convolutions off the ANE"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// A condition on a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    measure: Measure,
    comparison: Comparison,
    bound: f64,
}

/// A text that is no gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateError(String);

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GateError {}

/// What gates judge.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The plan of the function.
    pub plan: &'a Plan,
    /// Bytes of the program's weights.
    pub weight_bytes: u64,
    /// Simulated time of one warm call.
    pub latency: Interval,
}

/// The answer of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The gate.
    pub gate: String,
    /// True when the condition is met.
    pub passed: bool,
    /// What was found, with its unit.
    pub found: String,
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Gate, GateError> {
        let plain: String = text.split_whitespace().collect();
        let wrong = |what: String| GateError(format!("gate `{text}`: {what}"));
        let names = || MEASURES.map(|m| m.0).join(", ");
        if plain == "all-convs-on-ane" {
            let measure = Measure::Convolutions;
            return Ok(Gate { text: plain, measure, comparison: Comparison::AtMost, bound: 0.0 });
        }
        let at = plain.find(['<', '>']).ok_or_else(|| {
            wrong(format!("must be all-convs-on-ane, or one of {} with >=, >, <= or < and a number", names()))
        })?;
        let (name, rest) = plain.split_at(at);
        let known = MEASURES.iter().find(|m| m.0 == name && m.1 != Measure::Convolutions);
        let (_, measure, _) = known.ok_or_else(|| wrong(format!("`{name}` is none of {}", names())))?;
        let operators = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let found = operators.iter().find_map(|(sign, c)| Some((rest.strip_prefix(sign)?, *c)));
        let (number, comparison) = found.ok_or_else(|| wrong("has no comparison".to_owned()))?;
        let bound = bound(*measure, number).map_err(wrong)?;
        Ok(Gate { measure: *measure, comparison, bound, text: plain })
    }
}

/// Units of a measure, each with what it is worth in the measure's own.
fn units(measure: Measure) -> &'static [(&'static str, f64)] {
    match measure {
        Measure::Ane | Measure::AneCost => &[("%", 0.01)],
        Measure::Latency => &[("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)],
        Measure::Shard => &[("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1.0)],
        Measure::Crossings | Measure::Convolutions => &[("", 1.0)],
    }
}

fn bound(measure: Measure, text: &str) -> Result<f64, String> {
    let units = units(measure);
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let worth = units.iter().find(|(u, _)| u.eq_ignore_ascii_case(unit)).map(|(_, w)| *w);
    let names: Vec<&str> = units.iter().map(|u| u.0).collect();
    let worth = worth.ok_or_else(|| format!("the unit `{unit}` must be one of: {}", names.join(", ")))?;
    let value: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    Ok(value * worth)
}

impl Gate {
    /// True when the answer depends on [`Measured::latency`].
    pub fn needs_latency(&self) -> bool {
        self.measure == Measure::Latency
    }

    /// Holds a plan against the condition.
    pub fn judge(&self, measured: &Measured<'_>) -> Judged {
        let plan = measured.plan;
        let value = match self.measure {
            Measure::Ane => plan.ane_share_by_count,
            Measure::AneCost => plan.ane_share_by_cost,
            Measure::Latency => measured.latency.ms,
            Measure::Shard => measured.weight_bytes as f64,
            Measure::Crossings => anemone_tensor::num::f64_of_usize(plan.crossings),
            Measure::Convolutions => {
                anemone_tensor::num::f64_of_usize(plan.convolutions.all - plan.convolutions.on_ane)
            }
        };
        let passed = match self.comparison {
            Comparison::AtLeast => value >= self.bound,
            Comparison::Above => value > self.bound,
            Comparison::AtMost => value <= self.bound,
            Comparison::Below => value < self.bound,
        };
        Judged { gate: self.text.clone(), passed, found: self.found(value, measured) }
    }

    fn found(&self, value: f64, measured: &Measured<'_>) -> String {
        let what = MEASURES.iter().find(|m| m.1 == self.measure).map_or("", |m| m.2);
        match self.measure {
            Measure::Ane | Measure::AneCost => format!("{:.1} % of {what}", value * 100.0),
            Measure::Latency => {
                let Interval { low, high, .. } = measured.latency;
                format!("{value:.3} ms, {what} ({low:.3} to {high:.3} ms)")
            }
            Measure::Shard => format!("{:.1} MB of {what}", value / 1e6),
            Measure::Crossings | Measure::Convolutions => format!("{value:.0} {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;

    #[test]
    fn gates_are_read_with_their_units() {
        for text in
            ["ane>=95%", "ane-cost > 90 %", "latency<8ms", "latency<=500us", "shard<=250MB", "crossings<=4"]
        {
            assert!(text.parse::<Gate>().is_ok(), "{text}");
        }
        assert!("all-convs-on-ane".parse::<Gate>().is_ok());
    }

    #[test]
    fn other_texts_are_refused_with_what_is_allowed() {
        let error = |text: &str| text.parse::<Gate>().expect_err("no gate").to_string();
        assert!(error("gpu>=1%").contains("ane-cost"));
        assert!(error("latency<8MB").contains("ms"));
        assert!(error("ane>=%").contains("no number"));
        assert!(error("ane").contains(">="));
    }
}
