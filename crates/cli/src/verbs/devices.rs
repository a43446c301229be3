//! `devices`.

use super::{print, print_json};
use crate::args::DevicesArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, human, json, style};
use anemone::Error;
use anemone::ane::Device;
use anemone::ane::device::{Amount, Figure, QUANTITIES, Strength};
use std::sync::Arc;

pub(super) fn run(args: &DevicesArgs) -> Result<Outcome, Error> {
    let devices = match &args.device {
        Some(name) => vec![anemone::device_named(name)?],
        None => Device::known().to_vec(),
    };
    if args.json {
        print_json(&json::Devices::of(&devices))?;
    } else if args.device.is_some() {
        print(&devices.iter().map(|d| one(d)).collect::<String>())?;
    } else {
        print(&all(&devices))?;
    }
    Ok(Outcome::Clean)
}

/// Columns of the list: heading and quantity.
const COLUMNS: [(&str, &str); 8] = [
    (">cores", "cores"),
    (">TOPS", "tops"),
    (">TFLOPS", "fp16_tflops"),
    (">GB/s", "weight_bandwidth_gb_s"),
    (">on chip", "on_chip_bytes"),
    (">dispatch", "dispatch_us"),
    (">axis", "limit_extent"),
    (">RAM", "ram_gb"),
];

fn all(devices: &[Arc<Device>]) -> String {
    let headings: Vec<&'static str> = ["chip", "engine"].into_iter().chain(COLUMNS.map(|c| c.0)).collect();
    let mut table = Table::new(&headings);
    for device in devices {
        let cells = COLUMNS.map(|(_, what)| cell(device, what));
        table.row([device.chip.clone(), device.engine.clone()].into_iter().chain(cells).collect());
    }
    table.render()
        + &wrap(
            "TOPS as marketed, TFLOPS at fp16, GB/s of weights, the longest axis, memory on the chip per engine and RAM of \
             products; no mark: measured; ° published; ~ derived or carried over; ? claimed; - unknown. `anemone devices m4` \
             shows every figure of one, with its source.",
            "  ",
            "  ",
        )
}

/// The best figure of a quantity, with a mark for how it is known; of equally strong rates the largest.
fn cell(device: &Device, what: &str) -> String {
    let Some(best) = device.figure(what) else { return "-".to_owned() };
    let same = device.figures_of(what).filter(|f| f.strength == best.strength);
    let most = |f: &&Figure| f.value.most().unwrap_or(0.0);
    let shown = if what == "fp16_tflops" { same.max_by(|a, b| most(a).total_cmp(&most(b))) } else { None };
    let figure = shown.unwrap_or(best);
    let mark = match figure.strength {
        Strength::Measured => "",
        Strength::Published => "°",
        Strength::Derived => "~",
        Strength::Claimed => "?",
    };
    let unit = figure.quantity().map_or("", |q| q.unit);
    let unit = if ["TOPS", "TFLOPS", "GB/s"].contains(&unit) { "" } else { unit };
    mark.to_owned() + &amount(&figure.value, unit).replace(" to ", "-")
}

fn amount(amount: &Amount, unit: &str) -> String {
    match amount {
        Amount::Number(v) => number(*v, unit),
        Amount::Range([a, b]) => {
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            format!("{} to {}{unit}", plain(*a), plain(*b))
        }
        Amount::Text(text) => text.clone(),
    }
}

fn number(v: f64, unit: &str) -> String {
    const KIB: f64 = 1024.0;
    match unit {
        "B" if v >= KIB * KIB && v % KIB == 0.0 => format!("{} MiB", plain(v / KIB / KIB)),
        "B" if v >= KIB => format!("{} KiB", plain(v / KIB)),
        "Hz" => format!("{} GHz", plain(v / 1e9)),
        "" if v >= 1e9 => human::number(v),
        "" => plain(v),
        unit => format!("{} {unit}", plain(v)),
    }
}

fn plain(v: f64) -> String {
    let text = format!("{v:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn one(device: &Device) -> String {
    let target = device.target.as_ref().map_or_else(String::new, |t| format!(" ({t})"));
    let mut out = format!("{}\n", style::heading(&device.chip));
    out += &format!("  engine {}{target}", device.engine);
    out += &device.year.map_or_else(|| "\n".to_owned(), |y| format!(", since {y}\n"));
    if !device.products.is_empty() {
        out += &wrap(&format!("in {}", device.products.join(", ")), "  ", "     ");
    }
    for note in &device.notes {
        out += &wrap(note, "  note: ", "        ");
    }
    out + &figures(device) + &estimates(device)
}

/// What stands under a table, each text once.
#[derive(Default)]
struct Footnotes<'d>(Vec<std::borrow::Cow<'d, str>>);

impl<'d> Footnotes<'d> {
    /// Number of a text, which is added when it is new.
    fn number(&mut self, text: impl Into<std::borrow::Cow<'d, str>>) -> usize {
        let text = text.into();
        let known = self.0.iter().position(|t| *t == text);
        known.unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        }) + 1
    }

    fn text(&self, before: &str) -> String {
        let line = |(i, t)| wrap(&format!("{before}{} {t}", i + 1), "  ", "      ");
        self.0.iter().enumerate().map(line).collect()
    }
}

fn figures(device: &Device) -> String {
    let mut table = Table::new(&["", ">value", "known", "by", "note"]);
    let (mut notes, mut sources) = (Footnotes::default(), Footnotes::default());
    for quantity in QUANTITIES {
        let mut found = device.figures_of(quantity.key).peekable();
        if found.peek().is_none() && quantity.expected {
            table.row(vec![quantity.label.to_owned(), "-".into(), "unknown".into()]);
        }
        for figure in found {
            let source = format!("s{}", sources.number(figure.source.to_string()));
            let note = match figure.note.as_str() {
                "" => String::new(),
                note => format!("n{}", notes.number(note)),
            };
            let value = amount(&figure.value, quantity.unit);
            table.row(vec![quantity.label.to_owned(), value, figure.strength.to_string(), source, note]);
        }
    }
    table.render() + &sources.text("s") + &notes.text("n")
}

fn estimates(device: &Device) -> String {
    let Some(e) = &device.estimates else { return String::new() };
    let text = format!("planner's estimates: {}, {} ({})", e.strength, e.os, e.source);
    wrap(&text, "  ", "     ")
}
