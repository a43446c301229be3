//! `convert`.

use super::{note, plan, print, print_json};
use crate::args::ConvertArgs;
use crate::progress::Progress;
use crate::table::{Table, wrap};
use crate::verbs::inspect::feature_type;
use crate::{Outcome, human, json, style};
use anemone::mil::interface::{Feature, FeatureKind, Flexibility};
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
        format_args!("{:.0} %", ratio * 100.0),
        c.source_nodes,
        c.ops.iter().map(|(_, n)| n).sum::<usize>(),
        options.precision,
        c.opset,
    ));
    out.push_str(&heading("Interface"));
    out.push_str(&interface(c));
    out.push_str(&heading("Ops"));
    out.push_str(&counted(&c.ops));
    out.push_str(&heading("Rewrites"));
    out.push_str(&if c.passes.is_empty() { "  none\n".into() } else { counted(&c.passes) });
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

/// `conv 49, relu6 33, ...`
fn counted(pairs: &[(String, usize)]) -> String {
    let words: Vec<String> = pairs.iter().map(|(k, n)| format!("{k} {n}")).collect();
    wrap(&words.join(", "), "  ", "  ")
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

/// What to do next, in one line.
fn next(c: &Conversion) -> String {
    let package = c.output.display();
    if let Some((name, shape)) = c.interface.inputs.iter().find_map(free_dims) {
        let source = c.source.display();
        return format!(
            "anemone convert {source} --input {name}:{shape}   fixes the free dims, which keep it off the ANE"
        );
    }
    if c.plan.ane_share_by_cost < 0.9 {
        return format!("anemone plan {package}   shows op by op why it is not all on the ANE");
    }
    format!("anemone run {package} --random 1   runs it here; on a Mac or iPhone, add it to an Xcode project")
}

/// Name and default shape of an input with a range of shapes.
fn free_dims(f: &Feature) -> Option<(&str, String)> {
    match &f.kind {
        FeatureKind::MultiArray(a) if matches!(a.flexibility, Flexibility::Ranges(_)) => {
            let dims: Vec<String> = a.shape.iter().map(i64::to_string).collect();
            Some((&f.name, dims.join("x")))
        }
        _ => None,
    }
}
