//! Single layers and chains of them, as benchmarks run them.

use super::net::{Net, Stored};
use anemone_mil::Program;
use anemone_mil::ops::Fault;

/// A chain of convolutions of equal width on a square, each followed by relu when asked for.
pub fn conv_chain(
    stored: Stored,
    input: [usize; 4],
    width: usize,
    kernel: usize,
    layers: usize,
    relu: bool,
) -> Result<Program, Fault> {
    let mut net = Net::new(stored);
    let mut x = net.input("x", &input);
    for _ in 0..layers {
        x = net.conv(x, width, kernel, 1)?;
        if relu {
            x = net.unary("relu", x)?;
        }
    }
    Ok(net.finish(&[x]))
}

/// A product of `rows` rows with a constant matrix.
pub fn product(stored: Stored, rows: usize, inner: usize, out: usize) -> Result<Program, Fault> {
    let mut net = Net::new(stored);
    let x = net.input("x", &[rows, inner]);
    let y = net.linear(x, out)?;
    Ok(net.finish(&[y]))
}

/// A language model's head, written as `parts` 1 x 1 convolutions.
pub fn head(stored: Stored, hidden: usize, vocabulary: usize, parts: usize) -> Result<Program, Fault> {
    let mut net = Net::new(stored);
    let x = net.input("hidden", &[1, hidden, 1, 1]);
    let mut outputs = Vec::new();
    for _ in 0..parts {
        outputs.push(net.conv(x, vocabulary / parts, 1, 1)?);
    }
    Ok(net.finish(&outputs))
}

/// A norm alone: `rms`, `layer` over `[rows, width]`, or `group` over 32 groups of `[1, 256, 64, 64]`.
pub fn norm(kind: &str, rows: usize, width: usize) -> Result<Program, Fault> {
    let mut net = Net::new(Stored::Fp16);
    let y = match kind {
        "group" => {
            let x = net.input("x", &[1, 256, 64, 64]);
            net.group_norm(x, 32)?
        }
        "layer" => {
            let x = net.input("x", &[rows, width]);
            net.layer_norm(x)?
        }
        _ => {
            let x = net.input("x", &[rows, width]);
            net.rms_norm(x)?
        }
    };
    Ok(net.finish(&[y]))
}

/// Attention of `heads` heads of `width` over `length` positions, its operands as inputs.
pub fn attention(heads: usize, length: usize, width: usize) -> Result<Program, Fault> {
    let mut net = Net::new(Stored::Fp16);
    let dims = [1, heads, length, width];
    let (q, k, v) = (net.input("q", &dims), net.input("k", &dims), net.input("v", &dims));
    let scores = net.matmul(q, k, true)?;
    let weights = net.softmax(scores)?;
    let y = net.matmul(weights, v, false)?;
    Ok(net.finish(&[y]))
}

/// The `k` largest of `count` values.
pub fn topk(count: usize, k: i32) -> Result<Program, Fault> {
    let mut net = Net::new(Stored::Fp16);
    let x = net.input("x", &[1, count]);
    let y = net.topk(x, k)?;
    Ok(net.finish(&y[..1]))
}
