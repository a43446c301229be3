//! Model-local functions: calls replaced by what they stand for.

use crate::{Diagnostic, Diagnostics};
use anemone_formats::onnx::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use std::collections::HashMap;

/// Calls within calls allowed.
const MAX_DEPTH: usize = 64;

/// Nodes that a model may have once its calls are replaced.
const MAX_NODES: usize = 1 << 20;

/// The model without calls; `None` when it has none.
///
/// # Errors
/// When a function is called within itself, grows the model beyond measure, or uses another operator set.
pub(super) fn inline(model: &ModelProto) -> Result<Option<ModelProto>, Diagnostics> {
    let Some(graph) = model.graph.as_ref().filter(|_| !model.functions.is_empty()) else { return Ok(None) };
    let key = |f: &FunctionProto| (f.domain.clone(), f.name.clone(), f.overload.clone());
    let functions = model.functions.iter().map(|f| (key(f), f)).collect();
    let mut inliner = Inliner { functions, opset: model.opset(""), nodes: 0, problems: Vec::new() };
    let graph = inliner.graph(graph, &Names::default(), 0);
    if !inliner.problems.is_empty() {
        return Err(Diagnostics(inliner.problems));
    }
    Ok(Some(ModelProto { graph: Some(Box::new(graph)), functions: Vec::new(), ..model.clone() }))
}

/// What names within a function become, and the attributes of the call.
#[derive(Default)]
struct Names {
    /// Put before names that are not handed in or out; empty outside of functions.
    prefix: String,
    known: HashMap<String, String>,
    attributes: Vec<AttributeProto>,
}

impl Names {
    fn of(&self, name: &str) -> String {
        match self.known.get(name) {
            Some(actual) => actual.clone(),
            None if name.is_empty() || self.prefix.is_empty() => name.to_owned(),
            None => format!("{}/{name}", self.prefix),
        }
    }
}

struct Inliner<'m> {
    functions: HashMap<(String, String, String), &'m FunctionProto>,
    opset: Option<i64>,
    nodes: usize,
    problems: Vec<Diagnostic>,
}

impl Inliner<'_> {
    fn graph(&mut self, graph: &GraphProto, names: &Names, depth: usize) -> GraphProto {
        let mut out = GraphProto { node: Vec::with_capacity(graph.node.len()), ..graph.clone() };
        out.node.clear();
        self.expand(&graph.node, names, depth, &mut out.node);
        out.initializer.iter_mut().for_each(|t| t.name = names.of(&t.name));
        out.input.iter_mut().chain(&mut out.output).for_each(|v| v.name = names.of(&v.name));
        out
    }

    fn expand(&mut self, nodes: &[NodeProto], names: &Names, depth: usize, out: &mut Vec<NodeProto>) {
        for node in nodes {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                if self.nodes == MAX_NODES + 1 {
                    let what = format!("its functions stand for more than {MAX_NODES} nodes");
                    self.problems.push(Diagnostic::new("model", what));
                }
                return;
            }
            let node = self.renamed(node, names, depth);
            let key = (node.domain.clone(), node.op_type.clone(), node.overload.clone());
            match self.functions.get(&key).copied() {
                None => out.push(node),
                Some(_) if depth >= MAX_DEPTH => {
                    let what = format!(
                        "function {} is called more than {MAX_DEPTH} calls deep, or calls itself",
                        node.op_type
                    );
                    self.problem(&node, what);
                    self.nodes = MAX_NODES + 1;
                }
                Some(function) => self.call(&node, function, depth, out),
            }
        }
    }

    fn problem(&mut self, node: &NodeProto, what: String) {
        let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
        let place = format!("node \"{}\" ({})", name.map_or("", String::as_str), node.op_type);
        self.problems.push(Diagnostic::new(place, what));
    }

    fn call(&mut self, node: &NodeProto, function: &FunctionProto, depth: usize, out: &mut Vec<NodeProto>) {
        let opset = function.opset_import.iter().find(|o| matches!(o.domain.as_str(), "" | "ai.onnx"));
        if let (Some(theirs), Some(ours)) = (opset.map(|o| o.version), self.opset)
            && theirs != ours
        {
            let what = format!("function {} uses opset {theirs}, but the model {ours}", function.name);
            return self.problem(node, what);
        }
        let label = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
        let mut names = Names {
            prefix: format!("{}#{}", label.map_or("", String::as_str), self.nodes),
            attributes: node.attribute.clone(),
            ..Names::default()
        };
        let given = |attributes: &[AttributeProto], name: &str| attributes.iter().any(|a| a.name == name);
        let defaults = function.attribute_proto.iter().filter(|a| !given(&node.attribute, &a.name));
        names.attributes.extend(defaults.cloned());
        for (i, formal) in function.input.iter().enumerate() {
            names.known.insert(formal.clone(), node.input.get(i).cloned().unwrap_or_default());
        }
        let mut copies = Vec::new();
        for (formal, actual) in function.output.iter().zip(&node.output) {
            if actual.is_empty() {
                continue;
            }
            match names.known.get(formal) {
                // What comes in goes out.
                Some(source) => copies.push((source.clone(), actual.clone())),
                None => drop(names.known.insert(formal.clone(), actual.clone())),
            }
        }
        self.expand(&function.node, &names, depth + 1, out);
        for (source, actual) in copies {
            let identity = "Identity".to_owned();
            out.push(NodeProto {
                input: vec![source],
                output: vec![actual],
                op_type: identity,
                ..NodeProto::default()
            });
        }
    }

    fn renamed(&mut self, node: &NodeProto, names: &Names, depth: usize) -> NodeProto {
        let mut out = node.clone();
        if !names.prefix.is_empty() {
            out.input.iter_mut().chain(&mut out.output).for_each(|n| *n = names.of(n));
            if !out.name.is_empty() {
                out.name = format!("{}/{}", names.prefix, out.name);
            }
            out.attribute = node.attribute.iter().filter_map(|a| resolved(a, &names.attributes)).collect();
        }
        for attribute in &mut out.attribute {
            if let Some(graph) = &attribute.g {
                attribute.g = Some(Box::new(self.graph(graph, names, depth)));
            }
        }
        out
    }
}

/// An attribute with what the call gives for it; none when it refers to one that is left out.
fn resolved(attribute: &AttributeProto, given: &[AttributeProto]) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let actual = given.iter().find(|a| a.name == attribute.ref_attr_name)?;
    Some(AttributeProto { name: attribute.name.clone(), ..actual.clone() })
}
