//! Convolutions and pools.

use super::order::Order;
use super::{CONV, POOL, Rewriter, is_float};
use crate::kernels::last::LastConv;
use crate::lower;
use anemone_mil::ops::{self, Conv, Site};
use anemone_mil::{DType, Op, OpId, OpKind, ValueId};

/// Output channels from which a convolution is faster with its channels last, whatever it costs to bring them there.
const MANY: usize = 8;

impl Rewriter {
    /// A convolution with all that follows it and can become part of it.
    pub(super) fn conv(&mut self, id: OpId) -> Option<()> {
        let op = self.f.op(id);
        let site = Site::new(&self.f, op).ok()?;
        let view = Conv::of(&site).ok()?;
        let (x, result) = (view.x, *op.outputs.first()?);
        let (shape, out) = (self.shape(x)?, self.shape(result)?);
        let constant = |v| lower::constant_tensor(&self.f, v).is_some();
        if !constant(view.weight) || !view.bias.is_none_or(constant) || !is_float(&self.f.value(x).ty) {
            return None;
        }
        let geometry = lower::conv_geometry(&site, &view)?;
        let (group_in, group_out) = (shape[1] / view.groups, out[1] / view.groups);
        let depthwise = group_in == 1 && group_out == 1 && view.groups > 1;
        let here = self.moved.contains_key(&x);
        let enough = if depthwise { view.groups >= MANY } else { group_out >= MANY };
        let grouped = view.groups > 1 && !depthwise && (group_in < 4 || group_out < MANY);
        if grouped || !(enough || here) || shape.contains(&0) || out.contains(&0) {
            return None;
        }
        let last = Order::channels_last(shape.len());
        // Few channels are copied in any case, from whatever order.
        let first = LastConv::copies(&geometry) && !here;
        let input = if first { x } else { self.ordered(x, &last)? };
        let Fused { activation, gated, other, result: made, add_first } = self.following(result);
        let mut op = Op::new(OpKind::named(CONV), self.f.op(id).name.clone());
        op.set_arg("x", vec![input]);
        if let Some(other) = other {
            let other = self.ordered(other, &last)?;
            op.set_arg(if add_first { "add_before" } else { "add_after" }, vec![other]);
        }
        if let Some(activation) = activation {
            op.set_arg(if gated { "gate" } else { "activation" }, vec![activation]);
        }
        op.set_arg("of", vec![result]);
        op.set_arg("last", vec![made]);
        let ty = self.turned(made, &last)?;
        let name = self.f.value(made).name.clone();
        let value = self.emit(op, name, ty);
        self.place(made, value, last);
        Some(())
    }

    /// The activation and the addition that can become part of an op with that result; they are taken.
    fn following(&mut self, result: ValueId) -> Fused {
        let mut fused = Fused { activation: None, gated: false, other: None, result, add_first: false };
        for _ in 0..2 {
            if fused.activation.is_none()
                && let Some((gate, product)) = self.gated(fused.result)
            {
                (fused.activation, fused.gated) = (self.f.op(gate).outputs.first().copied(), true);
                fused.result = self.f.op(product).outputs[0];
                self.absorbed.extend([gate, product]);
                continue;
            }
            let Some(next) = self.uses.only(fused.result) else { break };
            let op = self.f.op(next);
            let Some(&made) = op.outputs.first() else { break };
            if !self.same_type(made, fused.result) {
                break;
            }
            if fused.activation.is_none()
                && op.value("x") == Some(fused.result)
                && Site::new(&self.f, op).is_ok_and(|site| lower::is_activation(&site))
            {
                fused.activation = Some(made);
            } else if fused.other.is_none()
                && let Some(other) = self.addend(next, fused.result)
            {
                fused.other = Some(other);
                fused.add_first = fused.activation.is_none();
            } else {
                break;
            }
            fused.result = made;
            self.absorbed.insert(next);
        }
        fused
    }

    /// An activation of `v` and its product with `v`, when nothing else takes either and both are one function.
    fn gated(&self, v: ValueId) -> Option<(OpId, OpId)> {
        let [gate, product] = *self.uses.ops(v) else { return None };
        let (g, p) = (self.f.op(gate), self.f.op(product));
        let (inner, made) = (*g.outputs.first()?, *p.outputs.first()?);
        // In f16 the activation would be rounded on its own.
        let single = self.ty(v)?.dtype == DType::F32 && self.same_type(inner, v) && self.same_type(made, v);
        let operands = [p.value("x")?, p.value("y")?];
        let of_both = p.is("mul") && operands.contains(&v) && operands.contains(&inner);
        let alone = !self.uses.escapes(v) && self.uses.only(inner) == Some(product);
        let known = lower::is_gate(&Site::new(&self.f, g).ok()?) && g.value("x") == Some(v);
        (single && of_both && alone && known).then_some((gate, product))
    }

    /// What an addition adds to `v`, when it is there already and has its shape.
    fn addend(&self, add: OpId, v: ValueId) -> Option<ValueId> {
        let op = self.f.op(add);
        if !op.is("add") {
            return None;
        }
        let (x, y) = (op.value("x")?, op.value("y")?);
        let other = if x == v { y } else { x };
        (other != v && self.done.contains(&other) && self.same_type(other, v)).then_some(other)
    }

    /// A pool, where its input has its channels last.
    pub(super) fn pool(&mut self, id: OpId) -> Option<()> {
        let op = self.f.op(id);
        let site = Site::new(&self.f, op).ok()?;
        let view = ops::Pool::of(&site).ok()?;
        lower::pooling(&site, &view)?;
        let result = *op.outputs.first()?;
        let shape = self.shape(view.x)?;
        let last = Order::channels_last(shape.len());
        if self.moved.get(&view.x)?.order != last || shape.contains(&0) || self.shape(result)?.contains(&0) {
            return None;
        }
        let mut op = Op::new(OpKind::named(POOL), op.name.clone());
        let input = self.ordered(view.x, &last)?;
        op.set_arg("x", vec![input]);
        op.set_arg("of", vec![result]);
        op.set_arg("last", vec![result]);
        let ty = self.turned(result, &last)?;
        let name = self.f.value(result).name.clone();
        let value = self.emit(op, name, ty);
        self.place(result, value, last);
        Some(())
    }
}

/// What became part of a convolution.
struct Fused {
    /// Result of the activation.
    activation: Option<ValueId>,
    /// The activation is multiplied with what it is applied to.
    gated: bool,
    /// What is added.
    other: Option<ValueId>,
    /// Result of the last op.
    result: ValueId,
    /// The addition comes before the activation.
    add_first: bool,
}
