//! What helps an op that `fp16` is too small for.

use super::Fault;

/// A rewrite that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What to do.
    pub rewrite: &'static str,
    /// Why it helps.
    pub why: &'static str,
    /// Where the limit is known from.
    pub source: &'static str,
}

/// Largest finite number, smallest normal and smallest positive one.
const FORMAT: &str = "IEEE 754 binary16: largest 65504, smallest normal 2^-14, smallest 2^-24, 11 bits";
/// 751K, Apple-Neural-Engine-Microarchitecture-Study-M6, notes/numerics.md; one author.
const ACCUMULATOR: &str =
    "ANE study of 751K (M6, accumulator also M4): a sum is infinite from 32768 on, in steps of 2^-16";
const TABLES: &str =
    "ANE study of 751K (M6): exp and log are read from tables, exp within 9 units in the last place";

/// The smallest normal number of `fp16`, 2^-14.
const NORMAL: f64 = 6.103_515_625e-5;

/// The rewrite by family of op, by what is at fault and by the largest magnitude of the result in `fp32`.
pub(super) fn advice(kind: &str, fault: Fault, largest: f64) -> Advice {
    match fault {
        Fault::Loss if largest < NORMAL && matches!(kind, "sigmoid" | "softmax" | "exp" | "cast") => Advice {
            rewrite: "keep this op and what takes its result in fp32, or hand out what it takes (logits)",
            why: "the whole result is below 2^-14, where fp16 has fewer digits, and none below 2^-24",
            source: FORMAT,
        },
        Fault::Infinite | Fault::NotANumber => of_range(kind),
        Fault::Loss => of_accuracy(kind),
        Fault::Model => Advice {
            rewrite: "keep the operand in the domain of the op: clip it, or add an epsilon",
            why: "the op has no finite result for it in fp32 either",
            source: FORMAT,
        },
    }
}

fn of_range(kind: &str) -> Advice {
    let (rewrite, why, source) = match kind {
        "exp" | "exp2" | "pow" | "sinh" | "cosh" => (
            "subtract the largest element before the exponential (max-subtracted softmax), or use softmax",
            "exp(x) is beyond 65504 from x = 11.09 on; with the largest element subtracted it is at most 1",
            TABLES,
        ),
        "square" | "reduce_sum_square" | "reduce_l2_norm" | "l2_norm" => (
            "divide by the largest magnitude before squaring and multiply after the root (scaled-square norm)",
            "a square is beyond 65504 from 256 on; of numbers up to 1 it is at most 1",
            FORMAT,
        ),
        "matmul" | "linear" | "conv" | "conv_transpose" | "scaled_dot_product_attention" => (
            "scale the input or the weights by a power of two and undo it afterwards, or split the sum (split reduction)",
            "the products are fine, their sum is too large; a power of two changes no digit",
            ACCUMULATOR,
        ),
        "reduce_sum" | "cumsum" | "reduce_log_sum" | "reduce_l1_norm" | "reduce_log_sum_exp" => (
            "take the mean instead, scale the input by a power of two, or split the sum (split reduction)",
            "the elements are fine, their sum is too large",
            ACCUMULATOR,
        ),
        "layer_norm" | "instance_norm" | "batch_norm" | "local_response_norm" => (
            "scale the input by a power of two before the norm, which takes the scale out again",
            "variance and squares grow with the square of the input",
            FORMAT,
        ),
        "real_div" | "inverse" | "rsqrt" | "log" => (
            "raise the epsilon that keeps the operand from zero to at least 2^-14, or keep this op in fp32",
            "a divisor below 2^-24 is zero in fp16, and a quotient by a small one is beyond 65504",
            FORMAT,
        ),
        "mul" => (
            "scale one operand by a power of two before the product and undo it afterwards; for x * x, a scaled-square norm",
            "the factors are fine, their product is too large",
            FORMAT,
        ),
        "add" | "sub" => (
            "scale both operands by a power of two before, or keep this op in fp32",
            "the operands are fine, their sum is too large",
            FORMAT,
        ),
        "cast" => (
            "scale the operand by a power of two before the cast, or keep what follows in fp32",
            "the operand has no place in fp16",
            FORMAT,
        ),
        _ => (
            "scale the input by a power of two before and undo it afterwards, or keep this op in fp32",
            "its result has no place in fp16",
            FORMAT,
        ),
    };
    Advice { rewrite, why, source }
}

fn of_accuracy(kind: &str) -> Advice {
    let (rewrite, why, source) = match kind {
        "sub" | "add" => (
            "subtract what both operands have in common before they are rounded, or keep this op and its operands in fp32",
            "the operands are nearly equal: their first digits cancel, and the digits that are left have been rounded away",
            FORMAT,
        ),
        "square" | "mul" | "reduce_prod" | "pow" => (
            "scale the input up by a power of two and undo it afterwards (scaled-square norm), or keep this op in fp32",
            "the products are below 2^-14, where fp16 has fewer digits, or none",
            FORMAT,
        ),
        "layer_norm" | "instance_norm" | "batch_norm" | "l2_norm" | "local_response_norm" => (
            "scale the input up by a power of two, raise epsilon to at least 2^-14, or keep this op in fp32",
            "the variance is so small that rounded inputs or a rounded epsilon decide it",
            FORMAT,
        ),
        "sin" | "cos" | "tan" => (
            "take the angle modulo a turn in fp32, or make the table of sines a constant",
            "an angle above 2048 is a whole number in fp16, so its place within the turn is gone",
            FORMAT,
        ),
        "exp" | "exp2" | "log" | "reduce_log_sum_exp" | "sinh" | "cosh" => (
            "subtract the largest element first, or keep this op in fp32",
            "the rounding of a large operand is multiplied by the exponential",
            TABLES,
        ),
        "matmul" | "linear" | "conv" | "conv_transpose" | "reduce_sum" | "reduce_mean" | "cumsum" => (
            "scale the input by a power of two, split the sum (split reduction), or keep this op in fp32",
            "the terms cancel or are below 2^-16, where an accumulator in fixed point drops them",
            ACCUMULATOR,
        ),
        "floor" | "ceil" | "round" | "floor_div" | "mod" | "sign" => (
            "keep this op and what leads to it in fp32",
            "the result jumps where the operand was rounded over a whole number",
            FORMAT,
        ),
        "real_div" | "inverse" | "rsqrt" | "sqrt" => (
            "raise the epsilon that keeps the operand from zero to at least 2^-14, or keep this op in fp32",
            "the operand is below 2^-14, where fp16 has fewer digits, or none",
            FORMAT,
        ),
        _ => (
            "keep this op in fp32",
            "its operands, rounded to fp16, do not carry the digits that it needs",
            FORMAT,
        ),
    };
    Advice { rewrite, why, source }
}
