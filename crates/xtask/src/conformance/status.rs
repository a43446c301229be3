//! `docs/status.md`: how the recorded cases do. The page is the record, too: what it does not list passed strictly.

use super::case::Case;
use super::compare::{Verdict, WORDS};
use super::{Outcomes, Route};
use crate::place::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

/// The page.
pub(super) const STATUS: &str = "docs/status.md";

/// Longest reason on the page, in characters.
const REASON: usize = 160;

/// What NumPy in f64 says of cases that look wrong.
const SECOND_SOURCE: &[(&str, &str)] = &[
    (
        "6a9bd23b39fb509f",
        "NumPy in f64 gives -1.731866 from the parameters as the package has them, rounded to fp16; the test took them \
         before they were rounded",
    ),
    (
        "9363abd1a0f6d608",
        "the program computes in fp32, the test in fp16: what NumPy gives in f64 is, rounded to fp16, what the test \
         expects",
    ),
];

/// The verdicts that the page lists, by case and route.
pub(super) struct Record(BTreeMap<(String, String), usize>);

impl Record {
    /// Reads the page; without one, every case must be strict.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn read() -> Result<Record, String> {
        let file = repository().join(STATUS);
        if !file.exists() {
            return Ok(Record(BTreeMap::new()));
        }
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(Record(text.lines().filter_map(row).collect()))
    }

    /// The outcomes that are worse than recorded, in words.
    pub(super) fn worse(&self, outcomes: &[Outcomes<'_>]) -> Vec<String> {
        let strict = Verdict::Strict.rank();
        let line = |o: &Outcomes<'_>| {
            let recorded = self.0.get(&(o.case.name.clone(), o.route.name().to_owned())).unwrap_or(&strict);
            let Outcomes { case, route, verdict } = o;
            (verdict.rank() < *recorded).then(|| {
                let (now, was, why) = (verdict.word(), WORDS[*recorded], verdict.reason());
                format!("{} {} ({}): {now}, was {was}: {why}", case.name, case.test, route.name())
            })
        };
        outcomes.iter().filter_map(line).collect()
    }
}

/// Case, route and rank of a row of the list.
fn row(line: &str) -> Option<((String, String), usize)> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    let case = cells.next()?.strip_suffix('`')?.to_owned();
    let route = cells.next()?.to_owned();
    let word = cells.next()?;
    Some(((case, route), WORDS.iter().position(|w| *w == word)?))
}

/// Counts of the verdicts of one suite on one route, by rank.
type Counts = [usize; WORDS.len()];

fn counts<'o>(outcomes: impl Iterator<Item = &'o Outcomes<'o>>) -> Counts {
    let mut counts = Counts::default();
    outcomes.for_each(|o| counts[o.verdict.rank()] += 1);
    counts
}

/// Totals for the terminal.
pub(super) fn summary(cases: &[Case], outcomes: &[Outcomes<'_>]) -> String {
    let mut text = String::new();
    for route in Route::ALL {
        let [error, wrong, tolerance, strict] = counts(outcomes.iter().filter(|o| o.route == route));
        let within = share(strict + tolerance, cases.len());
        let _ = writeln!(
            text,
            "{:<10} {} cases: {within} within tolerance, {} strict, {wrong} wrong, {error} errors",
            route.name(),
            cases.len(),
            share(strict, cases.len())
        );
    }
    text
}

fn share(part: usize, whole: usize) -> String {
    // Rounded down: 100 % means all.
    let hundredths = part * 10_000 / whole.max(1);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// The whole page.
pub(super) fn page(cases: &[Case], outcomes: &[Outcomes<'_>]) -> String {
    let ops: BTreeSet<&str> = cases.iter().flat_map(ops_of).collect();
    let mut text = format!(
        "# Conformance\n\nMade by `cargo xtask conformance`.\n{} recorded cases over {} ops are replayed through the \
         library as a user meets it (`engine`: `anemone::Model`) and through the evaluation that its kernels are judged \
         by (`reference`).\n`corpus/conformance/README.md` tells where the cases are from and when one passes.\nThe \
         bars are 99 % within tolerance and 97 % within the strict tolerance.\nA case that does worse than this page \
         says fails `cargo test` and `cargo xtask conformance`.\n\n",
        cases.len(),
        ops.len()
    );
    text += &totals(outcomes);
    text += &listed(outcomes);
    text += &unconfirmed(outcomes);
    text += &by_op(cases, outcomes);
    text
}

fn totals(outcomes: &[Outcomes<'_>]) -> String {
    let suites: BTreeSet<&str> = outcomes.iter().map(|o| o.case.suite.as_str()).collect();
    let mut text = String::from(
        "| suite | route | cases | strict | tolerance | wrong | error | within tolerance | strict |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for suite in suites.into_iter().map(Some).chain([None]) {
        for route in Route::ALL {
            let these =
                outcomes.iter().filter(|o| o.route == route && suite.is_none_or(|s| s == o.case.suite));
            let counts = counts(these);
            let (all, [error, wrong, tolerance, strict]) = (counts.iter().sum(), counts);
            let (within, tight) = (share(strict + tolerance, all), share(strict, all));
            let (suite, route) = (suite.unwrap_or("**all**"), route.name());
            let _ = writeln!(
                text,
                "| {suite} | {route} | {all} | {strict} | {tolerance} | {wrong} | {error} | {within} | {tight} |"
            );
        }
    }
    text
}

fn listed(outcomes: &[Outcomes<'_>]) -> String {
    let mut text = String::from("\n## Cases outside of the strict tolerance\n\n");
    let open: Vec<&Outcomes<'_>> = outcomes.iter().filter(|o| o.verdict != Verdict::Strict).collect();
    if open.is_empty() {
        return text + "None.\n";
    }
    text += "| case | route | verdict | test | reason |\n|---|---|---|---|---|\n";
    for o in open {
        let (case, route, word) = (&o.case.name, o.route.name(), o.verdict.word());
        let (test, mut why) = (cell(&o.case.test), cell(o.verdict.reason()));
        if let Some((_, said)) = SECOND_SOURCE.iter().find(|(name, _)| name == case) {
            let _ = write!(why, "; {said}");
        }
        let _ = writeln!(text, "| `{case}` | {route} | {word} | {test} | {why} |");
    }
    text
}

/// Text that keeps to its cell.
fn cell(text: &str) -> String {
    let plain = text.replace(['\n', '\r'], " ").replace('|', "\\|");
    if plain.chars().count() <= REASON {
        plain
    } else {
        plain.chars().take(REASON).chain("...".chars()).collect()
    }
}

fn unconfirmed(outcomes: &[Outcomes<'_>]) -> String {
    let mut text = String::from(
        "\n## Cases whose expectation rests on one source\n\n\
         The documents leave these open; a second executor did not confirm what the original test expects.\n\n\
         | test | engine |\n|---|---|\n",
    );
    for o in outcomes.iter().filter(|o| o.case.open && o.route == Route::Engine) {
        let _ = writeln!(text, "| {} | {} |", cell(&o.case.test), o.verdict.word());
    }
    text
}

fn ops_of(case: &Case) -> impl Iterator<Item = &str> {
    case.meta["ops"].as_object().into_iter().flatten().map(|(op, _)| op.as_str()).filter(|op| *op != "const")
}

fn by_op(cases: &[Case], outcomes: &[Outcomes<'_>]) -> String {
    let mut ops: BTreeMap<&str, usize> = BTreeMap::new();
    cases.iter().flat_map(ops_of).for_each(|op| *ops.entry(op).or_default() += 1);
    let strict = |route: Route| {
        let mut by_op: BTreeMap<&str, usize> = BTreeMap::new();
        let these = outcomes.iter().filter(|o| o.route == route && o.verdict == Verdict::Strict);
        these.flat_map(|o| ops_of(o.case)).for_each(|op| *by_op.entry(op).or_default() += 1);
        by_op
    };
    let (engine, reference) = (strict(Route::Engine), strict(Route::Reference));
    let mut text = String::from(
        "\n## Cases by op\n\n| op | cases | strict, engine | strict, reference |\n|---|--:|--:|--:|\n",
    );
    for (op, count) in ops {
        let of = |by_op: &BTreeMap<&str, usize>| by_op.get(op).copied().unwrap_or(0);
        let _ = writeln!(text, "| `{op}` | {count} | {} | {} |", of(&engine), of(&reference));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_list_are_read_back() {
        let line =
            "| `0001fc3dd9e923ac` | engine | tolerance | test_x[a\\|b] | y: element 0 is 1, expected 2 |";
        assert_eq!(row(line), Some((("0001fc3dd9e923ac".into(), "engine".into()), 2)));
        assert_eq!(row("| `conv` | 12 | 12 | 12 |"), None);
    }
}
