//! Rewrites a function so that its images have their channels last, as the fastest kernels want them.
//!
//! Convolutions and pools become ops of our own that take and give `[batch, spatial, channels]`; what follows a
//! convolution, an activation or the addition of another tensor, becomes part of it. Ops that do not care about the
//! order of dims work on the reordered tensors; in front of all others, and of the results, a `transpose` puts the
//! dims back. A `transpose` in the function itself is only a new reading of the same memory, and often vanishes.

mod conv;
mod order;
mod rules;

use crate::kernels::layout::CopyPlan;
use crate::lower::constant_tensor;
use crate::pool::Pool;
use anemone_mil::{
    BlockId, Function, Literal, Name, Op, OpId, OpKind, Tensor, TensorType, Type, Uses, ValueId,
};
use order::Order;
use std::collections::{HashMap, HashSet};

/// Kinds of the ops that only this engine knows. Argument `of` names the result of the op that they stand for, `last`
/// the result of the last op that became part of it.
pub(crate) const CONV: &str = "anemone.conv_channels_last";
/// As [`CONV`], for pools.
pub(crate) const POOL: &str = "anemone.pool_channels_last";
/// As [`CONV`], for `upsample_nearest_neighbor`.
pub(crate) const UPSAMPLE: &str = "anemone.upsample_channels_last";

/// The op that an op of our own stands for, and the last one that became part of it.
pub(crate) fn stands_for(function: &Function, id: OpId) -> Option<(OpId, OpId)> {
    let op = function.op(id);
    let made = |param| function.producer(op.value(param)?);
    if op.kind.def().is_some() { None } else { Some((made("of")?, made("last")?)) }
}

/// A value that lies in memory with its dims in another order.
#[derive(Clone, Debug)]
struct Moved {
    /// The value, its dims in the order of memory.
    value: ValueId,
    /// Which dim of the original each of them is.
    order: Order,
}

/// The function with channels last where that pays; one with nested blocks, which see what is around them, stays as it
/// is.
pub(crate) fn channels_last(mut function: Function) -> Function {
    let body = function.body();
    let ops = &function.block(body).ops;
    let nested = ops.iter().any(|&id| !function.op(id).blocks.is_empty());
    if nested || !ops.iter().any(|&id| function.op(id).is("conv")) {
        return function;
    }
    let uses = Uses::of(&function);
    let ops = std::mem::take(&mut function.block_mut(body).ops);
    let outputs = function.outputs().to_vec();
    let mut rewriter = Rewriter {
        done: function.inputs.iter().copied().collect(),
        f: function,
        body,
        uses,
        moved: HashMap::new(),
        copies: HashMap::new(),
        absorbed: HashSet::new(),
    };
    for id in ops {
        if !rewriter.absorbed.contains(&id) {
            rewriter.op(id);
        }
        let results = rewriter.f.op(id).outputs.clone();
        rewriter.done.extend(results);
    }
    let outputs = outputs.into_iter().map(|v| rewriter.plain(v)).collect();
    let mut function = rewriter.f;
    function.block_mut(body).outputs = outputs;
    function
}

struct Rewriter {
    f: Function,
    body: BlockId,
    /// Uses in the function as it was.
    uses: Uses,
    /// Where values lie in another order.
    moved: HashMap<ValueId, Moved>,
    /// Copies of values in other orders.
    copies: HashMap<(ValueId, Order), ValueId>,
    /// Ops that became part of an earlier one.
    absorbed: HashSet<OpId>,
    /// Values whose op was dealt with.
    done: HashSet<ValueId>,
}

impl Rewriter {
    fn op(&mut self, id: OpId) {
        if self.rewritten(id).is_none() {
            self.keep(id);
        }
    }

    /// Leaves an op as it is, with operands in their own order.
    fn keep(&mut self, id: OpId) {
        for a in 0..self.f.op(id).args.len() {
            let values = self.f.op(id).args[a].values.clone();
            let values = values.into_iter().map(|v| self.plain(v)).collect();
            self.f.op_mut(id).args[a].values = values;
        }
        let body = self.body;
        self.f.block_mut(body).ops.push(id);
    }

    fn ty(&self, v: ValueId) -> Option<&TensorType> {
        self.f.value(v).ty.tensor()
    }

    fn shape(&self, v: ValueId) -> Option<Vec<usize>> {
        self.ty(v)?.known_shape()
    }

    /// Appends an op with one result.
    fn emit(&mut self, op: Op, name: Name, ty: TensorType) -> ValueId {
        let body = self.body;
        let id = self.f.append(body, op, vec![(name, ty.into())]);
        self.f.op(id).outputs[0]
    }

    fn ints(&mut self, values: &[usize]) -> ValueId {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "dims and axes of a program"
        )]
        let values: Vec<i32> = values.iter().map(|&v| v as i32).collect();
        self.f.add_const("", Literal::from(Tensor::vector_i32(&values)))
    }

    fn scalar(&mut self, value: usize) -> ValueId {
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "an axis")]
        let value = Tensor::scalar_i32(value as i32);
        self.f.add_const("", Literal::from(value))
    }

    /// `v` with its dims in their own order.
    fn plain(&mut self, v: ValueId) -> ValueId {
        let Some(Moved { value, order }) = self.moved.get(&v).cloned() else { return v };
        let key = (v, Order::plain(order.len()));
        if let Some(&copy) = self.copies.get(&key) {
            return copy;
        }
        let copy = self.transpose(value, &order.back(), self.f.value(v).name.clone());
        self.copies.insert(key, copy);
        copy
    }

    /// `x` with dim `perm[i]` as dim `i`.
    fn transpose(&mut self, x: ValueId, perm: &[usize], name: Name) -> ValueId {
        let Some(ty) = self.ty(x).cloned() else { return x };
        let ty = TensorType { dims: perm.iter().map(|&p| ty.dims[p].clone()).collect(), ..ty };
        let mut op = Op::new(OpKind::named("transpose"), name.clone());
        op.set_arg("x", vec![x]);
        let perm = self.ints(perm);
        op.set_arg("perm", vec![perm]);
        self.emit(op, name, ty)
    }

    fn reshape(&mut self, x: ValueId, shape: &[usize], name: Name) -> ValueId {
        let Some(ty) = self.ty(x).cloned() else { return x };
        let ty = TensorType { dims: shape.iter().map(|&n| n.into()).collect(), ..ty };
        let mut op = Op::new(OpKind::named("reshape"), name.clone());
        op.set_arg("x", vec![x]);
        let shape = self.ints(shape);
        op.set_arg("shape", vec![shape]);
        self.emit(op, name, ty)
    }

    /// `v`, whose dims count as the last ones of `order.len()`, with its dims in that order. Dims of one element move
    /// without a copy.
    fn ordered(&mut self, v: ValueId, order: &Order) -> Option<ValueId> {
        if let Some(moved) = self.moved.get(&v)
            && moved.order == *order
        {
            return Some(moved.value);
        }
        if let Some(&copy) = self.copies.get(&(v, order.clone())) {
            return Some(copy);
        }
        let own = self.shape(v)?;
        let missing = order.len().checked_sub(own.len())?;
        let full: Vec<usize> = std::iter::repeat_n(1, missing).chain(own.iter().copied()).collect();
        let target = order.apply(&full);
        let name = self.f.value(v).name.clone();
        let copy = if let Some(tensor) = constant_tensor(&self.f, v) {
            self.constant(&tensor, &full, order)?
        } else if let Some(moved) =
            self.moved.get(&v).cloned().filter(|m| missing == 0 && m.order.same(order, &own))
        {
            // Only dims of one element stand elsewhere.
            self.reshape(moved.value, &target, name)
        } else {
            let plain = self.plain(v);
            if Order::plain(full.len()).same(order, &full) {
                if own == target { plain } else { self.reshape(plain, &target, name) }
            } else {
                let whole = if missing == 0 { plain } else { self.reshape(plain, &full, name.clone()) };
                self.transpose(whole, order.dims(), name)
            }
        };
        self.copies.insert((v, order.clone()), copy);
        Some(copy)
    }

    /// A constant with its dims in another order.
    fn constant(&mut self, tensor: &Tensor, full: &[usize], order: &Order) -> Option<ValueId> {
        if !tensor.dtype().is_float() {
            return None;
        }
        let plan = CopyPlan::transpose(full, order.dims()).ok()?;
        let mut values = vec![0f32; tensor.len()];
        plan.run(&tensor.to_f32s(), &mut values, &Pool::new(1));
        let turned = Tensor::from_f32s(order.apply(full), &values).ok()?.cast(tensor.dtype());
        Some(self.f.add_const("", Literal::from(turned)))
    }

    /// Says where the result `v` of an op lies: in `value`, with its dims in `order`.
    fn place(&mut self, v: ValueId, value: ValueId, order: Order) {
        self.moved.insert(v, Moved { value, order });
    }

    /// The type of `v` with its dims in another order.
    fn turned(&self, v: ValueId, order: &Order) -> Option<TensorType> {
        let ty = self.ty(v)?;
        let dims = order.dims().iter().map(|&d| ty.dims.get(d).cloned()).collect::<Option<_>>()?;
        Some(TensorType { dims, ..ty.clone() })
    }
}

/// True for tensors that kernels take.
fn is_float(ty: &Type) -> bool {
    use anemone_mil::DType::{F16, F32};
    ty.tensor().is_some_and(|t| matches!(t.dtype, F16 | F32) && t.known_shape().is_some())
}
