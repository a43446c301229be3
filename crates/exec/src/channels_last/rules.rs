//! What each kind of op makes of reordered operands.

use super::order::Order;
use super::{Moved, Rewriter, UPSAMPLE, is_float};
use crate::lower;
use anemone_mil::ops::{Concat, Form, Pad, PadMode, Site, SliceByIndex, Split, transposition};
use anemone_mil::{DType, Literal, Op, OpId, OpKind, Tensor, ValueId};

/// Elements of an innermost dim below which what runs along it wastes most of its vectors.
const SHORT: usize = 64;

impl Rewriter {
    /// Rewrites an op; `None` when it has to stay as it is.
    pub(super) fn rewritten(&mut self, id: OpId) -> Option<()> {
        let op = self.f.op(id);
        let kind = op.kind.name();
        if !op.outputs.iter().all(|&v| is_float(&self.f.value(v).ty)) {
            return None;
        }
        match kind {
            "conv" => return self.conv(id),
            "transpose" => return self.transposition(id),
            "max_pool" | "avg_pool" | "l2_pool" => return self.pool(id),
            _ => {}
        }
        // Everything else follows its operands.
        if !op.operands().any(|v| self.moved.contains_key(&v)) {
            return None;
        }
        match kind {
            _ if op.kind.form() == Form::Reshape => self.reshaped(id),
            "concat" => self.concat(id),
            "split" => self.split(id),
            "slice_by_index" => self.slice(id),
            "pad" => self.pad(id),
            "upsample_nearest_neighbor" => self.upsample(id),
            "softmax" => self.along_axis(id),
            "cast" => self.unary(id),
            _ if op.kind.form() == Form::Reduction => self.reduce(id),
            _ if lower::is_binary(kind) => self.binary(id),
            _ if lower::is_unary(&Site::new(&self.f, op).ok()?) => self.unary(id),
            _ => None,
        }
    }

    fn site(&self, id: OpId) -> Option<Site<'_>> {
        Site::new(&self.f, self.f.op(id)).ok()
    }

    fn moved_of(&self, id: OpId, param: &str) -> Option<(ValueId, Moved)> {
        let x = self.f.op(id).value(param)?;
        Some((x, self.moved.get(&x)?.clone()))
    }

    /// Appends the op with other arguments; its first result lies in `order`.
    fn again(&mut self, id: OpId, args: Vec<(&str, Vec<ValueId>)>, order: &Order) -> Option<()> {
        let mut op = self.f.op(id).clone();
        let result = *op.outputs.first()?;
        let ty = self.turned(result, order)?;
        for (param, values) in args {
            op.set_arg(param, values);
        }
        let name = self.f.value(result).name.clone();
        let value = self.emit(op, name, ty);
        self.place(result, value, order.clone());
        Some(())
    }

    fn unary(&mut self, id: OpId) -> Option<()> {
        let (_, moved) = self.moved_of(id, "x")?;
        self.again(id, vec![("x", vec![moved.value])], &moved.order)
    }

    fn binary(&mut self, id: OpId) -> Option<()> {
        let op = self.f.op(id);
        let (x, y, result) = (op.value("x")?, op.value("y")?, *op.outputs.first()?);
        let rank = self.shape(result)?.len();
        // The operand of the result's shape says how it lies.
        let full = |v: &ValueId| self.shape(*v) == self.shape(result);
        let leads = [x, y].into_iter().filter(full).find_map(|v| self.moved.get(&v));
        let order = leads.filter(|m| m.order.len() == rank)?.order.clone();
        if ![x, y].iter().all(|&v| is_float(&self.f.value(v).ty)) {
            return None;
        }
        let (x, y) = (self.ordered(x, &order)?, self.ordered(y, &order)?);
        self.again(id, vec![("x", vec![x]), ("y", vec![y])], &order)
    }

    /// A new reading of the same memory.
    fn transposition(&mut self, id: OpId) -> Option<()> {
        let perm = transposition(&self.site(id)?).ok()?;
        let op = self.f.op(id);
        let (x, result) = (op.value("x")?, *op.outputs.first()?);
        if self.f.constant(x).is_some() || !is_float(&self.f.value(x).ty) {
            return None;
        }
        let (value, order) = match self.moved.get(&x) {
            Some(m) => (m.value, m.order.clone()),
            None => (x, Order::plain(perm.len())),
        };
        let place = |d: &usize| perm.iter().position(|p| p == d);
        let order = Order::new(order.dims().iter().map(place).collect::<Option<_>>()?);
        self.place(result, value, order);
        Some(())
    }

    fn reshaped(&mut self, id: OpId) -> Option<()> {
        let (x, moved) = self.moved_of(id, "x")?;
        let result = *self.f.op(id).outputs.first()?;
        let (from, to) = (self.shape(x)?, self.shape(result)?);
        let order = moved.order.reshaped(&from, &to)?;
        let name = self.f.value(result).name.clone();
        let value = self.reshape(moved.value, &order.apply(&to), name);
        self.place(result, value, order);
        Some(())
    }

    fn concat(&mut self, id: OpId) -> Option<()> {
        let view = Concat::of(&self.site(id)?).ok()?;
        if view.interleave || !view.values.iter().all(|&v| is_float(&self.f.value(v).ty)) {
            return None;
        }
        let order = view.values.iter().find_map(|v| self.moved.get(v))?.order.clone();
        let values = view.values.iter().map(|&v| self.ordered(v, &order)).collect::<Option<Vec<_>>>()?;
        let axis = order.place(view.axis)?;
        let axis = self.scalar(axis);
        self.again(id, vec![("values", values), ("axis", vec![axis])], &order)
    }

    fn split(&mut self, id: OpId) -> Option<()> {
        let axis = Split::of(&self.site(id)?).ok()?.axis;
        let (_, moved) = self.moved_of(id, "x")?;
        let mut op = self.f.op(id).clone();
        let results = op.outputs.clone();
        let order = &moved.order;
        let types = results.iter().map(|&v| {
            let name = self.f.value(v).name.clone();
            Some((name, self.turned(v, order)?.into()))
        });
        let types = types.collect::<Option<Vec<_>>>()?;
        let axis = self.scalar(order.place(axis)?);
        op.set_arg("x", vec![moved.value]);
        op.set_arg("axis", vec![axis]);
        let body = self.body;
        let new = self.f.append(body, op, types);
        let values = self.f.op(new).outputs.clone();
        for (result, value) in results.into_iter().zip(values) {
            self.place(result, value, order.clone());
        }
        Some(())
    }

    fn slice(&mut self, id: OpId) -> Option<()> {
        let (x, moved) = self.moved_of(id, "x")?;
        let shape = self.shape(x)?;
        let site = self.site(id)?;
        let dims = SliceByIndex::of(&site).ok()?.resolve(&shape).ok()?;
        if dims.iter().any(|d| d.stride < 1) {
            return None;
        }
        let squeezed = site.op.value("squeeze_mask").and_then(|v| lower::constant_tensor(&self.f, v));
        let gone = squeezed.map_or_else(|| vec![false; shape.len()], |t| t.to_bools());
        if gone.len() != shape.len() {
            return None;
        }
        let begin: Vec<usize> = dims.iter().map(|d| d.begin).collect();
        let stride = dims.iter().map(|d| usize::try_from(d.stride).ok()).collect::<Option<Vec<_>>>()?;
        let end: Vec<usize> =
            dims.iter().zip(&stride).map(|(d, s)| d.begin + d.extent.saturating_sub(1) * s + 1).collect();
        let order = &moved.order;
        let (begin, end, stride) = (
            self.ints(&order.apply(&begin)),
            self.ints(&order.apply(&end)),
            self.ints(&order.apply(&stride)),
        );
        let mask = Tensor::vector_bool(&order.apply(&gone));
        let mask = self.f.add_const("", Literal::from(mask));
        let args = vec![
            ("x", vec![moved.value]),
            ("begin", vec![begin]),
            ("end", vec![end]),
            ("stride", vec![stride]),
            ("squeeze_mask", vec![mask]),
            ("begin_mask", vec![]),
            ("end_mask", vec![]),
        ];
        self.again(id, args, &order.without(&gone))
    }

    fn pad(&mut self, id: OpId) -> Option<()> {
        let (_, moved) = self.moved_of(id, "x")?;
        let view = Pad::of(&self.site(id)?).ok()?;
        if !matches!(view.mode, PadMode::Constant(_)) {
            return None;
        }
        let pads: Vec<usize> = moved.order.apply(&view.pads?).into_iter().flat_map(|(a, b)| [a, b]).collect();
        let pads = self.ints(&pads);
        self.again(id, vec![("x", vec![moved.value]), ("pad", vec![pads])], &moved.order)
    }

    /// Along one axis; where that would be a short innermost one, several at a time are faster.
    fn along_axis(&mut self, id: OpId) -> Option<()> {
        let (x, moved) = self.moved_of(id, "x")?;
        let shape = self.shape(x)?;
        let axis = self.site(id)?.axis("axis", shape.len()).ok()?;
        let place = moved.order.place(axis)?;
        if place + 1 == shape.len() && shape[axis] < SHORT {
            return None;
        }
        let axis = self.scalar(place);
        self.again(id, vec![("x", vec![moved.value]), ("axis", vec![axis])], &moved.order)
    }

    fn reduce(&mut self, id: OpId) -> Option<()> {
        let (x, moved) = self.moved_of(id, "x")?;
        let rank = self.shape(x)?.len();
        let site = self.site(id)?;
        let axes: Vec<usize> = match site.op.value("axes") {
            Some(_) => site.axes("axes", rank).ok()?,
            None => (0..rank).collect(),
        };
        let result = *site.op.outputs.first()?;
        let keeps = self.shape(result)?.len() == rank;
        let mut gone = vec![false; rank];
        axes.iter().for_each(|&a| gone[a] = true);
        let order = if keeps { moved.order.clone() } else { moved.order.without(&gone) };
        let axes = axes.iter().map(|&a| moved.order.place(a)).collect::<Option<Vec<_>>>()?;
        let axes = self.ints(&axes);
        self.again(id, vec![("x", vec![moved.value]), ("axes", vec![axes])], &order)
    }

    fn upsample(&mut self, id: OpId) -> Option<()> {
        let (x, moved) = self.moved_of(id, "x")?;
        let result = *self.f.op(id).outputs.first()?;
        let (from, to) = (self.shape(x)?, self.shape(result)?);
        let whole = |d: usize| from[d] > 0 && to[d] % from[d] == 0;
        if from.len() < 2 || !(0..from.len()).all(whole) {
            return None;
        }
        let mut op = Op::new(OpKind::named(UPSAMPLE), self.f.op(id).name.clone());
        op.set_arg("x", vec![moved.value]);
        op.set_arg("of", vec![result]);
        op.set_arg("last", vec![result]);
        let ty = self.turned(result, &moved.order)?;
        let name = self.f.value(result).name.clone();
        let value = self.emit(op, name, ty);
        self.place(result, value, moved.order);
        Some(())
    }

    /// True when both are floats of the same type.
    pub(super) fn same_type(&self, a: ValueId, b: ValueId) -> bool {
        let dtype = |v| self.ty(v).map(|t| t.dtype);
        matches!(dtype(a), Some(DType::F16 | DType::F32))
            && dtype(a) == dtype(b)
            && self.shape(a) == self.shape(b)
    }
}
