"""Records where coremltools puts quantize and dequantize ops, with which scales: corpus/compress/activations.

coremltools calibrates on a Mac alone, so its graph passes are fed ranges here (rounded to half precision, as it does).
Writes float packages and, for each configuration, what every op reads: a value as it is, or quantised with a scale and a
zero point.
"""

import json
import os
import shutil
import sys

import numpy as np

import coremltools as ct
import coremltools.optimize.coreml as cto
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.passes.graph_pass import PassOption
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

HALF = types.fp16
rng = np.random.default_rng(7)


def weight(*shape):
    return (rng.standard_normal(shape) * 0.3).astype(np.float16)


def spec(*shape):
    return mb.TensorSpec(shape=shape, dtype=HALF)


def residual():
    @mb.program(input_specs=[spec(1, 4, 8, 8)], opset_version=ct.target.iOS17)
    def prog(x):
        a = mb.conv(x=x, weight=weight(4, 4, 3, 3), pad_type="same", name="a")
        b = mb.relu(x=a, name="b")
        c = mb.conv(x=b, weight=weight(4, 4, 1, 1), name="c")
        d = mb.add(x=c, y=x, name="d")
        e = mb.relu(x=d, name="e")
        f = mb.max_pool(x=e, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid", name="f")
        g = mb.softmax(x=f, axis=1, name="g")
        h = mb.mul(x=f, y=g, name="h")
        i = mb.avg_pool(x=h, kernel_sizes=[4, 4], strides=[1, 1], pad_type="valid", name="i")
        j = mb.reshape(x=i, shape=[1, 4], name="j")
        return mb.linear(x=j, weight=weight(3, 4), bias=weight(3), name="y")

    return prog


def branches():
    @mb.program(input_specs=[spec(1, 4, 8, 8), spec(1, 4, 8, 8)], opset_version=ct.target.iOS17)
    def prog(x, z):
        a = mb.conv(x=x, weight=weight(4, 4, 1, 1), name="a")
        b = mb.conv(x=x, weight=weight(4, 4, 1, 1), name="b")
        c = mb.concat(values=[a, b, z], axis=1, name="c")
        d = mb.conv(x=c, weight=weight(4, 12, 1, 1), name="d")
        e = mb.sigmoid(x=d, name="e")
        f = mb.tanh(x=d, name="f")
        g = mb.add(x=e, y=f, name="g")
        h = mb.add(x=g, y=weight(1, 4, 1, 1), name="h")
        i = mb.matmul(x=h, y=z, transpose_y=True, name="i")
        return mb.relu(x=i, name="y")

    return prog


def ranges(prog, concats):
    out = {}
    block = prog.functions["main"]
    for i, (name, var) in enumerate(block.inputs.items()):
        out[name] = [-1.5 - i, 1.25]
    for i, op in enumerate(o for o in block.operations if o.op_type != "const"):
        low = 0.0 if op.op_type in ("relu", "softmax", "sigmoid") else -0.37 * (i + 1)
        out[op.outputs[0].name] = [low, 0.61 * (i + 2)]
    stats = {k: {"rmin": np.float32(v[0]), "rmax": np.float32(v[1])} for k, v in out.items()}
    from coremltools.optimize import _utils as utils

    if concats:
        utils._adjust_concat_surrounding_activation_stats(concats, stats)
    return out, stats


def origin(var, params):
    """The value that an operand is, and how it is quantised."""
    op = var.op
    if op is None or op.op_type != "dequantize":
        return [var.name, None]
    scale = float(op.scale.val)
    zero = 0 if op.zero_point is None else int(op.zero_point.val)
    kind = types.builtin_to_string(op.input.dtype)
    while op is not None and op.op_type in ("dequantize", "quantize"):
        var = op.input
        op = var.op
    return [var.name, {"dtype": kind, "scale": scale, "zero_point": zero}]


def record(name, make, concats, folder):
    model = ct.convert(make(), minimum_deployment_target=ct.target.iOS17, skip_model_load=True,
                       pass_pipeline=ct.PassPipeline.EMPTY)
    path = os.path.join(folder, f"{name}.mlpackage")
    shutil.rmtree(path, ignore_errors=True)
    model.save(path)
    cases = []
    for settings in ({}, {"mode": "linear"}, {"dtype": "uint8"}, {"mode": "linear", "dtype": "uint8"}, {"names": {"d": None}}):
        prog = load(model._spec, model._spec.specificationVersion, model.weights_dir)
        given, stats = ranges(prog, concats)
        names = settings.get("names", {})
        how = {k: v for k, v in settings.items() if k != "names"}
        config = cto.OptimizationConfig(
            global_config=cto.OpLinearQuantizerConfig(**{"mode": "linear_symmetric", **how}), op_name_configs=names)
        for key in ("insert_prefix_quantize_dequantize_pair", "insert_suffix_quantize_dequantize_pair"):
            one = PASS_REGISTRY[f"compression::{key}"]
            one.set_options([PassOption("config", config), PassOption("activation_stats", stats)])
            one.apply(prog)
        PASS_REGISTRY["common::dequantize_quantize_pair_elimination"].apply(prog)
        reads = []
        for op in prog.functions["main"].operations:
            if op.op_type in ("const", "quantize", "dequantize"):
                continue
            for param in ("x", "y", "values"):
                got = op.inputs.get(param)
                for var in got if isinstance(got, (list, tuple)) else [got]:
                    if var is not None and (var.op is None or var.op.op_type != "const"):
                        value, quantised = origin(var, None)
                        reads.append({"op": op.op_type, "result": op.outputs[0].name, "param": param,
                                      "value": value, "quantised": quantised})
        cases.append({**settings, "reads": reads})
    return {"package": f"{name}.mlpackage", "ranges": given, "cases": cases}


def main(folder):
    os.makedirs(folder, exist_ok=True)
    found = [
        record("residual", residual, None, folder),
        record("branches", branches, [["a", "b", "z", "c"]], folder),
    ]
    with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as f:
        json.dump(found, f, indent=1)
        f.write("\n")


main(sys.argv[1])
