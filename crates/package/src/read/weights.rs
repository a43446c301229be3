//! The weight files of a package.

use super::value::describe;
use crate::{Error, ErrorKind, Source};
use anemone_formats::{blob, path};
use anemone_mil::{BlobRef, Name, Weight, WeightData};
use anemone_tensor::DType;
use std::collections::HashMap;

/// What blob file names start with: the folder of the model file.
const MODEL_PATH: &str = "@model_path/";

/// The weight files of a package, opened when a value first names them.
pub(crate) struct Weights<'a> {
    source: &'a dyn Source,
    /// Folder of the model file, from the package; empty for the package itself.
    folder: String,
    /// Items by name, in which blob files are looked for when there are none beside the model.
    items: Vec<(String, String)>,
    opened: HashMap<String, Opened>,
}

/// A weight file and the names it goes by.
struct Opened {
    name: Name,
    path: String,
    file: blob::Storage,
}

impl<'a> Weights<'a> {
    /// Weight files in the folder of the model file.
    pub(crate) fn beside(source: &'a dyn Source, folder: String) -> Weights<'a> {
        Weights { source, folder, items: Vec::new(), opened: HashMap::new() }
    }

    /// Looks in these items too: name, and path from the package.
    pub(crate) fn or_in(self, items: Vec<(String, String)>) -> Weights<'a> {
        Weights { items, ..self }
    }

    /// True when an opened weight file is the item at `path`, or lies in it.
    pub(crate) fn are_in(&self, path: &str) -> bool {
        let within =
            |o: &Opened| o.path.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        self.opened.values().any(within)
    }

    /// The weight whose record is at `offset` of the file that goes by `name`.
    pub(crate) fn weight(
        &mut self,
        name: &str,
        offset: u64,
        dtype: DType,
        shape: Vec<usize>,
    ) -> Result<Weight, Error> {
        let size = describe(&shape, dtype);
        let place =
            |e: Error| e.within(format!("weight {dtype} {shape:?} ({size}) at offset {offset} of {name}"));
        let opened = self.open(name).map_err(place)?;
        let blob = opened.file.blob(offset).map_err(|e| place(Error::format(&opened.path, e)))?;
        let expected = anemone_tensor::num::element_count(&shape).and_then(|n| dtype.packed_len(n));
        if blob.dtype != dtype || Some(blob.bytes.len()) != expected {
            let message = format!(
                "the record holds {} bytes of {}; the program and its weight file do not belong together",
                blob.bytes.len(),
                blob.dtype
            );
            return Err(place(Error::new(ErrorKind::Weight, message)));
        }
        let origin = Some(BlobRef { path: opened.name.clone(), offset });
        Ok(Weight { dtype, shape, data: WeightData::Bytes(blob.bytes), origin })
    }

    fn open(&mut self, name: &str) -> Result<&Opened, Error> {
        if !self.opened.contains_key(name) {
            let opened = self.find(name)?;
            self.opened.insert(name.to_owned(), opened);
        }
        let missing = || Error::new(ErrorKind::MissingFile, format!("{name} is missing"));
        self.opened.get(name).ok_or_else(missing)
    }

    fn find(&self, name: &str) -> Result<Opened, Error> {
        let Some(relative) = name.strip_prefix(MODEL_PATH) else {
            let message =
                format!("weight file {name:?} must be named relative to the model, as {MODEL_PATH}...");
            return Err(Error::new(ErrorKind::Path, message));
        };
        let relative = path::relative(relative)
            .map_err(|e| Error::new(ErrorKind::Path, format!("weight file {name:?}")).caused_by(e))?;
        let paths = self.paths(&relative);
        for path in &paths {
            if let Some(bytes) = self.source.read(path).map_err(|e| Error::io(path, e))? {
                let file = blob::Storage::open(bytes).map_err(|e| Error::format(path, e))?;
                return Ok(Opened { name: name.into(), path: path.clone(), file });
            }
        }
        let message = format!(
            "{} is missing from the package; copy the weights of the model there",
            paths.first().map_or("", String::as_str)
        );
        Err(Error::new(ErrorKind::MissingFile, message))
    }

    /// Where a blob file may be: beside the model, or in the item of the same name as its folder.
    fn paths(&self, relative: &str) -> Vec<String> {
        let join = |folder: &str, rest: &str| match folder {
            "" => rest.to_owned(),
            folder => format!("{folder}/{rest}"),
        };
        let mut paths = vec![join(&self.folder, relative)];
        if let Some((name, rest)) = relative.split_once('/') {
            let named = self.items.iter().filter(|(item, _)| item == name);
            paths.extend(named.map(|(_, path)| join(path, rest)));
        }
        paths
    }
}
