//! `run`.

use super::{print, print_json};
use crate::args::RunArgs;
use crate::table::Table;
use crate::{Outcome, human, json, style};
use anemone::data::{Store, picture_file, write_outputs, write_safetensors};
use anemone::files::Files;
use anemone::mil::interface::{ColorSpace, FeatureKind};
use anemone::{Detection, Error, Feature, Features, Ran, Ranked, Tensor, statistics};

/// Labels printed.
const BEST: usize = 5;

/// Objects printed.
const OBJECTS: usize = 20;

pub(super) fn run(args: RunArgs) -> Result<Outcome, Error> {
    let mut options = args.inputs.options();
    let emulate = args.emulate.read(args.inputs.precision)?;
    if let Some(emulate) = &emulate {
        options = options.emulate(emulate.clone());
    }
    let labels = args.labels.as_deref().map(anemone::read_labels).transpose()?;
    let state = args.inputs.state();
    let ran = anemone::run(&args.model, options, &args.inputs.into(), state.as_deref())?;
    if let Some(emulate) = &emulate {
        super::emulate::tell_of_arithmetic(emulate);
        super::emulate::tell_of_ops(&ran.emulated);
    }
    let last = ran.steps.last().cloned().unwrap_or_default();
    let classifies = last.iter().any(|(_, f)| matches!(f, Feature::Dict(_)));
    let best = match &labels {
        Some(labels) => anemone::best_labels(&last, labels, BEST)?,
        None if classifies => anemone::best_labels(&last, &[], BEST)?,
        None => Vec::new(),
    };
    let states = ran.state.tensors()?;
    let mut files = Files::default();
    if let Some(folder) = &args.output {
        let store = if args.npy { Store::Npy } else { Store::SafeTensors };
        for (i, outputs) in ran.steps.iter().enumerate() {
            write_outputs(folder, i, outputs, &ran.described, store, &mut files)?;
        }
    }
    if let Some(file) = &args.save_state {
        if states.is_empty() {
            return Err(Error::new("the model has no states, so there is none to write").at(file));
        }
        write_safetensors(file, &states, &mut files)?;
    }
    for (name, path, range) in &args.save_image {
        let tensor = last.tensor(name).ok_or_else(|| no_tensor(name, &last))?;
        let kind = ran.described.iter().find(|f| f.name == *name).map(|f| &f.kind);
        let range = range.map(|r| r.of(tensor));
        let bytes = picture_file(tensor, kind, range, path).map_err(|e| e.at(path))?;
        files.write(path, |w| w.write_all(&bytes))?;
    }
    let written = files.finish()?;
    if args.json {
        print_json(&json::Run::of(&args.model, &ran, &states, &best, &written))?;
        return Ok(Outcome::Clean);
    }
    print(&report(&ran, &states, &best))?;
    written.iter().for_each(|p| super::note(&format!("wrote {}", p.display())));
    if args.output.is_some() || args.save_image.iter().any(|(_, _, range)| range.is_none()) {
        cut_off(&ran).iter().for_each(|text| super::note(text));
    }
    Ok(Outcome::Clean)
}

/// The error that names the tensors there are.
fn no_tensor(name: &str, outputs: &Features) -> Error {
    let tensors = outputs.iter().filter(|(_, f)| f.tensor().is_some());
    let names: Vec<&str> = tensors.map(|(n, _)| n).collect();
    Error::new(format!("the model has no tensor output `{name}`; it has {names:?}"))
}

/// Pictures of 16-bit floats whose files do not show all values.
fn cut_off(ran: &Ran) -> Vec<String> {
    let half = |k: &FeatureKind| matches!(k, FeatureKind::Image(i) if i.color == ColorSpace::GrayscaleF16);
    let names = ran.described.iter().filter(|f| half(&f.kind)).map(|f| f.name.as_str());
    let one = |name: &str| {
        let tensors = ran.steps.iter().filter_map(|s| s.tensor(name)).filter(|t| !t.is_empty());
        let seen = tensors.map(statistics).map(|s| (s.min, s.max));
        let (low, high) = seen.reduce(|(l, h), (min, max)| (l.min(min), h.max(max)))?;
        (low < 0.0 || high > 1.0).then(|| {
            let (low, high) = (human::number(low), human::number(high));
            format!(
                "the file of `{name}` shows 0 as black and 1 as white, but its values go from {low} to {high}; \
                 --save-image {name}=FILE,range=auto shows them all"
            )
        })
    };
    names.filter_map(one).collect()
}

fn report(ran: &Ran, states: &[(String, Tensor)], best: &[Ranked]) -> String {
    let steps = &ran.steps;
    let mut out = String::new();
    for (i, outputs) in steps.iter().enumerate() {
        if steps.len() > 1 {
            let gap = if i == 0 { "" } else { "\n" };
            out.push_str(&format!("{gap}{}\n", style::heading(&format!("Step {i}"))));
        }
        out.push_str(&values("output", outputs));
    }
    if !states.is_empty() {
        out.push('\n');
        out.push_str(&values("state", &states.iter().cloned().collect()));
    }
    out.push_str(&detections(&ran.detections));
    out.push_str(&ranking(best));
    out
}

fn values(what: &'static str, outputs: &Features) -> String {
    let mut table = Table::new(&[what, "type", ">smallest", ">largest", ">mean", "remarks"]);
    for (name, feature) in outputs.iter() {
        table.row(match feature {
            Feature::Tensor(t) if t.is_empty() => {
                let none = String::new;
                vec![name.into(), type_of(t), none(), none(), none(), "empty".into()]
            }
            Feature::Tensor(t) => {
                let s = statistics(t);
                let odd =
                    if s.not_finite > 0 { format!("{} not finite", s.not_finite) } else { String::new() };
                vec![
                    name.into(),
                    type_of(t),
                    human::number(s.min),
                    human::number(s.max),
                    human::number(s.mean),
                    odd,
                ]
            }
            Feature::Text(text) => {
                vec![name.into(), "label".into(), String::new(), String::new(), String::new(), text.clone()]
            }
            Feature::Int(i) => {
                vec![name.into(), "label".into(), String::new(), String::new(), String::new(), i.to_string()]
            }
            Feature::Double(v) => {
                let v = human::number(*v);
                vec![name.into(), "fp64".into(), v.clone(), v.clone(), v, String::new()]
            }
            Feature::Dict(d) => {
                vec![
                    name.into(),
                    format!("{} probabilities", d.len()),
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]
            }
        });
    }
    table.render()
}

/// `fp32 1 x 3`
fn type_of(t: &Tensor) -> String {
    let shape: Vec<String> = t.shape().iter().map(usize::to_string).collect();
    format!("{} {}", t.dtype(), shape.join(" x "))
}

/// Objects, the most confident first.
fn detections(found: &[Detection]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let shown = &found[..found.len().min(OBJECTS)];
    let mut table = Table::new(&["object", ">confidence", ">middle x", ">y", ">width", ">height"]);
    for d in shown {
        let places = [d.center, d.size].concat();
        let mut row = vec![d.label.clone(), format!("{:.1} %", d.confidence * 100.0)];
        row.extend(places.into_iter().map(human::number));
        table.row(row);
    }
    let more = match found.len() - shown.len() {
        0 => String::new(),
        n => format!("  and {n} more\n"),
    };
    format!("\n{}{more}", table.render())
}

fn ranking(best: &[Ranked]) -> String {
    let mut out = String::new();
    if !best.is_empty() {
        let mut table = Table::new(&[">", ">probability", "label"]);
        for (i, r) in best.iter().enumerate() {
            table.row(vec![(i + 1).to_string(), format!("{:.1} %", r.probability * 100.0), r.label.clone()]);
        }
        out.push('\n');
        out.push_str(&table.render());
    }
    out
}
