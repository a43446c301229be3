//! The op table against the op registry of coremltools (`corpus/mil-ops.json`).

use anemone_mil::ops::{self, Kind, OpDef, Param, Version};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of parameters that are nested blocks or internals in our IR.
const NOT_OPERANDS: [&str; 2] = ["PyFunctionInputType", "InternalInputType"];

/// Ops of Core ML's own dialect, which coremltools registers apart or only writes.
const DIALECT: [&str; 2] = ["coreml_update_state", "write_state"];

fn registry() -> BTreeMap<String, Value> {
    let text = include_str!("../../../corpus/mil-ops.json");
    serde_json::from_str(text).expect("the registry is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn kind(registered: &Value) -> Kind {
    match (text(registered, "kind"), registered["const"] == true) {
        ("ListOrTensorOrDictInputType", _) => Kind::Any,
        ("TupleInputType", _) => Kind::Variadic,
        ("ListInputType", _) => Kind::List,
        ("StateInputType", _) => Kind::State,
        (_, true) => Kind::Const,
        (_, false) => Kind::Tensor,
    }
}

/// Kind, requiredness, and element types where the registry names any.
fn compare_param(place: &str, ours: &Param, version: &Version, theirs: &Value, all: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if ours.kind != kind(theirs) {
        faults.push(format!("{place}: is {:?}, registry says {:?}", ours.kind, kind(theirs)));
    }
    if ours.is_required() == (theirs["optional"] == true) {
        faults.push(format!("{place}: required is {}, registry says the opposite", ours.is_required()));
    }
    let types = match theirs["domain"].as_str() {
        Some(domain) => names(&all["domains"][domain]),
        None => names(&theirs["types"]),
    };
    let own: BTreeSet<&str> = version.types(ours).iter().map(|d| d.name()).collect();
    if own != types {
        faults.push(format!("{place}: takes {own:?}, registry says {types:?}"));
    }
    faults
}

fn compare_version(place: &str, ours: &Version, theirs: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if ours.since.name() != text(theirs, "since") {
        faults.push(format!("{place}: since {}, registry says {}", ours.since, text(theirs, "since")));
    }
    let params: Vec<&Value> = theirs["params"].as_array().into_iter().flatten().collect();
    let operands: Vec<&Value> =
        params.into_iter().filter(|p| !NOT_OPERANDS.contains(&text(p, "kind"))).collect();
    let (own, registered): (Vec<&str>, Vec<&str>) =
        (ours.params.iter().map(|p| p.name).collect(), operands.iter().map(|p| text(p, "name")).collect());
    if own != registered {
        faults.push(format!("{place}: takes {own:?}, registry says {registered:?}"));
        return faults;
    }
    for (param, registered) in ours.params.iter().zip(operands) {
        faults.extend(compare_param(&format!("{place} `{}`", param.name), param, ours, registered, theirs));
    }
    faults
}

fn compare_op(def: &OpDef, theirs: &Value) -> Vec<String> {
    let versions: Vec<&Value> = theirs.as_array().into_iter().flatten().collect();
    if def.versions.len() != versions.len() {
        return vec![format!(
            "{}: {} versions, registry has {}",
            def.name,
            def.versions.len(),
            versions.len()
        )];
    }
    let pairs = def.versions.iter().zip(versions);
    pairs.flat_map(|(v, r)| compare_version(&format!("{} {}", def.name, v.since), v, r)).collect()
}

#[test]
fn every_signature_is_that_of_the_registry() {
    let registry = registry();
    let mut faults = Vec::new();
    for def in ops::table() {
        match registry.get(def.name) {
            Some(theirs) => faults.extend(compare_op(def, theirs)),
            None if DIALECT.contains(&def.name) => {}
            None => faults.push(format!("{}: not in the registry", def.name)),
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_op_and_version_of_the_registry_is_in_the_table() {
    let registry = registry();
    let missing: Vec<&String> = registry.keys().filter(|name| ops::find(name).is_none()).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let versions = registry.values().filter_map(Value::as_array).map(Vec::len).sum::<usize>();
    assert_eq!((registry.len(), versions), (168, 227), "ops and versions that coremltools 9.0 registers");
}

#[test]
fn every_row_is_described_and_unique() {
    let mut seen = BTreeSet::new();
    for def in ops::table() {
        assert!(seen.insert(def.name), "{} stands twice in the table", def.name);
        assert!(def.doc.ends_with('.'), "{}: the doc is no sentence", def.name);
        assert!(def.versions.is_sorted_by_key(|v| v.since), "{}: versions out of order", def.name);
        let domains = def.versions.iter().flat_map(|v| v.params.iter().map(move |p| (v, p)));
        for (version, param) in domains {
            if let ops::Accept::Domain(name) = param.accept {
                let known = version.domains.iter().any(|d| d.name == name);
                assert!(known, "{} `{}`: no domain {name}", def.name, param.name);
            }
        }
    }
}
