//! Arguments of every verb.

mod advise;
mod compress;
mod emulate;
mod fix;
mod report;
mod simulate;
mod size;
mod trace;

pub(crate) use advise::AdviseArgs;
pub(crate) use compress::{CompressArgs, DecompressArgs};
pub(crate) use emulate::EmulateArgs;
pub(crate) use fix::FixArgs;
pub(crate) use report::ReportArgs;
pub(crate) use simulate::SimulateArgs;
pub(crate) use size::SizeArgs;
pub(crate) use trace::TraceArgs;

use anemone::ane::{Os, Units};
use anemone::picture::{Channels, Fit, Preprocess};
use anemone::rules::Severity;
use anemone::{DType, LoadOptions, Model, Opset, Precision, Tensor, statistics};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The Core ML and Apple Neural Engine toolchain that runs anywhere.
#[derive(Debug, Parser)]
#[command(
    name = "anemone",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Convert a model to an .mlpackage, plan it and check it
    #[command(after_help = "Examples:
  anemone convert model.onnx
  anemone convert model.onnx -o small.mlpackage --target ios16 --precision fp32
  anemone convert dynamic.onnx --input image:1x3x224x224 --device m4")]
    Convert(ConvertArgs),
    /// Print a program as MIL text
    #[command(after_help = "Examples:
  anemone show model.mlpackage
  anemone show model.mlmodelc --function main --compact")]
    Show(ShowArgs),
    /// Show what a model takes and gives, what it is made of, and how large it is
    #[command(after_help = "Examples:
  anemone inspect model.mlpackage
  anemone inspect model.mlmodelc --json")]
    Inspect(InspectArgs),
    /// Run a prediction, or several in a row on one state
    #[command(after_help = "Examples:
  anemone run model.mlpackage --inputs inputs.safetensors -o out
  anemone run model.mlpackage --input x=x.npy --input y=y.npy -o out --npy
  anemone run model.mlpackage --random 1 --shape image:1x3x64x64 --precision f32
  anemone run model.mlpackage --random 1 --emulate ane --device m4
  anemone run detector.mlpackage --input image=dog.jpg --value confidenceThreshold=0.4
  anemone run stateful.mlpackage --steps --inputs 0.safetensors --inputs 1.safetensors \\
      --state new --save-state after.safetensors -o out
  anemone run classifier.mlpackage --labels labels.txt \\
      --image image=dog.jpg,crop=0.875,scale=0.0078125,bias=-0.9921875
  anemone run depth.mlpackage --input image=dog.jpg --save-image depth=depth.png,range=auto")]
    Run(RunArgs),
    /// Run a prediction and compare it with what is expected, or with fp32 op by op
    #[command(after_help = "Examples:
  anemone verify model.mlpackage --inputs in.safetensors --expected out.safetensors
  anemone verify model.mlpackage --inputs in.npz --expected out.npz --atol 1e-3 --rtol 1e-2
  anemone verify classifier.mlpackage --input image=dog.png --expected-labels labels.json
  anemone verify stateful.mlpackage --steps --inputs in.0.npz --inputs in.1.npz \\
      --expected out.0.npz --expected out.1.npz
  anemone verify model.mlpackage --find-overflow --inputs in.safetensors
  anemone verify model.mlpackage --find-overflow --random 1 --loss 0.5%
  anemone verify model.mlpackage --emulate ane --inputs in.safetensors
  anemone verify model.mlpackage --emulate ane-eligible --device m1 --assume m6 --random 1")]
    Verify(VerifyArgs),
    /// Say where each op would run, why, and at what cost
    #[command(after_help = "Examples:
  anemone plan model.mlpackage --device m4 --units cpu-and-ne
  anemone plan model.mlpackage --json")]
    Plan(PlanArgs),
    /// Say how long a model would take on a device, what it would wait for, and what would help
    #[command(after_help = "Examples:
  anemone simulate model.mlpackage --device \"iPhone 15 Pro\"
  anemone simulate model.mlpackage --device m4 --units all --cold --trace trace.json
  anemone simulate model.mlpackage --sweep batch=1..64
  anemone simulate decoder.mlpackage --sweep context=512..32768 --svg context.svg
  anemone simulate model.mlpackage --sweep device=all
docs/simulate.md says what the figures rest on. Trace files open in ui.perfetto.dev.")]
    Simulate(SimulateArgs),
    /// Say which unit, compression, rewrite and path fit a model on a device, with reasons
    #[command(after_help = advise::EXAMPLES)]
    Advise(AdviseArgs),
    /// Measure how long predictions take, and where the time goes
    #[command(after_help = "Examples:
  anemone bench model.mlpackage
  anemone bench model.mlpackage --threads 1 --seconds 10 --trace trace.json
  anemone bench fp16.mlpackage int8.mlpackage --iterations 200
Trace files open in ui.perfetto.dev or chrome://tracing.")]
    Bench(BenchArgs),
    /// Read what a device says: plans and estimates of Core ML, recordings of Instruments
    #[command(after_help = "Examples:
  anemone trace plan.json
  anemone trace plan.json --against model.mlpackage --device m4
  anemone trace analytics.mil --calibrate -o mine.toml
  anemone plan model.mlpackage --device mine.toml
  xcrun xctrace export --input app.trace \\
      --xpath '//trace-toc[1]/run[1]/data[1]/table[@schema=\"ane-hw-intervals\"]' > engine.xml
  anemone trace engine.xml --perfetto timeline.json
docs/trace.md names the layouts that are read.")]
    Trace(TraceArgs),
    /// Load models and predict for another program, a line of JSON at a time
    #[command(after_help = "Examples:
  anemone serve --stdio
  echo '{\"id\":1,\"op\":\"hello\"}' | anemone serve --stdio
docs/serve.md describes the protocol and has a client in Python.")]
    Serve(ServeArgs),
    /// Find what keeps models off the Neural Engine, and hold them against gates
    #[command(after_help = "Examples:
  anemone check model.mlpackage
  anemone check shard*.mlpackage --gate 'ane>=95%' --gate all-convs-on-ane --gate 'shard<=250MB'
  anemone check model.mlpackage --format sarif > findings.sarif
  anemone check model.mlpackage --fix -o fixed.mlpackage
  anemone check --list
Settings are read from anemone.toml where the command runs:
  [check]
  device = \"iPhone 15 Pro\"
  gates = [\"ane>=95%\", \"latency<8ms\"]
  [rules]
  topk = \"off\"")]
    Check(CheckArgs),
    /// Rewrite what keeps a model off the Neural Engine, as far as that is automatic
    #[command(after_help = "Examples:
  anemone fix model.mlpackage -o fixed.mlpackage
  anemone fix model.mlpackage -o fixed.mlpackage --rounding --device \"iPhone 12\"
  anemone fix model.mlpackage --dry-run --rule linear-not-conv")]
    Fix(FixArgs),
    /// Show what is known of the chips that models run on
    #[command(after_help = "Examples:
  anemone devices
  anemone devices m4
  anemone devices \"iPhone 15 Pro\" --json")]
    Devices(DevicesArgs),
    /// List what is known about placement, claim by claim
    #[command(after_help = "Examples:
  anemone facts
  anemone facts --op conv --device m1
  anemone facts --topic eligibility --os ios18
  anemone facts --topic weights --json")]
    Facts(FactsArgs),
    /// Show one fact with both sides and who decided, or the page of a rule
    #[command(after_help = "Examples:
  anemone explain F017
  anemone explain ane-int32 --json")]
    Explain(ExplainArgs),
    /// Compress the weights of a package
    #[command(after_help = "Examples:
  anemone compress model.mlpackage -o small.mlpackage --palettize 4
  anemone compress model.mlpackage -o small.mlpackage --linear int4 --granularity per-block --block-size 32
  anemone compress model.mlpackage -o small.mlpackage --prune 0.5 --palettize 6
  anemone compress model.mlpackage -o small.mlpackage --config recipe.yaml
  anemone compress model.mlpackage -o w8a8.mlpackage --linear int8 --activations int8 --inputs sample.npz
  anemone compress model.mlpackage -o small.mlpackage --budget 4.3bits --inputs sample.npz \\
      --recipe recipe.yaml --plot front.svg
  anemone compress model.mlpackage -o small.mlpackage --max-loss 0.5% --inputs sample.npz")]
    Compress(CompressArgs),
    /// Unpack the compressed weights of a package
    #[command(after_help = "Examples:
  anemone decompress small.mlpackage -o plain.mlpackage")]
    Decompress(DecompressArgs),
    /// Write a page that shows graph, timeline, ops, findings and sizes, for any browser
    #[command(after_help = report::EXAMPLES)]
    Report(ReportArgs),
    /// Say how large a model is under every compression, and which devices hold it
    #[command(after_help = size::EXAMPLES)]
    Size(SizeArgs),
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people.
    Text,
    /// Schema anemone.check/1.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub.
    Github,
}

/// Arguments of `check`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// Models: .mlpackage, .mlmodelc or .mil
    #[arg(required_unless_present = "list")]
    pub models: Vec<PathBuf>,
    /// Device to plan for: a chip, a product or a device file [default: m4]
    #[arg(long)]
    pub device: Option<String>,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long)]
    pub os: Option<Os>,
    /// Compute units: all, cpu-and-ne, cpu-and-gpu or cpu-only [default: cpu-and-ne]
    #[arg(long, value_parser = units)]
    pub units: Option<Units>,
    /// Condition on every function: ane>=95%, ane-cost>=90%, latency<8ms, shard<=250MB, crossings<=4,
    /// all-convs-on-ane
    #[arg(long = "gate", value_name = "GATE")]
    pub gates: Vec<String>,
    /// What a rule counts as: name=off, note, warning or error
    #[arg(long = "rule", value_name = "NAME=LEVEL", value_parser = severity)]
    pub rules: Vec<(String, Option<Severity>)>,
    /// Settings to read instead of anemone.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show notes, too
    #[arg(long)]
    pub notes: bool,
    /// List the rules
    #[arg(long)]
    pub list: bool,
    /// Fix what can be fixed first, write it to OUT, and check that; `anemone fix` has more to choose
    #[arg(long, requires = "output")]
    pub fix: bool,
    /// With --fix: also apply fixes that round otherwise
    #[arg(long, requires = "fix")]
    pub rounding: bool,
    /// With --fix: package to write
    #[arg(short, long, value_name = "OUT", requires = "fix")]
    pub output: Option<PathBuf>,
    /// How findings are written
    #[arg(long, default_value = "text")]
    pub format: CheckFormat,
    /// Print JSON (schema anemone.check/1)
    #[arg(long)]
    pub json: bool,
}

impl CheckArgs {
    /// The format that was asked for, by either way.
    pub(crate) fn format(&self) -> CheckFormat {
        if self.json { CheckFormat::Json } else { self.format }
    }
}

/// Arguments of `facts`.
#[derive(Debug, ClapArgs)]
pub(crate) struct FactsArgs {
    /// Only facts about this kind of op, such as conv
    #[arg(long)]
    pub op: Option<String>,
    /// Only facts that were seen on this device, or are about all of them
    #[arg(long)]
    pub device: Option<String>,
    /// Only facts that were seen on a system of this year (macOS 27, ios18), or name none
    #[arg(long)]
    pub os: Option<Os>,
    /// Only facts of this topic, such as eligibility, cost or weights
    #[arg(long)]
    pub topic: Option<String>,
    /// Print JSON (schema anemone.facts/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `explain`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// Id or name of a fact, or name of a rule: F017, ane-int32 or int32-island
    pub name: String,
    /// Print JSON (schema anemone.facts/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `devices`.
#[derive(Debug, ClapArgs)]
pub(crate) struct DevicesArgs {
    /// One device: a chip, a product, or a device file [default: a table of all]
    pub device: Option<String>,
    /// Print JSON (schema anemone.devices/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `convert`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ConvertArgs {
    /// Model to convert (.onnx)
    pub source: PathBuf,
    /// Package to write [default: beside the model, ending in .mlpackage]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// Oldest system that shall run it: ios15 to ios18, ios26, or macos12 to macos15, macos26
    #[arg(long, default_value = "ios17", value_parser = target)]
    pub target: Opset,
    /// Type to compute in: fp16 or fp32
    #[arg(long, default_value = "fp16", value_parser = precision)]
    pub precision: DType,
    /// Fix the shape of an input: name:1x3x224x224
    #[arg(long = "input", value_name = "NAME:SHAPE", value_parser = shape)]
    pub inputs: Vec<(String, Vec<usize>)>,
    /// Device to plan for
    #[arg(long, default_value = "m4")]
    pub device: String,
    /// Compute units to plan for: all, cpu-and-ne, cpu-and-gpu or cpu-only
    #[arg(long, default_value = "cpu-and-ne", value_parser = units)]
    pub units: Units,
    /// Do not compare the package with the source
    #[arg(long)]
    pub no_check: bool,
    /// Print JSON (schema anemone.convert/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `show`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    /// Model: .mlpackage, .mlmodelc or .mil
    pub model: PathBuf,
    /// Only this function
    #[arg(long)]
    pub function: Option<String>,
    /// For reading: constants inlined and abbreviated
    #[arg(long)]
    pub compact: bool,
    /// Print JSON (schema anemone.show/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `inspect`.
#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// Model: .mlpackage, .mlmodelc, .mlmodel or .mil
    pub model: PathBuf,
    /// Print JSON (schema anemone.inspect/1)
    #[arg(long)]
    pub json: bool,
}

/// Where inputs come from.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct InputArgs {
    /// One input: name=FILE, FILE being .npy, or .png or .jpg for a picture
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = named_file)]
    pub input: Vec<(String, PathBuf)>,
    /// One input of a single number: name=0.5
    #[arg(long = "value", value_name = "NAME=NUMBER", value_parser = named_number)]
    pub value: Vec<(String, f64)>,
    /// Several inputs by name: a .safetensors or .npz file
    #[arg(long = "inputs", value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// Each --inputs is a prediction of its own, in order and on one state; other inputs go to all of them
    #[arg(long, requires = "inputs")]
    pub steps: bool,
    /// A picture: name=FILE[,scale=S][,bias=B or R:G:B][,crop=SHARE][,fit=stretch, crop, pad or exact][,color=rgb, bgr or
    /// gray]; without fit it is stretched to the size of the input. Pixels are 0 to 255, those of 16-bit float
    /// inputs 0 to 1
    #[arg(long = "image", value_name = "NAME=FILE,...", value_parser = image)]
    pub image: Vec<(String, PathBuf, Preprocess)>,
    /// Make the inputs that are not given from this seed; optional ones keep their default
    #[arg(long, value_name = "SEED")]
    pub random: Option<u64>,
    /// Shape of a random input: name:1x3x64x64 [default: the usual one]
    #[arg(long = "shape", value_name = "NAME:SHAPE", value_parser = shape)]
    pub shape: Vec<(String, Vec<usize>)>,
    /// What states hold at first: new (zeros), or a .safetensors or .npz file
    #[arg(long, value_name = "new or FILE", default_value = "new")]
    pub state: PathBuf,
    /// Threads that share the work [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Iterations that all loops of a prediction may make together [default: 1000000]
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    /// Memory that the tensors of a prediction may take, weights not counted: 512MB, 4GB [default: 16GiB]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_memory: Option<u64>,
    /// Function to run [default: the package's default one]
    #[arg(long)]
    pub function: Option<String>,
    /// Numbers to compute with: declared, f32 (the reference for comparisons) or fp16-strict (rounded after every op)
    #[arg(long, default_value = "declared", value_parser = computed)]
    pub precision: Precision,
}

impl InputArgs {
    /// How to load the model.
    pub(crate) fn options(&self) -> LoadOptions {
        let mut options = Model::options().precision(self.precision);
        if let Some(function) = &self.function {
            options = options.function(function);
        }
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        if let Some(steps) = self.max_steps {
            options = options.max_steps(steps);
        }
        if let Some(bytes) = self.max_memory {
            options = options.max_bytes(bytes);
        }
        options
    }

    /// The file that states start with; `None` when they are new.
    pub(crate) fn state(&self) -> Option<PathBuf> {
        (self.state.as_os_str() != "new").then(|| self.state.clone())
    }
}

/// The values that become black and white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shades {
    /// These.
    Between(f64, f64),
    /// The smallest and the largest that there are.
    Auto,
}

impl Shades {
    /// The two values for a tensor; where all of its elements are the same, they are black.
    pub(crate) fn of(self, tensor: &Tensor) -> [f64; 2] {
        match self {
            Shades::Between(low, high) => [low, high],
            Shades::Auto => {
                let s = statistics(tensor);
                match (s.min < s.max, s.min.is_finite()) {
                    (true, _) => [s.min, s.max],
                    (false, true) => [s.min, s.min + 1.0],
                    (false, false) => [0.0, 1.0],
                }
            }
        }
    }
}

fn saved_image(text: &str) -> Result<(String, PathBuf, Option<Shades>), String> {
    let Some((file, range)) = text.rsplit_once(",range=") else {
        return named_file(text).map(|(name, file)| (name, file, None));
    };
    let (name, file) = named_file(file)?;
    if range == "auto" {
        return Ok((name, file, Some(Shades::Auto)));
    }
    let numbers = range.split_once(':').and_then(|(l, h)| Some((l.parse().ok()?, h.parse().ok()?)));
    match numbers {
        Some((low, high)) if low < high => Ok((name, file, Some(Shades::Between(low, high)))),
        _ => Err(format!("range must be auto or LOW:HIGH, such as 0:10, but is {range:?}")),
    }
}

/// Arguments of `run`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Model: .mlpackage or .mlmodelc
    pub model: PathBuf,
    #[command(flatten)]
    pub inputs: InputArgs,
    #[command(flatten)]
    pub emulate: EmulateArgs,
    /// Write what the states hold at the end: a .safetensors file
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
    /// Folder for the outputs: outputs.safetensors there, then outputs.1.safetensors and so on
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write one .npy file per output instead
    #[arg(long)]
    pub npy: bool,
    /// Also write this output as a picture: name=FILE.png, or .jpg; range gives the values that become black and white
    #[arg(long = "save-image", value_name = "NAME=FILE[,range=LOW:HIGH or auto]", value_parser = saved_image)]
    pub save_image: Vec<(String, PathBuf, Option<Shades>)>,
    /// Names of the classes, one a line, where the package has none: print the five best
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Print JSON (schema anemone.run/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// Model: .mlpackage or .mlmodelc
    pub model: PathBuf,
    #[command(flatten)]
    pub inputs: InputArgs,
    #[command(flatten)]
    pub emulate: EmulateArgs,
    /// Expected outputs by name: a .safetensors or .npz file; with --steps one for each prediction
    #[arg(long, value_name = "FILE")]
    pub expected: Vec<PathBuf>,
    /// Expected labels and probabilities: JSON as run writes it; with --steps one file for each prediction
    #[arg(long, value_name = "FILE")]
    pub expected_labels: Vec<PathBuf>,
    /// Run beside fp32, and name the ops that make infinities or NaN, or lose accuracy (schema anemone.overflow/1)
    #[arg(long, conflicts_with_all = ["expected", "expected_labels", "steps"])]
    pub find_overflow: bool,
    /// Share of its accuracy that an op may lose by itself: 1% or 0.01
    #[arg(long, default_value = "1%", value_name = "SHARE", value_parser = share)]
    pub loss: f64,
    /// Absolute tolerance
    #[arg(long, default_value_t = 1e-3)]
    pub atol: f64,
    /// Relative tolerance
    #[arg(long, default_value_t = 1e-2)]
    pub rtol: f64,
    /// Print JSON (schema anemone.verify/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `plan`.
#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    /// Model: .mlpackage, .mlmodelc or .mil
    pub model: PathBuf,
    /// Device to plan for: a chip (m4), a product ("iPhone 15 Pro") or a device file (mine.toml)
    #[arg(long, default_value = "m4")]
    pub device: String,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long)]
    pub os: Option<Os>,
    /// Compute units that the model may use: all, cpu-and-ne, cpu-and-gpu or cpu-only
    #[arg(long, default_value = "all", value_parser = units)]
    pub units: Units,
    /// Function to plan [default: the package's default one]
    #[arg(long)]
    pub function: Option<String>,
    /// Print JSON (schema anemone.plan/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bench`.
#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// Models: .mlpackage or .mlmodelc; several are compared
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Predictions before the measured ones
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub warmup: usize,
    /// Measured predictions of each model [default: as many as fit into --seconds]
    #[arg(long, value_name = "N", value_parser = iterations)]
    pub iterations: Option<usize>,
    /// Time for the measured predictions of each model
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// Slowest ops to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Write what happened as a Chrome and Perfetto trace
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print JSON (schema anemone.bench/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `serve`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Requests on standard input, answers on standard output
    #[arg(long, required = true)]
    pub stdio: bool,
    /// Threads that share the work of a prediction [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Tell of every request on standard error
    #[arg(long)]
    pub log: bool,
}

fn iterations(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("must be a number from 1 to {MOST}"))
}

fn seconds(text: &str) -> Result<f64, String> {
    const MOST: f64 = 86_400.0;
    let number = text.parse().ok().filter(|s| (0.0..=MOST).contains(s));
    number.ok_or_else(|| format!("must be a number from 0 to {MOST}"))
}

/// Threads that an engine may be asked for.
const MOST_THREADS: usize = 1024;

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MOST_THREADS).contains(n));
    number.ok_or_else(|| format!("must be a number from 1 to {MOST_THREADS}"))
}

/// Bytes: a number with a unit of 1000 (`MB`) or 1024 (`MiB`), or without one.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("must be a size such as 512MB or 4GiB, but is {text:?}");
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes.filter(|&b| b > 0).ok_or_else(wrong)
}

fn target(text: &str) -> Result<Opset, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "ios15" | "macos12" => Opset::Ios15,
        "ios16" | "macos13" => Opset::Ios16,
        "ios17" | "macos14" => Opset::Ios17,
        "ios18" | "macos15" => Opset::Ios18,
        "ios26" | "macos26" => Opset::Ios26,
        _ => {
            return Err(
                "must be ios15, ios16, ios17, ios18, ios26, macos12, macos13, macos14, macos15 or macos26"
                    .into(),
            );
        }
    })
}

fn severity(text: &str) -> Result<(String, Option<Severity>), String> {
    let (name, level) = text.split_once('=').ok_or("must be NAME=off, note, warning or error")?;
    let severity = match level {
        "off" => None,
        level => Some(Severity::named(level).ok_or("must be NAME=off, note, warning or error")?),
    };
    Ok((name.to_owned(), severity))
}

fn precision(text: &str) -> Result<DType, String> {
    match DType::from_name(text) {
        Some(d @ (DType::F16 | DType::F32)) => Ok(d),
        _ => Err("must be fp16 or fp32".into()),
    }
}

fn computed(text: &str) -> Result<Precision, String> {
    let names: Vec<&str> = Precision::ALL.iter().map(|p| p.name()).collect();
    Precision::named(text).ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

fn units(text: &str) -> Result<Units, String> {
    let names: Vec<&str> = Units::ALL.iter().map(|u| u.name()).collect();
    Units::named(text).ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

/// `name:1x3x224x224`; the name may hold colons itself.
fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || format!("must be name:1x3x224x224, but is {text:?}");
    let (name, dims) = text.rsplit_once(':').ok_or_else(wrong)?;
    let dims: Result<Vec<usize>, _> = dims.split(['x', ',']).map(str::parse).collect();
    let dims = dims.map_err(|_| wrong())?;
    if name.is_empty() || dims.contains(&0) { Err(wrong()) } else { Ok((name.to_owned(), dims)) }
}

/// `1%` or `0.01`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |n| (n, 0.01));
    let share = number.trim().parse::<f64>().ok().map(|v| v * unit);
    share
        .filter(|s| s.is_finite() && *s >= 0.0)
        .ok_or_else(|| format!("must be a share such as 1% or 0.01, but is {text:?}"))
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err(format!("must be name=FILE, but is {text:?}")),
    }
}

fn named_number(text: &str) -> Result<(String, f64), String> {
    let (name, number) =
        text.split_once('=').ok_or_else(|| format!("must be name=NUMBER, but is {text:?}"))?;
    match number.parse::<f64>() {
        Ok(value) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err(format!("must be name=NUMBER, but is {text:?}")),
    }
}

fn image(text: &str) -> Result<(String, PathBuf, Preprocess), String> {
    let mut parts = text.split(',');
    let (name, file) = named_file(parts.next().unwrap_or_default())?;
    let mut how = Preprocess::default();
    let number = |v: &str| v.parse::<f32>().map_err(|_| format!("{v:?} is not a number"));
    for part in parts {
        match part.split_once('=') {
            Some(("scale", v)) => how.scale = number(v)?,
            Some(("bias", v)) => how.bias = v.split(':').map(number).collect::<Result<_, _>>()?,
            Some(("crop", v)) => {
                let share = number(v)?;
                if !(share > 0.0 && share <= 1.0) {
                    return Err(format!("crop is {share}, but must be above 0 and at most 1"));
                }
                how.crop = Some(share);
            }
            Some(("fit", "stretch")) => how.fit = Fit::Stretch,
            Some(("fit", "crop")) => how.fit = Fit::Crop,
            Some(("fit", "pad")) => how.fit = Fit::Pad,
            Some(("fit", "exact")) => how.fit = Fit::Exact,
            Some(("color", "rgb")) => how.channels = Some(Channels::Rgb),
            Some(("color", "bgr")) => how.channels = Some(Channels::Bgr),
            Some(("color", "gray")) => how.channels = Some(Channels::Gray),
            _ => {
                return Err(format!(
                    "{part:?} is none of scale=, bias=, crop=, fit=stretch, fit=crop, fit=pad, fit=exact, color=rgb, \
                     color=bgr, color=gray"
                ));
            }
        }
    }
    Ok((name, file, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_parse() {
        assert_eq!((bytes("512MB"), bytes("4GiB"), bytes("7")), (Ok(512_000_000), Ok(4 << 30), Ok(7)));
        assert!(bytes("0").is_err() && bytes("MB").is_err() && bytes("3 apples").is_err());
        assert!(bytes("99999999999999999999GB").is_err());
    }

    #[test]
    fn shapes_and_pictures_parse() {
        assert_eq!(shape("a:0:1x3"), Ok(("a:0".into(), vec![1, 3])));
        assert!(shape("x:1x0").is_err() && shape("1x3").is_err());
        let (name, file, how) = image("x=dog.jpg,scale=0.5,bias=1:2:3,crop=0.9,color=bgr").expect("parses");
        assert_eq!((name.as_str(), file.to_str()), ("x", Some("dog.jpg")));
        assert_eq!((how.bias, how.channels), (vec![1.0, 2.0, 3.0], Some(Channels::Bgr)));
        assert!(image("x=a.png,zoom=2").is_err());
        assert_eq!([share("1%"), share("0.25")], [Ok(0.01), Ok(0.25)]);
        assert!(share("-1%").is_err() && share("NaN").is_err() && share("%").is_err());
    }
}
