//! Builds functions op by op, inferring types and keeping names unique.

use crate::fold::fold_op;
use crate::ops::{Fault, Site};
use crate::{
    BlockId, Const, FoldLimits, Function, Literal, Name, Op, OpId, OpKind, Opset, Origin, Tensor, Type,
    ValueId,
};
use std::collections::HashMap;

/// Builds a [`Function`].
///
/// ```
/// use anemone_mil::{Builder, DType, Opset, TensorType};
/// let mut b = Builder::new("main", Opset::Ios17);
/// let x = b.input("x", TensorType::new(DType::F32, [1, 3, 8, 8]));
/// let y = b.op("relu").arg("x", x).one("y").expect("relu takes any float");
/// b.output(y);
/// assert_eq!(b.finish().outputs(), [y]);
/// ```
#[derive(Debug)]
pub struct Builder {
    function: Function,
    block: BlockId,
    names: HashMap<Name, usize>,
    origin: Origin,
    fold: Option<FoldLimits>,
}

impl Builder {
    /// Starts a function with an empty body.
    pub fn new(name: impl Into<Name>, opset: Opset) -> Builder {
        Builder::resume(Function::new(name, opset))
    }

    /// Goes on with a function, at the end of its body.
    pub fn resume(function: Function) -> Builder {
        let mut names = HashMap::new();
        for i in 0..function.value_count() {
            names.insert(function.value(ValueId::of(i)).name.clone(), 0);
        }
        Builder { block: function.body(), function, names, origin: Origin::default(), fold: None }
    }

    /// The function so far.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Evaluates ops of constant operands at once, within `limits`: their results become constants.
    pub fn fold_as_built(&mut self, limits: FoldLimits) {
        self.fold = Some(limits);
    }

    /// Says where the ops that follow come from.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// A legal MIL identifier close to `wanted`.
    pub fn identifier(wanted: &str) -> String {
        let mut base: String =
            wanted.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        if base.is_empty() || base.starts_with(|c: char| c.is_ascii_digit()) {
            base.insert(0, '_');
        }
        base
    }

    /// A legal MIL identifier close to `wanted` that no value has yet.
    ///
    /// Identifiers are `[A-Za-z_][A-Za-z0-9_@]*` (`MIL.proto`).
    pub fn fresh_name(&mut self, wanted: &str) -> Name {
        let base = Builder::identifier(wanted);
        let mut name: Name = base.as_str().into();
        while self.names.contains_key(&name) {
            let n = self.names.entry(base.as_str().into()).or_insert(0);
            *n += 1;
            name = format!("{base}_{n}").into();
        }
        self.names.insert(name.clone(), 0);
        name
    }

    /// Adds a function input; the name is kept when it is legal and free.
    pub fn input(&mut self, name: &str, ty: impl Into<Type>) -> ValueId {
        let name = self.fresh_name(name);
        self.function.add_input(name, ty)
    }

    /// Adds a named constant.
    pub fn constant(&mut self, name: &str, constant: impl Into<Const>) -> ValueId {
        let name = self.fresh_name(name);
        self.function.add_const(name, constant)
    }

    /// Starts an op of that kind at the end of the current block.
    pub fn op(&mut self, kind: &str) -> OpBuilder<'_> {
        OpBuilder { op: Op::new(OpKind::named(kind), ""), builder: self, literals: Vec::new() }
    }

    /// Hands a value out of the current block; from the body, out of the function.
    pub fn output(&mut self, value: ValueId) {
        self.function.block_mut(self.block).outputs.push(value);
    }

    /// Builds a nested block with `build`, to be given to [`OpBuilder::block`]; ops go into it meanwhile.
    ///
    /// # Errors
    /// What `build` returns.
    pub fn nested<E>(&mut self, build: impl FnOnce(&mut Builder) -> Result<(), E>) -> Result<BlockId, E> {
        let outer = std::mem::replace(&mut self.block, BlockId::of(0));
        self.block = self.function.add_block();
        let inner = self.block;
        let result = build(self);
        self.block = outer;
        result.map(|()| inner)
    }

    /// Starts a nested block: ops go into it until [`Builder::leave_block`] is given what this answers.
    ///
    /// For callers that build between other work; [`Builder::nested`] is the plain form.
    pub fn enter_block(&mut self) -> Entered {
        let inner = self.function.add_block();
        Entered { inner, outer: std::mem::replace(&mut self.block, inner) }
    }

    /// Ends the nested block that [`Builder::enter_block`] started; answers the block, for [`OpBuilder::block`].
    pub fn leave_block(&mut self, entered: Entered) -> BlockId {
        self.block = entered.outer;
        entered.inner
    }

    /// Puts the ops of a nested block without inputs, held by no op yet, at the end of the current block; answers what
    /// it handed out.
    pub fn dissolve(&mut self, block: BlockId) -> Vec<ValueId> {
        let inner = std::mem::take(self.function.block_mut(block));
        self.function.block_mut(self.block).ops.extend(inner.ops);
        inner.outputs
    }

    /// The block that ops go into.
    pub fn current_block(&self) -> BlockId {
        self.block
    }

    /// Adds an input to the nested block that is being built.
    pub fn block_input(&mut self, name: &str, ty: impl Into<Type>) -> ValueId {
        let name = self.fresh_name(name);
        self.function.add_block_input(self.block, name, ty)
    }

    /// Type of a value.
    pub fn ty(&self, value: ValueId) -> &Type {
        &self.function.value(value).ty
    }

    /// Puts constants, under the same names, in the place of the op that was just appended.
    fn replace_last(&mut self, id: OpId, constants: Vec<Const>) -> Vec<ValueId> {
        self.function.block_mut(self.block).ops.pop();
        let outputs = self.function.op(id).outputs.clone();
        let replace = |(old, constant)| {
            let name = std::mem::take(&mut self.function.value_mut(old).name);
            self.function.add_const(name, constant)
        };
        outputs.into_iter().zip(constants).map(replace).collect()
    }

    /// Gives a value another name, made legal and unique.
    pub fn rename(&mut self, value: ValueId, wanted: &str) {
        let name = self.fresh_name(wanted);
        self.function.value_mut(value).name = name;
    }

    /// Gives a value exactly this name, which must be a legal identifier that no other value has.
    pub fn take_name(&mut self, value: ValueId, name: &str) {
        self.names.insert(name.into(), 0);
        self.function.value_mut(value).name = name.into();
    }

    /// The finished function.
    pub fn finish(self) -> Function {
        self.function
    }
}

/// A nested block in the making; see [`Builder::enter_block`].
#[derive(Debug)]
#[must_use = "a block that is entered must be left"]
pub struct Entered {
    inner: BlockId,
    outer: BlockId,
}

/// One op in the making; see [`Builder::op`].
#[derive(Debug)]
pub struct OpBuilder<'b> {
    builder: &'b mut Builder,
    op: Op,
    literals: Vec<(&'static str, Literal)>,
}

impl OpBuilder<'_> {
    /// Gives one value for a parameter.
    #[must_use]
    pub fn arg(mut self, param: &str, value: ValueId) -> Self {
        self.op.set_arg(param, vec![value]);
        self
    }

    /// Gives one value for a parameter, when there is one.
    #[must_use]
    pub fn maybe(self, param: &str, value: Option<ValueId>) -> Self {
        match value {
            Some(v) => self.arg(param, v),
            None => self,
        }
    }

    /// Gives the values of a variadic parameter.
    #[must_use]
    pub fn args(mut self, param: &str, values: Vec<ValueId>) -> Self {
        self.op.set_arg(param, values);
        self
    }

    /// Gives a constant for a parameter; it is named after the op.
    #[must_use]
    pub fn literal(mut self, param: &'static str, literal: impl Into<Literal>) -> Self {
        self.literals.push((param, literal.into()));
        self
    }

    /// Gives an `int32` constant.
    #[must_use]
    pub fn int(self, param: &'static str, value: i32) -> Self {
        self.literal(param, Tensor::scalar_i32(value))
    }

    /// Gives a rank-1 `int32` constant.
    #[must_use]
    pub fn ints(self, param: &'static str, values: &[i32]) -> Self {
        self.literal(param, Tensor::vector_i32(values))
    }

    /// Gives a `bool` constant.
    #[must_use]
    pub fn bool(self, param: &'static str, value: bool) -> Self {
        self.literal(param, Tensor::scalar_bool(value))
    }

    /// Gives a rank-1 `bool` constant.
    #[must_use]
    pub fn bools(self, param: &'static str, values: &[bool]) -> Self {
        self.literal(param, Tensor::vector_bool(values))
    }

    /// Gives a float constant of the element type of parameter `like`, `fp32` when that has none.
    #[must_use]
    pub fn float(self, param: &'static str, like: &str, value: f64) -> Self {
        let like = self.op.value(like).and_then(|v| self.builder.ty(v).tensor());
        let dtype = like.map_or(crate::DType::F32, |t| t.dtype);
        self.literal(param, Tensor::scalar_f64(dtype, value))
    }

    /// Gives a string constant.
    #[must_use]
    pub fn str(self, param: &'static str, value: &str) -> Self {
        self.literal(param, Literal::string(value))
    }

    /// Adds a nested block made by [`Builder::nested`].
    #[must_use]
    pub fn block(mut self, block: BlockId) -> Self {
        self.op.blocks.push(block);
        self
    }

    /// Finishes an op with one result.
    ///
    /// # Errors
    /// When the op is unknown or its types cannot be inferred.
    pub fn one(self, name: &str) -> Result<ValueId, Fault> {
        let kind = self.op.kind.clone();
        let outputs = self.all(name)?;
        let count = outputs.len();
        let wrong = || Fault::new(format!("{} has {count} results, one was expected", kind.name()));
        outputs.into_iter().next().filter(|_| count == 1).ok_or_else(wrong)
    }

    /// Finishes an op; several results are named `name_0`, `name_1` and so on.
    ///
    /// # Errors
    /// When the op is unknown or its types cannot be inferred.
    pub fn all(self, name: &str) -> Result<Vec<ValueId>, Fault> {
        let OpBuilder { builder, mut op, literals } = self;
        let name = builder.fresh_name(name);
        op.name = name.clone();
        op.origin = builder.origin.clone();
        for (param, literal) in literals {
            let value = builder.constant(&format!("{name}_{param}_0"), literal);
            op.set_arg(param, vec![value]);
        }
        let types = Site::new(&builder.function, &op)?.infer()?;
        let single = types.len() == 1;
        let mut results = Vec::with_capacity(types.len());
        for (i, ty) in types.into_iter().enumerate() {
            let result = if single { name.clone() } else { builder.fresh_name(&format!("{name}_{i}")) };
            results.push((result, ty));
        }
        let id = builder.function.append(builder.block, op, results);
        if let Some(constants) = builder.fold.and_then(|limits| fold_op(&builder.function, id, limits)) {
            return Ok(builder.replace_last(id, constants));
        }
        Ok(builder.function.op(id).outputs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, TensorType, Uses};

    #[test]
    fn names_become_legal_and_unique() {
        let mut b = Builder::new("main", Opset::Ios17);
        assert_eq!(
            [&*b.fresh_name("a/b.0"), &*b.fresh_name("a/b.0"), &*b.fresh_name("0")],
            ["a_b_0", "a_b_0_1", "_0"]
        );
    }

    #[test]
    fn dead_ops_go_and_live_ones_stay() {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::F16, [2]));
        let y = b.op("relu").arg("x", x).one("y").expect("float");
        let dead = b.op("relu").arg("x", y).one("dead").expect("float");
        b.op("relu").arg("x", dead).one("dead2").expect("float");
        b.output(y);
        let mut f = b.finish();
        assert_eq!(f.remove_dead_ops(), 2);
        assert_eq!(f.walk().len(), 1);
        assert!(Uses::of(&f).escapes(y));
    }
}
