//! One target: its kept inputs, then new ones.

use super::{Target, seeds};
use crate::place::target as work_folder;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Seconds that a kept input may take: far more than any needs, so that a busy machine does not fail one.
const KEPT_TIMEOUT: u32 = 120;
/// Seconds that a new input may take.
const NEW_TIMEOUT: u32 = 10;

/// Tries every kept input of a target; true when all of them pass.
///
/// # Errors
/// When the target cannot be run.
pub(super) fn replay(target: &Target, binaries: &Path) -> Result<bool, String> {
    let folder = folder("seeds", target)?;
    seeds::plant(target, &folder)?;
    let count = fs::read_dir(&folder).map_or(0, Iterator::count);
    let mut command = command(target, binaries, KEPT_TIMEOUT)?;
    let run = libfuzzer(target, command.arg(&folder).arg("-runs=0"), "kept")?;
    if run.passed {
        println!("ok      {:<12} {count} kept inputs", target.name);
    } else {
        println!("FAILED  {:<12} a kept input\n{}", target.name, run.story(target));
    }
    Ok(run.passed)
}

/// Explores for a while from a fresh random seed; true when nothing was found.
///
/// # Errors
/// When the target cannot be run.
pub(super) fn explore(target: &Target, binaries: &Path, seconds: u64) -> Result<bool, String> {
    let (grown, seeds) = (folder("corpus", target)?, folder("seeds", target)?);
    let mut command = command(target, binaries, NEW_TIMEOUT)?;
    command.args([&grown, &seeds]).arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
    let run = libfuzzer(target, &mut command, "new")?;
    if run.passed {
        let progress = run.log.lines().rev().find(|l| l.starts_with('#') && l.contains("cov:"));
        println!("ok      {:<12} {:>3} s  {}", target.name, run.seconds, progress.unwrap_or_default());
    } else {
        println!("FOUND   {:<12} after {} s\n{}", target.name, run.seconds, run.story(target));
    }
    Ok(run.passed)
}

/// What a run of libFuzzer left behind.
struct Run {
    passed: bool,
    seconds: u64,
    /// Where its output is.
    file: PathBuf,
    log: String,
}

impl Run {
    /// What failed, on which input, how to see it again and how to keep it.
    fn story(&self, target: &Target) -> String {
        let mut lines = vec![self.reason(), format!("output: {}", self.file.display())];
        let seed = self.log.lines().find_map(|l| l.strip_prefix("INFO: Seed: "));
        lines.extend(seed.map(|seed| format!("seed: {seed}")));
        match self.input() {
            Some((path, bytes)) => lines.extend([
                format!("again: cargo xtask fuzz {} {}", target.name, path.display()),
                format!("once mended, keep it: fuzz/regressions/{}/WHAT-IT-IS", target.name),
                format!("{} bytes, to be piped through `base64 -d`: {}", bytes.len(), base64(&bytes)),
            ]),
            None => lines.push("no input was written".into()),
        }
        lines.iter().map(|line| format!("        {line}\n")).collect()
    }

    /// The panic, or what libFuzzer stopped for.
    fn reason(&self) -> String {
        let panic = self.log.lines().skip_while(|l| !l.contains("panicked at")).take(2);
        let panic = panic.collect::<Vec<_>>().join(" ");
        let stop = || self.log.lines().find(|l| l.contains("ERROR: libFuzzer")).unwrap_or("ended early");
        if panic.is_empty() { stop().to_owned() } else { panic }
    }

    fn input(&self) -> Option<(PathBuf, Vec<u8>)> {
        let path = PathBuf::from(self.log.lines().find_map(|l| l.split("Test unit written to ").nth(1))?);
        let bytes = fs::read(&path).ok()?;
        Some((path, bytes))
    }
}

/// The folder of a target for one kind of files.
fn folder(kind: &str, target: &Target) -> Result<PathBuf, String> {
    let path = work_folder().join("fuzz").join(kind).join(target.name);
    fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    Ok(path)
}

fn command(target: &Target, binaries: &Path, timeout: u32) -> Result<Command, String> {
    let found = folder("artifacts", target)?;
    let mut command = Command::new(binaries.join(target.name));
    command
        .arg(format!("-max_len={}", target.max_len))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(format!("-timeout={timeout}"))
        .arg("-rss_limit_mb=2048");
    Ok(command)
}

/// Runs libFuzzer with its output in a file.
fn libfuzzer(target: &Target, command: &mut Command, part: &str) -> Result<Run, String> {
    let file = work_folder().join("fuzz").join(format!("{}.{part}.log", target.name));
    let output = fs::File::create(&file).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let start = Instant::now();
    let status = command.stderr(output).status().map_err(|e| format!("cannot run {}: {e}", target.name))?;
    let log = fs::read(&file).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    Ok(Run { passed: status.success(), seconds: start.elapsed().as_secs(), file, log })
}

/// RFC 4648, with padding, in one line.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(group.get(i).copied().unwrap_or(0)));
        let digit = |i: usize| char::from(DIGITS[bits >> (18 - 6 * i) & 63]);
        text.extend((0..4).map(|i| if i <= group.len() { digit(i) } else { '=' }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // The test vectors of RFC 4648, section 10.
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
