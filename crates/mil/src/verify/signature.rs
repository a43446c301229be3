//! Ops against their signatures: arguments, element types, nested blocks, types of results.

use super::{Check, Level};
use crate::ops::{Accept, Effect, Fault, Kind, Param, Site};
use crate::{BlockId, DType, Function, Op, Type, ValueId};

impl<'a> Check<'a, '_> {
    /// Checks one op; an op that the table lacks is checked for nothing.
    pub(super) fn signature(&mut self, op: &'a Op) {
        if op.kind.def().is_none() {
            if self.level != Level::Imported {
                let name = op.kind.name();
                self.op_fault(
                    op,
                    Fault::new(format!("op `{name}` is not in the op table; rewrite or remove it")),
                );
            }
            return;
        }
        let site = match Site::new(self.function, op) {
            Ok(site) => site,
            Err(fault) => return self.op_fault(op, fault),
        };
        let before = self.found.count();
        self.params(&site);
        self.domains(&site);
        self.blocks(&site);
        if self.found.count() == before {
            self.results(&site);
        }
    }

    fn params(&mut self, site: &Site<'a>) {
        let known = site.version.params;
        for param in known.iter().filter(|p| p.is_required() && !site.has(p.name)) {
            let message = "is missing; give it a value".into();
            self.op_fault(site.op, Fault { param: Some(param.name.into()), message });
        }
        for arg in &site.op.args {
            let Some(param) = known.iter().find(|p| p.name == &*arg.param) else {
                let names: Vec<&str> = known.iter().map(|p| p.name).collect();
                let message =
                    format!("is not known in {}; the op takes {}", site.version.since, names.join(", "));
                self.op_fault(site.op, Fault { param: Some(arg.param.to_string()), message });
                continue;
            };
            if arg.values.len() != 1 && param.kind != Kind::Variadic {
                let actual = format!("{} values", arg.values.len());
                self.op_fault(site.op, Fault::arg(param.name, actual, "one value"));
            }
            for &value in &arg.values {
                if let Some(fault) = argument_fault(site, param, value) {
                    self.op_fault(site.op, fault);
                }
            }
        }
    }

    /// Parameters of one domain have the element type of the first of them.
    ///
    /// One exception: coremltools 9.0 writes the default of a float that was left out as `fp32`, whatever its domain.
    fn domains(&mut self, site: &Site<'a>) {
        for domain in site.version.domains {
            let in_domain = |p: &&Param| matches!(p.accept, Accept::Domain(name) if name == domain.name);
            let params = site.version.params.iter().filter(in_domain);
            let values = params.flat_map(|p| site.values(p.name).iter().map(move |&v| (p, v)));
            let mut typed = values.filter_map(|(p, v)| Some((p, dtype(site.function, v)?)));
            let Some((first, wanted)) = typed.next() else { continue };
            let is_default = |p: &Param, d: DType| !p.is_required() && d == DType::F32 && wanted.is_float();
            let others = typed.filter(|&(p, d)| d != wanted && !is_default(p, d));
            for (param, actual) in others.collect::<Vec<_>>() {
                let allowed = format!("{wanted}, as argument `{}`", first.name);
                self.op_fault(site.op, Fault::arg(param.name, actual, allowed));
            }
        }
    }

    fn blocks(&mut self, site: &Site<'a>) {
        let op = site.op;
        let wanted = if matches!(op.kind.name(), "cond" | "while_loop") { 2 } else { 0 };
        if op.blocks.len() != wanted {
            let message = format!("has {} nested blocks, but must have {wanted}", op.blocks.len());
            return self.op_fault(op, Fault::new(message));
        }
        match (op.kind.name(), op.blocks.as_slice()) {
            ("cond", &[yes, no]) => {
                let results = types(site.function, &op.outputs);
                for (name, block) in [("true", yes), ("false", no)] {
                    self.block_types(site, block, name, &[], &results);
                }
            }
            ("while_loop", &[cond, body]) => {
                let vars = types(site.function, site.values("loop_vars"));
                let decides = types(site.function, &site.function.block(cond).outputs);
                let scalar = Type::Tensor(crate::TensorType::scalar(DType::Bool));
                let truth = decides.first().copied().filter(|t| is_one_bool(t)).unwrap_or(&scalar);
                self.block_types(site, cond, "condition", &vars, &[truth]);
                self.block_types(site, body, "body", &vars, &vars);
            }
            _ => {}
        }
    }

    /// Compares what a nested block takes and hands out with what its op needs.
    fn block_types(&mut self, site: &Site<'a>, id: BlockId, name: &str, inputs: &[&Type], outputs: &[&Type]) {
        let block = site.function.block(id);
        for (what, actual, wanted) in
            [("takes", &block.inputs, inputs), ("hands out", &block.outputs, outputs)]
        {
            let actual = types(site.function, actual);
            let same =
                actual.len() == wanted.len() && actual.iter().zip(wanted).all(|(a, w)| a.compatible(w));
            if !same {
                let (actual, wanted) = (list(&actual), list(wanted));
                self.op_fault(
                    site.op,
                    Fault::new(format!("the {name} block {what} {actual}, but must match {wanted}")),
                );
            }
        }
    }

    /// Compares the declared types of the results with the inferred ones.
    fn results(&mut self, site: &Site<'a>) {
        let inferred = match site.infer() {
            Ok(types) => types,
            Err(fault) => return self.op_fault(site.op, fault),
        };
        let outputs = &site.op.outputs;
        if inferred.len() != outputs.len() {
            let message = format!("has {} results, but must have {}", outputs.len(), inferred.len());
            return self.op_fault(site.op, Fault::new(message));
        }
        for (i, (&id, ty)) in outputs.iter().zip(&inferred).enumerate() {
            let value = site.function.value(id);
            if !value.ty.compatible(ty) {
                let message =
                    format!("result {i} `{}` is declared {}, but the op makes {ty}", value.name, value.ty);
                self.op_fault(site.op, Fault::new(message));
            }
        }
    }
}

/// What is wrong with one value given for a parameter.
fn argument_fault(site: &Site<'_>, param: &Param, id: ValueId) -> Option<Fault> {
    let ty = &site.function.value(id).ty;
    let wrong = |allowed: &str| Some(Fault::arg(param.name, ty, allowed));
    match (param.kind, ty) {
        (Kind::Tensor, Type::Tensor(_)) | (Kind::List, Type::List { .. }) | (Kind::State, Type::State(_)) => {
        }
        (Kind::Tensor, _) => return wrong("a tensor"),
        (Kind::List, _) => return wrong("a list"),
        (Kind::State, _) => return wrong("a state"),
        (_, Type::State(_)) => return wrong("read from its state first"),
        (Kind::Const, _) if !is_constant(site.function, id) => {
            return Some(Fault::arg(param.name, "computed at run time", "a constant"));
        }
        (Kind::Const | Kind::Variadic | Kind::Any, _) => {}
    }
    let allowed = site.version.types(param);
    let actual = dtype(site.function, id)?;
    if allowed.is_empty() || allowed.contains(&actual) {
        return None;
    }
    let names: Vec<&str> = allowed.iter().map(|d| d.name()).collect();
    Some(Fault::arg(param.name, actual, names.join(" or ")))
}

/// A constant, or a weight that is unpacked when the model is loaded.
fn is_constant(function: &Function, id: ValueId) -> bool {
    let unpacked = |op| function.op(op).kind.def().is_some_and(|d| d.effect == Effect::Constexpr);
    function.constant(id).is_some() || function.producer(id).is_some_and(unpacked)
}

fn dtype(function: &Function, id: ValueId) -> Option<DType> {
    function.value(id).ty.tensor().map(|t| t.dtype)
}

/// A scalar, or a tensor of one element, as conditions of real packages often are.
fn is_one_bool(ty: &Type) -> bool {
    ty.tensor().is_some_and(|t| t.dtype == DType::Bool && t.element_count().is_none_or(|n| n == 1))
}

fn types<'f>(function: &'f Function, values: &[ValueId]) -> Vec<&'f Type> {
    values.iter().map(|&v| &function.value(v).ty).collect()
}

fn list(types: &[&Type]) -> String {
    let types: Vec<String> = types.iter().map(|t| t.to_string()).collect();
    format!("({})", types.join(", "))
}
