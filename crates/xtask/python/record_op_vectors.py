"""Records what coremltools computes for small operands into corpus/mil-op-vectors.json.

Usage: python crates/xtask/python/record_op_vectors.py > corpus/mil-op-vectors.json

coremltools evaluates an op on constant operands with NumPy while it builds a program; those values and types are
the expectation. `silu` has no such evaluation, so its values are computed here from the formula of the op reference.
"""

import json
import math
import warnings

import numpy as np

warnings.filterwarnings("ignore")

import coremltools as ct
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

f16, f32, i32 = np.float16, np.float32, np.int32
X = [[-3.5, -1.0, -0.25, 0.0], [0.25, 0.5, 2.5, 8.0]]
UNIT = [[-0.9, -0.5, 0.0, 0.125, 0.75]]
POSITIVE = [[0.0625, 0.5, 1.0, 3.0, 100.0]]
INTS = [[-7, -1, 0], [1, 2, 9]]
OPSETS = {"ios13": ct.target.iOS15, "ios17": ct.target.iOS17}


def cases():
    """Yields (op, opset, arguments)."""
    for dtype in (f32, f16):
        x = np.array(X, dtype)
        for op in ("relu", "relu6", "sigmoid", "silu", "softplus", "softsign", "gelu", "ceil", "floor", "round"):
            yield op, "ios13", {"x": x}
        for op in ("atan", "cos", "cosh", "erf", "exp", "exp2", "sin", "sinh", "tan", "tanh", "abs", "sign", "square"):
            yield op, "ios13", {"x": x}
        for op in ("acos", "asin", "atanh"):
            yield op, "ios13", {"x": np.array(UNIT, dtype)}
        for op in ("sqrt", "log", "rsqrt", "inverse"):
            yield op, "ios13", {"x": np.array(POSITIVE, dtype)}
            if op != "sqrt":
                yield op, "ios17", {"x": np.array(POSITIVE, dtype), "epsilon": f32(0.5)}
        yield "gelu", "ios13", {"x": x, "mode": "TANH_APPROXIMATION"}
        yield "gelu", "ios13", {"x": x, "mode": "SIGMOID_APPROXIMATION"}
        yield "softmax", "ios13", {"x": x}
        yield "softmax", "ios13", {"x": x, "axis": i32(0)}
        for op in ("elu", "leaky_relu", "thresholded_relu"):
            yield op, "ios13", {"x": x.copy(), "alpha": dtype(0.375)}
            yield op, "ios17", {"x": x.copy(), "alpha": f16(0.375)}
        for op in ("clamped_relu", "linear_activation", "scaled_tanh", "sigmoid_hard"):
            yield op, "ios13", {"x": x, "alpha": dtype(0.375), "beta": dtype(1.5)}
        yield "clip", "ios13", {"x": x, "alpha": dtype(-1), "beta": dtype(2)}
        yield "threshold", "ios13", {"x": x, "alpha": dtype(0.3)}
        image = np.linspace(-4, 4, 24).reshape(2, 3, 2, 2).astype(dtype)
        yield "prelu", "ios13", {"x": image, "alpha": np.array([0.25, 0.5, -1], dtype)}
        yield "softplus_parametric", "ios13", {
            "x": image,
            "alpha": np.array([0.25, 0.5, -1], dtype),
            "beta": np.array([1, -2, 0.5], dtype),
        }
        a = np.array([[7, -7, 7.5, -7.5]], dtype)
        b = np.array([[2], [-2], [0.75]], dtype)
        for op in ("add", "sub", "mul", "real_div", "floor_div", "mod", "maximum", "minimum", "equal", "not_equal"):
            yield op, "ios13", {"x": a, "y": b}
        for op in ("greater", "greater_equal", "less", "less_equal"):
            yield op, "ios13", {"x": a, "y": np.array([[2], [7], [-7.5]], dtype)}
        yield "pow", "ios13", {"x": np.array([0.5, 2, 3], dtype), "y": np.array([[2], [-1]], dtype)}
    yield "round", "ios13", {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999], f32)}
    yield "floor_div", "ios13", {"x": f32(1), "y": np.array([0.1, -0.1, 0.3], f32)}
    yield "maximum", "ios13", {"x": np.array([np.nan, 1], f32), "y": np.array([2, np.nan], f32)}
    for op in ("abs", "sign", "square", "exp2"):
        yield op, "ios13", {"x": np.array(INTS, i32)}
    yield "square", "ios13", {"x": np.array([70000], i32)}
    yield "threshold", "ios13", {"x": np.array(INTS, i32), "alpha": i32(1)}
    m, n = np.array([[7, -7, 6, -6]], i32), np.array([[2], [-2], [3]], i32)
    for op in ("add", "sub", "mul", "real_div", "floor_div", "mod", "maximum", "minimum", "equal", "less"):
        yield op, "ios13", {"x": m, "y": n}
    yield "pow", "ios13", {"x": m, "y": np.array([[0], [1], [3]], i32)}
    yield "mul", "ios13", {"x": np.array([70000, -70000], i32), "y": i32(70000)}
    p, q = np.array([[True, False]]), np.array([[True], [False]])
    for op in ("logical_and", "logical_or", "logical_xor"):
        yield op, "ios13", {"x": p, "y": q}
    yield "logical_not", "ios13", {"x": p}
    for dtype in ("fp16", "fp32", "int32", "bool"):
        yield "cast", "ios13", {"x": np.array([-2.75, -0.5, 0, 0.5, 2.75, 2049.5], f32), "dtype": dtype}
        yield "cast", "ios13", {"x": np.array([-2, 0, 5, 70001], i32), "dtype": dtype}
        yield "cast", "ios13", {"x": p, "dtype": dtype}
    for dtype in ("int8", "uint8", "int16", "uint16"):
        yield "cast", "ios17", {"x": np.array([3.9, 100.2], f32), "dtype": dtype}
        yield "cast", "ios17", {"x": np.array([-2, 300, 70001], i32), "dtype": dtype}
    cube = np.linspace(0.5, 6, 24).reshape(2, 3, 4)
    for op in ("l1_norm", "l2_norm", "log_sum", "log_sum_exp", "max", "mean", "min", "prod", "sum", "sum_square"):
        for dtype in (f32, f16, i32):
            x = (cube * 2).astype(dtype) if dtype is i32 else cube.astype(dtype)
            if op == "prod":
                x = x[:, :, :2]
            yield f"reduce_{op}", "ios13", {"x": x, "axes": np.array([1], i32)}
        yield f"reduce_{op}", "ios13", {"x": cube[:, :, :2].astype(f32)}
        yield f"reduce_{op}", "ios13", {"x": cube.astype(f32), "axes": np.array([-1, 0], i32), "keep_dims": True}
    yield "reduce_prod", "ios13", {"x": np.array([70000, 70000, 3], i32)}
    ties = np.array([[3, 1, 3], [1, 1, 2]])
    for op in ("reduce_argmax", "reduce_argmin"):
        yield op, "ios13", {"x": ties.astype(f32)}
        yield op, "ios13", {"x": ties.astype(i32), "axis": i32(0), "keep_dims": True}
        yield op, "ios17", {"x": ties.astype(f16), "axis": i32(-1), "output_dtype": "uint16"}
        yield op, "ios17", {"x": np.array([1, np.nan, 5], f32)}


def number(value):
    """JSON has no infinities; they are written as text."""
    value = value.item()
    return value if isinstance(value, (bool, int)) or math.isfinite(value) else str(value)


NAMES = {"float16": "fp16", "float32": "fp32"}


def record(value, dtype=None):
    if isinstance(value, str):
        return value
    value = np.asarray(value)
    name = dtype or NAMES.get(value.dtype.name, value.dtype.name)
    return {"dtype": name, "shape": list(value.shape), "values": [number(v) for v in value.flatten()]}


def evaluate(op, opset, arguments):
    result = []

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=OPSETS[opset])
    def program(unused):
        given = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
        result.append(getattr(mb, op)(**given))
        return unused

    value = result[0].val
    if op == "silu":
        x = arguments["x"].astype(np.float64)
        value = x / (1 + np.exp(-x))
    expected = record(value, types.builtin_to_string(result[0].dtype))
    assert value is not None and list(result[0].shape) == expected["shape"], (op, result[0].shape, expected)
    return expected


def main():
    rows = []
    for op, opset, arguments in cases():
        expected = evaluate(op, opset, arguments)
        given = {name: record(value) for name, value in arguments.items()}
        rows.append(json.dumps({"op": op, "opset": opset, "arguments": given, "expected": expected}, allow_nan=False))
    print("[\n" + ",\n".join(rows) + "\n]")


main()
