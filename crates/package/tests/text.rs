//! Packages as MIL text: every program comes back equal, and passes the verifier.

mod common;

use anemone_mil::text::{Dialect, PrintOptions, parse, print_with};
use anemone_mil::{Const, DType, Level, Program, ValueId, difference, verify};
use anemone_package::{Package, read};
use bytes::Bytes;
use common::{load, packages};
use std::collections::HashMap;

/// The bytes of the weights of a program by place, type and shape.
fn weights(program: &Program) -> HashMap<(String, u64, DType, Vec<usize>), Bytes> {
    let mut found = HashMap::new();
    for function in &program.functions {
        let used = function.walk().into_iter().flat_map(|(_, op)| function.op(op).operands());
        for id in used.chain(function.outputs().iter().copied()).collect::<Vec<ValueId>>() {
            if let Some(Const::Weight(w)) = function.constant(id) {
                let at = w.origin.clone().expect("a weight that was read");
                let bytes = w.tensor().expect("its bytes").bytes().clone();
                found.insert((at.path.to_string(), at.offset, w.dtype, w.shape.clone()), bytes);
            }
        }
    }
    found
}

#[test]
fn every_package_of_the_corpus_survives_as_text() {
    for path in packages("packages") {
        let Package { program, .. } =
            read(&load(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let weights = weights(&program);
        for dialect in [Dialect::V1_0, Dialect::V1_3] {
            let options = PrintOptions { dialect: Some(dialect), ..PrintOptions::default() };
            let text = print_with(&program, &options, &mut |w| panic!("{:?} has no place", w.shape));
            let bytes = |at: &anemone_mil::BlobRef, dtype, shape: &[usize]| {
                weights.get(&(at.path.to_string(), at.offset, dtype, shape.to_vec())).cloned()
            };
            let mut back = parse(&text, &bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            back.interface = program.interface.clone();
            assert_eq!(difference(&program, &back), None, "{}", path.display());
        }
    }
}

#[test]
fn every_package_of_the_corpus_passes_the_verifier() {
    for path in packages("packages") {
        let Package { program, .. } =
            read(&load(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        verify(&program, Level::Imported).unwrap_or_else(|e| panic!("{}:\n{e}", path.display()));
    }
}
