//! The folder of a package: manifest, model file, weight file, and items of other makers.

use crate::read::weights::Weights;
use crate::{Error, ErrorKind, Source};
use anemone_formats::coreml;
use anemone_formats::manifest::{DATA_FOLDER, Item, Manifest};
use anemone_tensor::Bytes;

/// Name of the manifest in a package.
pub(crate) const MANIFEST: &str = "Manifest.json";

/// What a container says beyond its program; opaque, and empty for a program that was never in one.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The model without its program.
    pub(crate) model: coreml::Model,
    /// The model's item, beside which the weights will be.
    pub(crate) model_item: Option<Item>,
    /// The item of the weights.
    pub(crate) weights_item: Option<Item>,
    /// Items of other makers.
    pub(crate) items: Vec<Item>,
    /// Files of those items, by path from the package.
    pub(crate) files: Vec<(String, Bytes)>,
}

/// A package that is being read.
pub(crate) struct Container<'a> {
    source: &'a dyn Source,
    manifest: Manifest,
    /// Path of the model file, from the package.
    model_path: String,
}

impl<'a> Container<'a> {
    pub(crate) fn open(source: &'a dyn Source) -> Result<Container<'a>, Error> {
        let bytes = source.read(MANIFEST).map_err(|e| Error::io(MANIFEST, e))?;
        let bytes = bytes.ok_or_else(|| {
            let message =
                format!("{MANIFEST} is missing; a package is a folder with {MANIFEST} and Data/ in it");
            Error::new(ErrorKind::MissingFile, message)
        })?;
        let manifest = Manifest::read(&bytes).map_err(|e| Error::format(MANIFEST, e))?;
        let model_path = manifest.model().map(|item| in_data(&item.path)).unwrap_or_default();
        Ok(Container { source, manifest, model_path })
    }

    /// The model file.
    pub(crate) fn model(&self) -> Result<coreml::Model, Error> {
        let path = &self.model_path;
        let bytes = self.file(path)?.ok_or_else(|| {
            let message = format!("{path} is missing, which the manifest names as the model");
            Error::new(ErrorKind::MissingFile, message)
        })?;
        coreml::Model::read(&bytes).map_err(|e| Error::format(path, e))
    }

    pub(crate) fn file(&self, path: &str) -> Result<Option<Bytes>, Error> {
        self.source.read(path).map_err(|e| Error::io(path, e))
    }

    /// The weight files of the model.
    pub(crate) fn weights(&self) -> Weights<'a> {
        let item = |item: &Item| (item.name.clone(), in_data(&item.path));
        let items = self.manifest.items.iter().map(item).collect();
        Weights::beside(self.source, self.folder().to_owned()).or_in(items)
    }

    /// Folder of the model file, from the package.
    fn folder(&self) -> &str {
        self.model_path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// What goes back into the package beside the program.
    pub(crate) fn keep(&self, model: coreml::Model, weights: &Weights<'_>) -> Result<Kept, Error> {
        let mut kept = Kept { model, ..Kept::default() };
        let beside = format!("{}/weights", self.folder());
        for item in &self.manifest.items {
            let path = in_data(&item.path);
            if item.id == self.manifest.root {
                kept.model_item = Some(item.clone());
            } else if path == beside || weights.are_in(&path) {
                kept.weights_item = Some(item.clone());
            } else {
                kept.files.extend(self.item_files(&path)?);
                kept.items.push(item.clone());
            }
        }
        Ok(kept)
    }

    /// The file of that path, or the files of the folder of that path.
    fn item_files(&self, path: &str) -> Result<Vec<(String, Bytes)>, Error> {
        let mut found = Vec::new();
        if let Some(bytes) = self.file(path)? {
            found.push((path.to_owned(), bytes));
            return Ok(found);
        }
        let mut below = self.source.files(path).map_err(|e| Error::io(path, e))?;
        below.sort();
        for path in below {
            if let Some(bytes) = self.file(&path)? {
                found.push((path, bytes));
            }
        }
        Ok(found)
    }
}

/// The path of an item, from the package.
pub(crate) fn in_data(item_path: &str) -> String {
    format!("{DATA_FOLDER}/{item_path}")
}
