//! `size`: bytes of weights and of keys and values, and what holds them.

mod decoder;
mod fit;
mod guess;
mod model;
mod scheme;
mod subject;

pub use fit::{APP_BYTES, Fit, MOST, PROGRAM_BYTES, ROOMY, Room, fit};
pub use scheme::{Bytes, Granularity, SHARED, Scheme, THRESHOLD};
pub use subject::{Cache, Group, Origin, Part, Piece, StateSize, Subject};

use crate::{Error, ErrorKind, files};
use anemone_formats::hf_config;
use std::path::Path;

/// What `name` stands for: a package, compiled model or `.onnx` file, a `config.json` or the folder it is in, or a number
/// of parameters such as `3B`.
///
/// # Errors
/// When it is none of them, does not read, or describes a network whose size is not worked out.
pub fn size(name: &Path) -> Result<Subject, Error> {
    if name.exists() {
        return there(name);
    }
    match name.to_str().and_then(guess::parse) {
        Some(parameters) => parameters.map(guess::of),
        None => Err(Error::new(
            "does not exist and is no number of parameters; give a model, a config.json, or a number such as 3B or 350M",
        )
        .of_kind(ErrorKind::File)
        .at(name)),
    }
}

fn there(path: &Path) -> Result<Subject, Error> {
    let inside = path.join("config.json");
    let package = path.join("Manifest.json").exists() || path.join("model.mil").exists();
    if path.is_dir() && !package && inside.exists() {
        return config(&inside);
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        return config(path);
    }
    model::of(path)
}

fn config(path: &Path) -> Result<Subject, Error> {
    let bytes = files::map(path)?;
    let read = hf_config::read(&bytes);
    let config = read.map_err(|e| Error::from_cause(e).of_kind(ErrorKind::Malformed).at(path))?;
    Ok(decoder::of(&config))
}
