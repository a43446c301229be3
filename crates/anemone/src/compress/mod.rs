//! `compress` and `decompress`.

mod calibrate;
mod device;
mod effect;
mod recipe;
mod samples;
mod search;
mod settings;
mod spill;

use crate::files::Maps;
use crate::{Error, Opened, files, open};
use anemone_ane::{Device, Units};
use anemone_compress::{Config, Progress, Quantised, Report, Work};
use anemone_mil::{Level, Program};
use anemone_package::{Kept, Sink};
pub use device::DeviceWarning;
pub use effect::{Effect, Layer};
pub use recipe::write_config;
pub use samples::SampleOptions;
pub use search::{Found, Goal, Point, SearchOptions, search};
pub use settings::{activation_dtype, linear_dtype, linear_mode, palette_mode, read_config};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to compress a model.
#[derive(Clone, Debug, Default)]
pub struct CompressOptions {
    /// What is done, one after the other; later steps compress what earlier ones left.
    pub steps: Vec<Config>,
    /// The first step takes also what was compressed before.
    pub joint: bool,
    /// Data to compare the outputs on.
    pub samples: Option<SampleOptions>,
    /// Device to warn for, and its units.
    pub device: Option<(Arc<Device>, Units)>,
}

/// What a compression did.
#[derive(Clone, Debug)]
pub struct Compression {
    /// The model that was read.
    pub source: PathBuf,
    /// The package that was written.
    pub output: PathBuf,
    /// Bytes of the model and of the package.
    pub bytes: (u64, u64),
    /// What became of each weight, for each step in turn.
    pub steps: Vec<Report>,
    /// The change of the outputs, when there was data.
    pub effect: Option<Effect>,
    /// What the device would not do well, when one was named.
    pub warnings: Vec<DeviceWarning>,
    /// Activations that are quantised now.
    pub activations: Vec<Quantised>,
}

/// Compresses a model's weights in steps and writes a package.
///
/// `progress` hears which weight comes next and may stop the work; nothing is left behind then.
///
/// # Errors
/// When the model does not read, the configuration contradicts itself or asks for what the op set does not have, the data
/// is none for the model, or the package cannot be written.
pub fn compress(
    source: &Path,
    output: &Path,
    options: &CompressOptions,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Compression, Error> {
    let opened = open(source)?;
    let (compression, staging) = finish(&opened, &Task { source, output, options }, progress)?;
    staging.finish()?;
    Ok(compression)
}

/// A compression and the files that it is about.
struct Task<'a> {
    source: &'a Path,
    output: &'a Path,
    options: &'a CompressOptions,
}

/// Compresses, looks at the effect, and writes all but the last move to the final place.
fn finish(
    opened: &Opened,
    task: &Task<'_>,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(Compression, files::Staging), Error> {
    let &Task { source, output, options } = task;
    let program = &opened.program;
    let mut spill = spill::Spill::beside(output)?;
    let mut progress = |p: Progress<'_>| {
        // What the last weight read and made is not needed again before everything is written.
        opened.maps.release();
        progress(p)
    };
    let progress = &mut progress;
    let Applied { program: made, steps, activations } =
        apply(program, options, &mut spill, progress).map_err(|e| e.at(source))?;
    let effect = match &options.samples {
        Some(samples) => Some(effect::effect(program, &made, samples).map_err(|e| e.at(source))?),
        None => None,
    };
    let warnings = match &options.device {
        Some((device, units)) => {
            device::warnings(program, &made, device, *units).map_err(|e| e.at(source))?
        }
        None => Vec::new(),
    };
    let maps = [&opened.maps, spill.maps()];
    let staging = write(&made, &opened.kept, source, output, &maps)?;
    let last = steps.iter().flat_map(|s| &s.weights).map(|w| w.shape.iter().product::<usize>()).sum();
    if progress(Progress { weight: "", done: (last, last) }).is_break() {
        return Err(Error::new("stopped before it was done"));
    }
    let bytes = (files::size_of(source), files::size_of(staging.path()));
    let (source, output) = (source.to_path_buf(), output.to_path_buf());
    Ok((Compression { source, output, bytes, steps, effect, warnings, activations }, staging))
}

/// A program that was compressed.
struct Applied {
    program: Program,
    /// What became of each weight, per step.
    steps: Vec<Report>,
    activations: Vec<Quantised>,
}

/// The steps of a compression, on a copy of the program.
fn apply(
    program: &Program,
    options: &CompressOptions,
    spill: &mut spill::Spill,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Applied, Error> {
    let mut made = program.clone();
    let mut store =
        |tensor| spill.keep(tensor).map_err(|e| std::io::Error::other(files::describe(&e)).into());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut reports = Vec::new();
    let mut activations = Vec::new();
    for config in &options.steps {
        if config.has_activations() {
            let samples = options.samples.as_ref().ok_or_else(calibrate::without_data)?;
            activations.extend(calibrate::activations(&mut made, config, samples)?);
            continue;
        }
        let mut work = Work { workers, store: &mut store, progress: &mut *progress };
        let report =
            anemone_compress::compress(&mut made, config, !reports.is_empty() || options.joint, &mut work);
        reports.push(report.map_err(Error::from_cause)?);
    }
    Ok(Applied { program: made, steps: reports, activations })
}

/// Writes a model with every compressed weight unpacked; returns how many there were.
///
/// # Errors
/// When the model does not read or a weight cannot be unpacked, or the package cannot be written.
pub fn decompress(source: &Path, output: &Path) -> Result<usize, Error> {
    let Opened { mut program, kept, maps, .. } = open(source)?;
    let mut spill = spill::Spill::beside(output)?;
    let mut store =
        |tensor| spill.keep(tensor).map_err(|e| std::io::Error::other(files::describe(&e)).into());
    let count = anemone_compress::decompress(&mut program, &mut store)
        .map_err(|e| Error::from_cause(e).at(source))?;
    write(&program, &kept, source, output, &[&maps, spill.maps()])?.finish()?;
    Ok(count)
}

/// Writes a package; pages of `maps` are given back on the way.
fn write(
    program: &Program,
    kept: &Kept,
    source: &Path,
    output: &Path,
    maps: &[&Maps],
) -> Result<files::Staging, Error> {
    if output.extension().is_none_or(|e| e != "mlpackage") {
        return Err(Error::new("must end in .mlpackage, as Core ML asks").at(output));
    }
    let verified = anemone_mil::verify(program, Level::Imported).map_err(|faults| {
        Error::new(format!("became a faulty program, please report this:\n{faults}")).at(source)
    })?;
    let mut staging = files::Staging::new(output)?;
    let mut sink = Releasing { staging: &mut staging, maps };
    anemone_package::write(verified, kept, &mut sink).map_err(|e| Error::from_cause(e).at(output))?;
    Ok(staging)
}

/// Files in the making; while they grow, pages that were read for them are given back.
struct Releasing<'a> {
    staging: &'a mut files::Staging,
    maps: &'a [&'a Maps],
}

impl Sink for Releasing<'_> {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let into = self.staging.create(path)?;
        Ok(Box::new(Metered { into, maps: self.maps, since: 0 }))
    }
}

/// Bytes between two releases.
const RELEASE: usize = 32 << 20;

struct Metered<'a> {
    into: Box<dyn Write + 'a>,
    maps: &'a [&'a Maps],
    since: usize,
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.since += written;
        if self.since >= RELEASE {
            self.since = 0;
            self.maps.iter().for_each(|m| m.release());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
