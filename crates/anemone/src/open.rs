//! Opens whatever holds a program: a package, a compiled model, or MIL text.

use crate::{Error, ErrorKind, files, nearest};
use anemone_mil::{Level, Program, VerifiedFunction};
use anemone_package::{Kept, Package, Pipeline, Runnable, StageModel};
use std::path::Path;

/// What kind of file or folder a program was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `.mlpackage`
    Package,
    /// `.mlmodelc`
    Compiled,
    /// `.mil`
    Text,
}

/// A program that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What it was read from.
    pub container: Container,
    /// The program.
    pub program: Program,
    /// What its container says beyond the program.
    pub kept: Kept,
    /// What was left out while reading.
    pub notes: Vec<String>,
    /// The files behind the weights.
    pub maps: files::Maps,
}

/// Opens a package, a compiled model or MIL text; weights stay in the mapped file.
///
/// # Errors
/// When there is nothing at `path`, or what is there is malformed or no ML program.
pub fn open(path: &Path) -> Result<Opened, Error> {
    if path.is_dir() {
        let folder = files::Folder::open(path)?;
        let compiled = path.join("model.mil").exists() || path.extension().is_some_and(|e| e == "mlmodelc");
        let fail = |e: anemone_package::Error| Error::from(e).at(path);
        let (container, package) = if compiled {
            (Container::Compiled, anemone_package::read_compiled(&folder).map_err(fail)?)
        } else {
            (Container::Package, anemone_package::read(&folder).map_err(fail)?)
        };
        let Package { program, kept, notes } = package;
        return Ok(Opened { container, program, kept, notes, maps: folder.maps() });
    }
    let bytes = files::map(path)?;
    if path.extension().is_some_and(|e| e == "mlmodel") {
        let overview = anemone_package::model_overview(&bytes).map_err(|e| Error::from(e).at(path))?;
        let what = format!("is a model of type {}, not an ML program in a package", overview.kind);
        return Err(Error::new(format!("{what}; `anemone inspect` shows its interface"))
            .of_kind(ErrorKind::Unsupported)
            .at(path));
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        Error::new(format!("is neither a package nor MIL text: byte {} is not UTF-8", e.valid_up_to()))
            .of_kind(ErrorKind::Malformed)
            .at(path)
    })?;
    let program = anemone_mil::text::parse(text, &|_, _, _| None)
        .map_err(|e| Error::from_cause(e).of_kind(ErrorKind::Malformed).at(path))?;
    let notes =
        vec!["weights are not part of a text file; the program can be shown and planned, not run".to_owned()];
    let (kept, maps) = (Kept::default(), files::Maps::default());
    Ok(Opened { container: Container::Text, program, kept, notes, maps })
}

/// As [`open`], for verbs that only look: of a pipeline with one ML program it opens that program, such as the body of an
/// object detector.
///
/// # Errors
/// As [`open`], and when the pipeline has several ML programs, or stages that do not run.
pub(crate) fn open_to_look(path: &Path) -> Result<Opened, Error> {
    let pipeline = match open_loadable(path)? {
        Loadable::Program(opened) => return Ok(*opened),
        Loadable::Pipeline(pipeline) => pipeline,
    };
    let mut programs = programs(&pipeline);
    let names: Vec<String> = programs.iter().map(|(name, _)| format!("{name:?}")).collect();
    match (programs.pop(), programs.is_empty()) {
        (Some((_, program)), true) => {
            let (kept, maps) = (Kept::default(), files::Maps::default());
            Ok(Opened { container: Container::Package, program, kept, notes: pipeline.notes, maps })
        }
        _ => Err(Error::new(format!(
            "is a pipeline of {} ML programs, {}, and only those with one can be looked into; export its stages on \
             their own, or use run, bench and verify, which take all of it",
            names.len(),
            names.join(", ")
        ))
        .of_kind(ErrorKind::Unsupported)
        .at(path)),
    }
}

/// What a verb that only looks leaves out of a pipeline, in a sentence; `None` for everything else.
pub fn left_out(path: &Path) -> Option<String> {
    if !(path.is_dir() && path.join("Manifest.json").exists()) {
        return None;
    }
    let overview = anemone_package::overview(&files::Folder::open(path).ok()?).ok()?;
    let kinds: Vec<&str> = overview.stages.iter().map(|s| s.overview.kind.as_str()).collect();
    let at = overview.stages.iter().position(|s| s.overview.is_program());
    let place = at.map_or_else(|| "a stage".to_owned(), |i| format!("stage {i}"));
    (!kinds.is_empty()).then(|| {
        format!(
            "the model is a pipeline ({}); this is about its only ML program, {place}, and leaves the rest out",
            kinds.join(", ")
        )
    })
}

/// The programs of a pipeline in order, each with its stage, or the number of that where it has no name; those of inner
/// pipelines have both: `head/0`.
pub(crate) fn programs(pipeline: &Pipeline) -> Vec<(String, Program)> {
    let mut found = Vec::new();
    for (i, stage) in pipeline.stages.iter().enumerate() {
        let name = if stage.name.is_empty() { i.to_string() } else { stage.name.clone() };
        match &stage.model {
            StageModel::Program(program) => found.push((name, (**program).clone())),
            StageModel::Pipeline(inner) => {
                found.extend(programs(inner).into_iter().map(|(within, p)| (format!("{name}/{within}"), p)));
            }
            StageModel::Suppression(_) => {}
        }
    }
    found
}

impl Opened {
    /// The function of that name, or the default one, with the verifier's ticket, which engines and planner ask for.
    ///
    /// # Errors
    /// When the program is faulty (all faults are listed), or there is no such function.
    pub fn verified(&self, name: Option<&str>) -> Result<VerifiedFunction<'_>, Error> {
        verified(&self.program, name)
    }

    /// The function of that name, or the default one.
    ///
    /// # Errors
    /// When there is no such function.
    pub fn function(&self, name: Option<&str>) -> Result<&anemone_mil::Function, Error> {
        function(&self.program, name)
    }
}

/// What a model is loaded from.
#[derive(Debug)]
pub(crate) enum Loadable {
    Program(Box<Opened>),
    Pipeline(Box<Pipeline>),
}

/// Opens whatever runs: what [`open`] opens, and packages with a pipeline.
pub(crate) fn open_loadable(path: &Path) -> Result<Loadable, Error> {
    if !(path.is_dir() && path.join("Manifest.json").exists()) {
        return open(path).map(|o| Loadable::Program(Box::new(o)));
    }
    let folder = files::Folder::open(path)?;
    let read = anemone_package::read_runnable(&folder);
    Ok(match read.map_err(|e| Error::from(e).at(path))? {
        Runnable::Pipeline(pipeline) => Loadable::Pipeline(pipeline),
        Runnable::Program(package) => {
            let Package { program, kept, notes } = *package;
            let (container, maps) = (Container::Package, folder.maps());
            Loadable::Program(Box::new(Opened { container, program, kept, notes, maps }))
        }
    })
}

/// As [`Opened::verified`].
pub(crate) fn verified<'a>(program: &'a Program, name: Option<&str>) -> Result<VerifiedFunction<'a>, Error> {
    let faulty = |faults: anemone_mil::Diagnostics| {
        let what = format!("the program has {} faults:\n{faults}", faults.count());
        Error::new(what).of_kind(ErrorKind::Malformed)
    };
    let verified = anemone_mil::verify(program, Level::Imported).map_err(faulty)?;
    function(program, name)?;
    verified.function(name).ok_or_else(|| Error::new("has no function").of_kind(ErrorKind::UnknownFunction))
}

/// As [`Opened::function`].
pub(crate) fn function<'a>(
    program: &'a Program,
    name: Option<&str>,
) -> Result<&'a anemone_mil::Function, Error> {
    let found = match name {
        Some(name) => program.function(name),
        None => program.default_function(),
    };
    found.ok_or_else(|| no_function(name, program.functions.iter().map(|f| &*f.name)))
}

/// The error that names the functions there are.
pub(crate) fn no_function<'a>(name: Option<&str>, known: impl Iterator<Item = &'a str>) -> Error {
    let (name, known) = (name.unwrap_or("main"), known.collect::<Vec<&str>>());
    let hint = nearest::hint(name, known.iter().copied());
    Error::new(format!("has no function {name:?}; its functions are {known:?}{hint}"))
        .of_kind(ErrorKind::UnknownFunction)
}
