//! Every rule's page: its bad example breaks the rule, its good one does not.

mod common;

use anemone_ane::{Device, Fact, Units, plan};
use anemone_lint::{Finding, Rule, Severity, Subject, check, rules};
use anemone_mil::interface::{ArrayFeature, Feature, FeatureKind, Flexibility};
use anemone_mil::{Level, Program, text, verify};
use common::blocks;
use std::sync::Arc;

const HEADINGS: [&str; 7] =
    ["What it finds", "Why it matters", "Example", "Use instead", "Evidence", "Fix", "When to ignore"];

fn findings(program: &Program, device: &Arc<Device>) -> Vec<Finding> {
    let verified = verify(program, Level::Imported).unwrap_or_else(|e| panic!("{e}"));
    let function = verified.function(None).expect("a function");
    let plan = plan(function, device, Units::CpuAndNe);
    let subject = Subject::new(program, function.function(), &plan);
    check(&subject, |rule| Some(rule.severity))
}

fn parsed(rule: &Rule, text: &str) -> Program {
    text::parse(text.trim(), &|_, _, _| None).unwrap_or_else(|e| panic!("{}: {e}", rule.name))
}

#[test]
fn every_rule_fires_on_its_bad_example_and_is_silent_on_its_good_one() {
    for rule in rules::ALL {
        let blocks = blocks(rule.page);
        let kinds: Vec<&str> = blocks.iter().map(|b| &*b.0).collect();
        assert!(rule.name == "enumerated-shapes" || kinds == ["bad", "good"], "{}: {kinds:?}", rule.name);
        for (kind, device, text) in &blocks {
            let found = findings(&parsed(rule, text), device);
            let fires = found.iter().any(|f| f.rule.name == rule.name);
            let all: Vec<(&str, &str)> = found.iter().map(|f| (f.rule.name, &*f.message)).collect();
            assert_eq!(fires, kind == "bad", "{} on its {kind} example: {all:?}", rule.name);
        }
    }
}

#[test]
fn good_examples_break_no_rule_that_warns() {
    for rule in
        rules::ALL.iter().filter(|r| !["embedding-table", "state-width", "state-count"].contains(&r.name))
    {
        for (_, device, text) in blocks(rule.page).iter().filter(|b| b.0 == "good") {
            let found = findings(&parsed(rule, text), device);
            let warned: Vec<&str> =
                found.iter().filter(|f| f.severity > Severity::Note).map(|f| f.rule.name).collect();
            assert!(warned.is_empty(), "{}: {warned:?}", rule.name);
        }
    }
}

#[test]
fn every_rule_has_facts_help_and_a_page_with_every_heading() {
    for rule in rules::ALL {
        assert!(
            !rule.facts.is_empty() && !rule.help.is_empty() && !rule.help.ends_with('.'),
            "{}",
            rule.name
        );
        let facts: Vec<&Fact> =
            rule.facts.iter().map(|f| Fact::named(f).unwrap_or_else(|| panic!("{f}"))).collect();
        for fact in &facts {
            assert!(rule.page.contains(&fact.key), "{} does not name {}", rule.name, fact.key);
        }
        let measured = facts.iter().any(|f| f.strength() > anemone_ane::Evidence::Claimed);
        assert!(measured || rule.severity < Severity::Error, "{} has no evidence for an error", rule.name);
        assert!(rule.page.starts_with(&format!("# {}: ", rule.name)), "{}", rule.name);
        let headings: Vec<&str> = rule.page.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{}", rule.name);
    }
}

#[test]
fn rules_are_in_order_and_found_by_name() {
    let names: Vec<&str> = rules::ALL.iter().map(|r| r.name).collect();
    assert!(names.is_sorted() && names.len() >= 25, "{names:?}");
    assert!(names.iter().all(|n| rules::named(n).is_some()));
}

#[test]
fn enumerated_shapes_are_noted_and_fixed_ones_are_not() {
    let text = "program(1.3)\n{\n    func main<ios18>(tensor<fp16, [1, ?]> x) {\n            tensor<fp16, [1, ?]> y = \
                relu(x = x)[name = string(\"y\")];\n        } -> (y);\n}";
    let mut program = text::parse(text, &|_, _, _| None).expect("a program");
    let fires = |p: &Program| {
        let m4 = Device::named("m4").expect("known");
        findings(p, &m4).iter().any(|f| f.rule.name == "enumerated-shapes")
    };
    assert!(!fires(&program));
    let array = |f: &mut Feature| match &mut f.kind {
        FeatureKind::MultiArray(ArrayFeature { flexibility, .. }) => {
            *flexibility = Flexibility::Enumerated(vec![vec![1, 64], vec![1, 128]]);
        }
        other => panic!("{other:?}"),
    };
    program.interface.functions[0].inputs.iter_mut().for_each(array);
    assert!(fires(&program));
}
