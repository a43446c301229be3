//! A folder of golden files as a test binary of its own.

use super::{Transform, render, unified};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// A folder of golden files, `<group>/<case>.mil`, each a test named `<group>/<case>`.
///
/// For a test target with `harness = false`; it takes the options of the usual harness as far as they matter:
/// filters, `--exact`, `--skip`, `--list`, `--quiet`. With `BLESS=1` in the environment, files become what comes out.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The folder.
    pub folder: PathBuf,
    /// The package of the test target, for the command that is printed on failure.
    pub package: &'static str,
    /// The test target.
    pub target: &'static str,
}

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    quiet: bool,
}

impl Wanted {
    fn read(args: impl Iterator<Item = String>) -> Wanted {
        let mut wanted = Wanted::default();
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => wanted.exact = true,
                "--list" => wanted.list = true,
                "-q" | "--quiet" => wanted.quiet = true,
                "--skip" => wanted.skip.extend(args.next()),
                "--format" | "--color" | "--test-threads" | "--logfile" | "-Z" => drop(args.next()),
                other if other.starts_with('-') => {}
                filter => wanted.filters.push(filter.to_owned()),
            }
        }
        wanted
    }

    fn takes(&self, name: &str) -> bool {
        let hit = |f: &String| if self.exact { name == f } else { name.contains(f.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(hit)) && !self.skip.iter().any(hit)
    }
}

impl Suite {
    /// Runs the files that the command line asks for, and prints one line for each.
    pub fn main(&self, transform: &Transform<'_>) -> ExitCode {
        let wanted = Wanted::read(env::args().skip(1));
        let files: Vec<(String, PathBuf)> =
            self.files().into_iter().filter(|(name, _)| wanted.takes(name)).collect();
        if wanted.list {
            files.iter().for_each(|(name, _)| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        println!("\nrunning {} tests", files.len());
        let mut failures = Vec::new();
        for (name, path) in &files {
            let result = self.one(name, path, transform);
            if !wanted.quiet || result.is_err() {
                println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
            }
            failures.extend(result.err().map(|why| (name, why)));
        }
        failures.iter().for_each(|(name, why)| println!("\n---- {name} ----\n{why}"));
        let (passed, failed) = (files.len() - failures.len(), failures.len());
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        println!("\ntest result: {verdict}. {passed} passed; {failed} failed\n");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Names and paths of the files, sorted by name.
    fn files(&self) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for group in entries(&self.folder) {
            for file in entries(&group).into_iter().filter(|f| f.extension().is_some_and(|e| e == "mil")) {
                let part = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned());
                let name = [part(&group), part(&file)].map(Option::unwrap_or_default).join("/");
                found.push((name, file));
            }
        }
        found.sort();
        found
    }

    fn one(&self, name: &str, path: &Path, transform: &Transform<'_>) -> Result<(), String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let right = render(name, &text, transform)?;
        if right == text {
            return Ok(());
        }
        if env::var_os("BLESS").is_some() {
            return fs::write(path, right).map_err(|e| format!("{}: {e}", path.display()));
        }
        let (package, target) = (self.package, self.target);
        let command = format!("BLESS=1 cargo test -p {package} --test {target} -- --exact {name}");
        Err(format!("{}To accept what comes out:\n  {command}", unified(&text, &right)))
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|e| Some(e.ok()?.path())).collect()
}
