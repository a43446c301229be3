//! `verify`.

use super::{print, print_json};
use crate::args::VerifyArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, human, json, style};
use anemone::compare::{Difference, Tolerance};
use anemone::files::read;
use anemone::{DictKey, Error, ErrorKind, Expected, Feature, Features};
use serde_json::Value;
use std::path::Path;

pub(super) fn run(args: VerifyArgs) -> Result<Outcome, Error> {
    if args.find_overflow && args.emulate.emulate.is_none() {
        return super::overflow::run(args);
    }
    let emulate = args.emulate.read(args.inputs.precision)?;
    if let Some(emulate) =
        emulate.as_ref().filter(|_| args.expected.is_empty() && args.expected_labels.is_empty())
    {
        return super::emulate::run(&args, emulate);
    }
    let tolerance = Tolerance { atol: args.atol, rtol: args.rtol };
    let (mut options, state) = (args.inputs.options(), args.inputs.state());
    if let Some(emulate) = emulate {
        super::emulate::tell_of_arithmetic(&emulate);
        options = options.emulate(emulate);
    }
    let expected = expectations(&args)?;
    let found =
        anemone::verify(&args.model, options, &args.inputs.into(), state.as_deref(), &expected, tolerance)?;
    let passes = found.iter().flatten().all(Difference::passes);
    if args.json {
        print_json(&json::Verify::of(&args.model, &found, tolerance))?;
        return Ok(if passes { Outcome::Clean } else { Outcome::Findings });
    }
    let mut text = String::new();
    for (i, step) in found.iter().enumerate() {
        if found.len() > 1 {
            text.push_str(&format!("{}\n", style::heading(&format!("Step {i}"))));
        }
        text.push_str(&report(step));
    }
    print(&text)?;
    Ok(if passes { Outcome::Clean } else { Outcome::Findings })
}

/// Files of tensors and of labels, paired in order.
fn expectations(args: &VerifyArgs) -> Result<Vec<Expected>, Error> {
    let (files, labels) = (&args.expected, &args.expected_labels);
    if files.is_empty() && labels.is_empty() {
        return Err(Error::new(
            "nothing says what is expected; give --expected FILE for tensors or --expected-labels FILE for labels, or \
             compare with fp32 (--find-overflow) or the Neural Engine (--emulate ane)",
        ));
    }
    if !files.is_empty() && !labels.is_empty() && files.len() != labels.len() {
        return Err(Error::new(format!(
            "{} files of expected outputs are given, but {} of labels; give one of each for every prediction",
            files.len(),
            labels.len()
        )));
    }
    let one = |i: usize| {
        let labels = labels.get(i).map(|file| labels_of(file)).transpose()?;
        Ok(Expected { file: files.get(i).cloned(), labels: labels.unwrap_or_default() })
    };
    (0..files.len().max(labels.len())).map(one).collect()
}

/// Labels and probabilities from JSON: an object by output, or one with `labels` and `dicts` as recorded cases have it.
fn labels_of(file: &Path) -> Result<Features, Error> {
    let fail = |what: String| Error::new(what).of_kind(ErrorKind::Malformed).at(file);
    let json: Value = serde_json::from_slice(&read(file)?).map_err(|e| fail(format!("is not JSON: {e}")))?;
    let parts = [json.get("labels"), json.get("dicts")];
    let parts = if parts.iter().flatten().next().is_some() { parts } else { [Some(&json), None] };
    let mut out = Features::new();
    for (name, value) in parts.into_iter().flatten().filter_map(Value::as_object).flatten() {
        let feature = feature(value).ok_or_else(|| {
            fail(format!(
                "`{name}` is {value}, but must be a text, a whole number, or probabilities by label"
            ))
        });
        out.insert(name.as_str(), feature?);
    }
    if out.is_empty() { Err(fail("names no label and no probabilities".into())) } else { Ok(out) }
}

fn feature(value: &Value) -> Option<Feature> {
    let entry = |key: &Value, p: &Value| {
        let key = key
            .as_i64()
            .map_or_else(|| key.as_str().map(|t| DictKey::Text(t.into())), |i| Some(DictKey::Int(i)));
        Some((key?, p.as_f64()?))
    };
    match value {
        Value::String(text) => Some(Feature::Text(text.clone())),
        Value::Number(n) => n.as_i64().map(Feature::Int).or_else(|| n.as_f64().map(Feature::Double)),
        Value::Object(map) => {
            let entries = map.iter().map(|(k, p)| Some((DictKey::Text(k.clone()), p.as_f64()?)));
            entries.collect::<Option<Vec<_>>>().map(Feature::Dict)
        }
        Value::Array(list) => {
            let entries = list.iter().map(|pair| entry(pair.get(0)?, pair.get(1)?));
            entries.collect::<Option<Vec<_>>>().map(Feature::Dict)
        }
        _ => None,
    }
}

fn report(found: &[Difference]) -> String {
    let mut table = Table::new(&["output", "verdict", ">outside", ">largest error", ">relative", ">cosine"]);
    for d in found {
        if d.mismatch.is_some() {
            table.row([vec![d.name.clone(), "DIFFERS".into()], vec![String::new(); 4]].concat());
            continue;
        }
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
