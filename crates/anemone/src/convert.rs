//! `convert`: a source model to a package, planned and checked.

use crate::compare::{Difference, Tolerance, tensors};
use crate::{Error, Opened, data, files, open, plan};
use anemone_ane::{Plan, Units};
use anemone_exec::Session;
use anemone_formats::onnx::ModelProto;
use anemone_formats::{Error as FormatError, ErrorKind as FormatErrorKind};
use anemone_import::{Diagnostic, Diagnostics, onnx};
use anemone_mil::interface::FunctionInterface;
use anemone_mil::{Function, Level, Opset, Program, Verified};
use anemone_model::{Features, Predict};
use anemone_package::Kept;
use anemone_tensor::{Bytes, DType, Tensor};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How to convert.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Package to write; beside the source when `None`.
    pub output: Option<PathBuf>,
    /// Oldest system that shall run it.
    pub target: Opset,
    /// Type to compute in: `fp16` or `fp32`.
    pub precision: DType,
    /// Shapes that fix free dims of inputs.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// Device to plan for.
    pub device: String,
    /// Compute units to plan for.
    pub units: Units,
    /// Compare the written package with the source graph.
    pub check: bool,
}

impl Default for ConvertOptions {
    fn default() -> ConvertOptions {
        ConvertOptions {
            output: None,
            target: Opset::Ios17,
            precision: DType::F16,
            inputs: Vec::new(),
            device: "m4".into(),
            units: Units::All,
            check: true,
        }
    }
}

/// What happens while a model is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The source is read and translated.
    Import,
    /// Passes rewrite the program.
    Rewrite,
    /// The package is written.
    Write,
    /// Each op is placed.
    Plan,
    /// Package and source are run and compared.
    Check,
}

/// What a conversion did.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The source.
    pub source: PathBuf,
    /// The package.
    pub output: PathBuf,
    /// Bytes of the source, external data not counted.
    pub source_bytes: u64,
    /// Bytes of the package.
    pub output_bytes: u64,
    /// Nodes of the source graph.
    pub source_nodes: usize,
    /// Op set of the package.
    pub opset: Opset,
    /// What goes in and comes out.
    pub interface: FunctionInterface,
    /// Ops of the package by kind, most frequent first.
    pub ops: Vec<(String, usize)>,
    /// Passes and how many ops each changed.
    pub passes: Vec<(String, usize)>,
    /// Things that were decided on the user's behalf.
    pub notes: Vec<String>,
    /// Where each op would run.
    pub plan: Plan,
    /// How far the package is from the source.
    pub check: Check,
}

/// The comparison of the written package with the source graph in `fp32`.
#[derive(Clone, Debug)]
pub enum Check {
    /// Both were run on the same random inputs.
    Done {
        /// Per output.
        outputs: Vec<Difference>,
        /// Where the error grows first.
        growth: Option<Growth>,
    },
    /// It could not be done, or was not asked for.
    Skipped(String),
}

/// The first op after which the error is a stated share of the values.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Kind of the op.
    pub kind: String,
    /// Name of the op.
    pub name: String,
    /// Node of the source model.
    pub source: Option<String>,
    /// Largest error over the largest magnitude there.
    pub relative: f64,
}

/// Errors smaller than this share of the largest magnitude are the rounding of `fp16` (2^-11 per operation) and do
/// not count as growth.
pub const GROWTH_LIMIT: f64 = 1.0 / 512.0;

/// Seed of the check's random inputs.
const CHECK_SEED: u64 = 1;

/// Converts an ONNX model.
///
/// # Errors
/// When the source does not read or has nodes that cannot be translated (all of them are listed), the shapes given do
/// not fit, the device is unknown, or the package cannot be written. Nothing is left behind then.
pub fn convert(
    source: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(Stage),
) -> Result<Conversion, Error> {
    let device = plan::device_named(&options.device)?;
    let output = output_path(source, options)?;
    progress(Stage::Import);
    let bytes = files::map(source)?;
    let imported = import(source, &bytes, options)?;
    let source_nodes = imported.nodes;
    let mut program = imported.program;
    let original = program.clone();
    progress(Stage::Rewrite);
    let passes = rewrite(&mut program.functions[0], options.precision);
    progress(Stage::Write);
    write(verify(&program, source)?, &output)?;
    progress(Stage::Plan);
    let written = open(&output)?;
    let function = written.function(None).map_err(|e| e.at(&output))?;
    let plan = anemone_ane::plan(function, device, options.units);
    progress(Stage::Check);
    let check = if options.check {
        check(&original, &written, &program.functions[0])
    } else {
        Check::Skipped("not asked for".into())
    };
    let summary = anemone_package::summary(&written.program);
    Ok(Conversion {
        source: source.to_path_buf(),
        source_bytes: files::size_of(source),
        output_bytes: files::size_of(&output),
        output,
        source_nodes,
        opset: options.target,
        interface: written.program.interface.functions.first().cloned().unwrap_or_default(),
        ops: summary.ops,
        passes,
        notes: imported.notes.iter().map(Diagnostic::to_string).collect(),
        plan,
        check,
    })
}

fn output_path(source: &Path, options: &ConvertOptions) -> Result<PathBuf, Error> {
    let output = options.output.clone().unwrap_or_else(|| source.with_extension("mlpackage"));
    if output.extension().is_none_or(|e| e != "mlpackage") {
        return Err(Error::new("must end in .mlpackage, as Core ML asks").at(output));
    }
    Ok(output)
}

struct Source {
    program: Program,
    notes: Vec<Diagnostic>,
    nodes: usize,
}

fn import(path: &Path, bytes: &Bytes, options: &ConvertOptions) -> Result<Source, Error> {
    if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("onnx")) {
        return Err(Error::new("is not an .onnx file, the one kind of source that is read so far").at(path));
    }
    let model = ModelProto::read(bytes).map_err(|e| Error::from_cause(e).at(path))?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    let external =
        move |location: &str, offset: usize, length: usize| external(&folder, location, offset, length);
    let import = onnx::Options { opset: options.target, shapes: options.inputs.clone() };
    let imported =
        onnx::import(&model, &import, &external).map_err(|e: Diagnostics| Error::from_cause(e).at(path))?;
    let nodes = model.graph.as_ref().map_or(0, |g| g.node.len());
    Ok(Source { program: imported.program, notes: imported.notes, nodes })
}

/// Bytes of an external data file, which lies beside the model.
fn external(folder: &Path, location: &str, offset: usize, length: usize) -> Result<Bytes, FormatError> {
    let fail = |what: String| {
        FormatError::new(FormatErrorKind::Missing, format!("external data {location}: {what}"))
    };
    let file = anemone_package::Source::read(
        &files::Folder::open(folder).map_err(|e| fail(e.to_string()))?,
        location,
    );
    let bytes = file.map_err(|e| fail(e.to_string()))?.ok_or_else(|| fail("does not exist".into()))?;
    let end = offset.checked_add(length).filter(|&end| end <= bytes.len());
    let end = end.ok_or_else(|| {
        fail(format!("bytes {offset} to {} of {}", offset.saturating_add(length), bytes.len()))
    })?;
    Ok(bytes.slice(offset..end))
}

fn rewrite(function: &mut Function, precision: DType) -> Vec<(String, usize)> {
    let mut report = anemone_passes::canonicalize(function);
    report.extend(anemone_passes::legalize(function, precision));
    report.into_iter().map(|(name, n)| (name.to_owned(), n)).collect()
}

/// A fault here is one of this program, not of the user's.
fn verify<'p>(program: &'p Program, source: &Path) -> Result<Verified<'p>, Error> {
    anemone_mil::verify(program, Level::Canonical).map_err(|faults| {
        Error::new(format!("converts to a faulty program, please report this:\n{faults}")).at(source)
    })
}

fn write(program: Verified<'_>, output: &Path) -> Result<(), Error> {
    let mut staging = files::Staging::new(output)?;
    anemone_package::write(program, &Kept::default(), &mut staging)
        .map_err(|e| Error::from_cause(e).at(output))?;
    staging.finish()
}

/// Runs both on the same random inputs and compares every tensor that has the same name in both; `rewritten` is the
/// function that was written, which still knows where its ops come from.
fn check(source: &Program, package: &Opened, rewritten: &Function) -> Check {
    match compare_programs(source, package, rewritten) {
        Ok((outputs, growth)) => Check::Done { outputs, growth },
        Err(e) => Check::Skipped(e.to_string()),
    }
}

fn compare_programs(
    source: &Program,
    package: &Opened,
    rewritten: &Function,
) -> Result<(Vec<Difference>, Option<Growth>), Error> {
    let source = anemone_mil::verify(source, Level::Imported).map_err(Error::from_cause)?;
    let load =
        |program| Session::new(program, None, &crate::run::engine_options()).map_err(Error::from_cause);
    let (mut reference, mut actual) = (load(source)?, load(package.verified()?)?);
    let ports = reference.inputs().to_vec();
    let inputs: Features = ports.iter().map(|p| (p.name.clone(), data::random(p, CHECK_SEED))).collect();
    let shared: Vec<&str> = rewritten.values().map(|(_, v)| &*v.name).collect();
    let shared: std::collections::HashSet<&str> = shared.into_iter().collect();
    let mut expected: HashMap<String, Tensor> = HashMap::new();
    let outputs = reference
        .predict_observed(&inputs, &mut |name, t| {
            if shared.contains(name) {
                expected.insert(name.to_owned(), t.clone());
            }
        })
        .map_err(Error::from_cause)?;
    let mut growth = None;
    let found = actual
        .predict_observed(&inputs, &mut |name, t| {
            if growth.is_none()
                && let Some(wanted) = expected.get(name)
            {
                let d = tensors(name, t, wanted, Tolerance { atol: 0.0, rtol: 0.0 });
                if d.mismatch.is_none() && d.relative > GROWTH_LIMIT {
                    growth = Some(grown(rewritten, name, d.relative));
                }
            }
        })
        .map_err(Error::from_cause)?;
    Ok((crate::compare::compare(&found, &outputs, Tolerance { atol: 0.0, rtol: 0.0 }), growth))
}

fn grown(function: &Function, value: &str, relative: f64) -> Growth {
    let walk = function.walk();
    let makes = |id| function.op(id).outputs.iter().any(|&v| &*function.value(v).name == value);
    let op = walk.iter().find(|(_, id)| makes(*id)).map(|(_, id)| function.op(*id));
    Growth {
        kind: op.map_or(String::new(), |op| op.kind.name().to_owned()),
        name: value.to_owned(),
        source: op.and_then(|op| op.origin.source.as_ref()).map(ToString::to_string),
        relative,
    }
}
