//! `verify --find-overflow`.

use super::{print, print_json};
use crate::args::VerifyArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, human, json, style};
use anemone::{Error, Fault, Finding, Overflow, Range};

/// Findings listed after the first.
const LISTED: usize = 20;

pub(super) fn run(args: VerifyArgs) -> Result<Outcome, Error> {
    let (function, precision) = (args.inputs.function.clone(), args.inputs.precision);
    let function = function.as_deref();
    let found = anemone::find_overflow(&args.model, function, precision, &args.inputs.into(), args.loss)?;
    if args.json {
        print_json(&json::Overflow::of(&args.model, &found))?;
    } else {
        print(&report(&found))?;
    }
    Ok(if found.findings.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

pub(super) fn report(found: &Overflow) -> String {
    let loss = percent(found.loss);
    let Some(first) = found.findings.first() else {
        let what = format!(
            "fp16 holds for these inputs: none of {} ops makes an infinity or NaN, or loses",
            found.ops
        );
        return wrap(&format!("{what} more than {loss} by itself."), "", "  ");
    };
    let mut out = format!("{}\n", style::heading("First op at fault"));
    let origin = first.source.as_ref().map_or_else(String::new, |s| format!(" (from {s})"));
    out.push_str(&wrap(&format!("{} \"{}\"{origin} {}", first.kind, first.name, what(first)), "  ", "  "));
    out.push_str(&wrap(&format!("Rewrite: {}.", first.advice.rewrite), "  ", "    "));
    out.push_str(&wrap(&format!("Why: {}.", first.advice.why), "  ", "    "));
    out.push_str(&wrap(&format!("Known from: {}.", first.advice.source), "  ", "    "));
    out.push('\n');
    out.push_str(&ranges(first));
    out.push_str(&format!(
        "\n{}\n",
        style::heading(&format!(
            "Ops at fault: {} of {}, at more than {loss}",
            found.findings.len(),
            found.ops
        ))
    ));
    out.push_str(&list(found));
    out
}

fn what(f: &Finding) -> String {
    match f.fault {
        Fault::Infinite => {
            format!("makes {} elements infinite that are finite in fp32.", f.declared.not_finite.max(1))
        }
        Fault::NotANumber => "makes NaN of numbers that are finite in fp32.".into(),
        Fault::Loss => format!("loses {} by itself.", percent(f.own)),
        Fault::Model => "makes infinities or NaN of finite numbers, in fp32 too.".into(),
    }
}

/// Operands and results of one op.
fn ranges(f: &Finding) -> String {
    let mut table = Table::new(&["value", ">smallest", ">largest", ">largest magnitude", ">not finite"]);
    let mut row = |name: String, r: &Range| {
        let bound = |v: f64| if v.is_finite() { human::number(v) } else { "-".into() };
        table.row(vec![
            name,
            bound(r.min),
            bound(r.max),
            human::number(r.largest()),
            r.not_finite.to_string(),
        ]);
    };
    f.inputs.iter().for_each(|(name, r)| row(name.clone(), r));
    row("result in fp32".into(), &f.wide);
    row("result as declared".into(), &f.declared);
    table.render()
}

fn list(found: &Overflow) -> String {
    let mut table = Table::new(&["op", "fault", ">own loss", ">in all", ">largest in fp32", "result"]);
    for f in found.findings.iter().take(LISTED) {
        let fault = match f.fault {
            Fault::Infinite => "infinite",
            Fault::NotANumber => "NaN",
            Fault::Loss => "loss",
            Fault::Model => "in fp32 too",
        };
        table.row(vec![
            f.kind.clone(),
            fault.into(),
            percent(f.own),
            percent(f.total),
            human::number(f.wide.largest()),
            f.name.clone(),
        ]);
    }
    let mut out = table.render();
    if found.findings.len() > LISTED {
        out.push_str(&format!("  and {} more; --json lists all\n", found.findings.len() - LISTED));
    }
    out
}

/// A share that may be far above 1.
fn percent(share: f64) -> String {
    if share > 1.0 { format!("{} %", human::number(share * 100.0)) } else { human::percent(share) }
}
