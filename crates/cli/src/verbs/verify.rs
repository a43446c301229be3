//! `verify`.

use super::{print, print_json};
use crate::args::VerifyArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, human, json, style};
use anemone::Error;
use anemone::compare::{Difference, Tolerance};

pub(super) fn run(args: VerifyArgs) -> Result<Outcome, Error> {
    let Some(expected) = args.expected.clone() else { return super::overflow::run(args) };
    let tolerance = Tolerance { atol: args.atol, rtol: args.rtol };
    let options = args.inputs.options();
    let found = anemone::verify(&args.model, options, &args.inputs.into(), &expected, tolerance)?;
    let passes = found.iter().all(Difference::passes);
    if args.json {
        print_json(&json::Verify::of(&args.model, &found, tolerance))?;
    } else {
        print(&report(&found))?;
    }
    Ok(if passes { Outcome::Clean } else { Outcome::Findings })
}

fn report(found: &[Difference]) -> String {
    let mut table = Table::new(&["output", "verdict", ">outside", ">largest error", ">relative", ">cosine"]);
    for d in found {
        let verdict = if d.passes() { "equal" } else { "DIFFERS" };
        table.row(vec![
            d.name.clone(),
            verdict.into(),
            format!("{} of {}", d.failures, d.elements),
            human::number(d.max_error),
            format!("{:.4} %", d.relative * 100.0),
            format!("{:.7}", d.cosine),
        ]);
    }
    let mut out = table.render();
    for d in found {
        if let Some(why) = &d.mismatch {
            out.push_str(&wrap(&format!("output `{}` {why}", d.name), "  ", "    "));
        }
    }
    for d in found.iter().filter(|d| !d.worst.is_empty()) {
        out.push_str(&format!("\n{}\n", style::heading(&format!("Worst elements of {}", d.name))));
        let mut table = Table::new(&["index", ">computed", ">expected", ">difference"]);
        for e in &d.worst {
            let gap = human::number((e.actual - e.expected).abs());
            table.row(vec![
                format!("{:?}", e.index),
                human::number(e.actual),
                human::number(e.expected),
                gap,
            ]);
        }
        out.push_str(&table.render());
    }
    out
}
