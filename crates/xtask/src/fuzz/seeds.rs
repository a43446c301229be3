//! What a target starts from.

use super::Target;
use crate::place::{ending_with, repository};
use anemone_formats::safetensors::SafeTensors;
use anemone_mil::text::PrintOptions;
use std::fs;
use std::path::{Path, PathBuf};

/// Fills `folder` with the seeds of a target and with what once failed; the names tell where each is from.
pub(super) fn plant(target: &Target, folder: &Path) -> Result<(), String> {
    let io = |e: std::io::Error| format!("cannot fill {}: {e}", folder.display());
    fs::remove_dir_all(folder).map_err(io)?;
    fs::create_dir_all(folder).map_err(io)?;
    let files = target.seeds.iter().flat_map(|(root, end)| ending_with(&repository().join(root), end));
    let kept = ending_with(&kept(target.name), "");
    for (file, path) in files.chain(kept).enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let inputs = seeds(target.name, &path)?;
        for (part, bytes) in inputs.iter().enumerate().filter(|(_, bytes)| bytes.len() <= target.max_len) {
            fs::write(folder.join(format!("{file:04}-{part}-{name}")), bytes).map_err(io)?;
        }
    }
    Ok(())
}

/// The folder of what once failed.
pub(super) fn kept(target: &str) -> PathBuf {
    repository().join("fuzz/regressions").join(target)
}

/// The inputs that a file or folder gives a target.
fn seeds(target: &str, path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let whole = || fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    Ok(match target {
        "package" => vec![sections(path, &["Data/com.apple.CoreML/model.mlmodel", PACKAGE_WEIGHTS])],
        "mlmodelc" => {
            vec![sections(path, &["coremldata.bin", "metadata.json", "model.mil", "weights/weight.bin"])]
        }
        "mil_text" if path.is_dir() => vec![text(path)?],
        "onnx" | "import_onnx" if path.extension().is_some_and(|e| e == "safetensors") => {
            let cases =
                SafeTensors::read(&whole()?.into()).map_err(|e| format!("{}: {e}", path.display()))?;
            let models = cases.tensors.iter().filter(|(key, _)| key.ends_with("/model"));
            models.map(|(_, model)| model.bytes().to_vec()).collect()
        }
        _ => vec![whole()?],
    })
}

/// The program of a package as MIL text.
fn text(path: &Path) -> Result<Vec<u8>, String> {
    let opened = anemone::open(path).map_err(|e| e.to_string())?;
    Ok(anemone_mil::text::print(&opened.program, &PrintOptions::default()).into_bytes())
}

const PACKAGE_WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

/// Files of a folder as one input: a length in 4 bytes and the bytes of each. A plain file is taken as it is.
fn sections(path: &Path, names: &[&str]) -> Vec<u8> {
    if path.is_file() {
        return fs::read(path).unwrap_or_default();
    }
    let mut input = Vec::new();
    for name in names {
        let bytes = fs::read(path.join(name)).unwrap_or_default();
        input.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        input.extend(bytes);
    }
    input
}
