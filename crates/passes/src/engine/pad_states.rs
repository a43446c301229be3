//! States get a last dim that is a multiple of what the device wants.
//!
//! ```text
//! r = read_state(s [1, 40])                becomes      r = slice(read_state(s [1, 64]), [1, 40])
//! write_state(s [1, 40], v)                becomes      write_state(s [1, 64], pad(v with zeros))
//! ```
//! The rest of the function works with the widths that it had; what is beyond them is zero, and nobody looks at it.

use anemone_mil::ops::{Fault, Site};
use anemone_mil::{
    BlockId, Dim, Function, Literal, Name, Op, OpId, OpKind, Origin, Tensor, TensorType, Type, ValueId,
};
use std::collections::HashSet;

/// Name of the pass.
pub const NAME: &str = "pad_states";

/// Widens every state whose last dim is no multiple of `step`; returns how many there were.
///
/// # Errors
/// When a state is used by an op that is not thought of; the function is damaged then, and must be thrown away.
pub fn run(function: &mut Function, step: usize) -> Result<usize, Fault> {
    let mut widened = 0;
    for state in function.inputs.clone() {
        let Type::State(narrow) = function.value(state).ty.clone() else { continue };
        let Some(width) = narrow.dims.last().and_then(Dim::known).filter(|w| w % step.max(1) != 0) else {
            continue;
        };
        let mut wide = narrow.clone();
        if let Some(last) = wide.dims.last_mut() {
            *last = Dim::Known(width.next_multiple_of(step));
        }
        function.value_mut(state).ty = Type::State(wide.clone());
        States { function, state, narrow, wide }.users()?;
        widened += 1;
    }
    Ok(widened)
}

/// One state that is made wider.
struct States<'f> {
    function: &'f mut Function,
    state: ValueId,
    narrow: TensorType,
    wide: TensorType,
}

impl States<'_> {
    fn users(&mut self) -> Result<(), Fault> {
        let walk = self.function.walk();
        let takes = |f: &Function, id: OpId, state| f.op(id).operands().any(|v| v == state);
        let users: Vec<(BlockId, OpId)> =
            walk.into_iter().filter(|&(_, id)| takes(self.function, id, self.state)).collect();
        let mut gone = HashSet::new();
        for (block, id) in users {
            let param = match self.function.op(id).kind.name() {
                "read_state" => None,
                "write_state" => Some("data"),
                "coreml_update_state" => Some("value"),
                other => return Err(Fault::new(format!("`{other}` takes a state"))),
            };
            if let Some(param) = param {
                self.pad(block, id, param)?;
            }
            if !self.function.op(id).outputs.is_empty() {
                self.cut(block, id)?;
                gone.insert(id);
            }
        }
        self.function.remove_ops(&gone);
        Ok(())
    }

    /// Makes an op write what it wrote with zeros behind it.
    fn pad(&mut self, block: BlockId, id: OpId, param: &'static str) -> Result<(), Fault> {
        let Some(value) = self.function.op(id).value(param) else { return Ok(()) };
        let ends = self.wide.dims.iter().zip(&self.narrow.dims);
        let missing = ends.map(|(w, n)| w.known().zip(n.known()).map_or(0, |(w, n)| w - n));
        let amounts: Vec<i32> = missing.flat_map(|m| [0, i32::try_from(m).unwrap_or(i32::MAX)]).collect();
        let name = format!("{}_wide", self.function.value(value).name);
        let args = vec![
            ("x", value),
            ("pad", self.constant(&format!("{name}_pad"), Tensor::vector_i32(&amounts))),
            ("mode", self.constant(&format!("{name}_mode"), Literal::string("constant"))),
            (
                "constant_val",
                self.constant(&format!("{name}_value"), Tensor::scalar_f64(self.narrow.dtype, 0.0)),
            ),
        ];
        let padded = self.insert(block, id, "pad", &name, args)?;
        self.function.op_mut(id).set_arg(param, vec![padded]);
        Ok(())
    }

    /// Puts a wide twin in the place of an op, and the part of its result that there was behind it.
    fn cut(&mut self, block: BlockId, id: OpId) -> Result<(), Fault> {
        let old = self.function.op(id).clone();
        let [result] = *old.outputs.as_slice() else {
            return Err(Fault::new("a state op has several results"));
        };
        let name = std::mem::take(&mut self.function.value_mut(result).name);
        let args: Vec<(&str, ValueId)> =
            old.args.iter().flat_map(|a| a.values.iter().map(|&v| (&*a.param, v))).collect();
        let wide = self.insert(block, id, old.kind.name(), &format!("{name}_wide"), args)?;
        let sizes: Vec<i32> = self
            .narrow
            .dims
            .iter()
            .map(|d| d.known().and_then(|n| i32::try_from(n).ok()).unwrap_or(-1))
            .collect();
        let args = vec![
            ("x", wide),
            ("begin", self.constant(&format!("{name}_begin"), Tensor::vector_i32(&vec![0; sizes.len()]))),
            ("size", self.constant(&format!("{name}_size"), Tensor::vector_i32(&sizes))),
        ];
        let narrow = self.insert(block, id, "slice_by_size", &name, args)?;
        self.function.replace_uses(result, narrow);
        Ok(())
    }

    fn constant(&mut self, name: &str, literal: impl Into<Literal>) -> ValueId {
        let name = self.free(name);
        self.function.add_const(name, anemone_mil::Const::Literal(literal.into()))
    }

    /// A name close to `wanted` that no value has.
    fn free(&self, wanted: &str) -> Name {
        let taken: HashSet<&str> = self.function.values().map(|(_, v)| &*v.name).collect();
        let numbered = (1..).map(|i| format!("{wanted}_{i}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names.find(|n| !taken.contains(&**n)).unwrap_or_default().into()
    }

    /// Adds an op of one result before another one.
    fn insert(
        &mut self,
        block: BlockId,
        before: OpId,
        kind: &str,
        name: &str,
        args: Vec<(&str, ValueId)>,
    ) -> Result<ValueId, Fault> {
        let name = self.free(name);
        let mut op = Op::new(OpKind::named(kind), name.clone());
        let source = self.function.op(before).origin.source.clone();
        op.origin = Origin { source, pass: Some(NAME) };
        for (param, v) in args {
            op.set_arg(param, vec![v]);
        }
        let types = Site::new(self.function, &op)?.infer()?;
        let at = self.function.position(block, before).unwrap_or(usize::MAX);
        let results = types.into_iter().map(|ty| (name.clone(), ty)).collect();
        let id = self.function.insert(block, at, op, results);
        self.function.op(id).outputs.first().copied().ok_or_else(|| Fault::new("an op has no result"))
    }
}
