//! `fix`.

use super::{print, print_json};
use crate::args::FixArgs;
use crate::table::{Table, fit, wrap};
use crate::{Outcome, human, json, style};
use anemone::ane::Plan;
use anemone::compare::Difference;
use anemone::rules::MendOptions;
use anemone::rules::fix::Choices;
use anemone::{Error, FixOptions, Fixed, FixedFunction, Left, Step, Totals, Why};

pub(super) fn run(args: FixArgs) -> Result<Outcome, Error> {
    let options = FixOptions {
        output: args.output.filter(|_| !args.dry_run),
        mend: MendOptions {
            device: anemone::target(&args.device, args.os)?,
            units: args.units,
            rounding: args.rounding,
            rules: args.rules,
            off: args.skip,
            keep_worse: args.keep_worse,
            choices: Choices { shapes: args.shapes, fixed: args.fixed, host: args.host_lookups },
        },
        check: !args.no_check,
    };
    let fixed = anemone::fix(&args.model, &options)?;
    if args.json {
        print_json(&json::Fix::of(&fixed, &options.mend.device.name))?;
    } else {
        print(&report(&fixed))?;
    }
    Ok(Outcome::Clean)
}

/// What was done, what it changed, and what is left.
pub(super) fn report(fixed: &Fixed) -> String {
    let file = fixed.source.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let mut out = format!("{}\n", style::heading(&file));
    if fixed.steps.is_empty() {
        out += "  no fix applies\n";
    }
    fixed.steps.iter().for_each(|s| out += &step(s));
    for f in &fixed.functions {
        out += &function(f);
    }
    out += &left(&fixed.left);
    for l in &fixed.look_ups {
        let place = fixed.tables.as_ref().map_or(String::new(), |p| format!(", in {}", p.display()));
        let said = format!(
            "hand in as `{}` the rows of the table of that name{place} that `{}` names",
            l.rows, l.numbers
        );
        out += &wrap(&said, "  ", "     ");
    }
    match &fixed.output {
        Some(path) => out += &format!("  wrote {}\n", path.display()),
        None => out += "  wrote nothing\n",
    }
    out
}

/// Places that are named.
const NAMED: usize = 4;

fn step(step: &Step) -> String {
    let (mark, word) = match &step.undone {
        None => (style::good("fixed"), format!("{} ops changed", step.changed)),
        Some(why) => (style::warn("undone"), why.clone()),
    };
    let mut places = step.places.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if step.places.len() > NAMED {
        places += &format!(" and {} more", step.places.len() - NAMED);
    }
    if places.is_empty() {
        places.clone_from(&step.function.to_string());
    }
    let time = |t: &Totals| human::milliseconds(t.total_ms);
    let times = format!("{} -> {}", time(&step.before), time(&step.after));
    wrap(&format!("{mark} {} ({}): {word}; {places}; {times}", step.rule.name, step.rule.fix), "  ", "     ")
}

fn function(f: &FixedFunction) -> String {
    let mut table = Table::new(&["", ">ops", ">ANE ops", ">ANE cost", ">crossings", ">estimate"]);
    let row = |name: &str, plan: &Plan| {
        let t = Totals::of(plan);
        vec![
            name.to_owned(),
            t.ops.to_string(),
            human::percent(t.ane_share_by_count),
            human::percent(t.ane_share_by_cost),
            t.crossings.to_string(),
            human::milliseconds(t.total_ms),
        ]
    };
    table.row(row(&format!("{} before", f.name), &f.before));
    table.row(row(&format!("{} after", f.name), &f.after));
    let outputs = match &f.outputs {
        Ok(all) => all.iter().map(output).collect(),
        Err(why) => fit(&format!("  outputs not compared: {why}"), 100) + "\n",
    };
    table.render() + &outputs
}

fn output(d: &Difference) -> String {
    let said = match &d.mismatch {
        Some(what) => style::warn(what),
        None if d.max_error == 0.0 => "identical on random inputs".into(),
        None => format!(
            "differs by at most {} on random inputs, {} of the largest value; cosine {:.6}",
            human::number(d.max_error),
            human::number(d.relative),
            d.cosine
        ),
    };
    format!("  output {}: {said}\n", d.name)
}

fn left(left: &[Left]) -> String {
    let mut out = String::new();
    for l in left.iter().filter(|l| l.severity > anemone::rules::Severity::Note || l.why != Why::Manual) {
        let why = match l.why {
            Why::Manual => format!("by hand: {}", l.rule.help),
            Why::Rounding => "--rounding fixes it".into(),
            Why::NotAsked => "not asked for".into(),
            Why::Undone => "the fix was undone".into(),
            Why::DoesNotApply => format!("the fix does not apply here; {}", l.rule.help),
        };
        out += &wrap(&format!("left {}[{}] x {}: {why}", l.severity, l.rule.name, l.count), "  ", "     ");
    }
    out
}
