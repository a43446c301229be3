//! One node: its operands, attributes and results.

use super::graph::Importer;
use super::table;
use anemone_formats::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Dim, FoldLimits, OpBuilder, Tensor, TensorType, ValueId};
use anemone_tensor::num;

/// A node that is being translated.
pub(super) struct Node<'n, 'm> {
    pub(super) importer: &'n mut Importer<'m>,
    pub(super) proto: &'m NodeProto,
}

/// What translating a node answers.
pub(super) type Done = Result<(), Fault>;

impl<'m> Node<'_, 'm> {
    /// Version of the standard operator set.
    pub(super) fn opset(&self) -> i64 {
        self.importer.opset
    }

    /// Number of operands given, empty ones included.
    pub(super) fn operand_count(&self) -> usize {
        self.proto.input.len()
    }

    /// A fault that every runtime would find when it comes here: the operands have a shape that the operator does not
    /// take, whatever their numbers.
    pub(super) fn impossible(&mut self, what: String) -> Fault {
        self.importer.impossible += 1;
        Fault::new(what)
    }

    /// Operand `i`.
    pub(super) fn input(&mut self, i: usize) -> Result<ValueId, Fault> {
        self.maybe(i)?.ok_or_else(|| Fault::new(format!("operand {i} is missing")))
    }

    /// Operand `i`, when it is given.
    pub(super) fn maybe(&mut self, i: usize) -> Result<Option<ValueId>, Fault> {
        let Some(name) = self.proto.input.get(i).filter(|n| !n.is_empty()) else { return Ok(None) };
        match self.importer.value(name) {
            Some(v) => self.widened(v, i).map(Some),
            None => Err(Fault::new(format!("operand {i} `{name}` is made by no node before it"))),
        }
    }

    /// A quantized value as `int32`, for operators other than those that take it as it is.
    fn widened(&mut self, v: ValueId, i: usize) -> Result<ValueId, Fault> {
        let bytes =
            self.importer.builder.ty(v).tensor().is_some_and(|t| matches!(t.dtype, DType::I8 | DType::U8));
        if !bytes || table::takes_bytes(&self.proto.op_type) {
            return Ok(v);
        }
        let inner = self.inner(&format!("{i}_int32"));
        self.cast(v, DType::I32, &inner)
    }

    /// All operands.
    pub(super) fn inputs(&mut self) -> Result<Vec<ValueId>, Fault> {
        (0..self.operand_count()).map(|i| self.input(i)).collect()
    }

    /// Operand `i` as constant numbers; `None` when it is left out or computed.
    pub(super) fn constant(&mut self, i: usize) -> Result<Option<Tensor>, Fault> {
        Ok(self.maybe(i)?.and_then(|v| self.numbers(v)))
    }

    /// The numbers of a value that depends on constants alone, if they are not far larger than the model.
    pub(super) fn numbers(&self, v: ValueId) -> Option<Tensor> {
        let limits = FoldLimits { constexpr: false, max_elements: self.importer.room.known() };
        anemone_mil::constant_value(self.importer.builder.function(), v, limits)?.as_tensor().cloned()
    }

    /// Number of elements of a constant that is about to be made.
    ///
    /// # Errors
    /// When the constants made so far and this one are far larger than the model.
    pub(super) fn room(&mut self, shape: &[usize]) -> Result<usize, Fault> {
        self.importer.room.take(shape)
    }

    /// Operand `i` as constant integers that must be known.
    pub(super) fn constant_ints(&mut self, i: usize, what: &str) -> Result<Option<Vec<i64>>, Fault> {
        match self.maybe(i)? {
            None => Ok(None),
            Some(v) => match self.numbers(v) {
                Some(t) => Ok(Some(t.to_i64s())),
                None => Err(Fault::new(format!(
                    "{what} (operand {i}) is computed at run time; only a constant is supported"
                ))),
            },
        }
    }

    /// Type of a value.
    pub(super) fn ty(&self, v: ValueId) -> Result<TensorType, Fault> {
        let ty = self.importer.builder.ty(v);
        ty.tensor().cloned().ok_or_else(|| Fault::new(format!("{ty} is no tensor")))
    }

    /// Number of dims of a value.
    pub(super) fn rank(&self, v: ValueId) -> Result<usize, Fault> {
        self.ty(v).map(|t| t.rank())
    }

    /// Extents of a value, all of which must be known.
    pub(super) fn shape(&self, v: ValueId) -> Result<Vec<usize>, Fault> {
        let ty = self.ty(v)?;
        let unknown = || {
            Fault::new(format!(
                "needs a known shape, but the operand is {ty}; fix the input shapes with --input"
            ))
        };
        ty.known_shape().ok_or_else(unknown)
    }

    /// True when the value is a float tensor.
    pub(super) fn is_float(&self, v: ValueId) -> bool {
        self.ty(v).is_ok_and(|t| t.dtype.is_float())
    }

    fn attribute(&self, name: &str) -> Option<&'m AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name == name)
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|a| a.i)
    }

    /// A float attribute.
    pub(super) fn float(&self, name: &str) -> Option<f64> {
        self.attribute(name).map(|a| f64::from(a.f))
    }

    /// A list of integers.
    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|a| a.ints.clone())
    }

    /// A list of floats.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.attribute(name).map(|a| a.floats.iter().copied().map(f64::from).collect())
    }

    /// A text attribute.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).map(|a| String::from_utf8_lossy(&a.s).into_owned())
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.attribute(name)
            .map(|a| a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
    }

    /// A tensor attribute.
    pub(super) fn tensor(&self, name: &str) -> Option<&'m TensorProto> {
        self.attribute(name).and_then(|a| a.t.as_deref())
    }

    /// A graph attribute.
    pub(super) fn graph(&self, name: &str) -> Result<&'m GraphProto, Fault> {
        let graph = self.attribute(name).and_then(|a| a.g.as_deref());
        graph.ok_or_else(|| Fault::new(format!("attribute `{name}` is missing")))
    }

    /// True when result `i` is asked for.
    pub(super) fn wants(&self, i: usize) -> bool {
        self.proto.output.get(i).is_some_and(|o| !o.is_empty())
    }

    /// Extents of a value, known or not.
    pub(super) fn dims(&self, v: ValueId) -> Result<Vec<Dim>, Fault> {
        self.ty(v).map(|t| t.dims)
    }

    /// Element type of a value.
    pub(super) fn dtype(&self, v: ValueId) -> Result<DType, Fault> {
        self.ty(v).map(|t| t.dtype)
    }

    /// Name for the op that makes result 0.
    pub(super) fn name(&self) -> String {
        let named = self.proto.output.iter().find(|o| !o.is_empty());
        named.cloned().unwrap_or_else(|| self.proto.op_type.to_lowercase())
    }

    /// Name for an op that makes something in between.
    pub(super) fn inner(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.name())
    }

    /// Starts an op.
    pub(super) fn op(&mut self, kind: &str) -> OpBuilder<'_> {
        self.importer.builder.op(kind)
    }

    /// Binds result `i`.
    pub(super) fn bind(&mut self, i: usize, v: ValueId) -> Done {
        if let Some(name) = self.proto.output.get(i) {
            self.importer.bind(name, v);
        }
        Ok(())
    }

    /// Binds result 0 to `v`.
    pub(super) fn done(&mut self, v: ValueId) -> Done {
        self.bind(0, v)
    }

    /// Adds a constant.
    pub(super) fn constant_value(&mut self, suffix: &str, tensor: &Tensor) -> ValueId {
        let name = self.inner(suffix);
        self.importer.constant(&name, tensor)
    }

    /// A float constant of the type of `like`.
    pub(super) fn scalar_like(&mut self, suffix: &str, like: ValueId, value: f64) -> Result<ValueId, Fault> {
        let dtype = self.ty(like)?.dtype;
        Ok(self.constant_value(suffix, &Tensor::scalar_f64(dtype, value)))
    }

    /// A binary op.
    pub(super) fn binary(
        &mut self,
        kind: &str,
        x: ValueId,
        y: ValueId,
        name: &str,
    ) -> Result<ValueId, Fault> {
        self.op(kind).arg("x", x).arg("y", y).one(name)
    }

    /// A unary op.
    pub(super) fn unary(&mut self, kind: &str, x: ValueId, name: &str) -> Result<ValueId, Fault> {
        self.op(kind).arg("x", x).one(name)
    }

    /// A conversion, when the type is another one.
    pub(super) fn cast(&mut self, x: ValueId, dtype: DType, name: &str) -> Result<ValueId, Fault> {
        if self.ty(x)?.dtype == dtype {
            return Ok(x);
        }
        self.op("cast").arg("x", x).str("dtype", dtype.name()).one(name)
    }

    /// A reshape to known or symbolic extents; one free extent becomes -1.
    pub(super) fn reshape(&mut self, x: ValueId, dims: &[Dim], name: &str) -> Result<ValueId, Fault> {
        let free = dims.iter().filter(|d| d.known().is_none()).count();
        if free > 1 {
            return Err(Fault::new(format!(
                "reshape to {dims:?} has {free} free dims; fix the input shapes with --input"
            )));
        }
        let dims: Result<Vec<i32>, Fault> = dims
            .iter()
            .map(|d| d.known().map_or(Ok(-1), |n| int32(i64::try_from(n).unwrap_or(i64::MAX))))
            .collect();
        self.op("reshape").arg("x", x).ints("shape", &dims?).one(name)
    }
}

/// An `int32` of an ONNX integer; "to the end" values beyond the range are clamped to it.
pub(super) fn int32(v: i64) -> Result<i32, Fault> {
    Ok(i32::try_from(v.clamp(i64::from(i32::MIN), i64::from(i32::MAX))).unwrap_or(i32::MAX))
}

/// Number of elements of a shape.
///
/// # Errors
/// When it is beyond what memory can address.
pub(super) fn volume(shape: &[usize]) -> Result<usize, Fault> {
    num::element_count(shape)
        .ok_or_else(|| Fault::new(format!("{shape:?} has more elements than memory can address")))
}

/// A list of `int32`.
pub(super) fn int32s(values: &[i64]) -> Result<Vec<i32>, Fault> {
    values.iter().map(|&v| int32(v)).collect()
}

/// An axis counted from the front.
pub(super) fn axis(value: i64, rank: usize) -> Result<usize, Fault> {
    let wide = i64::try_from(rank).unwrap_or(i64::MAX);
    let front = if value < 0 { value + wide } else { value };
    let inside = usize::try_from(front).ok().filter(|&a| a < rank);
    inside.ok_or_else(|| Fault::new(format!("axis {value} is out of range for a tensor of {rank} dims")))
}
