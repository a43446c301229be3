//! `inspect`: what a model is, without running it.

use crate::{Container, Error, files, open};
use anemone_package::{Overview, Summary};
use std::path::Path;

/// What there is to know about a model file.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What it was read from; `None` for a single model file.
    pub container: Option<Container>,
    /// Kind, interface and metadata.
    pub overview: Overview,
    /// Ops and weights, where it is an ML program.
    pub summary: Option<Summary>,
    /// Bytes on disk.
    pub bytes: u64,
    /// What was left out while reading, and why there is no summary.
    pub notes: Vec<String>,
}

/// Reads interface, metadata and statistics; weights are not touched.
///
/// # Errors
/// When there is nothing at `path` or it is malformed.
pub fn inspect(path: &Path) -> Result<Inspection, Error> {
    let bytes = files::size_of(path);
    if path.is_file() && path.extension().is_some_and(|e| e == "mlmodel") {
        let overview =
            anemone_package::model_overview(&files::map(path)?).map_err(|e| Error::from_cause(e).at(path))?;
        return Ok(Inspection { container: None, overview, summary: None, bytes, notes: Vec::new() });
    }
    if path.is_dir() && path.join("Manifest.json").exists() {
        let folder = files::Folder::open(path)?;
        let overview = anemone_package::overview(&folder).map_err(|e| Error::from_cause(e).at(path))?;
        if !overview.is_program() {
            let notes =
                vec![format!("is of type {}, not an ML program: it has no ops to show", overview.kind)];
            return Ok(Inspection {
                container: Some(Container::Package),
                overview,
                summary: None,
                bytes,
                notes,
            });
        }
    }
    let opened = open(path)?;
    let summary = anemone_package::summary(&opened.program);
    let overview = Overview {
        kind: "mlProgram".into(),
        interface: opened.program.interface.clone(),
        stages: Vec::new(),
    };
    Ok(Inspection {
        container: Some(opened.container),
        overview,
        summary: Some(summary),
        bytes,
        notes: opened.notes,
    })
}
