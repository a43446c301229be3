//! Compressed packages: compared weight by weight with what coremltools makes of the same package.

use super::Cases;
use crate::place::{ending_with, run, shared_folder, target};
use crate::{Outcome, python};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Models of the corpus that are compressed.
const MODELS: [&str; 2] = ["corpus/models/ppocr-cls.onnx", "corpus/models/fastestdet.onnx"];

/// A scheme: its name, our arguments, and the way and settings of coremltools.
type Scheme = (&'static str, &'static [&'static str], &'static str, &'static str);

const SCHEMES: [Scheme; 9] = [
    ("int8", &["--linear", "int8"], "linear", r#"{"mode": "linear_symmetric"}"#),
    (
        "uint8-affine",
        &["--linear", "uint8", "--mode", "linear"],
        "linear",
        r#"{"mode": "linear", "dtype": "uint8"}"#,
    ),
    (
        "int4-blocks",
        &["--linear", "int4", "--granularity", "per-block", "--block-size", "8"],
        "linear",
        r#"{"mode": "linear_symmetric", "dtype": "int4", "granularity": "per_block", "block_size": 8}"#,
    ),
    (
        "uniform-6",
        &["--palettize", "6", "--mode", "uniform"],
        "palette",
        r#"{"mode": "uniform", "nbits": 6}"#,
    ),
    (
        "uniform-4-groups",
        &[
            "--palettize",
            "4",
            "--mode",
            "uniform",
            "--granularity",
            "per-grouped-channel",
            "--group-size",
            "4",
        ],
        "palette",
        r#"{"mode": "uniform", "nbits": 4, "granularity": "per_grouped_channel", "group_size": 4}"#,
    ),
    ("kmeans-4", &["--palettize", "4"], "palette", r#"{"mode": "kmeans", "nbits": 4}"#),
    (
        "kmeans-3-groups",
        &["--palettize", "3", "--granularity", "per-grouped-channel", "--group-size", "8"],
        "palette",
        r#"{"mode": "kmeans", "nbits": 3, "granularity": "per_grouped_channel", "group_size": 8}"#,
    ),
    ("half", &["--prune", "0.5"], "prune", r#"{"target_sparsity": 0.5}"#),
    ("2-of-4", &["--n-m", "2:4"], "prune", r#"{"n_m_ratio": [2, 4], "dim": 1}"#),
];

/// What the script compares.
#[derive(Default)]
pub(super) struct Comparisons(Vec<Value>);

impl Comparisons {
    /// Compresses models of the corpus, and unpacks the compressed packages of the shared models.
    pub(super) fn make(cases: &mut Cases, anemone: &Path) -> Result<Comparisons, String> {
        let mut found = Comparisons::default();
        for model in MODELS {
            let model = crate::place::repository().join(model);
            let stem = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut plain = None;
            for (scheme, flags, way, settings) in SCHEMES {
                let name = format!("compressed/{stem}-{scheme}");
                let Some(package) = cases.place(&name)? else { continue };
                if plain.is_none() {
                    plain = Some(converted(anemone, &model, &cases.folder)?);
                }
                let original = plain.clone().unwrap_or_default();
                let mut command = Command::new(anemone);
                command.arg("compress").arg(&original).arg("-o").arg(&package).args(flags);
                let settings: Value = serde_json::from_str(settings).map_err(|e| e.to_string())?;
                found.add(cases, &mut command, &name, [&original, &package], (way, settings));
            }
        }
        let Ok(silero) = shared_folder("models/silero-vad/packages") else {
            eprintln!("note: the shared models are not there; no package of others is unpacked");
            return Ok(found);
        };
        for original in ending_with(&silero, ".mlpackage") {
            let stem = original.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("unpacked/{stem}");
            let Some(package) = cases.place(&name)? else { continue };
            let mut command = Command::new(anemone);
            command.arg("decompress").arg(&original).arg("-o").arg(&package);
            found.add(cases, &mut command, &name, [&original, &package], ("decompress", Value::Null));
        }
        Ok(found)
    }

    fn add(
        &mut self,
        cases: &mut Cases,
        command: &mut Command,
        name: &str,
        [original, package]: [&PathBuf; 2],
        (way, settings): (&str, Value),
    ) {
        match command.stdout(Stdio::null()).output() {
            Ok(done) if done.status.success() => {
                cases.push(name.to_owned(), package, None);
                self.0.push(json!({
                    "name": name, "original": original, "package": package, "way": way, "settings": settings,
                }));
            }
            Ok(done) => {
                cases.failed.push(format!("{name}: {}", String::from_utf8_lossy(&done.stderr).trim()))
            }
            Err(e) => cases.failed.push(format!("{name}: cannot run {command:?}: {e}")),
        }
    }

    /// Lets coremltools do the same, and compares.
    pub(super) fn judge(self, folder: &Path) -> Result<Outcome, String> {
        if self.0.is_empty() {
            return Ok(Outcome::Clean);
        }
        let path = folder.join("compressed.jsonl");
        let lines: Vec<String> = self.0.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        let mut script = python::script("crates/xtask/python/oracle_compress.py")?;
        // Its bars of progress would drown the table.
        script.arg(&path).stderr(Stdio::null());
        let status = script.status().map_err(|e| format!("cannot run {script:?}: {e}"))?;
        match status.code() {
            Some(0) => Ok(Outcome::Clean),
            Some(1) => Ok(Outcome::Findings),
            _ => Err(format!("the oracle of compression could not judge: {status}")),
        }
    }
}

/// A model of the corpus as a package of the newest forms of weights.
fn converted(anemone: &Path, model: &Path, folder: &Path) -> Result<PathBuf, String> {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let package = target().join("oracle").join(format!("{stem}.plain.mlpackage"));
    fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let mut command = Command::new(anemone);
    command.arg("convert").arg(model).arg("-o").arg(&package).args(["--target", "ios18", "--no-check"]);
    run(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(package)
}
