//! Promises that hold for every program, on random ones.

use anemone_mil::text::{PrintOptions, print};
use anemone_mil::{DType, Level, Program, Type, ValueId, verify};
use anemone_passes::engine::ENGINE;
use anemone_passes::pipeline::Run;
use anemone_passes::{Exactness, Limits, canonicalize, clean, drive, legalize};
use anemone_testkit::filetest::{Ranges, compare};
use anemone_testkit::random;

const PROGRAMS: u64 = 400;

/// Names and types of values.
fn ports(program: &Program, ids: fn(&anemone_mil::Function) -> Vec<ValueId>) -> Vec<(String, Type)> {
    let f = &program.functions[0];
    ids(f).into_iter().map(|v| (f.value(v).name.to_string(), f.value(v).ty.clone())).collect()
}

fn same_ports(before: &Program, after: &Program) -> bool {
    let inputs: fn(&anemone_mil::Function) -> Vec<ValueId> = |f| f.inputs.clone();
    let outputs: fn(&anemone_mil::Function) -> Vec<ValueId> = |f| f.outputs().to_vec();
    ports(before, inputs) == ports(after, inputs) && ports(before, outputs) == ports(after, outputs)
}

fn text(program: &Program) -> String {
    print(program, &PrintOptions::default())
}

#[test]
fn random_programs_are_legal() {
    for seed in 0..PROGRAMS {
        let program = random::program(seed, 24);
        verify(&program, Level::Canonical).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", text(&program)));
    }
}

#[test]
fn canonical_programs_are_legal_settled_and_compute_the_same() {
    for seed in 0..PROGRAMS {
        let before = random::program(seed, 24);
        let mut after = before.clone();
        canonicalize(&mut after.functions[0]);
        let both = || format!("seed {seed}\n{}\n{}", text(&before), text(&after));
        verify(&after, Level::Canonical).unwrap_or_else(|e| panic!("{e}: {}", both()));
        assert!(same_ports(&before, &after), "{}", both());
        let again = canonicalize(&mut after.clone().functions[0]);
        assert!(again.is_empty(), "{again:?}: {}", both());
        let name = format!("canonical {seed}");
        compare(&before.functions[0], &after.functions[0], false, &name, Ranges::default())
            .unwrap_or_else(|e| panic!("{e}: {}", both()));
    }
}

#[test]
fn half_precision_programs_are_legal_and_settled() {
    for seed in 0..PROGRAMS {
        let mut before = random::program(seed, 24);
        canonicalize(&mut before.functions[0]);
        let mut after = before.clone();
        legalize(&mut after.functions[0], DType::F16);
        let both = || format!("seed {seed}\n{}\n{}", text(&before), text(&after));
        verify(&after, Level::Canonical).unwrap_or_else(|e| panic!("{e}: {}", both()));
        assert!(same_ports(&before, &after), "{}", both());
        let again = legalize(&mut after.clone().functions[0], DType::F16);
        assert!(again.is_empty(), "{again:?}: {}", both());
    }
}

/// Limits that small programs break.
fn small() -> Limits {
    Limits { attention: 2, window: 2, sum: 4, matmul_row_bytes: 16, ..Limits::default() }
}

#[test]
fn programs_fit_for_the_engine_are_legal_and_compute_the_same() {
    let mut changed = 0;
    for seed in 0..PROGRAMS / 4 {
        let before = random::program(seed, 24);
        for pass in ENGINE {
            let mut after = before.clone();
            let function = &mut after.functions[0];
            changed += match pass.run {
                Run::Limited(rewrite) => drive(function, |op| rewrite(op, &small()), pass.name),
                Run::Rewrite(rewrite) => drive(function, rewrite, pass.name),
                Run::Whole(step) => step(function),
            };
            clean(function);
            let both = || format!("{} {seed}\n{}\n{}", pass.name, text(&before), text(&after));
            verify(&after, Level::Canonical).unwrap_or_else(|e| panic!("{e}: {}", both()));
            assert!(same_ports(&before, &after), "{}", both());
            let exact = pass.exactness == Exactness::Identical;
            compare(&before.functions[0], &after.functions[0], exact, pass.name, Ranges::default())
                .unwrap_or_else(|e| panic!("{e}: {}", both()));
        }
    }
    assert!(changed > 0);
}
