//! What a program holds, counted: ops, parameters, weights by type and compression.

use anemone_mil::ops::Effect;
use anemone_mil::{BlobRef, Const, DType, Def, Function, Op, OpId, Program, ValueId, Weight, WeightData};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Counts over a whole program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// One entry per function, in their order.
    pub functions: Vec<FunctionSummary>,
    /// Ops by kind over all functions, most frequent first, then by name.
    pub ops: Vec<(String, usize)>,
    /// Weights grouped by encoding and element type, largest first; functions that share a weight count it once.
    pub weights: Vec<WeightGroup>,
    /// Elements of all weights as the ops see them, unpacked.
    pub parameters: u64,
    /// Bytes that the weights take, packed.
    pub weight_bytes: u64,
    /// Weights grouped by shape, in the order of first use; shared ones count once.
    pub shapes: Vec<WeightShape>,
}

/// Weights of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightShape {
    /// Shape that the ops see; empty for a scalar.
    pub shape: Vec<usize>,
    /// Element type that the ops see.
    pub dtype: DType,
    /// How many there are.
    pub tensors: usize,
    /// Bytes that they take, packed.
    pub bytes: u64,
}

/// Counts over one function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionSummary {
    /// Name.
    pub name: String,
    /// Op set, such as `ios17`.
    pub opset: String,
    /// Ops, those in nested blocks included; constants are none.
    pub ops: usize,
}

/// Weights that are stored in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightGroup {
    /// How they are packed.
    pub encoding: Encoding,
    /// Element type that the ops see.
    pub dtype: DType,
    /// How many there are.
    pub tensors: usize,
    /// Elements that the ops see.
    pub parameters: u64,
    /// Bytes that they take, everything needed to unpack them included.
    pub bytes: u64,
}

/// How a weight is packed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// As it is used.
    Plain,
    /// By `constexpr_*` ops.
    Compressed {
        /// The ops that unpack it, innermost first, without the prefix `constexpr_`.
        steps: Vec<String>,
        /// Bits of one stored element or table index.
        bits: usize,
    },
}

/// Counts a program.
pub fn summary(program: &Program) -> Summary {
    let mut counter = Counter::default();
    let functions = program.functions.iter().map(|f| counter.function(f)).collect();
    let mut ops: Vec<(String, usize)> = counter.ops.into_iter().collect();
    ops.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut weights: Vec<WeightGroup> = counter.groups.into_values().collect();
    weights.sort_by_key(|g| std::cmp::Reverse(g.bytes));
    let parameters = weights.iter().map(|g| g.parameters).fold(0, u64::saturating_add);
    let weight_bytes = weights.iter().map(|g| g.bytes).fold(0, u64::saturating_add);
    Summary { functions, ops, weights, parameters, weight_bytes, shapes: counter.shapes }
}

/// What tells one stored weight from another.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Identity {
    Blob(BlobRef),
    Memory(usize, usize),
    Value(String, ValueId),
    Unpacked(String, OpId),
}

#[derive(Default)]
struct Counter {
    ops: BTreeMap<String, usize>,
    groups: BTreeMap<(Encoding, DType), WeightGroup>,
    seen: HashSet<Identity>,
    shapes: Vec<WeightShape>,
    shape_at: HashMap<(Vec<usize>, DType), usize>,
}

impl Counter {
    fn function(&mut self, f: &Function) -> FunctionSummary {
        let walk = f.walk();
        for (_, id) in &walk {
            let op = f.op(*id);
            *self.ops.entry(op.kind.name().to_owned()).or_default() += 1;
            if !is_constexpr(op) {
                op.operands().for_each(|v| self.operand(f, v));
            }
        }
        FunctionSummary { name: f.name.to_string(), opset: f.opset.name().to_owned(), ops: walk.len() }
    }

    fn operand(&mut self, f: &Function, v: ValueId) {
        match &f.value(v).def {
            Def::Const(Const::Weight(w)) if self.seen.insert(identity(f, v, w)) => {
                self.add(Encoding::Plain, w.dtype, &w.shape, packed_len(w));
            }
            Def::Result(id, _) if is_constexpr(f.op(*id)) => self.unpacked(f, v, *id),
            _ => {}
        }
    }

    /// A weight that a chain of `constexpr_*` ops ends in.
    fn unpacked(&mut self, f: &Function, v: ValueId, id: OpId) {
        if !self.seen.insert(Identity::Unpacked(f.name.to_string(), id)) {
            return;
        }
        let Some(ty) = f.value(v).ty.tensor() else { return };
        let mut chain = Chain::default();
        chain.step(f, id);
        let fresh: Vec<u64> = chain
            .stored
            .into_iter()
            .filter_map(|(identity, bytes)| self.seen.insert(identity).then_some(bytes))
            .collect();
        if fresh.is_empty() {
            return;
        }
        let encoding = Encoding::Compressed { steps: chain.steps, bits: chain.bits };
        let shape = ty.known_shape().unwrap_or_default();
        self.add(encoding, ty.dtype, &shape, fresh.into_iter().fold(0, u64::saturating_add));
    }

    fn add(&mut self, encoding: Encoding, dtype: DType, shape: &[usize], bytes: u64) {
        let parameters = count(shape);
        let known = self.shape_at.entry((shape.to_vec(), dtype)).or_insert(self.shapes.len());
        if *known == self.shapes.len() {
            self.shapes.push(WeightShape { shape: shape.to_vec(), dtype, tensors: 0, bytes: 0 });
        }
        let same = &mut self.shapes[*known];
        same.tensors += 1;
        same.bytes = same.bytes.saturating_add(bytes);
        let empty = || WeightGroup { encoding: encoding.clone(), dtype, tensors: 0, parameters: 0, bytes: 0 };
        let group = self.groups.entry((encoding.clone(), dtype)).or_insert_with(empty);
        group.tensors += 1;
        group.parameters = group.parameters.saturating_add(parameters);
        group.bytes = group.bytes.saturating_add(bytes);
    }
}

/// The `constexpr_*` ops behind one weight.
#[derive(Default)]
struct Chain {
    steps: Vec<String>,
    bits: usize,
    visited: HashSet<OpId>,
    stored: Vec<(Identity, u64)>,
}

impl Chain {
    fn step(&mut self, f: &Function, id: OpId) {
        if !self.visited.insert(id) {
            return;
        }
        let op = f.op(id);
        for v in op.operands() {
            match &f.value(v).def {
                Def::Result(inner, _) => self.step(f, *inner),
                Def::Const(c) => self.stored.push(stored(f, v, c)),
                _ => {}
            }
        }
        let name = op.kind.name();
        self.steps.push(name.strip_prefix("constexpr_").unwrap_or(name).to_owned());
        if let Some(bits) = stored_bits(f, op) {
            self.bits = bits;
        }
    }
}

/// Bits of one stored element: of the data operand, or of an index, which iOS 16 packs into bytes.
fn stored_bits(f: &Function, op: &Op) -> Option<usize> {
    let data = ["data", "nonzero_data", "indices", "indices_nonzero_data", "quantized_data", "source_val"];
    let (param, v) = data.iter().find_map(|p| Some((*p, op.value(p)?)))?;
    f.constant(v)?;
    let ty = f.value(v).ty.tensor()?;
    let old_table = param == "indices" && op.value("shape").is_some();
    let lut = op.value("lut").and_then(|v| f.value(v).ty.tensor()?.element_count());
    match lut.filter(|_| old_table) {
        Some(entries) => Some(usize::try_from(entries.max(1).ilog2()).unwrap_or(0)),
        None => Some(ty.dtype.bits()),
    }
}

fn stored(f: &Function, v: ValueId, c: &Const) -> (Identity, u64) {
    match c {
        Const::Weight(w) => (identity(f, v, w), packed_len(w)),
        Const::Literal(l) => {
            let bytes = l.as_tensor().map_or(0, |t| t.bytes().len());
            (Identity::Value(f.name.to_string(), v), u64::try_from(bytes).unwrap_or(u64::MAX))
        }
    }
}

fn identity(f: &Function, v: ValueId, w: &Weight) -> Identity {
    match (&w.origin, &w.data) {
        (Some(origin), _) => Identity::Blob(origin.clone()),
        (None, WeightData::Bytes(b)) if !b.is_empty() => Identity::Memory(b.as_ptr().addr(), b.len()),
        _ => Identity::Value(f.name.to_string(), v),
    }
}

fn is_constexpr(op: &Op) -> bool {
    op.kind.def().map_or(op.kind.name().starts_with("constexpr_"), |d| d.effect == Effect::Constexpr)
}

fn count(shape: &[usize]) -> u64 {
    anemone_tensor::num::element_count(shape).and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX)
}

fn packed_len(w: &Weight) -> u64 {
    let len = anemone_tensor::num::element_count(&w.shape).and_then(|n| w.dtype.packed_len(n));
    len.and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX)
}
