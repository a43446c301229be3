//! Inputs get the shapes that they are given, and everything behind them the shapes that follow.
//!
//! ```text
//! x [1, ?]; y [1, ?] = relu(x)             becomes      x [1, 64]; y [1, 64] = relu(x)
//! ```

use anemone_mil::ops::{Fault, Site};
use anemone_mil::{Dim, Function, Type, ValueId};

/// Name of the pass.
pub const NAME: &str = "fix_shapes";

/// Sets the shapes of inputs; returns how many inputs were open before.
///
/// # Errors
/// When a shape does not fit its input, or an op does not take what follows from it; the function is damaged then, and
/// must be thrown away.
pub fn run(function: &mut Function, shapes: &[(ValueId, Vec<usize>)]) -> Result<usize, Fault> {
    let mut fixed = 0;
    for (input, shape) in shapes {
        let value = function.value_mut(*input);
        let Type::Tensor(ty) = &mut value.ty else { return Err(Fault::new("an input is no tensor")) };
        let dims: Vec<Dim> = shape.iter().map(|&n| Dim::Known(n)).collect();
        let fits = dims.len() == ty.dims.len() && dims.iter().zip(&ty.dims).all(|(a, b)| a.compatible(b));
        if !fits {
            return Err(Fault::arg(&*value.name, format!("of shape {shape:?}"), format!("as {ty}")));
        }
        fixed += usize::from(ty.known_shape().is_none());
        ty.dims = dims;
    }
    for (_, id) in function.walk() {
        let op = function.op(id);
        // The results of loops and branches are those of their blocks; what they declare stays.
        if !op.blocks.is_empty() {
            continue;
        }
        let Ok(site) = Site::new(function, op) else { continue };
        let (types, outputs) = (site.infer()?, op.outputs.clone());
        for (v, ty) in outputs.into_iter().zip(types) {
            if !function.value(v).ty.compatible(&ty) {
                let what =
                    format!("`{}` would be {ty}, not {}", function.value(v).name, function.value(v).ty);
                return Err(Fault::new(what));
            }
            function.value_mut(v).ty = ty;
        }
    }
    Ok(fixed)
}
