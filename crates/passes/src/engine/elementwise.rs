//! Ops on numbers that look at one element at a time, whatever the dims.

/// Ops that look at one element of `x` at a time.
pub(super) const UNARY: [&str; 31] = [
    "abs",
    "cast",
    "ceil",
    "clamped_relu",
    "clip",
    "cos",
    "elu",
    "erf",
    "exp",
    "exp2",
    "floor",
    "gelu",
    "identity",
    "inverse",
    "leaky_relu",
    "linear_activation",
    "log",
    "relu",
    "relu6",
    "round",
    "rsqrt",
    "scaled_tanh",
    "sigmoid",
    "sigmoid_hard",
    "sign",
    "silu",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "tanh",
];

/// Ops that look at one element of `x` and one of `y` at a time.
pub(super) const BINARY: [&str; 7] = ["add", "maximum", "minimum", "mul", "pow", "real_div", "sub"];
