//! An op with its operands' run-time values.

use crate::ops::{Fault, Site};
use crate::{Literal, Tensor, TensorType};
use anemone_tensor::DType;

/// Reference evaluation of one op: operands to results.
pub type EvalFn = fn(&EvalSite<'_>) -> Result<Vec<Literal>, Fault>;

/// An op with the values of its operands.
#[derive(Clone, Copy, Debug)]
pub struct EvalSite<'a> {
    /// The op where it stands.
    pub site: Site<'a>,
    /// Values of the arguments, in the order of `site.op.args`.
    pub values: &'a [Vec<Literal>],
}

impl EvalSite<'_> {
    /// The values given for a parameter; empty when left out.
    pub fn all(&self, param: &str) -> &[Literal] {
        let at = self.site.op.args.iter().position(|a| &*a.param == param);
        at.and_then(|i| self.values.get(i)).map_or(&[], Vec::as_slice)
    }

    /// The value of a parameter, its default included.
    pub fn literal(&self, param: &str) -> Option<Literal> {
        match self.all(param).first() {
            Some(l) => Some(l.clone()),
            None => self.site.literal(param),
        }
    }

    /// The tensor given for a parameter, its default included; `None` when absent.
    pub fn optional(&self, param: &str) -> Option<Tensor> {
        match self.literal(param)? {
            Literal::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// The tensor given for a parameter, its default included.
    ///
    /// # Errors
    /// When it is absent or no tensor.
    pub fn tensor(&self, param: &str) -> Result<Tensor, Fault> {
        self.optional(param).ok_or_else(|| Fault::arg(param, "absent or no tensor", "a tensor"))
    }

    /// The tensors of a variadic parameter.
    ///
    /// # Errors
    /// When one is no tensor.
    pub fn tensors(&self, param: &str) -> Result<Vec<Tensor>, Fault> {
        let one = |l: &Literal| l.as_tensor().cloned().ok_or_else(|| Fault::arg(param, l.ty(), "a tensor"));
        self.all(param).iter().map(one).collect()
    }

    /// Integers of a parameter, its default included.
    ///
    /// # Errors
    /// When absent.
    pub fn ints(&self, param: &str) -> Result<Vec<i64>, Fault> {
        self.tensor(param).map(|t| t.to_i64s())
    }

    /// One integer of a parameter, its default included.
    ///
    /// # Errors
    /// When absent or empty.
    pub fn int(&self, param: &str) -> Result<i64, Fault> {
        self.ints(param)?.first().copied().ok_or_else(|| Fault::arg(param, "empty", "one integer"))
    }

    /// One boolean of a parameter, its default included.
    ///
    /// # Errors
    /// When absent or empty.
    pub fn bool(&self, param: &str) -> Result<bool, Fault> {
        self.int(param).map(|v| v != 0)
    }

    /// One float of a parameter, its default included.
    ///
    /// # Errors
    /// When absent or empty.
    pub fn float(&self, param: &str) -> Result<f64, Fault> {
        let t = self.tensor(param)?;
        if t.is_empty() { Err(Fault::arg(param, "empty", "one number")) } else { Ok(t.f64_at(0)) }
    }

    /// One string of a parameter, its default included.
    ///
    /// # Errors
    /// When absent or no string.
    pub fn str(&self, param: &str) -> Result<String, Fault> {
        let literal = self.literal(param);
        let text = literal.as_ref().and_then(Literal::as_str).map(str::to_owned);
        text.ok_or_else(|| Fault::arg(param, "absent or no string", "a string"))
    }

    /// Declared element type of result `n`.
    ///
    /// # Errors
    /// When there is no such result or it is no tensor.
    pub fn result_dtype(&self, n: usize) -> Result<DType, Fault> {
        self.result_type(n).map(|t| t.dtype)
    }

    /// Declared type of result `n`.
    ///
    /// # Errors
    /// When there is no such result or it is no tensor.
    pub fn result_type(&self, n: usize) -> Result<&TensorType, Fault> {
        let value = self.site.op.outputs.get(n).map(|&v| self.site.function.value(v));
        value.and_then(|v| v.ty.tensor()).ok_or_else(|| Fault::new(format!("result {n} is no tensor")))
    }

    /// Results from numbers, rounded to `dtype`.
    ///
    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn floats(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Vec<Literal>, Fault> {
        let t = Tensor::from_f64s(dtype, shape, values).map_err(|e| Fault::new(e.to_string()))?;
        Ok(vec![t.into()])
    }
}
