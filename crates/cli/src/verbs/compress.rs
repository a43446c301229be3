//! `compress` and `decompress`.

use super::{front, note, print, print_json};
use crate::args::{CompressArgs, DecompressArgs};
use crate::progress::Bar;
use crate::table::{Table, fit};
use crate::{Outcome, human, json, style};
use anemone::ane::{Device, Units};
use anemone::data::Inputs;
use anemone::files::Files;
use anemone::schemes::config::{Activation, Granularity, Linear, Palette};
use anemone::schemes::{self, Config, PaletteMode, Pruning, Report, Rule, Scheme};
use anemone::{CompressOptions, Compression, Effect, Error, Found, Goal, SampleOptions, SearchOptions};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C.
static STOPPED: AtomicBool = AtomicBool::new(false);

pub(super) fn run(args: &CompressArgs) -> Result<Outcome, Error> {
    // Where no handler can be set, Ctrl-C ends the process at once, as it does elsewhere.
    let _ = ctrlc::set_handler(|| STOPPED.store(true, Ordering::Relaxed));
    let mut bar = Bar::new();
    let mut hear = |p: schemes::Progress<'_>| {
        bar.show(p.done.0, p.done.1, p.weight);
        if STOPPED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let result = match goal(args) {
        Some(goal) => searched(args, goal, &mut hear),
        None => anemone::compress(&args.model, &args.output, &options(args)?, &mut hear).map(|c| (c, None)),
    };
    bar.done();
    let (compression, found) = result?;
    if args.json {
        print_json(&json::Compress::of(&compression, found.as_ref()))?;
    } else {
        print(&report(&compression, found.as_ref()))?;
        refusals(&compression);
        warnings(&compression);
    }
    Ok(Outcome::Clean)
}

fn goal(args: &CompressArgs) -> Option<Goal> {
    args.budget.or(args.max_loss.map(Goal::Loss))
}

/// Searches, and writes the recipe and the picture that were asked for.
fn searched(
    args: &CompressArgs,
    goal: Goal,
    hear: &mut dyn FnMut(schemes::Progress<'_>) -> ControlFlow<()>,
) -> Result<(Compression, Option<Found>), Error> {
    let device = device(args)?;
    if args.inputs.is_empty() {
        note("no --inputs are given: losses are measured on random inputs, which tell less than real ones");
    }
    let options =
        SearchOptions { goal, samples: samples(args), weight_threshold: args.weight_threshold, device };
    let found = anemone::search(&args.model, &args.output, &options, hear)?;
    let mut files = Files::default();
    if let Some(path) = &args.recipe {
        let text = anemone::write_config(&found.recipe);
        files.write(path, |w| w.write_all(text.as_bytes()))?;
    }
    if let Some(path) = &args.plot {
        let picture = front::svg(&args.model.display().to_string(), &found.front);
        files.write(path, |w| w.write_all(picture.as_bytes()))?;
    }
    for path in files.finish()? {
        note(&format!("wrote {}", path.display()));
    }
    Ok((found.compression.clone(), Some(found)))
}

fn samples(args: &CompressArgs) -> SampleOptions {
    let inputs = Inputs { files: args.inputs.clone(), random: args.random, ..Inputs::default() };
    SampleOptions { inputs, count: args.samples }
}

fn device(args: &CompressArgs) -> Result<Option<(Arc<Device>, Units)>, Error> {
    let device = args.device.as_deref().map(|name| anemone::target(name, args.os)).transpose()?;
    Ok(device.map(|d| (d, Units::CpuAndNe)))
}

fn options(args: &CompressArgs) -> Result<CompressOptions, Error> {
    let asked = !args.inputs.is_empty() || args.random.is_some();
    Ok(CompressOptions {
        steps: steps(args)?,
        joint: args.joint,
        samples: asked.then(|| samples(args)),
        device: device(args)?,
    })
}

pub(super) fn undo(args: &DecompressArgs) -> Result<Outcome, Error> {
    let count = anemone::decompress(&args.model, &args.output)?;
    if args.json {
        print_json(&json::Decompress::of(&args.output, count))?;
    } else {
        print(&format!(
            "{}: {count} weights unpacked\n",
            style::heading(&args.output.display().to_string())
        ))?;
    }
    Ok(Outcome::Clean)
}

/// What the flags ask for, in the order in which joint forms are built: prune, palettise, quantise.
fn steps(args: &CompressArgs) -> Result<Vec<Config>, Error> {
    if let Some(file) = &args.config {
        return read_config(file);
    }
    let mut steps = Vec::new();
    if let Some(dtype) = &args.activations {
        let activation = Activation { dtype: anemone::activation_dtype(dtype)?, ..Activation::default() };
        steps.push(Scheme::Activation(activation));
    }
    if let Some(pruning) = pruning(args) {
        steps.push(Scheme::Prune(pruning));
    }
    if let Some(bits) = args.palettize {
        steps.push(Scheme::Palette(palette(args, bits)?));
    }
    if let Some(dtype) = &args.linear {
        steps.push(Scheme::Linear(linear(args, dtype)?));
    }
    let rule = |scheme| Rule { scheme, weight_threshold: args.weight_threshold };
    Ok(steps.into_iter().map(|s| Config { global: Some(rule(s)), ..Config::default() }).collect())
}

fn read_config(file: &Path) -> Result<Vec<Config>, Error> {
    let text = anemone::files::map(file)?;
    let text = std::str::from_utf8(&text).map_err(|_| Error::new("is not UTF-8").at(file))?;
    anemone::read_config(text).map_err(|e| e.at(file))
}

fn pruning(args: &CompressArgs) -> Option<Pruning> {
    match (args.prune, args.n_m, args.block_size) {
        (Some(sparsity), _, Some(size)) => Some(Pruning::Blocks { sparsity, size, dim: 0 }),
        (Some(sparsity), _, None) => Some(Pruning::Magnitude { sparsity }),
        (None, Some((n, m)), _) => Some(Pruning::NOfM { n, m, dim: 1 }),
        (None, None, _) => None,
    }
}

fn palette(args: &CompressArgs, bits: usize) -> Result<Palette, Error> {
    let mode = args.mode.as_deref().unwrap_or("kmeans").replace('-', "_");
    let granularity = match args.granularity.as_deref().unwrap_or("per-tensor").replace('_', "-").as_str() {
        "per-tensor" => Granularity::PerTensor,
        "per-grouped-channel" => Granularity::PerGroupedChannel { size: args.group_size, axis: None },
        other => return Err(unknown(other, "a palette is per-tensor or per-grouped-channel")),
    };
    if !schemes::BITS.contains(&bits) {
        return Err(Error::new(format!("--palettize {bits}: an index has 1, 2, 3, 4, 6 or 8 bits")));
    }
    let mode = anemone::palette_mode(&mode)?;
    let bits = (mode != PaletteMode::Unique).then_some(bits);
    let (cluster_dim, per_channel_scale) = (args.cluster_dim, args.per_channel_scale);
    Ok(Palette { mode, bits, granularity, cluster_dim, per_channel_scale })
}

fn linear(args: &CompressArgs, dtype: &str) -> Result<Linear, Error> {
    let block = args.block_size.unwrap_or(32);
    let joint = args.palettize.is_some();
    let mode = args.mode.as_deref().filter(|_| !joint).unwrap_or("linear_symmetric").replace('-', "_");
    let default = if joint { "per-tensor" } else { "per-channel" };
    let asked = args.granularity.as_deref().filter(|_| !joint).unwrap_or(default);
    let granularity = match asked.replace('_', "-").as_str() {
        "per-tensor" => Granularity::PerTensor,
        "per-channel" => Granularity::PerChannel,
        "per-block" => Granularity::PerBlock(block),
        other => return Err(unknown(other, "--linear is per-tensor, per-channel or per-block")),
    };
    Ok(Linear { mode: anemone::linear_mode(&mode)?, dtype: anemone::linear_dtype(dtype)?, granularity })
}

fn unknown(granularity: &str, allowed: &str) -> Error {
    Error::new(format!("--granularity {granularity}: {allowed}"))
}

fn report(c: &Compression, found: Option<&Found>) -> String {
    let mut out = format!(
        "{} -> {}\n  {} -> {} ({:.0} %)\n",
        style::heading(&c.source.display().to_string()),
        style::heading(&c.output.display().to_string()),
        human::bytes(c.bytes.0),
        human::bytes(c.bytes.1),
        c.bytes.1 as f64 / c.bytes.0.max(1) as f64 * 100.0,
    );
    for step in &c.steps {
        out.push_str(&weights(step));
    }
    if !c.activations.is_empty() {
        out.push_str(&format!(
            "\n{} activations are quantised; --json has their scales\n",
            c.activations.len()
        ));
    }
    out.push_str(&found.map_or_else(String::new, front::table));
    if let Some(effect) = &c.effect {
        out.push_str(&changes(effect));
    }
    out.push_str(&format!("\nNext: anemone run {} --random 1   runs it here\n", c.output.display()));
    out
}

/// Weights that a table shows; the JSON has all.
const ROWS: usize = 40;

fn weights(step: &Report) -> String {
    let mut table =
        Table::new(&["weight", "scheme", ">before", ">after", ">SNR", ">cosine", ">largest error"]);
    let done: Vec<_> =
        step.weights.iter().filter_map(|w| w.result.as_ref().ok().map(|fit| (w, fit))).collect();
    for (w, fit_of) in done.iter().take(ROWS) {
        table.row(vec![
            fit(&w.weight, 22),
            fit(&w.scheme, 25),
            human::bytes(w.bytes.0),
            human::bytes(w.bytes.1),
            decibel(fit_of.snr()),
            format!("{:.6}", fit_of.cosine()),
            human::number(fit_of.largest),
        ]);
    }
    let total = |f: fn(&(u64, u64)) -> u64| human::bytes(done.iter().map(|(w, _)| f(&w.bytes)).sum());
    let all = done.iter().fold(schemes::Fit::default(), |all, (_, fit)| all.and(**fit));
    table.row(vec![
        format!("{} weights", done.len()),
        String::new(),
        total(|b| b.0),
        total(|b| b.1),
        decibel(all.snr()),
        format!("{:.6}", all.cosine()),
        human::number(all.largest),
    ]);
    let more = done.len().saturating_sub(ROWS);
    let more = if more > 0 { format!("  and {more} more, all of them with --json\n") } else { String::new() };
    format!("\n{}{more}", table.render())
}

/// Layers that a table names.
const LAYERS: usize = 5;

/// The change of the outputs, and where it comes from.
fn changes(effect: &Effect) -> String {
    let kind = if effect.random { "random " } else { "" };
    let mut table = Table::new(&["output", ">relative error", ">SNR", ">cosine", ">largest error"]);
    for (name, change) in &effect.outputs {
        table.row(vec![
            fit(name, 40),
            relative(change.relative()),
            decibel(change.snr()),
            format!("{:.6}", change.cosine()),
            human::number(change.largest),
        ]);
    }
    let mut out =
        format!("\nOn {} {kind}samples, against the model as it was:\n{}", effect.samples, table.render());
    let worst = effect.worst(LAYERS);
    if !worst.is_empty() {
        let mut table = Table::new(&["the error grows at", "op", ">from", ">to"]);
        for layer in worst {
            table.row(vec![
                fit(&layer.name, 48),
                fit(&layer.kind, 20),
                relative(layer.inherited),
                relative(layer.fit.relative()),
            ]);
        }
        out.push_str(&format!("\n{}", table.render()));
    }
    out
}

fn relative(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

/// What the device would not do well, and the facts behind it.
fn warnings(c: &Compression) {
    for w in &c.warnings {
        let others = if w.ops.len() > 1 { format!(" and {} more", w.ops.len() - 1) } else { String::new() };
        let rule = w.rule.map_or_else(String::new, |r| format!("[{r}] "));
        let help = if w.help.is_empty() { String::new() } else { format!("; {}", w.help) };
        note(&format!("warning: {rule}{:?}{others}: {}{help}", w.ops[0], w.message));
        for fact in &w.facts {
            note(&format!("  {}: {}", fact.id, fact.claim));
        }
    }
}

fn decibel(snr: f64) -> String {
    if snr.is_finite() { format!("{snr:.1} dB") } else { "exact".into() }
}

/// Weights named one by one on stderr; the JSON has all.
const NAMED: usize = 5;

/// Weights that were left as they are, and why.
fn refusals(c: &Compression) {
    let left =
        c.steps.iter().flat_map(|s| &s.weights).filter_map(|w| w.result.as_ref().err().map(|why| (w, why)));
    let left: Vec<_> = left.collect();
    for (w, why) in left.iter().take(NAMED) {
        note(&format!("weight {:?} stays as it is ({}): {why}", w.weight, w.scheme));
    }
    if left.len() > NAMED {
        note(&format!("{} more weights stay as they are; --json says why for each", left.len() - NAMED));
    }
}
