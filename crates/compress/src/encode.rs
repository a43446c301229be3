//! The `constexpr_*` ops that stand for compressed weights, in the encoding of the program's op set.

use crate::apply::{Failure, Made, Work};
use crate::{Palettized, Pruned, Quantized, Refusal};
use anemone_mil::{Const, Function, Name, Op, OpKind, Opset, Origin, TensorType, Type, ValueId, Weight};
use anemone_tensor::{DType, Tensor};
use std::collections::HashSet;

/// Adds ops at the start of a function's body, under names that are free.
pub(crate) struct Encoder {
    names: HashSet<Name>,
    at: usize,
}

/// An op to be added.
pub(crate) struct New<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: String,
    pub(crate) operands: Vec<Operand<'a>>,
    /// Parameters that take values of the function.
    pub(crate) takes: Vec<(&'a str, ValueId)>,
    /// Types of the results; the second one is named after the first.
    pub(crate) results: Vec<Type>,
}

/// An operand: parameter and constant.
pub(crate) type Operand<'a> = (&'a str, Tensor);

impl Encoder {
    pub(crate) fn of(function: &Function) -> Encoder {
        Encoder { names: function.values().map(|(_, v)| v.name.clone()).collect(), at: 0 }
    }

    fn fresh(&mut self, wanted: &str) -> Name {
        let numbered = (1..).map(|n| Name::from(format!("{wanted}_{n}")));
        let name = std::iter::once(Name::from(wanted)).chain(numbered).find(|n| !self.names.contains(n));
        let name = name.unwrap_or_else(|| wanted.into());
        self.names.insert(name.clone());
        name
    }

    /// Adds an op; large operands go to the store, small ones are written where they stand.
    pub(crate) fn add(
        &mut self,
        function: &mut Function,
        new: New<'_>,
        work: &mut Work<'_>,
    ) -> Result<(Vec<ValueId>, u64), Failure> {
        let name = self.fresh(&new.name);
        let mut op = Op::new(OpKind::named(new.kind), name.clone());
        op.origin = Origin { source: None, pass: Some("compress") };
        let mut bytes = 0;
        for (param, tensor) in new.operands {
            bytes += u64::try_from(tensor.bytes().len()).unwrap_or(u64::MAX);
            let (constant, given) = if in_weight_file(&tensor) {
                let kept = (work.store)(tensor).map_err(Failure::Store)?;
                (Const::Weight(Weight::of(&kept)), self.fresh(&format!("{name}_{param}")))
            } else {
                (Const::from(tensor), Name::from(""))
            };
            let value = function.add_const(given, constant);
            op.set_arg(param, vec![value]);
        }
        for (param, value) in new.takes {
            op.set_arg(param, vec![value]);
        }
        let body = function.body();
        let named = |(i, ty)| (if i == 0 { name.clone() } else { self.fresh(&format!("{name}_{i}")) }, ty);
        let results = new.results.into_iter().enumerate().map(named).collect();
        let id = function.insert(body, self.at, op, results);
        self.at += 1;
        Ok((function.op(id).outputs.clone(), bytes))
    }

    /// A quantised weight.
    pub(crate) fn quantized(
        &mut self,
        function: &mut Function,
        weight: &str,
        shape: &[usize],
        made: Quantized,
        work: &mut Work<'_>,
    ) -> Result<Made, Failure> {
        let fit = made.fit;
        let result: Type = TensorType::new(made.scale.dtype(), shape.iter().copied()).into();
        let (kind, operands) = if function.opset >= Opset::Ios18 {
            let mut operands = vec![("data", made.data), ("scale", made.scale)];
            operands.extend(made.offset.map(|o| ("offset", o)));
            ("constexpr_blockwise_shift_scale", operands)
        } else {
            ("constexpr_affine_dequantize", affine(made)?)
        };
        let name = format!("{weight}_quantized");
        let (made, bytes) =
            self.add(function, New { kind, name, operands, takes: Vec::new(), results: vec![result] }, work)?;
        Ok(Made { value: made[0], bytes, fit })
    }

    /// A palettised weight, multiplied by scales when there are some.
    pub(crate) fn palettized(
        &mut self,
        function: &mut Function,
        weight: &str,
        shape: &[usize],
        made: Palettized,
        scale: Option<Tensor>,
        work: &mut Work<'_>,
    ) -> Result<Made, Failure> {
        let fit = made.fit;
        let result: Type = TensorType::new(made.lut.dtype(), shape.iter().copied()).into();
        let operands = if function.opset >= Opset::Ios18 {
            let mut operands = vec![("indices", made.indices), ("lut", made.lut)];
            let axis = made.vector_axis.and_then(|a| i32::try_from(a).ok());
            operands.extend(axis.map(|a| ("vector_axis", Tensor::scalar_i32(a))));
            operands
        } else {
            let lut = made.lut.reshaped([made.lut.len()]).map_err(Refusal::Tensor)?;
            vec![("indices", flat(&made.indices)?), ("lut", lut), ("shape", dims(shape)?)]
        };
        let (kind, name) = ("constexpr_lut_to_dense", format!("{weight}_palettized"));
        let (mut made, mut bytes) = self.add(
            function,
            New { kind, name, operands, takes: Vec::new(), results: vec![result.clone()] },
            work,
        )?;
        if let Some(scale) = scale {
            let (kind, name) = ("constexpr_blockwise_shift_scale", format!("{weight}_palettized_pcs"));
            let (operands, takes) = (vec![("scale", scale)], vec![("data", made[0])]);
            let (scaled, more) =
                self.add(function, New { kind, name, operands, takes, results: vec![result] }, work)?;
            (made, bytes) = (scaled, bytes + more);
        }
        Ok(Made { value: made[0], bytes, fit })
    }

    /// A pruned weight.
    pub(crate) fn pruned(
        &mut self,
        function: &mut Function,
        weight: &str,
        shape: &[usize],
        made: Pruned,
        work: &mut Work<'_>,
    ) -> Result<Made, Failure> {
        let fit = made.fit;
        let result: Type = TensorType::new(made.nonzero.dtype(), shape.iter().copied()).into();
        let operands = if function.opset >= Opset::Ios18 {
            vec![("nonzero_data", made.nonzero), ("mask", made.mask)]
        } else {
            vec![("nonzero_data", made.nonzero), ("mask", flat(&made.mask)?), ("shape", dims(shape)?)]
        };
        let (kind, name) = ("constexpr_sparse_to_dense", format!("{weight}_sparsified"));
        let (made, bytes) =
            self.add(function, New { kind, name, operands, takes: Vec::new(), results: vec![result] }, work)?;
        Ok(Made { value: made[0], bytes, fit })
    }
}

/// Operands of `constexpr_affine_dequantize`: scale and zero point without dims, or one per index of one axis.
fn affine(made: Quantized) -> Result<Vec<Operand<'static>>, Refusal> {
    let grid = made.scale.shape().to_vec();
    let axis = grid.iter().position(|&n| n > 1);
    let squeezed: Vec<usize> = grid.iter().copied().filter(|&n| n > 1).collect();
    let zero_point = match made.offset {
        Some(offset) => offset,
        None => Tensor::zeros(made.data.dtype(), grid).map_err(Refusal::Tensor)?,
    };
    let axis = axis.and_then(|a| i32::try_from(a).ok()).unwrap_or(0);
    Ok(vec![
        ("quantized_data", made.data),
        ("zero_point", zero_point.reshaped(squeezed.clone()).map_err(Refusal::Tensor)?),
        ("scale", made.scale.reshaped(squeezed).map_err(Refusal::Tensor)?),
        ("axis", Tensor::scalar_i32(axis)),
    ])
}

/// Packed bytes as a flat tensor of bytes, as indices and masks are before `ios18`.
fn flat(packed: &Tensor) -> Result<Tensor, Refusal> {
    Tensor::new(DType::U8, [packed.bytes().len()], packed.bytes().clone()).map_err(Refusal::Tensor)
}

fn dims(shape: &[usize]) -> Result<Tensor, Refusal> {
    let dims: Vec<i64> = shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect();
    Tensor::from_i64s(DType::U32, [dims.len()], &dims).map_err(Refusal::Tensor)
}

/// True for what coremltools puts into the weight file: ten elements or more that are no shape.
fn in_weight_file(tensor: &Tensor) -> bool {
    tensor.len() >= 10 && tensor.dtype() != DType::U32
}
