//! Lets coremltools judge what we write.
//!
//! Every package that our tests convert, for every target and precision, and every package of the corpus and of the
//! shared models after a trip through our reader and writer, is loaded and rebuilt as a program there. What we compress and
//! unpack is also compared, weight by weight, with what coremltools makes of the same package.

mod compress;

use crate::place::{cargo, ending_with, repository, run, shared_folder, target};
use crate::{Outcome, import_cases, python};
use anemone_mil::{DType, Level, Opset, Program, verify};
use anemone_package::{Files, Kept, read, write};
use anemone_passes::{canonicalize, legalize};
use anemone_testkit::files::{read_folder, write_folder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGETS: &[&str] = &["ios15", "ios16", "ios17", "ios18", "ios26"];
const PRECISIONS: &[&str] = &["fp16", "fp32"];

/// The cases of the importer: models, and the shapes that their inputs have.
const MODELS: &str = "corpus/models/index.json";

/// `[--only TEXT]`: judges the packages whose names contain the text.
///
/// # Errors
/// When there is no Python with coremltools, or a package cannot be made for another reason than a finding.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let only = match args {
        [] => "",
        [flag, text] if flag == "--only" => text,
        _ => return Err(format!("unknown arguments {args:?}; there is --only TEXT")),
    };
    // First, so that a missing Python is said before minutes of work.
    python::interpreter()?;
    let folder = target().join("oracle");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("cannot empty {}: {e}", folder.display()))?;
    }
    let mut cases = Cases { folder, only: only.to_string(), list: Vec::new(), failed: Vec::new() };
    cases.conversions()?;
    cases.imported()?;
    cases.rewritten("corpus", &repository().join("corpus/packages"))?;
    match shared_folder("models") {
        Ok(models) => cases.rewritten("models", &models)?,
        Err(e) => eprintln!("note: {e}; only packages of the repository are judged"),
    }
    let comparisons = compress::Comparisons::make(&mut cases, &target().join("debug/anemone"))?;
    let folder = cases.folder.clone();
    let compared = comparisons.judge(&folder)?;
    let loaded = cases.judge()?;
    Ok(if loaded == Outcome::Clean { compared } else { loaded })
}

struct Cases {
    folder: PathBuf,
    only: String,
    /// What the script reads, one line a case.
    list: Vec<Value>,
    /// Packages that could not even be made.
    failed: Vec<String>,
}

impl Cases {
    /// Where the package of a case goes; `None` when it was not asked for.
    fn place(&self, name: &str) -> Result<Option<PathBuf>, String> {
        if !name.contains(&self.only) {
            return Ok(None);
        }
        let path = self.folder.join(format!("{name}.mlpackage"));
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(|e| format!("cannot make {}: {e}", parent.display()))?;
        Ok(Some(path))
    }

    fn push(&mut self, name: String, package: &Path, original: Option<&Path>) {
        self.list.push(json!({"name": name, "package": package, "original": original}));
    }

    /// Converts every model for every target in every precision.
    fn conversions(&mut self) -> Result<(), String> {
        run(cargo().args(["build", "--quiet", "--package", "anemone-cli"]))?;
        let anemone = target().join("debug/anemone");
        for (model, shapes) in models()? {
            let stem = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            for (system, precision) in TARGETS.iter().flat_map(|t| PRECISIONS.iter().map(move |p| (t, p))) {
                let name = format!("converted/{stem}-{system}-{precision}");
                let Some(package) = self.place(&name)? else { continue };
                let mut convert = Command::new(&anemone);
                convert.arg("convert").arg(&model).arg("-o").arg(&package);
                convert.args(["--target", system, "--precision", precision, "--no-check"]);
                convert.args(shapes.iter().flat_map(|s| ["--input", s]));
                let done = convert.output().map_err(|e| format!("cannot run {}: {e}", anemone.display()))?;
                if done.status.success() {
                    self.push(name, &package, None);
                } else {
                    let why = String::from_utf8_lossy(&done.stderr);
                    self.failed.push(format!("{name}: does not convert: {}", why.trim()));
                }
            }
        }
        Ok(())
    }

    /// Imports every small case of the importer: as it comes in, and as passes leave it in `fp16`.
    fn imported(&mut self) -> Result<(), String> {
        for (case, program) in import_cases::programs(Opset::Ios18)? {
            self.write(format!("imported/{case}"), &program)?;
        }
        for (case, mut program) in import_cases::programs(Opset::Ios17)? {
            for function in &mut program.functions {
                canonicalize(function);
                legalize(function, DType::F16);
            }
            self.write(format!("rewritten/{case}"), &program)?;
        }
        Ok(())
    }

    fn write(&mut self, name: String, program: &Program) -> Result<(), String> {
        let Some(package) = self.place(&name)? else { return Ok(()) };
        match written(program, &Kept::default(), &package) {
            Ok(()) => self.push(name, &package, None),
            Err(e) => self.failed.push(format!("{name}: {e}")),
        }
        Ok(())
    }

    /// Reads and writes every ML program below `root`.
    fn rewritten(&mut self, group: &str, root: &Path) -> Result<(), String> {
        for original in ending_with(root, ".mlpackage") {
            let below = original.strip_prefix(root).unwrap_or(&original).with_extension("");
            let name = format!("{group}/{}", below.display());
            let Some(package) = self.place(&name)? else { continue };
            match rewrite(&original, &package) {
                Ok(()) => self.push(name, &package, Some(&original)),
                Err(e) => self.failed.push(format!("{name}: {e}")),
            }
        }
        Ok(())
    }

    fn judge(self) -> Result<Outcome, String> {
        if self.list.is_empty() && self.failed.is_empty() {
            return Err(format!("no package is called like `{}`", self.only));
        }
        let path = self.folder.join("cases.jsonl");
        let lines: Vec<String> = self.list.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        for line in &self.failed {
            println!("FAILED {line}");
        }
        let mut script = python::script("crates/xtask/python/oracle.py")?;
        let status = script.arg(&path).status().map_err(|e| format!("cannot run {script:?}: {e}"))?;
        match status.code() {
            Some(0) => Ok(Outcome::of(self.failed.len())),
            Some(1) => Ok(Outcome::Findings),
            _ => Err(format!("the oracle could not judge: {status}")),
        }
    }
}

/// Models of the corpus with the shapes of their inputs as arguments of `--input`, each model once.
fn models() -> Result<BTreeMap<PathBuf, Vec<String>>, String> {
    let index = repository().join(MODELS);
    let text = fs::read_to_string(&index).map_err(|e| format!("cannot read {}: {e}", index.display()))?;
    let cases: Vec<Value> = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", index.display()))?;
    let folder = index.parent().unwrap_or(&index);
    let shape = |(name, dims): (&String, &Value)| {
        let dims: Vec<String> = dims.as_array().into_iter().flatten().map(Value::to_string).collect();
        format!("{name}:{}", dims.join("x"))
    };
    let model = |case: &Value| {
        let shapes = case["shapes"].as_object().into_iter().flatten().map(shape).collect();
        Some((folder.join(case["model"].as_str()?), shapes))
    };
    let found: Option<BTreeMap<_, _>> = cases.iter().map(model).collect();
    found.filter(|f| !f.is_empty()).ok_or_else(|| format!("{} names no models", index.display()))
}

fn rewrite(original: &Path, written: &Path) -> Result<(), String> {
    let files: Files = read_folder(original).map_err(|e| e.to_string())?;
    let package = read(&files).map_err(|e| e.to_string())?;
    self::written(&package.program, &package.kept, written)
}

fn written(program: &Program, kept: &Kept, folder: &Path) -> Result<(), String> {
    let verified = verify(program, Level::Imported).map_err(|e| e.to_string())?;
    let mut out = Files::new();
    write(verified, kept, &mut out).map_err(|e| e.to_string())?;
    write_folder(folder, &out).map_err(|e| format!("cannot write {}: {e}", folder.display()))
}
