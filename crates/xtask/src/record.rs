//! Runs the scripts that record expectations from outside implementations.

use crate::place::{repository, run};
use crate::{Outcome, python};
use std::fs::File;

/// Name, script, arguments, and the file that takes its output where it does not write files itself.
const SCRIPTS: &[(&str, &str, &[&str], Option<&str>)] = &[
    ("ops", "crates/xtask/python/dump_ops.py", &["corpus/mil-ops.json"], None),
    ("op-vectors", "crates/xtask/python/record_op_vectors.py", &[], Some("corpus/mil-op-vectors.json")),
    ("packages", "corpus/packages/describe.py", &[], None),
    ("interfaces", "corpus/interfaces/make.py", &[], None),
    ("arrays", "corpus/arrays/make.py", &[], None),
    ("onnx", "corpus/onnx/make.py", &[], None),
    ("import-cases", "crates/xtask/python/record_import_cases.py", &[], None),
    ("models", "crates/xtask/python/record_models.py", &[], None),
    ("conformance", "crates/xtask/python/record_conformance.py", &[], None),
    ("precision", "crates/xtask/python/record_precision.py", &[], None),
    ("size", "corpus/size/make.py", &[], None),
    ("bad", "corpus/bad/make.py", &[], None),
    ("activations", "crates/xtask/python/record_activations.py", &["corpus/compress/activations"], None),
    (
        "compress",
        "crates/xtask/python/record_compress_cases.py",
        &["corpus/compress/cases.safetensors"],
        None,
    ),
];

/// `[NAME]`: one recording, or all of them.
///
/// # Errors
/// When there is no such recording, no Python, or a script fails.
pub fn run_one(wanted: Option<&str>) -> Result<(), String> {
    let chosen: Vec<_> = SCRIPTS.iter().filter(|s| wanted.is_none_or(|w| w == s.0)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SCRIPTS.iter().map(|s| s.0).collect();
        return Err(format!("no recording is called {wanted:?}; there are {}", names.join(", ")));
    }
    for (name, path, args, output) in chosen {
        eprintln!("recording {name}");
        let mut command = python::script(path)?;
        command.args(*args);
        if let Some(output) = output {
            let file = repository().join(format!("{output}.new"));
            command.stdout(File::create(&file).map_err(|e| format!("cannot write {}: {e}", file.display()))?);
            run(&mut command)?;
            std::fs::rename(&file, repository().join(output)).map_err(|e| format!("{output}: {e}"))?;
        } else {
            run(&mut command)?;
        }
    }
    Ok(())
}

/// The task.
///
/// # Errors
/// As [`run_one`].
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    run_one(args.first().map(String::as_str))?;
    Ok(Outcome::Clean)
}
