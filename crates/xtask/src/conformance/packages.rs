//! Everything that coremltools wrote and we have at hand: read, written, printed, parsed, inferred and verified.

use super::in_parallel;
use crate::place::{ending_with, repository, shared_folder, target};
use crate::{Outcome, unpack};
use anemone_mil::ops::Site;
use anemone_mil::{Function, Level, OpId, Program, Type, difference, verify};
use anemone_package::{Files, Package, read, read_compiled, write};
use anemone_testkit::files::read_folder;
use anemone_testkit::text::difference_after_text;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What is asked of every package, in order.
const CHECKS: [&str; 5] = ["read", "write", "text", "infer", "verify"];

/// Findings that are printed; all of them go into a file.
const SHOWN: usize = 40;

/// One package or compiled model to check.
struct Case {
    group: &'static str,
    name: String,
    path: PathBuf,
}

/// Checks every package below `conformance`, in the corpus, and of the shared data what is there.
///
/// # Errors
/// When packages cannot be listed or unpacked.
pub(super) fn run(conformance: &Path) -> Result<Outcome, String> {
    check_all(&cases(conformance)?)
}

fn cases(conformance: &Path) -> Result<Vec<Case>, String> {
    let mut roots = vec![
        ("corpus", repository().join("corpus/packages"), ".mlpackage"),
        ("conformance", conformance.to_path_buf(), ".mlpackage"),
    ];
    match shared_folder("models") {
        Ok(models) => {
            roots.extend([("models", models.clone(), ".mlpackage"), ("compiled", models, ".mlmodelc")]);
        }
        Err(e) => eprintln!("real models are not checked: {e}"),
    }
    match shared_folder("placement") {
        Ok(folder) => roots.push(("placement", unpack::placement(&folder)?, ".mlpackage")),
        Err(e) => eprintln!("packages with recorded placements are not checked: {e}"),
    }
    let mut cases = Vec::new();
    for (group, root, ending) in roots {
        let found = ending_with(&root, ending);
        if found.is_empty() {
            return Err(format!("no {ending} below {}", root.display()));
        }
        cases.extend(found.into_iter().map(|path| {
            let below = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            Case { group, name: format!("{group}/{below}"), path }
        }));
    }
    Ok(cases)
}

#[derive(Default)]
struct Tally {
    packages: usize,
    ops: usize,
    passed: [usize; CHECKS.len()],
    clean: usize,
}

/// Checks cases side by side, prints the table and the findings.
fn check_all(cases: &[Case]) -> Result<Outcome, String> {
    let tallies: Mutex<BTreeMap<&str, Tally>> = Mutex::default();
    let findings: Mutex<Vec<String>> = Mutex::default();
    in_parallel(cases, |case| {
        let (ops, faults) = check(&case.path);
        if let (Ok(mut tallies), Ok(mut findings)) = (tallies.lock(), findings.lock()) {
            let tally = tallies.entry(case.group).or_default();
            tally.packages += 1;
            tally.ops += ops;
            tally.clean += usize::from(faults.is_empty());
            for (passed, check) in tally.passed.iter_mut().zip(CHECKS) {
                *passed +=
                    usize::from(!faults.iter().any(|(failed, _)| *failed == check || *failed == "read"));
            }
            let lines = faults
                .iter()
                .map(|(check, why)| format!("{}: {check}: {}", case.name, why.replace('\n', "; ")));
            findings.extend(lines);
        }
    });
    let tallies = tallies.into_inner().map_err(|e| e.to_string())?;
    let mut findings = findings.into_inner().map_err(|e| e.to_string())?;
    findings.sort();
    print!("{}", table(&tallies));
    let file = target().join("conformance/findings.txt");
    fs::write(&file, findings.join("\n")).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    for line in findings.iter().take(SHOWN) {
        println!("{line}");
    }
    if findings.len() > SHOWN {
        println!("and {} more, all in {}", findings.len() - SHOWN, file.display());
    }
    Ok(Outcome::of(findings.len()))
}

fn table(tallies: &BTreeMap<&str, Tally>) -> String {
    let mut text = format!("{:<12} {:>8} {:>8}", "group", "packages", "ops");
    for name in CHECKS.iter().chain(&["clean"]) {
        let _ = write!(text, " {name:>7}");
    }
    text.push('\n');
    for (group, tally) in tallies {
        let _ = write!(text, "{group:<12} {:>8} {:>8}", tally.packages, tally.ops);
        for passed in tally.passed.iter().chain([&tally.clean]) {
            let _ = write!(text, " {passed:>7}");
        }
        text.push('\n');
    }
    text
}

/// Number of ops, and each check that failed with the reason.
fn check(path: &Path) -> (usize, Vec<(&'static str, String)>) {
    let compiled = path.extension().is_some_and(|e| e == "mlmodelc");
    let package = match open(path, compiled) {
        Ok(package) => package,
        Err(e) => return (0, vec![("read", e)]),
    };
    let program = &package.program;
    let ops = program.functions.iter().map(Function::op_count).sum();
    let mut faults = inference(program);
    faults.extend(difference_after_text(program).map(|d| ("text", d)));
    faults.extend(verify(program, Level::Canonical).err().map(|e| ("verify", e.to_string())));
    if !compiled {
        faults.extend(after_package(&package).err().map(|e| ("write", e)));
    }
    (ops, faults)
}

/// A package or compiled model, read from its files.
pub(super) fn open(path: &Path, compiled: bool) -> Result<Package, String> {
    let files: Files = read_folder(path).map_err(|e| e.to_string())?;
    let package = if compiled { read_compiled(&files) } else { read(&files) };
    package.map_err(|e| e.to_string())
}

/// Written and read again, the program and its interface are equal, and written again they give the same bytes.
fn after_package(package: &Package) -> Result<(), String> {
    let written = rewritten(package)?;
    let again = read(&written).map_err(|e| format!("what was written cannot be read: {e}"))?;
    if let Some(difference) = difference(&package.program, &again.program) {
        return Err(difference);
    }
    if rewritten(&again)? != written {
        return Err("other bytes the second time".into());
    }
    Ok(())
}

fn rewritten(package: &Package) -> Result<Files, String> {
    let verified = verify(&package.program, Level::Imported).map_err(|e| e.to_string())?;
    let mut files = Files::new();
    write(verified, &package.kept, &mut files).map_err(|e| e.to_string())?;
    Ok(files)
}

/// Ops whose inferred types contradict the stored ones; either may leave a dim open that the other knows.
fn inference(program: &Program) -> Vec<(&'static str, String)> {
    let ops = program.functions.iter().flat_map(|f| f.walk().into_iter().map(move |(_, id)| (f, id)));
    ops.filter_map(|(f, id)| infer(f, id).err()).map(|e| ("infer", e)).collect()
}

fn infer(function: &Function, id: OpId) -> Result<(), String> {
    let op = function.op(id);
    let place = format!("{} \"{}\"", op.kind.name(), op.name);
    let inferred =
        Site::new(function, op).and_then(|site| site.infer()).map_err(|e| format!("{place}: {e}"))?;
    let stored: Vec<Type> = op.outputs.iter().map(|&v| function.value(v).ty.clone()).collect();
    let agree = inferred.len() == stored.len() && inferred.iter().zip(&stored).all(|(i, s)| i.compatible(s));
    if agree {
        return Ok(());
    }
    let spell = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
    Err(format!("{place}: infers {}, but stored is {}", spell(&inferred), spell(&stored)))
}
