//! Whether a model can be imported at all, before any work is done.

use super::table;
use crate::{Diagnostic, Diagnostics};
use anemone_formats::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto};

/// Oldest operator set whose operators mean what is implemented.
const OLDEST_OPSET: i64 = 7;

/// The version of the standard operator set.
///
/// # Errors
/// Every node whose operator is not supported, in graph order, and a missing or too old operator set.
pub(super) fn check(model: &ModelProto) -> Result<i64, Diagnostics> {
    let Some(opset) = model.opset("") else {
        return Err(
            Diagnostic::new("model", "imports no standard operator set; export it again with one").into()
        );
    };
    let mut problems = Vec::new();
    if opset < OLDEST_OPSET {
        let what = format!(
            "uses opset {opset}, but {OLDEST_OPSET} or newer is needed; convert it with onnx.version_converter"
        );
        problems.push(Diagnostic::new("model", what));
    }
    match &model.graph {
        Some(graph) => nodes(graph, opset, "", &mut problems),
        None => problems.push(Diagnostic::new("model", "has no graph")),
    }
    if problems.is_empty() { Ok(opset) } else { Err(Diagnostics(problems)) }
}

fn nodes(graph: &GraphProto, opset: i64, inside: &str, problems: &mut Vec<Diagnostic>) {
    for (i, node) in graph.node.iter().enumerate() {
        if table::find(&node.domain, &node.op_type).is_none() {
            let domain = if table::is_standard(&node.domain) {
                String::new()
            } else {
                format!(" of domain {}", node.domain)
            };
            let attributes: Vec<String> = node.attribute.iter().map(describe).collect();
            let with = if attributes.is_empty() {
                String::new()
            } else {
                format!(" with {}", attributes.join(", "))
            };
            let what = format!("operator {}{domain}{with} is not supported", node.op_type);
            problems.push(Diagnostic::new(format!("{inside}{}", place(i, node, opset)), what));
        }
        for attribute in &node.attribute {
            if let Some(inner) = &attribute.g {
                nodes(inner, opset, &format!("{}, {}: ", place(i, node, opset), attribute.name), problems);
            }
        }
    }
}

/// How a node is named in messages: `node 12 "conv1" (Conv, opset 13)`.
pub(super) fn place(index: usize, node: &NodeProto, opset: i64) -> String {
    let name = if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name };
    format!("node {index} \"{name}\" ({}, opset {opset})", node.op_type)
}

fn describe(a: &AttributeProto) -> String {
    let value = if !a.ints.is_empty() {
        format!("{:?}", a.ints)
    } else if !a.floats.is_empty() {
        format!("{:?}", a.floats)
    } else if !a.s.is_empty() {
        String::from_utf8_lossy(&a.s).into_owned()
    } else if a.g.is_some() {
        "a graph".into()
    } else if a.t.is_some() {
        "a tensor".into()
    } else if a.attribute_type == 1 {
        a.f.to_string()
    } else {
        a.i.to_string()
    };
    format!("{}={value}", a.name)
}
