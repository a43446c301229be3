//! `compress` and `decompress`.

mod settings;
mod spill;

use crate::{Error, Opened, files, open};
use anemone_compress::{Config, Progress, Report, Work};
use anemone_mil::{Level, Program};
use anemone_package::Kept;
pub use settings::{linear_dtype, linear_mode, palette_mode, read_config};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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
}

/// Compresses a model's weights in steps and writes a package; later steps compress what earlier ones left, and with
/// `joint` the first one what was compressed before.
///
/// `progress` hears which weight comes next and may stop the work; nothing is left behind then.
///
/// # Errors
/// When the model does not read, the configuration contradicts itself or asks for what the op set does not have, or the
/// package cannot be written.
pub fn compress(
    source: &Path,
    output: &Path,
    steps: &[Config],
    joint: bool,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Compression, Error> {
    let Opened { mut program, kept, .. } = open(source)?;
    let mut spill = spill::Spill::beside(output)?;
    let mut store =
        |tensor| spill.keep(tensor).map_err(|e| std::io::Error::other(files::describe(&e)).into());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut reports = Vec::new();
    for (i, config) in steps.iter().enumerate() {
        let mut work = Work { workers, store: &mut store, progress: &mut *progress };
        let report = anemone_compress::compress(&mut program, config, i > 0 || joint, &mut work);
        reports.push(report.map_err(|e| Error::from_cause(e).at(source))?);
    }
    write(&program, &kept, source, output)?;
    let bytes = (files::size_of(source), files::size_of(output));
    Ok(Compression { source: source.to_path_buf(), output: output.to_path_buf(), bytes, steps: reports })
}

/// Writes a model with every compressed weight unpacked; returns how many there were.
///
/// # Errors
/// When the model does not read or a weight cannot be unpacked, or the package cannot be written.
pub fn decompress(source: &Path, output: &Path) -> Result<usize, Error> {
    let Opened { mut program, kept, .. } = open(source)?;
    let mut spill = spill::Spill::beside(output)?;
    let mut store =
        |tensor| spill.keep(tensor).map_err(|e| std::io::Error::other(files::describe(&e)).into());
    let count = anemone_compress::decompress(&mut program, &mut store)
        .map_err(|e| Error::from_cause(e).at(source))?;
    write(&program, &kept, source, output)?;
    Ok(count)
}

fn write(program: &Program, kept: &Kept, source: &Path, output: &Path) -> Result<(), Error> {
    if output.extension().is_none_or(|e| e != "mlpackage") {
        return Err(Error::new("must end in .mlpackage, as Core ML asks").at(output));
    }
    let verified = anemone_mil::verify(program, Level::Imported).map_err(|faults| {
        Error::new(format!("became a faulty program, please report this:\n{faults}")).at(source)
    })?;
    let mut staging = files::Staging::new(output)?;
    anemone_package::write(verified, kept, &mut staging).map_err(|e| Error::from_cause(e).at(output))?;
    staging.finish()
}
