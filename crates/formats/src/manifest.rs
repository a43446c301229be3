//! `Manifest.json` of an `.mlpackage`.
//!
//! Keys and version rule after `modelpackage/src/ModelPackage.cpp` of apple/coremltools. Items are found through the
//! manifest, never under a fixed path: the author's folder differs between packages.

use crate::{Error, ErrorKind, path};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const FORMAT: &str = "package manifest";

/// Newest version of the manifest that is read, and the one that is written.
pub const VERSION: [u32; 3] = [1, 0, 0];

/// Folder of a package below which all items are.
pub const DATA_FOLDER: &str = "Data";

/// What a package contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Identifier of the model item.
    pub root: String,
    /// All items, in the order of the file.
    pub items: Vec<Item>,
}

/// A file or folder of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Identifier, a UUID in either case.
    pub id: String,
    /// Path relative to [`DATA_FOLDER`], without `..`.
    pub path: String,
    /// Name.
    pub name: String,
    /// Author, a reversed domain name.
    pub author: String,
    /// Description.
    pub description: String,
}

fn fail<T>(kind: ErrorKind, cause: String) -> Result<T, Error> {
    Err(Error::new(kind, cause).format(FORMAT))
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is not JSON, misses a key, has a newer version, or names a path outside of the package.
    pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
        let json: Value = match serde_json::from_slice(bytes) {
            Ok(json) => json,
            Err(e) => return fail(ErrorKind::Malformed, format!("not valid JSON: {e}")),
        };
        let Some(top) = json.as_object() else {
            return fail(ErrorKind::Malformed, "the top level is not a JSON object".into());
        };
        check_version(text(top, "fileFormatVersion")?)?;
        let root = text(top, "rootModelIdentifier")?.to_owned();
        let Some(entries) = top.get("itemInfoEntries").and_then(Value::as_object) else {
            return fail(ErrorKind::Missing, "key \"itemInfoEntries\" is absent or no object".into());
        };
        let read = |(id, entry): (&String, &Value)| {
            Item::read(id, entry).map_err(|e| e.within(&format!("itemInfoEntries[{id:?}]")).format(FORMAT))
        };
        let items = entries.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let manifest = Manifest { root, items };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Error> {
        if self.model().is_none() {
            return fail(
                ErrorKind::Missing,
                format!("the root model {:?} is not among the items", self.root),
            );
        }
        let mut seen = BTreeSet::new();
        for item in &self.items {
            if !seen.insert(&item.path) {
                return fail(ErrorKind::Duplicate, format!("two items have the path {:?}", item.path));
            }
        }
        Ok(())
    }

    /// The manifest of a package that holds `model` as its `model.mlmodel`.
    ///
    /// Identifiers are derived from the paths and the bytes of the model, so that equal packages are equal byte by byte.
    pub fn for_model(model: &[u8], with_weights: bool) -> Manifest {
        let item = |name: &str, description: &str| Item {
            id: uuid(&[name.as_bytes(), model]),
            path: format!("com.apple.CoreML/{name}"),
            name: name.to_owned(),
            author: "com.apple.CoreML".to_owned(),
            description: description.to_owned(),
        };
        let mut items = vec![item("model.mlmodel", "CoreML Model Specification")];
        let root = items[0].id.clone();
        if with_weights {
            items.push(item("weights", "CoreML Model Weights"));
        }
        Manifest { root, items }
    }

    /// The item with the model.
    pub fn model(&self) -> Option<&Item> {
        self.items.iter().find(|item| item.id == self.root)
    }

    /// The bytes of the manifest: items sorted by identifier.
    pub fn write(&self) -> Vec<u8> {
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by(|a, b| a.id.cmp(&b.id));
        let entry = |item: &Item| {
            let Item { author, description, name, path, .. } = item;
            json!({ "author": author, "description": description, "name": name, "path": path })
        };
        let entries: Map<String, Value> = items.iter().map(|item| (item.id.clone(), entry(item))).collect();
        let [major, minor, patch] = VERSION;
        let json = json!({
            "fileFormatVersion": format!("{major}.{minor}.{patch}"),
            "itemInfoEntries": entries,
            "rootModelIdentifier": self.root,
        });
        format!("{json:#}\n").into_bytes()
    }
}

impl Item {
    fn read(id: &str, entry: &Value) -> Result<Item, Error> {
        let Some(entry) = entry.as_object() else {
            return fail(ErrorKind::Malformed, "the item is no JSON object".into());
        };
        Ok(Item {
            id: id.to_owned(),
            path: path::relative(text(entry, "path")?)?,
            name: text(entry, "name")?.to_owned(),
            author: text(entry, "author")?.to_owned(),
            description: text(entry, "description")?.to_owned(),
        })
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, Error> {
    match object.get(key).map(Value::as_str) {
        Some(Some(text)) => Ok(text),
        Some(None) => fail(ErrorKind::Malformed, format!("key {key:?} is no string")),
        None => fail(ErrorKind::Missing, format!("key {key:?} is absent")),
    }
}

fn check_version(version: &str) -> Result<(), Error> {
    let parts: Vec<Option<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    match parts[..] {
        [Some(major), Some(minor), Some(patch)] if [major, minor, patch] <= VERSION => Ok(()),
        [Some(_), Some(_), Some(_)] => fail(
            ErrorKind::Version,
            format!("version {version} is newer than 1.0.0, the newest that is known"),
        ),
        _ => fail(ErrorKind::Version, format!("version {version:?} is not of the form 1.0.0")),
    }
}

/// A UUID of version 8 (RFC 9562) from the 128-bit FNV-1a hash of all parts.
fn uuid(parts: &[&[u8]]) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    let hash = parts.iter().flat_map(|part| part.iter().chain(&[0])).fold(BASIS, step);
    let versioned = hash & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let hex = format!("{versioned:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
