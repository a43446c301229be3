//! Programs of the corpus against the op table, and damaged ones against everything.

mod common;

use anemone_mil::{Level, Type, difference, ops::Site, verify};
use anemone_package::{Files, Kept, overview, read, summary, write};
use common::{load, packages};

#[test]
fn inference_gives_the_types_that_coremltools_stored() {
    for path in packages("packages") {
        let package = read(&load(&path)).expect("readable");
        for f in &package.program.functions {
            for (_, id) in f.walk() {
                let op = f.op(id);
                let place = format!("{}: {} {:?}", path.display(), op.kind.name(), op.name);
                let inferred = Site::new(f, op).and_then(|site| site.infer());
                let inferred = inferred.unwrap_or_else(|e| panic!("{place}: {e}"));
                let stored: Vec<Type> = op.outputs.iter().map(|&v| f.value(v).ty.clone()).collect();
                assert_eq!(inferred, stored, "{place}");
            }
        }
    }
}

#[test]
fn every_package_passes_the_verifier() {
    for path in packages("packages") {
        let program = read(&load(&path)).expect("readable").program;
        assert!(verify(&program, Level::Canonical).is_ok(), "{}", path.display());
    }
}

/// Numbers without pattern, the same in every run (xorshift, Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).expect("small")).expect("small")
    }
}

/// The files with one byte of the model or the weights changed, gone or new.
fn damaged(files: &Files, noise: &mut Noise) -> Files {
    let mut files = files.clone();
    let mut broken: Vec<_> =
        files.iter_mut().filter(|(path, b)| !path.ends_with(".json") && !b.is_empty()).collect();
    let pick = noise.below(broken.len());
    let file = &mut broken[pick].1;
    let mut bytes = file.to_vec();
    let at = noise.below(bytes.len());
    match noise.below(3) {
        0 => bytes[at] ^= 1 << noise.below(8),
        1 => drop(bytes.remove(at)),
        _ => bytes.insert(at, [0, 1, 127, 128, 255][noise.below(5)]),
    }
    **file = bytes.into();
    files
}

#[test]
fn damaged_packages_give_errors_or_programs_that_survive() {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    for path in packages("packages") {
        let files = load(&path);
        for _ in 0..60 {
            let files = damaged(&files, &mut noise);
            let _ = overview(&files);
            let Ok(package) = read(&files) else { continue };
            summary(&package.program);
            let Ok(program) = verify(&package.program, Level::Imported) else { continue };
            let mut written = Files::new();
            if write(program, &Kept::default(), &mut written).is_ok() {
                let again = read(&written).expect("readable").program;
                assert_eq!(difference(&package.program, &again), None, "{}", path.display());
            }
        }
    }
}
