//! `size`.

use super::{note, print, print_json};
use crate::args::SizeArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, human, json, style};
use anemone::Error;
use anemone::ane::{Device, Fact};
use anemone::size::{APP_BYTES, Cache, Fit, Room, Scheme, Subject, fit};
use std::sync::Arc;

/// Devices that are shown when none is asked for.
const USUAL: [&str; 6] = ["a17-pro", "a18-pro", "a19-pro", "m1", "m4", "m4-max"];

pub(super) fn run(args: &SizeArgs) -> Result<Outcome, Error> {
    let devices = devices(&args.devices)?;
    let subject = anemone::size::size(&args.model)?;
    super::tell_of_rest(&args.model);
    if args.json {
        print_json(&json::Size::of(&args.model, &subject, &args.context, &devices, args.shard))?;
        return Ok(Outcome::Clean);
    }
    let mut out = heading(args, &subject) + &weights(&subject) + &caches(&subject, &args.context);
    // Longer contexts change memory alone, and the table of caches shows by how much.
    for &context in if subject.cache == Cache::None { &args.context[..1] } else { &args.context[..] } {
        out += &match devices.as_slice() {
            [device] => on_one(&subject, context, device, args.shard),
            devices => on_several(&subject, context, devices, args.shard),
        };
    }
    out += &legend(&devices, args.shard);
    print(&out)?;
    subject.notes.iter().for_each(|n| note(n));
    if let Some(most) = subject.positions
        && let Some(longest) = args.context.iter().find(|c| **c > most)
    {
        note(&format!("the model was made for {most} positions, fewer than {longest}"));
    }
    Ok(Outcome::Clean)
}

fn devices(names: &[String]) -> Result<Vec<Arc<Device>>, Error> {
    if names.iter().any(|n| n == "all") {
        return Ok(Device::known().to_vec());
    }
    let usual = USUAL.map(str::to_owned);
    let names = if names.is_empty() { &usual[..] } else { names };
    names.iter().map(|name| anemone::device_named(name)).collect()
}

fn heading(args: &SizeArgs, subject: &Subject) -> String {
    let mut out = style::heading(&args.model.display().to_string()) + "\n";
    out += &wrap(&subject.what, "  ", "     ");
    let active = subject.active();
    let active = if active < subject.parameters() / 10 * 9 {
        format!(", {} of them for one token", count(active))
    } else {
        String::new()
    };
    out += &format!("  {} parameters{active}", count(subject.parameters()));
    out += &subject.stored.map_or_else(String::new, |b| format!(", stored in {}", human::bytes(b)));
    out + "\n"
}

/// `3.21 billion`.
fn count(n: u64) -> String {
    let v = n as f64;
    if v >= 1e9 {
        format!("{:.2} billion", v / 1e9)
    } else if v >= 1e6 {
        format!("{:.1} million", v / 1e6)
    } else {
        n.to_string()
    }
}

fn weights(subject: &Subject) -> String {
    let mut out = format!("\n{}\n", style::heading("Weights"));
    let columns = ["stored as", ">bits each", ">size", ">tables", "app", "on the ANE"];
    let mut table = Table::new(&columns);
    for scheme in Scheme::ALL {
        let bytes = subject.bytes(scheme);
        let bits = bytes.total() as f64 * 8.0 / subject.parameters().max(1) as f64;
        table.row(vec![
            scheme.to_string(),
            format!("{bits:.2}"),
            human::bytes(bytes.total()),
            if bytes.tables == 0 { "-".into() } else { human::bytes(bytes.tables) },
            if bytes.total() < APP_BYTES { "yes" } else { "no" }.into(),
            standing(scheme),
        ]);
    }
    out += &table.render();
    out + &wrap(
        &format!(
            "vectors and weights of less than 2048 elements stay fp16; app: under the {} that the App Store takes for phones",
            human::bytes(APP_BYTES)
        ),
        "  ",
        "  ",
    )
}

/// What is known of a scheme, with its facts.
fn standing(scheme: Scheme) -> String {
    let Some((text, facts)) = scheme.standing() else { return String::new() };
    let ids: Vec<&str> = facts.iter().filter_map(|key| Fact::named(key)).map(|f| &*f.id).collect();
    format!("{text} [{}]", ids.join(" "))
}

fn caches(subject: &Subject, contexts: &[u64]) -> String {
    let what = match &subject.cache {
        Cache::None => return String::new(),
        Cache::Layers { .. } => "Keys and values, fp16",
        Cache::States(_) => "States",
    };
    let mut table = Table::new(&[">positions", ">size"]);
    for &context in contexts {
        table.row(vec![context.to_string(), human::bytes(subject.cache.bytes(context))]);
    }
    format!("\n{}\n{}", style::heading(what), table.render())
}

fn with_cache(subject: &Subject, context: u64) -> String {
    if subject.cache == Cache::None { String::new() } else { format!(" with {context} positions") }
}

/// Every scheme on one device.
fn on_one(subject: &Subject, context: u64, device: &Device, shard: Option<u64>) -> String {
    let mut out =
        format!("\n{}\n", style::heading(&format!("On {}{}", device.chip, with_cache(subject, context))));
    let rate = if subject.cache == Cache::None { ">runs/s, at most" } else { ">tokens/s, at most" };
    let mut table = Table::new(&["stored as", ">in memory", "fits", ">RAM wanted", ">programs", rate]);
    for scheme in Scheme::ALL {
        let fit = fit(subject, scheme, context, device, shard);
        table.row(vec![
            scheme.to_string(),
            human::bytes(fit.bytes),
            room(fit.room).into(),
            human::bytes(fit.wanted_ram),
            programs(&fit),
            fit.tokens_per_s
                .map_or("-".into(), |t| if t < 10.0 { format!("{t:.1}") } else { format!("{t:.0}") }),
        ]);
    }
    out += &table.render();
    out
}

/// Some schemes on several devices.
fn on_several(subject: &Subject, context: u64, devices: &[Arc<Device>], shard: Option<u64>) -> String {
    let title = format!("Fits{}, and number of programs", with_cache(subject, context));
    let mut out = format!("\n{}\n", style::heading(&title));
    let mut table =
        Table::new(&["chip", ">RAM", ">a program", "fp16", "int8", "int4 per 32", "palette 4", "palette 2"]);
    for device in devices {
        let fits = Scheme::COMPARED.map(|s| fit(subject, s, context, device, shard));
        let ram = ram(device);
        let mark = if fits[0].limit_known { "" } else { "~" };
        let mut row =
            vec![device.chip.clone(), ram, format!("{mark}{}", human::bytes(fits[0].program_bytes))];
        row.extend(fits.iter().map(cell));
        table.row(row);
    }
    out += &table.render();
    out
}

/// RAM of the products of a chip.
fn ram(device: &Device) -> String {
    let Some(figure) = device.figure("ram_gb") else { return "-".into() };
    match (figure.value.least(), figure.value.most()) {
        (Some(a), Some(b)) if a < b => format!("{a}-{b} GB"),
        (Some(a), _) => format!("{a} GB"),
        _ => "-".into(),
    }
}

fn cell(fit: &Fit) -> String {
    if fit.room == Room::No { "no".into() } else { format!("{}, {}", room(fit.room), programs(fit)) }
}

fn programs(fit: &Fit) -> String {
    format!("{}{}", fit.programs, if fit.beyond_address_space { "!" } else { "" })
}

fn room(room: Room) -> &'static str {
    match room {
        Room::Yes => "yes",
        Room::Tight => "tight",
        Room::No => "no",
        Room::Unknown => "?",
    }
}

/// What the words and marks of the tables mean.
fn legend(devices: &[Arc<Device>], shard: Option<u64>) -> String {
    let mut out = String::from("\n");
    let mut line = |text: &str| out += &wrap(text, "  ", "  ");
    line(
        "Fits: yes, within 37.5 % of the least RAM of the products, which apps were seen to get on every system; tight, \
         within 75 % of the most.",
    );
    if let [device] = devices {
        line(&format!("Products with {} have {} of RAM.", device.chip, ram(device)));
    }
    let known = devices.iter().filter(|d| d.figure("limit_program_mb").is_some()).count();
    let counted = match (known == devices.len(), known == 0) {
        (true, _) => "as published for the chip",
        (_, true) => "1.0 GB, the least that is published for any chip, for lack of a figure",
        _ => "as published for the chip, or 1.0 GB (~), the least that is for any",
    };
    let asked = shard.map_or_else(String::new, |s| format!(", at most {} as asked", human::bytes(s)));
    line(&format!(
        "A program on the Neural Engine: {counted} [F088]{asked}; !: all of them are more than it addresses at once."
    ));
    out
}
