//! `inspect`.

use super::{note, print, print_json};
use crate::args::InspectArgs;
use crate::table::Table;
use crate::{Outcome, human, json, style};
use anemone::mil::interface::{
    ArrayFeature, ColorSpace, DefaultValue, Feature, FeatureKind, Flexibility, FunctionInterface,
    ImageFeature, ImageFlexibility, SizeRange,
};
use anemone::package::{Encoding, Overview, Summary};
use anemone::{Container, Error, Inspection};

pub(super) fn run(args: &InspectArgs) -> Result<Outcome, Error> {
    let inspection = anemone::inspect(&args.model)?;
    if args.json {
        print_json(&json::Inspect::of(&args.model, &inspection))?;
    } else {
        print(&report(&args.model.display().to_string(), &inspection))?;
    }
    inspection.notes.iter().for_each(|n| note(n));
    Ok(Outcome::Clean)
}

/// What the model was read from, in words.
pub(crate) fn container(c: Option<Container>) -> &'static str {
    match c {
        Some(Container::Package) => "package",
        Some(Container::Compiled) => "compiled model",
        Some(Container::Text) => "MIL text",
        None => "model file",
    }
}

fn report(path: &str, i: &Inspection) -> String {
    let mut out = format!(
        "{}\n  {} of type {}, specification version {}, {}\n",
        style::heading(path),
        container(i.container),
        i.overview.kind,
        i.overview.interface.spec_version,
        human::bytes(i.bytes)
    );
    out.push_str(&overview(&i.overview));
    if let Some(summary) = &i.summary {
        out.push_str(&counts(summary));
    }
    out
}

fn overview(o: &Overview) -> String {
    let mut out = String::new();
    for f in &o.interface.functions {
        let default = o.interface.functions.len() > 1 && f.name == o.interface.default_function;
        let heading = format!("Function {}{}", f.name, if default { " (default)" } else { "" });
        out.push_str(&format!("\n{}\n", style::heading(&heading)));
        out.push_str(&features(f));
    }
    stages(o, "", &mut out);
    let m = &o.interface.metadata;
    let mut table = Table::new(&["metadata", "value"]);
    let fixed = [
        ("description", &m.description),
        ("author", &m.author),
        ("version", &m.version),
        ("license", &m.license),
    ];
    for (key, value) in fixed.into_iter().filter(|(_, v)| !v.is_empty()) {
        table.row(vec![key.into(), value.replace('\n', " ")]);
    }
    for (key, value) in &m.user {
        table.row(vec![key.clone(), value.replace('\n', " ")]);
    }
    out + "\n" + &table.render()
}

/// The models of a pipeline, and of the pipelines in it: `Stage 1.0` is the first one of the second one.
fn stages(o: &Overview, above: &str, out: &mut String) {
    for (i, stage) in o.stages.iter().enumerate() {
        let place = format!("{above}{i}");
        let name = if stage.name.is_empty() { String::new() } else { format!(" {}", stage.name) };
        let heading = format!("Stage {place}{name}: {}", stage.overview.kind);
        out.push_str(&format!("\n{}\n", style::heading(&heading)));
        stage.overview.interface.functions.iter().for_each(|f| out.push_str(&features(f)));
        stages(&stage.overview, &format!("{place}."), out);
    }
}

fn features(f: &FunctionInterface) -> String {
    let mut table = Table::new(&["", "name", "type"]);
    let groups = [("in", &f.inputs), ("out", &f.outputs), ("state", &f.states)];
    for (what, list) in groups {
        for feature in list {
            let Feature { name, kind, optional, .. } = feature;
            let optional = if *optional { default(kind) } else { String::new() };
            table.row(vec![what.into(), name.clone(), format!("{}{optional}", feature_type(kind))]);
        }
    }
    let mut out = table.render();
    if !f.predicted_feature.is_empty() {
        let probabilities = &f.predicted_probabilities;
        out.push_str(&format!(
            "  classifier: label {}, probabilities {probabilities}\n",
            f.predicted_feature
        ));
    }
    out
}

/// What an optional input is when it is left out.
fn default(kind: &FeatureKind) -> String {
    let value = match kind {
        FeatureKind::MultiArray(a) => a.default,
        _ => None,
    };
    match value {
        None => ", optional".to_owned(),
        Some(DefaultValue::Int(v)) => format!(", optional: {v}"),
        Some(DefaultValue::Float(v)) => format!(", optional: {v}"),
        Some(DefaultValue::Double(v)) => format!(", optional: {v}"),
    }
}

fn counts(s: &Summary) -> String {
    let mut out = format!("\n{}\n", style::heading("Ops"));
    let mut table = Table::new(&["op", ">count"]);
    s.ops.iter().for_each(|(kind, n)| table.row(vec![kind.clone(), n.to_string()]));
    out.push_str(&table.render());
    out.push_str(&format!(
        "\n{}\n",
        style::heading(&format!(
            "Weights: {} parameters, {}",
            human::count(s.parameters),
            human::bytes(s.weight_bytes)
        ))
    ));
    let mut table = Table::new(&["encoding", "type", ">tensors", ">parameters", ">size"]);
    for g in &s.weights {
        table.row(vec![
            encoding(&g.encoding),
            g.dtype.to_string(),
            g.tensors.to_string(),
            human::count(g.parameters),
            human::bytes(g.bytes),
        ]);
    }
    out + &table.render()
}

/// `plain`, or the steps that unpack a weight and the bits of one stored element.
pub(crate) fn encoding(e: &Encoding) -> String {
    match e {
        Encoding::Plain => "plain".into(),
        Encoding::Compressed { steps, bits } => format!("{} ({bits} bits)", steps.join(" + ")),
    }
}

/// A feature's type in words.
pub(crate) fn feature_type(kind: &FeatureKind) -> String {
    match kind {
        FeatureKind::Int64 => "int64".into(),
        FeatureKind::Double => "double".into(),
        FeatureKind::String => "string".into(),
        FeatureKind::Image(i) => image(i),
        FeatureKind::MultiArray(a) => array(a),
        FeatureKind::Dictionary { int_keys } => {
            format!("dictionary of {} to double", if *int_keys { "int64" } else { "string" })
        }
        FeatureKind::Sequence { ints, lengths } => {
            format!("sequence of {} ({} long)", if *ints { "int64" } else { "string" }, range(lengths))
        }
        FeatureKind::State(a) => format!("state {}", array(a)),
        FeatureKind::Unspecified => "of no stated type".into(),
    }
}

fn array(a: &ArrayFeature) -> String {
    let dtype = a.dtype.map_or("?".into(), |d| d.to_string());
    let shape = if a.shape.is_empty() { "any shape".into() } else { human::shape(&a.shape) };
    let more = match &a.flexibility {
        Flexibility::Fixed => String::new(),
        Flexibility::Enumerated(shapes) => {
            let shapes: Vec<String> = shapes.iter().map(|s| human::shape(s)).collect();
            format!(", or one of {}", shapes.join("; "))
        }
        Flexibility::Ranges(ranges) => {
            format!(", within {}", ranges.iter().map(range).collect::<Vec<_>>().join(" x "))
        }
    };
    format!("{dtype} {shape}{more}")
}

fn range(r: &SizeRange) -> String {
    match r.upper {
        Some(upper) if upper == r.lower => upper.to_string(),
        Some(upper) => format!("{}..{upper}", r.lower),
        None => format!("{}..", r.lower),
    }
}

fn image(i: &ImageFeature) -> String {
    let color = match i.color {
        ColorSpace::Unspecified => "picture",
        ColorSpace::Grayscale => "grayscale picture",
        ColorSpace::Rgb => "RGB picture",
        ColorSpace::Bgr => "BGR picture",
        ColorSpace::GrayscaleF16 => "fp16 grayscale picture",
    };
    let more = match &i.flexibility {
        ImageFlexibility::Fixed => String::new(),
        ImageFlexibility::Enumerated(sizes) => {
            let sizes: Vec<String> = sizes.iter().map(|[w, h]| format!("{w} x {h}")).collect();
            format!(", or one of {}", sizes.join("; "))
        }
        ImageFlexibility::Ranges { width, height } => {
            format!(", within {} x {}", range(width), range(height))
        }
    };
    format!("{color} {} x {} (width x height){more}", i.width, i.height)
}
