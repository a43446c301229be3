//! `advise`: which unit, which compression, which rewrite and which path for a model on a device, with reasons.

use crate::open::open_to_look;
use crate::size::APP_BYTES;
use crate::{ConvertOptions, Error, SimulateOptions, convert, open, simulated};
use anemone_ane::simulate::{Bound, Interval, Timeline};
use anemone_ane::{Arithmetic, Device, Fact, OpPlan, Plan, Unit, Units};
use anemone_lint::{Finding, Fix, Severity, Subject};
use anemone_mil::ops::Effect;
use anemone_mil::{Const, Function, Program, Type, Uses};
use anemone_tensor::num::f64_of_usize;
use std::path::Path;
use std::sync::Arc;

/// Most pieces of advice.
const MOST: usize = 10;
/// Findings of rules among them.
const RULES: usize = 2;
/// Part of a plan's cost on the Neural Engine from which Core ML serves it there, and below which it does not.
const MOSTLY: (f64, f64) = (0.7, 0.3);
/// Parameters from which a language model is one for the GPU, and those that a phone carries (facts `advice-targets` and
/// `advice-models`).
const LARGE: (f64, f64) = (1e9, 3.5e9);
/// Bytes of weights that are worth compressing for size alone.
const WORTH_SHRINKING: u64 = 50_000_000;

/// What a piece of advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// What runs the model.
    Path,
    /// Which compute units to allow.
    Units,
    /// What stays off the Neural Engine.
    Placement,
    /// How to store the weights.
    Compression,
    /// What to change in the model.
    Rewrite,
    /// How large it is.
    Size,
    /// Whether numbers survive.
    Numbers,
    /// How far to trust all this.
    Trust,
}

impl About {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            About::Path => "path",
            About::Units => "units",
            About::Placement => "placement",
            About::Compression => "compression",
            About::Rewrite => "rewrite",
            About::Size => "size",
            About::Numbers => "numbers",
            About::Trust => "trust",
        }
    }
}

/// One piece of advice.
#[derive(Clone, Debug)]
pub struct Counsel {
    /// What it is about.
    pub about: About,
    /// What to do, without a full stop.
    pub say: String,
    /// Why, without a full stop.
    pub why: String,
    /// Facts behind it, where it rests on more than plan and simulation.
    pub facts: Vec<&'static Fact>,
}

/// Advice for a model on a device.
#[derive(Clone, Debug)]
pub struct Advised {
    /// Name of the function.
    pub function: String,
    /// Where each op would go with CPU and Neural Engine allowed.
    pub plan: Plan,
    /// One warm call so, and on the CPU alone; simulated, not measured.
    pub latency: [Interval; 2],
    /// Numbers among the weights.
    pub parameters: f64,
    /// Bytes of the weights, as stored.
    pub weight_bytes: u64,
    /// At most ten pieces, the most important first.
    pub counsel: Vec<Counsel>,
}

/// Advises on a package, a compiled model, MIL text, or an `.onnx` file, which is converted first.
///
/// # Errors
/// When the model does not open or convert, or has no such function.
pub fn advise(path: &Path, function: Option<&str>, device: &Arc<Device>) -> Result<Advised, Error> {
    if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        let opened = open_to_look(path)?;
        return of_program(&opened.program, function, device).map_err(|e| e.at(path));
    }
    let folder =
        tempfile::tempdir().map_err(|e| Error::new(format!("no folder for a converted model: {e}")))?;
    let output = Some(folder.path().join("model.mlpackage"));
    let converted =
        convert(path, &ConvertOptions { output, check: false, ..ConvertOptions::default() }, &mut |_| {})?;
    of_program(&open(&converted.output)?.program, function, device).map_err(|e| e.at(path))
}

/// What advice is made of.
struct Case<'a> {
    device: &'a Device,
    function: &'a Function,
    plan: &'a Plan,
    timeline: &'a Timeline,
    latency: [Interval; 2],
    parameters: f64,
    weight_bytes: u64,
    findings: Vec<Finding>,
}

fn of_program(program: &Program, name: Option<&str>, device: &Arc<Device>) -> Result<Advised, Error> {
    let function = crate::open::verified(program, name)?.function();
    let of = |units| simulated(program, function, &SimulateOptions::new(Arc::clone(device), units));
    let (near, cpu) = (of(Units::CpuAndNe)?, of(Units::CpuOnly)?);
    let subject = Subject::new(program, function, &near.plan);
    let case = Case {
        device,
        function,
        plan: &near.plan,
        timeline: &near.timeline,
        latency: [near.timeline.latency, cpu.timeline.latency],
        parameters: parameters(function),
        weight_bytes: near.weight_bytes,
        findings: anemone_lint::check(&subject, |rule| Some(rule.severity)),
    };
    let counsel = case.counsel();
    let (latency, parameters) = (case.latency, case.parameters);
    Ok(Advised {
        function: function.name.to_string(),
        latency,
        parameters,
        weight_bytes: near.weight_bytes,
        counsel,
        plan: near.plan,
    })
}

/// Elements of the weights as they are computed with: constants that no op unpacks, and what ops unpack.
fn parameters(function: &Function) -> f64 {
    let uses = Uses::of(function);
    let unpacks =
        |id: &anemone_mil::OpId| function.op(*id).kind.def().is_some_and(|d| d.effect == Effect::Constexpr);
    let mut count = 0.0;
    for (v, value) in function.values() {
        let made = function.producer(v).is_some_and(|id| unpacks(&id));
        let weight = matches!(value.as_const(), Some(Const::Weight(_)));
        if (made || weight) && !uses.ops(v).iter().any(&unpacks) {
            count +=
                f64_of_usize(value.ty.tensor().and_then(anemone_mil::TensorType::element_count).unwrap_or(0));
        }
    }
    count
}

fn counsel(about: About, say: impl Into<String>, why: impl Into<String>, facts: &[&str]) -> Counsel {
    let facts = facts.iter().filter_map(|f| Fact::named(f)).collect();
    Counsel { about, say: say.into(), why: why.into(), facts }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn ms(v: f64) -> String {
    if v < 1.0 { format!("{:.0} µs", v * 1e3) } else { format!("{v:.1} ms") }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

impl Case<'_> {
    fn counsel(&self) -> Vec<Counsel> {
        let mut all = vec![self.path(), self.units()];
        all.extend(self.placement());
        all.push(self.compression());
        all.extend(self.changes());
        all.extend(self.rules());
        all.extend(self.size());
        if self.share() > 0.0 {
            all.push(self.numbers());
        }
        all.push(self.trust());
        // Rules give way first: `check` lists them all.
        while all.len() > MOST {
            let at = all.iter().rposition(|c| c.about == About::Rewrite).unwrap_or(all.len() - 1);
            all.remove(at);
        }
        all
    }

    fn share(&self) -> f64 {
        self.plan.ane_share_by_cost
    }

    /// True for models that read a large table of tokens, or keep a state, and attend.
    fn is_language(&self) -> bool {
        let f = self.function;
        let states = f.inputs.iter().any(|&v| matches!(f.value(v).ty, Type::State(_)));
        let has = |kinds: &[&str]| f.walk().iter().any(|(_, id)| kinds.contains(&f.op(*id).kind.name()));
        (states || has(&["gather"])) && has(&["softmax", "scaled_dot_product_attention"])
    }

    fn path(&self) -> Counsel {
        let on = percent(self.share());
        let chip = &self.device.chip;
        let billions = self.parameters / 1e9;
        let (large, share) = (self.is_language() && self.parameters >= LARGE.0, self.share());
        if large && self.device.is_phone() && self.parameters > LARGE.1 {
            let why =
                format!("a language model of {billions:.1} B parameters is more than a phone runs well");
            return counsel(
                About::Path,
                "llama.cpp or MLX on a Mac, or a smaller model",
                why,
                &["advice-models", "advice-choice"],
            );
        }
        if large && share < MOSTLY.0 {
            let why = format!(
                "{billions:.1} B parameters are read for every token and {on} of the estimated time is on the Neural Engine \
                 of {chip}; llama.cpp for size and independence, MLX for research"
            );
            return counsel(
                About::Path,
                "the GPU: llama.cpp or MLX, or Core ML with cpu-and-gpu",
                why,
                &["advice-targets", "advice-choice", "advice-mlx"],
            );
        }
        if share >= MOSTLY.0 {
            let why = format!(
                "{on} of the estimated time is on the Neural Engine of {chip}, which only Core ML reaches"
            );
            return counsel(About::Path, "Core ML on the Neural Engine", why, &["advice-choice"]);
        }
        let why = format!(
            "{on} of the estimated time is on the Neural Engine of {chip}; ExecuTorch is the other way where the model is \
             written in PyTorch and changes often; what the GPU takes is not published"
        );
        let say = if share < MOSTLY.1 { "Core ML on CPU and GPU" } else { "Core ML with all units" };
        counsel(About::Path, say, why, &["advice-choice"])
    }

    fn units(&self) -> Counsel {
        let [near, cpu] = self.latency;
        let why = format!(
            "a call is simulated at {} ({} to {}) with the Neural Engine and at {} on the CPU alone",
            ms(near.ms),
            ms(near.low),
            ms(near.high),
            ms(cpu.ms)
        );
        let say = if near.ms < cpu.ms { "allow cpu-and-ne" } else { "allow cpu-only" };
        counsel(About::Units, say, why, &[])
    }

    fn placement(&self) -> Option<Counsel> {
        let cost = |op: &&OpPlan| op.cost_share.unwrap_or(0.0);
        let off: Vec<&OpPlan> = self.plan.ops.iter().filter(|op| op.preferred != Unit::Ane).collect();
        let worst = off.iter().copied().max_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        let say = format!(
            "{} of {} ops stay off the Neural Engine, in {} changes of unit; begin with {} \"{}\"",
            off.len(),
            self.plan.ops.len(),
            self.plan.crossings,
            worst.kind,
            worst.name
        );
        Some(Counsel { about: About::Placement, say, why: worst.reason.clone(), facts: worst.facts.clone() })
    }

    fn compression(&self) -> Counsel {
        let now = percent(self.timeline.share(Bound::Weights));
        let stored = ["palettize-4", "linear-8", "w8a8"];
        if let Some(change) = self.timeline.changes.iter().find(|c| stored.contains(&c.key)) {
            let why = format!(
                "it saves {} of a call ({}), {now} of which waits for weights; it may cost {}",
                ms(change.saves),
                percent(change.share),
                change.but
            );
            return counsel(About::Compression, change.what.clone(), why, &[]);
        }
        if self.weight_bytes >= WORTH_SHRINKING {
            let why = format!(
                "no call gets faster, since {now} of it waits for weights, but {} get smaller",
                megabytes(self.weight_bytes)
            );
            return counsel(About::Compression, "palettise to 6 or 4 bits for size alone", why, &[]);
        }
        let why = format!("{now} of a call waits for weights, and they are {}", megabytes(self.weight_bytes));
        counsel(About::Compression, "leave the weights as they are", why, &[])
    }

    /// Changes that the simulation prices, those of weights left out.
    fn changes(&self) -> Vec<Counsel> {
        let stored = ["palettize-4", "linear-8", "w8a8"];
        let others = self.timeline.changes.iter().filter(|c| !stored.contains(&c.key));
        others
            .map(|c| {
                let why = format!(
                    "it saves {} of a call ({}); it may cost {}",
                    ms(c.saves),
                    percent(c.share),
                    c.but
                );
                counsel(About::Rewrite, c.what.clone(), why, &[])
            })
            .collect()
    }

    /// The rules that find most.
    fn rules(&self) -> Vec<Counsel> {
        let mut found: Vec<(&Finding, usize)> = Vec::new();
        for finding in self.findings.iter().filter(|f| f.severity > Severity::Note) {
            match found.iter_mut().find(|(f, _)| f.rule.name == finding.rule.name) {
                Some((_, count)) => *count += 1,
                None => found.push((finding, 1)),
            }
        }
        found.sort_by_key(|(f, count)| std::cmp::Reverse((f.severity, *count)));
        let one = |(f, count): (&Finding, usize)| {
            let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            let fix = if matches!(f.rule.fix, Fix::Manual) { "" } else { "; `anemone fix` does it" };
            let why = format!("{}: {}{more}{fix}", f.rule.name, f.message);
            counsel(About::Rewrite, f.rule.help, why, f.rule.facts)
        };
        found.into_iter().take(RULES).map(one).collect()
    }

    fn size(&self) -> Option<Counsel> {
        let size = megabytes(self.weight_bytes);
        let limit = self.device.figure("limit_program_mb").and_then(|f| f.value.least());
        if self.device.is_phone() && self.weight_bytes > APP_BYTES {
            let why = format!("the weights are {size}, and an app has at most {}", megabytes(APP_BYTES));
            return Some(counsel(
                About::Size,
                "compress, or load the weights after installing",
                why,
                &["advice-size"],
            ));
        }
        let parts = limit.filter(|mb| mb * 1e6 < self.weight_bytes as f64)?;
        let why = format!(
            "the weights are {size}, and one program has at most {parts:.0} MB on {}",
            self.device.chip
        );
        Some(counsel(About::Size, "cut the model into shards", why, &["size-shards"]))
    }

    fn numbers(&self) -> Counsel {
        let known = Arithmetic::of(self.device);
        let chip = &self.device.chip;
        match known.sums {
            Some(fact) => Counsel {
                about: About::Numbers,
                say: "run `anemone verify --emulate ane` with real inputs".into(),
                why: format!(
                    "on {chip} a sum of products is infinite from 32768 on, which CPU and GPU do not show"
                ),
                facts: vec![fact],
            },
            None => {
                let say = "run `anemone verify --emulate ane --assume m6` with real inputs";
                let why = format!(
                    "sums overflow from 32768 on where that was measured, and of {chip} it is not known"
                );
                counsel(About::Numbers, say, why, &["ane-fixed-sums"])
            }
        }
    }

    fn trust(&self) -> Counsel {
        let uncertain = self.plan.ops.iter().filter(|op| op.uncertain).count();
        let carried = self.plan.ops.iter().filter(|op| op.carried).count();
        let why = format!(
            "of {} ops {uncertain} rest on something unknown and {carried} on what was seen on another chip; times are \
             simulated",
            self.plan.ops.len()
        );
        counsel(About::Trust, "measure on the device before deciding", why, &[])
    }
}
