//! Opens whatever holds a program: a package, a compiled model, or MIL text.

use crate::{Error, ErrorKind, files};
use anemone_mil::{Level, Program, VerifiedFunction};
use anemone_package::{Kept, Package};
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
        return Ok(Opened { container, program, kept, notes });
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
    Ok(Opened { container: Container::Text, program, kept: Kept::default(), notes })
}

impl Opened {
    /// The function of that name, or the default one, with the verifier's ticket, which engines and planner ask for.
    ///
    /// # Errors
    /// When the program is faulty (all faults are listed), or there is no such function.
    pub fn verified(&self, name: Option<&str>) -> Result<VerifiedFunction<'_>, Error> {
        let verified = anemone_mil::verify(&self.program, Level::Imported).map_err(|faults| {
            let what = format!("the program has {} faults:\n{faults}", faults.count());
            Error::new(what).of_kind(ErrorKind::Malformed)
        })?;
        self.function(name)?;
        verified
            .function(name)
            .ok_or_else(|| Error::new("has no function").of_kind(ErrorKind::UnknownFunction))
    }

    /// The function of that name, or the default one.
    ///
    /// # Errors
    /// When there is no such function.
    pub fn function(&self, name: Option<&str>) -> Result<&anemone_mil::Function, Error> {
        let found = match name {
            Some(name) => self.program.function(name),
            None => self.program.default_function(),
        };
        let names: Vec<&str> = self.program.functions.iter().map(|f| &*f.name).collect();
        found.ok_or_else(|| {
            let what = format!("has no function {:?}; its functions are {names:?}", name.unwrap_or("main"));
            Error::new(what).of_kind(ErrorKind::UnknownFunction)
        })
    }
}
