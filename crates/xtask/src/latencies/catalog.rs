//! Published latencies, and the programs that they are of.

use super::diffusion::{Attention, SD_1, SD_2_1, SD_XL};
use super::language::{Cache, Transformer, conformer};
use super::net::Stored;
use super::{small, vision};
use anemone_ane::simulate::{Load, Prepared, Route};
use anemone_ane::{Device, Os, Unit, Units, plan};
use anemone_mil::ops::{Fault, Site};
use anemone_mil::{Level, Program, verify};
use serde_json::Value;
use std::sync::Arc;

/// A published latency whose model could be rebuilt.
pub struct Case {
    /// Record id, such as `L0002`.
    pub id: String,
    /// Model, precision and chip.
    pub name: String,
    /// Measured time of one call or token, in ms.
    pub measured: f64,
    /// Each program, how often it runs, and the FLOP of one run.
    pub programs: Vec<(Prepared, f64)>,
}

/// A rebuilt model: programs, and how often each runs.
type Model = Vec<(Program, f64)>;

/// What a record says.
struct Row<'r> {
    record: &'r Value,
    model: &'r str,
    stored: Stored,
}

impl Row<'_> {
    fn config(&self, key: &str) -> Option<usize> {
        self.record["config"][key].as_u64().and_then(|n| usize::try_from(n).ok())
    }

    fn is(&self, text: &str) -> bool {
        self.model.contains(text)
    }

    /// The numbers in the model's name.
    fn numbers(&self) -> Vec<usize> {
        let digits = self.model.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|n| n.parse().ok()).collect()
    }
}

/// Rebuilds the model of a record.
///
/// # Errors
/// Why it cannot be rebuilt.
pub fn case(record: &Value) -> Result<Case, String> {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    if record["strength"] != "measured" {
        return Err("claimed, not measured".into());
    }
    if record["kind"] == "compile" {
        return Err("a compilation: the figure that the rate of compiling comes from".into());
    }
    let device = device(text("chip"), text("os"))?;
    let row = Row { record, model: text("model"), stored: stored(text("precision"))? };
    let model = model(&row)?.map_err(|e| format!("the rebuilt model is faulty: {e}"))?;
    let (units, route, forced) = units(text("compute_units"))?;
    let load = Load { route, ..Load::default() };
    let mut flops = 0.0;
    let mut programs = Vec::new();
    for (program, times) in model {
        let verified =
            verify(&program, Level::Imported).map_err(|e| format!("the rebuilt model is faulty: {e}"))?;
        let function = verified.function(None).ok_or("the rebuilt model has no function")?;
        let mut plan = plan(function, &device, units);
        if let Some(unit) = forced {
            plan.ops.iter_mut().for_each(|op| op.preferred = unit);
        }
        flops += arithmetic(&program) * times;
        programs.push((Prepared::new(function, &plan, &load), times));
    }
    let measured = measured(record, flops)?;
    let name = format!("{}, {}, {}", row.model, text("precision"), text("chip"));
    Ok(Case { id: text("id").to_owned(), name, measured, programs })
}

fn arithmetic(program: &Program) -> f64 {
    let function = &program.functions[0];
    let work = |id| {
        let site = Site::new(function, function.op(id)).ok()?;
        (site.def.work)(&site).map(|w| w.flops as f64)
    };
    function.walk().into_iter().filter_map(|(_, id)| work(id)).sum()
}

/// Time of one call: as published, from tokens per second, or from the rate that was reached.
fn measured(record: &Value, flops: f64) -> Result<f64, String> {
    let number = |key: &str| record[key].as_f64().filter(|v| *v > 0.0);
    let by_rate = || number("tops").map(|t| flops / (t * 1e12) * 1e3);
    let found = number("ms").or_else(|| number("tok_s").map(|t| 1e3 / t)).or_else(by_rate);
    found.ok_or_else(|| "no latency, throughput or rate is given".into())
}

fn device(chip: &str, os: &str) -> Result<Arc<Device>, String> {
    let plain = chip.split('(').next().unwrap_or_default().trim().trim_end_matches("-class");
    let device = Device::named(plain).map_err(|_| format!("the chip is not stated: {chip}"))?;
    let system = os.split('(').next().unwrap_or_default().replace("iOS/iPadOS", "iOS").replace("beta", "");
    Ok(match system.trim().parse::<Os>() {
        Ok(os) => Arc::new(device.on(os)),
        Err(_) => device,
    })
}

fn stored(precision: &str) -> Result<Stored, String> {
    let plain = precision.to_ascii_lowercase();
    let bits = |text: &str| text.chars().find(char::is_ascii_digit).and_then(|c| c.to_digit(10));
    Ok(match &*plain {
        "w8a8" => Stored::W8A8,
        "a8w4" => Stored::W4A8,
        p if p.starts_with("fp16") => Stored::Fp16,
        "w8" => Stored::Int8,
        p if p.starts_with("int8") => Stored::Int8,
        p if p.starts_with("pal") => Stored::Palette(bits(p).map_or(4, |b| b as usize)),
        p if p.starts_with("int4") || p.contains("~4 bit") => Stored::Palette(4),
        p if p.starts_with("sparse") => {
            let share: f64 =
                p.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(50.0);
            Stored::Sparse(share / 100.0)
        }
        _ => return Err(format!("the precision `{precision}` has no form in a package")),
    })
}

/// The setting, the route, and the unit that everything runs on where the planner has no say.
fn units(text: &str) -> Result<(Units, Route, Option<Unit>), String> {
    Ok(match text {
        "ALL" => (Units::All, Route::CoreMl, None),
        "CPU_AND_NE" => (Units::CpuAndNe, Route::CoreMl, None),
        "CPU_AND_GPU" => (Units::CpuAndGpu, Route::CoreMl, Some(Unit::Gpu)),
        "ANE" | "ANE (private)" => (Units::CpuAndNe, Route::Direct, Some(Unit::Ane)),
        "GPU" => (Units::CpuAndGpu, Route::CoreMl, Some(Unit::Gpu)),
        "CPU" => (Units::CpuOnly, Route::CoreMl, None),
        _ => return Err(format!("no single program: {text}")),
    })
}

fn once(program: Result<Program, Fault>) -> Result<Result<Model, Fault>, String> {
    Ok(program.map(|p| vec![(p, 1.0)]))
}

fn model(row: &Row<'_>) -> Result<Result<Model, Fault>, String> {
    let s = row.stored;
    let found = picture_model(row).or_else(|| small_model(row));
    if let Some(program) = found {
        return once(program);
    }
    if row.is("Stable Diffusion") {
        return once(denoiser(row));
    }
    if row.is("Parakeet") && row.is("encoder") {
        return once(conformer(s, 188));
    }
    match language_model(row) {
        Some(found) => found,
        None => Err(why_not(row.model).to_owned()),
    }
}

fn picture_model(row: &Row<'_>) -> Option<Result<Program, Fault>> {
    let s = row.stored;
    let plain = row.model.to_ascii_lowercase().replace('-', "");
    Some(match &*plain {
        m if m.starts_with("mobilenetv2") => vision::mobilenet_v2(s),
        m if m.starts_with("mobilenetv3") => vision::mobilenet_v3_small(s),
        m if m.starts_with("mobilevit") => vision::mobilevit_v2(s),
        m if m.starts_with("centernet") => vision::centernet(s),
        m if m.contains("resnet50") => vision::resnet(s, 50),
        m if m.contains("resnet18") => vision::resnet(s, 18),
        m if m.starts_with("vitb") || m.starts_with("siglip") => {
            Transformer::encoder(12, 768, 12, 197).program(s)
        }
        _ => return None,
    })
}

fn small_model(row: &Row<'_>) -> Option<Result<Program, Fault>> {
    let (s, model, numbers) = (row.stored, row.model, row.numbers());
    Some(match model {
        "GEMV KxK" => small::product(s, 1, row.config("K")?, row.config("N")?),
        "GEMM NxNxN" => {
            let n = row.config("N")?;
            small::product(s, n, n, n)
        }
        m if m.starts_with("GEMV") => small::product(s, 1, *numbers.first()?, *numbers.get(1)?),
        m if m.starts_with("GEMM") => {
            small::product(s, *numbers.first()?, *numbers.get(1)?, *numbers.get(2)?)
        }
        "peak fp16 GEMM roofline" => small::product(s, 4096, 4096, 4096),
        m if m.starts_with("conv C256 x16") => small::conv_chain(s, [1, 64, 32, 32], 256, 3, 16, true),
        m if m.starts_with("conv single") => small::conv_chain(s, [1, 16, 32, 32], 64, 3, 1, true),
        m if m.starts_with("conv3x3") => {
            let (c, b) = (row.config("C")?, row.config("batch")?);
            small::conv_chain(s, [b, c, 64, 64], c, 3, 1, false)
        }
        m if m.contains("1x1 conv chain 512ch") => {
            let extent = if m.contains("128x128") { 128 } else { 64 };
            let layers = row.config("layers").unwrap_or(64);
            small::conv_chain(s, [1, 512, extent, extent], 512, 1, layers, false)
        }
        m if m.contains("conv") && m.contains("512ch") => {
            let layers = row.config("layers").or(numbers.first().copied())?;
            small::conv_chain(s, [1, 512, 64, 64], 512, 1, layers, false)
        }
        m if m.starts_with("2560x2560 conv") => small::conv_chain(s, [1, 2560, 1, 1], 2560, 1, 1, false),
        m if m.contains("3x3") && row.record["tops"].is_number() => {
            small::conv_chain(s, [1, 512, 64, 64], 512, 3, 16, false)
        }
        "attention vit" => Transformer { ffn: 1, ..Transformer::encoder(1, 768, 12, 197) }.program(s),
        "attention longseq" => Transformer { ffn: 1, ..Transformer::encoder(1, 768, 12, 512) }.program(s),
        m if m.starts_with("rms_norm") || m.starts_with("layer_norm") => {
            let size = (*numbers.first().unwrap_or(&197), *numbers.get(1).unwrap_or(&768));
            small::norm(if m.starts_with("rms") { "rms" } else { "layer" }, size.0, size.1)
        }
        m if m.starts_with("group_norm") => small::norm("group", 0, 0),
        m if m.starts_with("sdpa H") => {
            small::attention(*numbers.first()?, *numbers.get(1)?, *numbers.get(2)?)
        }
        m if m.starts_with("topk [") => small::topk(*numbers.get(1)?, 1),
        m if m.starts_with("llama_lm_head") => small::head(s, 2048, 104_960, 16),
        m if m.starts_with("Phi-4-mini LM head") => small::head(s, 3072, 200_064, 8),
        _ => return None,
    })
}

fn denoiser(row: &Row<'_>) -> Result<Program, Fault> {
    let base = match row.model {
        m if m.contains("XL") => SD_XL,
        m if m.contains("2.") => SD_2_1,
        _ => SD_1,
    };
    let extent = row.config("res").map_or(base.extent, |r| r / 8);
    let attention = match row.record["config"]["attention"].as_str() {
        Some("ORIGINAL") => Attention::Original,
        Some("SPLIT_EINSUM_V2") => Attention::SplitQueries,
        _ => Attention::Split,
    };
    super::diffusion::Denoiser { extent, attention, ..base }.program(row.stored)
}

/// Layers, width, heads, heads of keys, feed-forward width, words: as the models' published configurations have them.
const DECODERS: [(&str, [usize; 6]); 12] = [
    ("gpt2-medium", [24, 1024, 16, 16, 4096, 50257]),
    ("gpt2-large", [36, 1280, 20, 20, 5120, 50257]),
    ("gpt2-xl", [48, 1600, 25, 25, 6400, 50257]),
    ("gpt2", [12, 768, 12, 12, 3072, 50257]),
    ("pythia-160m", [12, 768, 12, 12, 3072, 50304]),
    ("pythia-410m", [24, 1024, 16, 16, 4096, 50304]),
    ("pythia-1b", [16, 2048, 8, 8, 8192, 50304]),
    ("Llama-2-7B", [32, 4096, 32, 32, 11008, 32000]),
    ("Qwen2.5-0.5B", [24, 896, 14, 2, 4864, 151_936]),
    ("Qwen2.5-1.5B", [28, 1536, 12, 2, 8960, 151_936]),
    ("Llama-like 1.3B", [24, 2048, 16, 16, 5504, 32000]),
    ("MiniLM", [6, 384, 12, 12, 1536, 0]),
];

/// Most bytes of weights in one program of a pipeline, as the ports of large models cut them.
const MOST_BYTES: f64 = 1e9;

fn language_model(row: &Row<'_>) -> Option<Result<Result<Model, Fault>, String>> {
    let (name, [layers, hidden, heads, shared, ffn, vocabulary]) =
        DECODERS.iter().find(|(n, _)| row.model.starts_with(n)).copied()?;
    let base = Transformer::decoder(layers, hidden, [heads, shared], ffn);
    let whole = match name {
        // Keys and values are handed in and out (smpanaro/more-ane-transformers, models/gpt2.py).
        n if n.starts_with("gpt2") => Transformer { gated: false, vocabulary, cache: Cache::Fed, ..base },
        n if n.starts_with("pythia") => Transformer {
            vocabulary,
            ..Transformer { ffn, ..Transformer::encoder(layers, hidden, heads, 512) }
        },
        // 64 tokens are computed in each call (smpanaro/coreml-llm-cli).
        "Llama-2-7B" => Transformer { vocabulary, tokens: 64, cache: Cache::Fed, ..base },
        "MiniLM" => Transformer::encoder(layers, hidden, heads, 128),
        _ => Transformer { vocabulary, ..base },
    };
    Some(pipeline(&whole, row.stored))
}

/// A model whose weights are too large for one program is cut into equal ones, and its head.
fn pipeline(whole: &Transformer, stored: Stored) -> Result<Result<Model, Fault>, String> {
    let per_weight = match stored {
        Stored::Fp16 => 2.0,
        Stored::Palette(bits) => bits as f64 / 8.0,
        _ => 1.0,
    };
    let ffn = whole.ffn * whole.hidden * if whole.gated { 3 } else { 2 };
    let attention = whole.hidden * whole.head * (whole.heads[0] + whole.heads[1]) * 2;
    let bytes = (ffn + attention) as f64 * whole.layers as f64 * per_weight;
    let mut parts = 1;
    while bytes / parts as f64 > MOST_BYTES || !whole.layers.is_multiple_of(parts) {
        parts += 1;
    }
    if parts == 1 {
        return once(whole.program(stored));
    }
    let part = Transformer { layers: whole.layers / parts, vocabulary: 0, ..*whole };
    let head = Transformer { layers: 0, ..*whole };
    let build = || Ok(vec![(part.program(stored)?, parts as f64), (head.program(stored)?, 1.0)]);
    Ok(build())
}

/// Why a model has no program here.
fn why_not(model: &str) -> &'static str {
    const REASONS: [(&str, &str); 16] = [
        ("training", "training: backward passes and CPU work are no ML program"),
        ("Qwen3-0.6B forward", "implausible by its source's own note"),
        ("peak conv benchmark", "its shapes are not published"),
        ("Gemma", "its layer table is not public in the sources"),
        ("Qwen3.5", "linear attention with recurrent states; its layer table is not in the sources"),
        ("Qwen3-4B", "another framework, Core AI"),
        ("ZAYA", "a mixture of experts whose layer table is not in the sources"),
        ("MicroGPT", "its layer table is not in the sources"),
        ("Nemotron", "its layer table is not in the sources"),
        ("Kokoro", "its layer table is not in the sources"),
        ("Supertonic", "its layer table is not in the sources"),
        ("pyannote", "its layer table is not in the sources"),
        ("Silero", "runs on the CPU; the shape of the call is not published"),
        ("topk in graph", "the figure that the cost of sorting comes from"),
        ("sort", "another program, made by that tool"),
        ("softmax", "its shape is not published"),
    ];
    REASONS
        .iter()
        .find(|(name, _)| model.contains(name))
        .map_or("its layer table is not in the sources", |r| r.1)
}
