//! `convert`.

use super::{note, plan, print, print_json};
use crate::args::ConvertArgs;
use crate::progress::Progress;
use crate::table::Table;
use crate::verbs::inspect::feature_type;
use crate::{Outcome, human, json, style};
use anemone::{Check, Conversion, ConvertOptions, Error};

pub(super) fn run(args: ConvertArgs) -> Result<Outcome, Error> {
    let options = ConvertOptions {
        output: args.output,
        target: args.target,
        precision: args.precision,
        inputs: args.inputs,
        device: args.device,
        units: args.units,
        check: !args.no_check,
    };
    let mut progress = Progress::new();
    let result = anemone::convert(&args.source, &options, &mut |stage| progress.stage(stage));
    progress.done();
    let conversion = result?;
    if args.json {
        print_json(&json::Convert::of(&conversion))?;
    } else {
        conversion.notes.iter().for_each(|n| note(n));
        print(&report(&conversion, &options))?;
    }
    Ok(Outcome::Clean)
}

fn report(c: &Conversion, options: &ConvertOptions) -> String {
    let mut out = String::new();
    let heading = |text: &str| format!("\n{}\n", style::heading(text));
    out.push_str(&format!(
        "{} -> {}\n",
        style::heading(&c.source.display().to_string()),
        style::heading(&c.output.display().to_string()),
    ));
    let ratio = c.output_bytes as f64 / c.source_bytes.max(1) as f64;
    out.push_str(&format!(
        "  {} -> {} ({}), {} nodes -> {} ops, {}, {}\n",
        human::bytes(c.source_bytes),
        human::bytes(c.output_bytes),
        human::percent(ratio),
        c.source_nodes,
        c.ops.iter().map(|(_, n)| n).sum::<usize>(),
        options.precision,
        c.opset,
    ));
    out.push_str(&heading("Interface"));
    out.push_str(&interface(c));
    out.push_str(&heading("Ops"));
    out.push_str(&wrapped(&c.ops.iter().map(|(k, n)| format!("{k} {n}")).collect::<Vec<_>>()));
    out.push_str(&heading("Rewrites"));
    let passes: Vec<String> = c.passes.iter().map(|(k, n)| format!("{k} {n}")).collect();
    out.push_str(&if passes.is_empty() { "  none\n".into() } else { wrapped(&passes) });
    out.push_str(&heading(&format!("Where it would run: {}, {}", c.plan.device.name, options.units)));
    out.push_str(&plan::by_kind(&c.plan));
    out.push_str(&plan::totals(&c.plan));
    out.push_str(&heading("Check: package against source graph in fp32"));
    out.push_str(&check(&c.check));
    out.push_str(&format!("\nNext: {}\n", next(c)));
    out
}

fn interface(c: &Conversion) -> String {
    let mut table = Table::new(&["", "name", "type"]);
    for (what, features) in [("in", &c.interface.inputs), ("out", &c.interface.outputs)] {
        for f in features {
            table.row(vec![what.into(), f.name.clone(), feature_type(&f.kind)]);
        }
    }
    table.render()
}

/// Words in lines of at most 98 columns.
fn wrapped(words: &[String]) -> String {
    let (mut out, mut line) = (String::new(), String::from(" "));
    for (i, word) in words.iter().enumerate() {
        let comma = if i + 1 < words.len() { "," } else { "" };
        if line.chars().count() + word.chars().count() + 2 > 98 {
            out.push_str(&line);
            out.push('\n');
            line = String::from(" ");
        }
        line.push_str(&format!(" {word}{comma}"));
    }
    out + &line + "\n"
}

fn check(check: &Check) -> String {
    let (outputs, growth) = match check {
        Check::Skipped(why) => return format!("  {} {why}\n", style::warn("not done:")),
        Check::Done { outputs, growth } => (outputs, growth),
    };
    let mut table = Table::new(&["output", ">largest error", ">relative", ">cosine", "same top"]);
    for d in outputs {
        if let Some(why) = &d.mismatch {
            table.row(vec![d.name.clone(), why.clone(), String::new(), String::new(), "no".into()]);
            continue;
        }
        let top = if d.same_top { "yes" } else { "no" };
        let relative = format!("{:.3} %", d.relative * 100.0);
        table.row(vec![
            d.name.clone(),
            human::number(d.max_error),
            relative,
            format!("{:.7}", d.cosine),
            top.into(),
        ]);
    }
    let mut out = table.render();
    match growth {
        Some(g) => {
            let source = g.source.as_deref().map_or(String::new(), |s| format!(", from {s}"));
            let share = format!("{:.2} %", g.relative * 100.0);
            out.push_str(&format!(
                "  the error first passes 0.2 % at {} \"{}\" ({share}{source})\n",
                g.kind, g.name
            ));
        }
        None => out.push_str("  the error stays below 0.2 % of the values after every op\n"),
    }
    out
}

fn next(c: &Conversion) -> String {
    let package = c.output.display();
    if c.plan.ane_share_by_cost < 0.9 {
        return format!("anemone plan {package}   shows op by op why it is not all on the ANE");
    }
    format!(
        "anemone run {package} --random 1   runs it here; on a Mac or an iPhone, add it to an Xcode project"
    )
}
