//! `convert`: a source model to a package, planned and checked.

use crate::check::{self, Check, Origins};
use crate::{Error, files, open, plan};
use anemone_ane::{Plan, Units};
use anemone_formats::onnx::ModelProto;
use anemone_formats::{Error as FormatError, ErrorKind as FormatErrorKind};
use anemone_import::{Diagnostic, Diagnostics, onnx};
use anemone_mil::interface::FunctionInterface;
use anemone_mil::{Function, Level, Opset, Program, Verified};
use anemone_package::Kept;
use anemone_tensor::{Bytes, DType};
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
    if source.extension().is_none_or(|e| !e.eq_ignore_ascii_case("onnx")) {
        return Err(Error::new("is not an .onnx file, the one kind of source that is read so far").at(source));
    }
    let output = output_path(source, options)?;
    progress(Stage::Import);
    let bytes = files::map(source)?;
    let imported = import(source, &bytes, options)?;
    drop(bytes);
    let source_nodes = imported.nodes;
    let mut program = imported.program;
    let original = program.clone();
    progress(Stage::Rewrite);
    let passes = rewrite(&mut program.functions[0], options.precision);
    progress(Stage::Write);
    write(verify(&program, source)?, &output)?;
    let origins = Origins::of(&program.functions[0]);
    // The rewritten weights are in the package now: what follows reads them from there.
    drop(program);
    progress(Stage::Plan);
    let written = open(&output)?;
    let function = written.verified(None).map_err(|e| e.at(&output))?;
    let plan = anemone_ane::plan(function, &device, options.units);
    progress(Stage::Check);
    let check = if options.check {
        check::check(original, &written, &origins)
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

/// The program of an ONNX file, as it is imported.
pub(crate) fn imported(path: &Path) -> Result<Program, Error> {
    let bytes = files::map(path)?;
    import(path, &bytes, &ConvertOptions::default()).map(|source| source.program)
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
