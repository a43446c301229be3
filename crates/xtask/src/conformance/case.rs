//! A recorded case: a package, inputs, and the outputs that an outside reference expects.

use anemone_formats::safetensors::SafeTensors;
use anemone_tensor::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One case. Fields of `meta.json` that are not named here are in [`Case::meta`]; `corpus/conformance/README.md` tells
/// what they mean.
pub(super) struct Case {
    /// 16 hexadecimal digits.
    pub(super) name: String,
    pub(super) suite: String,
    /// The test it stems from, with its parameters.
    pub(super) test: String,
    /// The function to run; the default one when there is none.
    pub(super) function: Option<String>,
    pub(super) steps: u64,
    /// All steps share one state.
    pub(super) stateful: bool,
    /// A second executor did not agree with what is expected.
    pub(super) open: bool,
    pub(super) meta: Value,
    folder: PathBuf,
}

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, Tensor>;

impl Case {
    fn open(folder: &Path) -> Result<Case, String> {
        let file = folder.join("meta.json");
        let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let meta: Value = serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        let text = |key: &str| meta[key].as_str().map(str::to_owned);
        let name = text("case").ok_or_else(|| format!("{}: has no `case`", file.display()))?;
        Ok(Case {
            name,
            suite: text("suite").unwrap_or_default(),
            test: text("test").unwrap_or_default(),
            function: text("function"),
            steps: meta["steps"].as_u64().unwrap_or(1),
            stateful: meta["stateful"] == true,
            open: meta["confirmed"] == false,
            folder: folder.to_path_buf(),
            meta,
        })
    }

    /// The model.
    pub(super) fn package(&self) -> PathBuf {
        self.folder.join("model.mlpackage")
    }

    /// Inputs of a step, by feature.
    pub(super) fn inputs(&self, step: u64) -> Result<Tensors, String> {
        tensors(&self.step_file("inputs", step))
    }

    /// The file of the inputs of a step, which a case without inputs has not.
    pub(super) fn step_file(&self, what: &str, step: u64) -> PathBuf {
        let suffix = if step == 0 { String::new() } else { format!(".{step}") };
        self.folder.join(format!("{what}{suffix}.safetensors"))
    }

    /// Outputs expected of a step, by feature.
    pub(super) fn expected(&self, step: u64) -> Result<Tensors, String> {
        tensors(&self.step_file("expected", step))
    }
}

/// Every case below `folder`, by name.
///
/// # Errors
/// When one has no readable `meta.json`.
pub(super) fn all(folder: &Path) -> Result<Vec<Case>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders.iter().map(|folder| Case::open(folder)).collect()
}

/// The tensors of a file; none when it is not there.
///
/// # Errors
/// When it is no safetensors file.
pub(super) fn tensors(path: &Path) -> Result<Tensors, String> {
    if !path.exists() {
        return Ok(Tensors::new());
    }
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(SafeTensors::read(&bytes.into()).map_err(|e| e.to_string())?.tensors)
}
