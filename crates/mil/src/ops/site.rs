//! An op where it stands: its signature, its operands' types and constants.

use super::{Default, Fault, OpDef, Version};
use crate::{Const, Function, Literal, Op, TensorType, Type, ValueId};
use anemone_tensor::{DType, Tensor};

/// An op within its function, as inference, verification and cost models look at it.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The function around it.
    pub function: &'a Function,
    /// The op.
    pub op: &'a Op,
    /// Its row of the op table.
    pub def: &'static OpDef,
    /// The version that counts in this function's op set.
    pub version: &'static Version,
}

impl<'a> Site<'a> {
    /// Looks an op up in the table.
    ///
    /// # Errors
    /// When the table has no such op, or not in this op set.
    pub fn new(function: &'a Function, op: &'a Op) -> Result<Site<'a>, Fault> {
        let name = op.kind.name();
        let Some(def) = op.kind.def() else {
            return Err(Fault::new(format!("op `{name}` is not in the op table")));
        };
        let Some(version) = def.version(function.opset) else {
            let since = def.versions.first().map_or("", |v| v.since.name());
            let opset = function.opset;
            return Err(Fault::new(format!(
                "op `{name}` needs op set {since} or newer, but the function is {opset}"
            )));
        };
        Ok(Site { function, op, def, version })
    }

    /// Types of the results.
    ///
    /// # Errors
    /// The first contradiction among the operands.
    pub fn infer(&self) -> Result<Vec<Type>, Fault> {
        (self.def.infer)(self)
    }

    /// True when the argument is given.
    pub fn has(&self, param: &str) -> bool {
        !self.op.values(param).is_empty()
    }

    /// The values of a parameter; empty when left out.
    pub fn values(&self, param: &str) -> &'a [ValueId] {
        self.op.values(param)
    }

    /// Type of an argument.
    ///
    /// # Errors
    /// When it is left out.
    pub fn ty(&self, param: &str) -> Result<&'a Type, Fault> {
        let missing = || Fault { param: Some(param.into()), message: "is missing; give it a value".into() };
        self.op.value(param).map(|v| &self.function.value(v).ty).ok_or_else(missing)
    }

    /// Type of an argument that must be a tensor.
    ///
    /// # Errors
    /// When it is left out or no tensor.
    pub fn tensor(&self, param: &str) -> Result<&'a TensorType, Fault> {
        let ty = self.ty(param)?;
        ty.tensor().ok_or_else(|| Fault::arg(param, ty, "a tensor"))
    }

    /// Type of an argument that may be left out.
    ///
    /// # Errors
    /// When it is given, but no tensor.
    pub fn optional_tensor(&self, param: &str) -> Result<Option<&'a TensorType>, Fault> {
        if self.has(param) { self.tensor(param).map(Some) } else { Ok(None) }
    }

    /// Types of all values of a variadic parameter.
    ///
    /// # Errors
    /// When there is none, or one is no tensor.
    pub fn tensors(&self, param: &str) -> Result<Vec<&'a TensorType>, Fault> {
        self.ty(param)?;
        let types = self.values(param).iter().map(|&v| &self.function.value(v).ty);
        types.map(|t| t.tensor().ok_or_else(|| Fault::arg(param, t, "a tensor"))).collect()
    }

    /// The constant given for a parameter, without its default.
    pub fn constant(&self, param: &str) -> Option<&'a Const> {
        self.op.value(param).and_then(|v| self.function.constant(v))
    }

    /// The constant value of a parameter, its default included; `None` when it is computed at run time or absent.
    pub fn literal(&self, param: &str) -> Option<Literal> {
        if self.has(param) {
            return self.constant(param)?.literal().ok();
        }
        match self.version.param(param)?.default {
            Default::Required | Default::Absent => None,
            Default::Bool(v) => Some(Tensor::scalar_bool(v).into()),
            Default::Int(v) => Some(Tensor::scalar_i32(v).into()),
            Default::Ints(v) => Some(Tensor::vector_i32(v).into()),
            Default::Float(v) => Some(Tensor::scalar_f64(self.float_type(), v).into()),
            Default::Str(v) => Some(Literal::string(v)),
            Default::Derived(f) => f(self),
        }
    }

    /// Element type of the first float operand, `fp32` when there is none.
    pub fn float_type(&self) -> DType {
        let types = self.op.operands().filter_map(|v| self.function.value(v).ty.tensor());
        types.map(|t| t.dtype).find(|d| d.is_float()).unwrap_or(DType::F32)
    }

    /// The constant numbers of a parameter; `None` when computed at run time or absent.
    pub fn numbers(&self, param: &str) -> Option<Tensor> {
        match self.literal(param)? {
            Literal::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// Constant integers; `None` when computed at run time or absent.
    pub fn known_ints(&self, param: &str) -> Option<Vec<i64>> {
        self.numbers(param).map(|t| t.to_i64s())
    }

    /// Constant integers that must be known.
    ///
    /// # Errors
    /// When they are not constant.
    pub fn ints(&self, param: &str) -> Result<Vec<i64>, Fault> {
        self.known_ints(param).ok_or_else(|| not_constant(param))
    }

    /// A constant integer that must be known.
    ///
    /// # Errors
    /// When it is not a constant.
    pub fn int(&self, param: &str) -> Result<i64, Fault> {
        self.known_ints(param).and_then(|v| v.first().copied()).ok_or_else(|| not_constant(param))
    }

    /// A constant boolean that must be known.
    ///
    /// # Errors
    /// When it is not a constant.
    pub fn bool(&self, param: &str) -> Result<bool, Fault> {
        self.int(param).map(|v| v != 0)
    }

    /// Constant booleans; `None` when computed at run time or absent.
    pub fn known_bools(&self, param: &str) -> Option<Vec<bool>> {
        self.numbers(param).map(|t| t.to_bools())
    }

    /// A constant float that must be known.
    ///
    /// # Errors
    /// When it is not a constant.
    pub fn float(&self, param: &str) -> Result<f64, Fault> {
        let first = self.numbers(param).filter(|t| !t.is_empty()).map(|t| t.f64_at(0));
        first.ok_or_else(|| not_constant(param))
    }

    /// A constant string that must be known.
    ///
    /// # Errors
    /// When it is not a constant.
    pub fn str(&self, param: &str) -> Result<String, Fault> {
        let literal = self.literal(param);
        literal.as_ref().and_then(Literal::as_str).map(str::to_owned).ok_or_else(|| not_constant(param))
    }

    /// A constant axis of `rank` dims, counted from the front.
    ///
    /// # Errors
    /// When it is not a constant or out of range.
    pub fn axis(&self, param: &str, rank: usize) -> Result<usize, Fault> {
        resolve_axis(param, self.int(param)?, rank)
    }

    /// Constant axes of `rank` dims, counted from the front, in the given order.
    ///
    /// # Errors
    /// When they are not constant or one is out of range.
    pub fn axes(&self, param: &str, rank: usize) -> Result<Vec<usize>, Fault> {
        self.ints(param)?.into_iter().map(|a| resolve_axis(param, a, rank)).collect()
    }
}

fn not_constant(param: &str) -> Fault {
    Fault::arg(param, "computed at run time or missing", "a constant")
}

/// Counts a possibly negative axis from the front.
fn resolve_axis(param: &str, axis: i64, rank: usize) -> Result<usize, Fault> {
    let wide = i64::try_from(rank).unwrap_or(i64::MAX);
    let front = if axis < 0 { axis + wide } else { axis };
    let index = usize::try_from(front).ok().filter(|&a| a < rank);
    index.ok_or_else(|| Fault::arg(param, axis, format!("between -{rank} and {}", wide - 1)))
}
