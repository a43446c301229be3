//! Every fix, on the bad example of its rule's page: it settles, what it leaves is legal, the finding is gone, and both
//! programs compute the same within what the fix promises.

mod common;

use anemone_ane::{Device, Units, plan};
use anemone_lint::fix::{Automatic, Choices, Exactness};
use anemone_lint::{MendOptions, Rule, Subject, mend, rules};
use anemone_mil::text::{PrintOptions, print};
use anemone_mil::{Bytes, DType, Level, Program, Tensor, text, verify};
use anemone_testkit::filetest::{Ranges, compare};
use common::blocks;
use std::cell::Cell;
use std::sync::Arc;

/// The program of a block, with random weights of a typical size.
fn parsed(rule: &Rule, source: &str) -> Program {
    let seed = Cell::new(1_u64);
    let weights = |_: &_, dtype: DType, shape: &[usize]| -> Option<Bytes> {
        let next = || {
            seed.set(
                seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
            );
            (seed.get() >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let (scale, shift) = match dtype {
            d if d.is_float() => (1.0, 0.0),
            d => (f64::from(1_u32 << d.bits().min(8)) - 1.0, if d.is_signed_int() { 0.0 } else { 0.5 }),
        };
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|_| (next() + shift) * scale).collect();
        let values: Vec<f64> = values.iter().map(|v| if dtype.is_float() { *v } else { v.trunc() }).collect();
        Some(Tensor::from_f64s(dtype, shape, &values).expect("fits").bytes().clone())
    };
    text::parse(source.trim(), &weights).unwrap_or_else(|e| panic!("{}: {e}", rule.name))
}

fn fires(rule: &Rule, program: &Program, device: &Arc<Device>) -> bool {
    let verified = verify(program, Level::Imported).unwrap_or_else(|e| panic!("{}: {e}", rule.name));
    program.functions.iter().any(|f| {
        let plan = plan(verified.function(Some(&f.name)).expect("the function"), device, Units::CpuAndNe);
        !(rule.find)(&Subject::new(program, f, &plan)).is_empty()
    })
}

fn options(rule: &Rule, device: &Arc<Device>) -> MendOptions {
    MendOptions {
        device: Arc::clone(device),
        units: Units::CpuAndNe,
        rounding: true,
        rules: vec![rule.name.to_owned()],
        off: Vec::new(),
        // Examples are small: what is worth the change in a model need not be in them.
        keep_worse: true,
        choices: Choices { shapes: Vec::new(), fixed: true },
    }
}

/// Mends the example, and asks for everything that a fix promises.
fn prove(rule: &Rule, fix: &Automatic, device: &Arc<Device>, source: &str) {
    let before = parsed(rule, source);
    assert!(fires(rule, &before, device), "{} does not fire", rule.name);
    let mut after = before.clone();
    let options = options(rule, device);
    let steps = mend(&mut after, &options);
    let shown = || format!("{}:\n{}", rule.name, print(&after, &PrintOptions::default()));
    assert!(!steps.is_empty() && steps.iter().all(|s| s.undone.is_none()), "{steps:?} {}", shown());
    verify(&after, Level::Imported).unwrap_or_else(|e| panic!("{e} {}", shown()));
    assert!(!fires(rule, &after, device), "still fires: {}", shown());
    assert!(mend(&mut after.clone(), &options).is_empty(), "does not settle: {}", shown());
    let exact = fix.exactness == Exactness::Identical;
    for (a, b) in before.functions.iter().zip(&after.functions) {
        compare(a, b, exact, rule.name, Ranges::default()).unwrap_or_else(|e| panic!("{e} {}", shown()));
    }
}

#[test]
fn every_fix_mends_the_example_of_its_page() {
    for rule in rules::ALL {
        let Some(fix) = rule.fix.automatic() else { continue };
        let bad: Vec<_> = blocks(rule.page).into_iter().filter(|b| b.0 == "bad").collect();
        assert!(!bad.is_empty(), "{} has no example", rule.name);
        bad.iter().for_each(|(_, device, source)| prove(rule, fix, device, source));
    }
}

#[test]
fn pages_say_what_their_fix_does() {
    for rule in rules::ALL {
        let (_, section) = rule.page.split_once("## Fix\n").expect("a section");
        let first = section.trim_start().split('\n').next().unwrap_or_default();
        let by_hand = first.starts_with("By hand");
        assert_eq!(by_hand, rule.fix.automatic().is_none(), "{}: {first}", rule.name);
        let rounds = matches!(rule.fix.automatic().map(|f| f.exactness), Some(Exactness::Rounding(_)));
        assert_eq!(first.contains("--rounding"), rounds, "{}: {first}", rule.name);
    }
}
