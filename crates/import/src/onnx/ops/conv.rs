//! Convolutions.

use crate::onnx::node::{Done, Node, int32, int32s};
use anemone_mil::ValueId;
use anemone_mil::ops::Fault;

/// Padding in MIL's terms: `pad_type`, and begin and end per spatial dim where that is `custom`.
pub(crate) struct Padding {
    pub(crate) kind: &'static str,
    pub(crate) pad: Vec<i32>,
}

/// Reads `auto_pad` and `pads` (all begins, then all ends) of a window over `spatial` dims.
pub(crate) fn padding(n: &Node<'_, '_>, spatial: usize) -> Result<Padding, Fault> {
    let zeros = || vec![0; 2 * spatial];
    match n.text("auto_pad").as_deref() {
        None | Some("" | "NOTSET") => {}
        Some("VALID") => return Ok(Padding { kind: "valid", pad: zeros() }),
        Some("SAME_UPPER") => return Ok(Padding { kind: "same", pad: zeros() }),
        Some("SAME_LOWER") => return Ok(Padding { kind: "same_lower", pad: zeros() }),
        Some(other) => {
            return Err(Fault::new(format!(
                "auto_pad is {other}, but must be NOTSET, VALID, SAME_UPPER or SAME_LOWER"
            )));
        }
    }
    let Some(pads) = n.ints("pads").filter(|p| p.iter().any(|&v| v != 0)) else {
        return Ok(Padding { kind: "valid", pad: zeros() });
    };
    if pads.len() != 2 * spatial || pads.iter().any(|&p| p < 0) {
        return Err(Fault::new(format!(
            "pads is {pads:?}, but must be {} numbers of at least 0",
            2 * spatial
        )));
    }
    let interleaved: Vec<i64> = (0..spatial).flat_map(|d| [pads[d], pads[d + spatial]]).collect();
    Ok(Padding { kind: "custom", pad: int32s(&interleaved)? })
}

/// A list attribute with one entry per spatial dim; 1 each when it is left out.
pub(crate) fn per_dim(n: &Node<'_, '_>, attribute: &str, spatial: usize) -> Result<Vec<i32>, Fault> {
    let values = n.ints(attribute).filter(|v| !v.is_empty()).unwrap_or_else(|| vec![1; spatial]);
    if values.len() != spatial || values.iter().any(|&v| v < 1) {
        return Err(Fault::new(format!(
            "{attribute} is {values:?}, but must be {spatial} numbers of at least 1"
        )));
    }
    int32s(&values)
}

/// Number of spatial dims of a window op on `x`.
fn spatial_dims(n: &Node<'_, '_>, x: ValueId) -> Result<usize, Fault> {
    let rank = n.rank(x)?;
    let spatial = rank.checked_sub(2).filter(|s| (1..=3).contains(s));
    spatial.ok_or_else(|| {
        Fault::new(format!("needs an operand of 3 to 5 dims [batch, channels, spatial..], but it has {rank}"))
    })
}

/// `Conv`.
pub(crate) fn conv(n: &mut Node<'_, '_>) -> Done {
    let (x, weight, bias, name) = (n.input(0)?, n.input(1)?, n.maybe(2)?, n.name());
    let y = convolve(n, x, weight, bias, &name)?;
    n.done(y)
}

/// A convolution of other operands with the attributes of the node.
pub(super) fn convolve(
    n: &mut Node<'_, '_>,
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    name: &str,
) -> Result<ValueId, Fault> {
    let spatial = spatial_dims(n, x)?;
    let padding = padding(n, spatial)?;
    let (strides, dilations) = (per_dim(n, "strides", spatial)?, per_dim(n, "dilations", spatial)?);
    let groups = int32(n.int("group").unwrap_or(1))?;
    n.op("conv")
        .arg("x", x)
        .arg("weight", weight)
        .maybe("bias", bias)
        .ints("strides", &strides)
        .str("pad_type", padding.kind)
        .ints("pad", &padding.pad)
        .ints("dilations", &dilations)
        .int("groups", groups)
        .one(name)
}

/// `ConvTranspose`; the extents of the result are given in full, so that `output_padding` needs no rule of its own.
pub(crate) fn conv_transpose(n: &mut Node<'_, '_>) -> Done {
    let (x, weight, bias, name) = (n.input(0)?, n.input(1)?, n.maybe(2)?, n.name());
    let spatial = spatial_dims(n, x)?;
    let (strides, dilations) = (per_dim(n, "strides", spatial)?, per_dim(n, "dilations", spatial)?);
    let groups = n.int("group").unwrap_or(1);
    let mut padding = padding(n, spatial)?;
    let extra = n.ints("output_padding").unwrap_or_else(|| vec![0; spatial]);
    let given = n.ints("output_shape").filter(|s| !s.is_empty());
    let plain = padding.kind != "same" && padding.kind != "same_lower" && given.is_none();
    let shaped = !plain || extra.iter().any(|&e| e != 0);
    let mut output_shape = Vec::new();
    if shaped {
        let (input, kernel) = (n.shape(x)?, n.shape(weight)?);
        if kernel.len() != input.len() {
            let actual = format!("weight has {} dims, but the operand has {}", kernel.len(), input.len());
            return Err(Fault::new(actual));
        }
        let channels = kernel[1].saturating_mul(usize::try_from(groups).unwrap_or(1));
        output_shape = vec![as_i64(input[0]), as_i64(channels)];
        for d in 0..spatial {
            let spread = |n: usize, by: i32| (as_i64(n) - 1).saturating_mul(i64::from(by));
            let full = spread(input[2 + d], strides[d])
                .saturating_add(spread(kernel[2 + d], dilations[d]))
                .saturating_add(1)
                .saturating_add(extra.get(d).copied().unwrap_or(0));
            let same = as_i64(input[2 + d]).saturating_mul(i64::from(strides[d]));
            let wanted = match &given {
                Some(shape) => shape.get(d + shape.len().saturating_sub(spatial)).copied().unwrap_or(full),
                None if plain => full
                    .saturating_sub(i64::from(padding.pad[2 * d]))
                    .saturating_sub(i64::from(padding.pad[2 * d + 1])),
                None => same,
            };
            if !plain {
                let total = full.saturating_sub(wanted).max(0);
                let begin = if padding.kind == "same" { total / 2 } else { total - total / 2 };
                padding.pad[2 * d] = int32(begin)?;
                padding.pad[2 * d + 1] = int32(total - begin)?;
            }
            output_shape.push(wanted);
        }
        padding.kind = "custom";
    }
    let output_shape = int32s(&output_shape)?;
    let mut op = n
        .op("conv_transpose")
        .arg("x", x)
        .arg("weight", weight)
        .maybe("bias", bias)
        .ints("strides", &strides)
        .str("pad_type", padding.kind)
        .ints("pad", &padding.pad)
        .ints("dilations", &dilations)
        .int("groups", int32(groups)?);
    if shaped {
        op = op.literal("output_shape", anemone_mil::Tensor::vector_i32(&output_shape));
    }
    let y = op.one(&name)?;
    n.done(y)
}

fn as_i64(n: usize) -> i64 {
    anemone_tensor::num::i64_of(n)
}
