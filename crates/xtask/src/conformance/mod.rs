//! Conformance: what coremltools wrote is read as it was meant, and what it computes is what outside references say.

mod case;
mod compare;
mod engine;
mod packages;
mod reference;
mod serve;
mod status;

use crate::place::repository;
use crate::{Outcome, unpack};
use case::Case;
use compare::Verdict;
use status::{Record, STATUS};
use std::fs;
use std::sync::Mutex;

/// What a case is replayed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    /// `anemone::Model`, as a user meets it.
    Engine,
    /// The readable evaluation that the engine's kernels are judged by.
    Reference,
}

impl Route {
    const ALL: [Route; 2] = [Route::Engine, Route::Reference];

    fn name(self) -> &'static str {
        match self {
            Route::Engine => "engine",
            Route::Reference => "reference",
        }
    }
}

/// How one case ended on one route.
struct Outcomes<'c> {
    case: &'c Case,
    route: Route,
    verdict: Verdict,
}

/// `[--packages] [--run] [--serve] [--accept]`: checks the packages, replays the cases, replays them through
/// `anemone serve`; all three when nothing is said.
///
/// Replaying writes `docs/status.md`, unless a case does worse than that page has it; with `--accept` it does so then,
/// too.
///
/// # Errors
/// When the cases cannot be read.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let known = ["--packages", "--run", "--serve", "--accept"];
    if let Some(unknown) = args.iter().find(|a| !known.contains(&a.as_str())) {
        return Err(format!("unknown argument {unknown}; there are {}", known.join(", ")));
    }
    let given = |flag: &str| args.iter().any(|a| a == flag);
    let everything = !known[..3].iter().any(|flag| given(flag));
    let folder = unpack::conformance()?;
    let cases = case::all(&folder)?;
    let mut findings = 0;
    if everything || given("--packages") {
        findings += usize::from(packages::run(&folder)? == Outcome::Findings);
    }
    if everything || given("--run") {
        findings += run(&cases, given("--accept"))?;
    }
    if everything || given("--serve") {
        findings += usize::from(serve::replay(&cases)? == Outcome::Findings);
    }
    Ok(Outcome::of(findings))
}

/// Replays cases on both routes and renews the page; returns how many do worse than it says.
fn run(cases: &[Case], accept: bool) -> Result<usize, String> {
    let outcomes = replay(cases);
    print!("{}", status::summary(cases, &outcomes));
    let worse = Record::read()?.worse(&outcomes);
    worse.iter().for_each(|line| println!("worse   {line}"));
    if worse.is_empty() || accept {
        let file = repository().join(STATUS);
        fs::write(&file, status::page(cases, &outcomes)).map_err(|e| format!("{}: {e}", file.display()))?;
        println!("{STATUS} is up to date");
    } else {
        println!("{STATUS} is left as it was; --accept takes this over as it is");
    }
    Ok(if accept { 0 } else { worse.len() })
}

/// Every case on every route, side by side; in order of case, then route.
fn replay(cases: &[Case]) -> Vec<Outcomes<'_>> {
    let done: Mutex<Vec<Outcomes<'_>>> = Mutex::default();
    in_parallel(cases, |case| {
        for route in Route::ALL {
            let verdict = match route {
                Route::Engine => engine::replay(case),
                Route::Reference => reference::replay(case),
            };
            let verdict = verdict.unwrap_or_else(Verdict::Error);
            done.lock().unwrap_or_else(|e| e.into_inner()).push(Outcomes { case, route, verdict });
        }
    });
    let mut outcomes = done.into_inner().unwrap_or_else(|e| e.into_inner());
    outcomes.sort_by_key(|o| (o.case.suite.clone(), o.case.test.clone(), o.case.name.clone(), o.route));
    outcomes
}

/// Runs `work` on every item, on as many threads as there are processors.
fn in_parallel<'t, T: Sync>(items: &'t [T], work: impl Fn(&'t T) + Sync) {
    let queue = Mutex::new(items.iter());
    let next = || queue.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_case_computes_as_well_as_the_status_page_says() {
        let folder = unpack::conformance().expect("the cases of the corpus");
        let cases = case::all(&folder).expect("readable cases");
        assert!(cases.len() >= 1792, "{} cases", cases.len());
        let worse = Record::read().expect("the status page").worse(&replay(&cases));
        assert!(worse.is_empty(), "{}", worse.join("\n"));
    }
}
