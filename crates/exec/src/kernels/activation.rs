//! What happens to a result before it is stored: bias, activation, rounding to f16.

use super::math;
use super::simd::{Isa, Kernel, Simd};

/// A function of one number that kernels apply before they store.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `x`
    #[default]
    None,
    /// `max(0, x)`
    Relu,
    /// `min(6, max(0, x))`
    Relu6,
    /// `min(hi, max(lo, x))`: bounds `(lo, hi)`
    Clamp(f32, f32),
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `x * sigmoid(x)`
    Silu,
    /// `tanh(x)`
    Tanh,
    /// `alpha * tanh(beta * x)`: parameters `(alpha, beta)`
    ScaledTanh(f32, f32),
    /// `x` where positive, `alpha * x` elsewhere
    LeakyRelu(f32),
    /// `min(1, max(0, alpha * x + beta))`: parameters `(alpha, beta)`
    HardSigmoid(f32, f32),
    /// `x / 2 * (1 + erf(x / sqrt(2)))`
    Gelu,
    /// `x * min(1, max(0, alpha * x + beta))`: parameters `(alpha, beta)`
    HardSwish(f32, f32),
}

impl Activation {
    /// `x` times this function of `x`, where that is one of them.
    pub fn gate(self) -> Option<Self> {
        match self {
            Self::Sigmoid => Some(Self::Silu),
            Self::HardSigmoid(alpha, beta) => Some(Self::HardSwish(alpha, beta)),
            _ => None,
        }
    }

    /// The function on a vector. NaN stays NaN.
    #[inline(always)]
    pub fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            Self::None => x,
            Self::Relu => s.max(s.splat(0.0), x),
            Self::Relu6 => clamp(s, x, 0.0, 6.0),
            Self::Clamp(lo, hi) => clamp(s, x, lo, hi),
            Self::Sigmoid => math::sigmoid(s, x),
            Self::Silu => s.mul(x, math::sigmoid(s, x)),
            Self::Tanh => math::tanh(s, x),
            Self::ScaledTanh(alpha, beta) => s.mul(s.splat(alpha), math::tanh(s, s.mul(s.splat(beta), x))),
            Self::LeakyRelu(alpha) => s.if_lt(x, s.splat(0.0), s.mul(s.splat(alpha), x), x),
            Self::HardSigmoid(alpha, beta) => clamp(s, s.fma(s.splat(alpha), x, s.splat(beta)), 0.0, 1.0),
            Self::HardSwish(alpha, beta) => {
                s.mul(x, clamp(s, s.fma(s.splat(alpha), x, s.splat(beta)), 0.0, 1.0))
            }
            Self::Gelu => {
                let e = math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
                let half = s.mul(x, s.splat(0.5));
                s.fma(half, e, half)
            }
        }
    }
}

#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F, lo: f32, hi: f32) -> S::F {
    s.min(s.splat(hi), s.max(s.splat(lo), x))
}

/// Numbers added to a matrix before the activation.
#[derive(Clone, Copy, Debug, Default)]
pub enum Bias<'a> {
    /// Nothing.
    #[default]
    None,
    /// One per row: the channels of a convolution.
    Row(&'a [f32]),
    /// One per column: the outputs of a linear layer.
    Col(&'a [f32]),
}

impl<'a> Bias<'a> {
    /// The bias of the part that begins at `row` and `col`.
    fn from(self, row: usize, col: usize) -> Self {
        match self {
            Self::None => Self::None,
            Self::Row(b) => Self::Row(&b[row..]),
            Self::Col(b) => Self::Col(&b[col..]),
        }
    }
}

/// What a kernel does to its result before it stores it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added first.
    pub bias: Bias<'a>,
    /// Applied second.
    pub activation: Activation,
    /// Rounds to f16 after the bias and again after the activation, as two ops with f16 edges would.
    pub half: bool,
}

impl<'a> Epilogue<'a> {
    /// True when the result is stored as it is.
    pub fn is_identity(&self) -> bool {
        matches!(self.bias, Bias::None) && self.activation == Activation::None && !self.half
    }

    /// The epilogue of the part of the matrix that begins at `row` and `col`.
    pub(crate) fn from(self, row: usize, col: usize) -> Self {
        Self { bias: self.bias.from(row, col), ..self }
    }

    /// The epilogue on `row`, the elements of row `i` from column 0 on.
    #[inline(always)]
    pub(crate) fn apply_row<S: Simd>(&self, s: S, i: usize, row: &mut [f32]) {
        let scalar = match self.bias {
            Bias::Row(b) => b[i],
            _ => 0.0,
        };
        for (j, chunk) in row.chunks_mut(S::LANES).enumerate() {
            let bias = match self.bias {
                Bias::Col(b) => s.load_part(&b[j * S::LANES..j * S::LANES + chunk.len()]),
                _ => s.splat(scalar),
            };
            let x = s.add(s.load_part(chunk), bias);
            s.store_part(chunk, self.finish(s, x));
        }
    }

    /// Activation and rounding.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(&self, s: S, x: S::F) -> S::F {
        if self.half {
            return s.round_f16(self.activation.apply(s, s.round_f16(x)));
        }
        self.activation.apply(s, x)
    }

    /// The epilogue on a dense matrix with rows of `columns` elements.
    pub fn apply(&self, isa: Isa, matrix: &mut [f32], columns: usize) {
        if !self.is_identity() {
            isa.run(Rows { epilogue: self, matrix, columns: columns.max(1) });
        }
    }
}

struct Rows<'a> {
    epilogue: &'a Epilogue<'a>,
    matrix: &'a mut [f32],
    columns: usize,
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, row) in self.matrix.chunks_mut(self.columns).enumerate() {
            self.epilogue.apply_row(s, i, row);
        }
    }
}
