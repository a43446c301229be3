"""Records what coremltools makes of small weights: corpus/compress/cases.safetensors.

Needs coremltools 9.0, scikit-learn and kmeans1d. Every case has the weight, how it was compressed (in the metadata) and
what came out; for k-means only the mean squared error, because any table that is at least as good will do.
"""

import json
import struct
import sys
import warnings

import numpy as np

import coremltools as ct
from coremltools.converters.mil.mil import types
from coremltools.optimize.coreml import _quantization_passes as passes
from coremltools.optimize import _utils as utils

warnings.filterwarnings("ignore")
np.seterr(all="ignore")

NAMES = {"float16": "F16", "float32": "F32", "int8": "I8", "uint8": "U8", "float64": "F64"}


def write(path, tensors, metadata):
    header, blob = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        array = np.ascontiguousarray(array)
        raw = array.tobytes()
        header[name] = {
            "dtype": NAMES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(blob), len(blob) + len(raw)],
        }
        blob += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + blob)


def distributions(rng, shape, dtype):
    n = int(np.prod(shape))
    normal = rng.standard_normal(n)
    outlier = normal * 0.02
    outlier[n // 3] = 40.0
    sparse = normal * (rng.random(n) < 0.4)
    yield "normal", normal
    yield "small", normal * 0.01
    yield "uniform", rng.random(n) * 2 - 0.7
    yield "positive", rng.random(n) + 0.1
    yield "outlier", outlier
    yield "laplace", rng.laplace(size=n) * 0.1
    yield "sparse", sparse
    yield "constant", np.full(n, 0.37)
    yield "zero", np.zeros(n)
    yield "tiny", normal * (1e-6 if dtype == np.float16 else 1e-30)
    yield "denormal", np.round(normal * 5) * (2.0**-24 if dtype == np.float16 else 2.0**-149)
    yield "large", np.clip(normal * 2e4, -6e4, 6e4)
    yield "few", np.round(normal * 3) / 4


SHAPES = [(8, 16), (6, 4, 3, 3), (16, 12), (4, 32), (12, 8, 1, 1), (24, 6)]
cases, tensors = [], {}


def put(name, weight, how, **arrays):
    key = f"{len(cases):03}"
    cases.append({"name": f"{key} {name}", **how})
    tensors[f"{key}.weight"] = weight
    for k, v in arrays.items():
        if v is not None:
            tensors[f"{key}.{k}"] = v


def plain(array):
    """An array of one of numpy's own types: sub-byte types of coremltools are bytes with a mark."""
    array = np.asarray(array)
    if array.dtype in (np.float16, np.float32):
        return array
    return array.astype(np.int8 if array.dtype.kind == "i" else np.uint8)


def linear(name, weight, dtype, mode, sizes):
    p = passes.linear_quantize_weights.blockwise_compress_by_dtype(weight, dtype, mode, sizes)
    offset = None if p.offset is None else plain(p.offset)
    put(name, weight, {"kind": "linear", "dtype": dtype, "mode": mode, "sizes": sizes},
        data=plain(p.data), scale=plain(p.scale), offset=offset)


def palette(name, weight, mode, bits, axis, group, dim):
    try:
        p = passes.palettize_weights.grouped_channelwise_compress(
            weight.copy(), mode, bits, axis, group, cluster_dim=dim)
    except ValueError as e:
        # scikit-learn refuses more clusters than vectors, where a shorter table would do.
        assert "n_clusters" in str(e), e
        return
    how = {"kind": "palette", "mode": mode, "bits": bits, "axis": axis, "group": group, "cluster_dim": dim}
    if p is None:
        put(name, weight, {**how, "refused": True})
        return
    if mode == "KMEANS":
        dense = utils.lut_to_dense(p.indices, p.lut, p.vector_axis).astype(np.float64)
        error = np.mean((dense - weight.astype(np.float64)) ** 2)
        put(name, weight, how, error=np.array([error]))
    else:
        put(name, weight, how, indices=plain(p.indices), lut=plain(p.lut))


def pruned(name, weight, how, p):
    if p is None:
        put(name, weight, {**how, "refused": True})
        return
    p = utils.ios16_sparse_params_to_ios18(p)
    put(name, weight, how, nonzero=p.nonzero_data, mask=np.asarray(p.mask).astype(np.uint8))


def sizes_of(rng, shape):
    rank = len(shape)
    yield [0] * rank
    yield [1] + [0] * (rank - 1)
    yield [0, 1] + [0] * (rank - 2)
    yield [1, 2] + [0] * (rank - 2)
    yield [2, shape[1] // 2] + [0] * (rank - 2)


def joint(name, weight, steps):
    """Two schemes on top of each other, in a program of one linear op; what the weight stands for in the end."""
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = mb.TensorSpec(shape=(1, weight.shape[1]), dtype=types.fp16)

    @mb.program(input_specs=[spec], opset_version=ct.target.iOS18)
    def prog(x):
        return mb.linear(x=x, weight=weight, name="y")

    model = ct.convert(prog, minimum_deployment_target=ct.target.iOS18, skip_model_load=True,
                       pass_pipeline=ct.PassPipeline.EMPTY)
    ways = {
        "prune": (cto.prune_weights, cto.OpMagnitudePrunerConfig),
        "palette": (cto.palettize_weights, cto.OpPalettizerConfig),
        "linear": (cto.linear_quantize_weights, cto.OpLinearQuantizerConfig),
    }
    for i, (kind, settings) in enumerate(steps):
        way, config = ways[kind]
        config = cto.OptimizationConfig(global_config=config(**settings, weight_threshold=10))
        model = way(model, config, joint_compression=i > 0)
    prog = load(model._spec, model._spec.specificationVersion, model.weights_dir)
    ops = [op for op in prog.functions["main"].operations if op.op_type.startswith("constexpr_")]
    # Chains are worked out by hand: coremltools materialises only what rests on constants alone.
    values = {}

    def value(var):
        if var is None:
            return None
        return values[var.name] if var.name in values else var.val

    for op in ops:
        if op.op_type == "constexpr_sparse_to_dense":
            mask, data = value(op.mask), value(op.nonzero_data)
            dense = np.zeros(mask.shape, weight.dtype)
            dense[np.asarray(mask) != 0] = data
            values[op.outputs[0].name] = dense
        elif op.op_type == "constexpr_blockwise_shift_scale":
            out = utils.dequantize_by_scale_and_zp(value(op.data), value(op.scale), value(op.offset))
            values[op.outputs[0].name] = out
        elif op.op_type == "constexpr_lut_to_dense":
            values[op.outputs[0].name] = utils.lut_to_dense(value(op.indices), value(op.lut), None)
        else:
            out = op.materialized_val_inference()
            values[op.outputs[0].name], values[op.outputs[1].name] = out[0], out[1]
    put(name, weight, {"kind": "joint", "steps": [[k, s] for k, s in steps], "ops": [op.op_type for op in ops]},
        dense=values[ops[-1].outputs[0].name])


def main(path):
    rng = np.random.default_rng(20261121)
    turn = 0
    for dtype in (np.float16, np.float32):
        for kind in range(13):
            for shape in SHAPES[:3] if dtype == np.float32 else SHAPES:
                name, values = list(distributions(rng, shape, dtype))[kind]
                weight = values.astype(dtype).reshape(shape)
                label = f"{name} {np.dtype(dtype).name} {list(shape)}"
                sizes = list(sizes_of(rng, shape))
                turn += 1
                t = ["int8", "uint8", "int4", "uint4"]
                for i, mode in enumerate(("LINEAR_SYMMETRIC", "LINEAR")):
                    linear(label, weight, t[(turn + i) % 4], mode, sizes[(turn // 2 + i) % 5])
                how = turn % 6
                bits = [1, 2, 3, 4, 6, 8][turn % 6]
                axis, group = [(0, 0), (0, 2), (1, 2)][turn % 3]
                palette(label, weight, "UNIFORM", bits, axis, group, 1)
                palette(label, weight, "UNIQUE", None, axis, group, [1, 2][turn % 2])
                palette(label, weight, "KMEANS", min(bits, 4), axis, group, [1, 1, 2][turn % 3] if group != 1 else 1)
                if how == 0:
                    d = {"kind": "threshold", "threshold": 0.05, "minimum": 0.1}
                    pruned(label, weight, d, passes.prune_weights.compress_by_threshold(weight, 0.05, 0.1))
                elif how in (1, 2):
                    s = [0.5, 0.75, 0.33, 1.0, 0.0, 0.9][turn // 6 % 6]
                    d = {"kind": "magnitude", "sparsity": s}
                    pruned(label, weight, d, passes.prune_weights.compress_by_magnitude(weight, s))
                elif how in (3, 4):
                    size, dim = [(2, 0), (3, 0), (2, 1)][turn // 6 % 3]
                    d = {"kind": "blocks", "sparsity": 0.5, "size": size, "dim": dim}
                    pruned(label, weight, d, passes.prune_weights.compress_by_magnitude(weight, 0.5, size, dim))
                else:
                    (n, m), dim = [((1, 2), 1), ((2, 4), 1), ((1, 3), 0)][turn // 6 % 3]
                    d = {"kind": "n_m", "n": n, "m": m, "dim": dim}
                    pruned(label, weight, d, passes.prune_weights.compress_by_nm_sparsity(weight, (n, m), dim))
    for name, values in distributions(rng, (100, 104), np.float16):
        # From 10,000 elements on coremltools takes the exact k-means1d for half precision.
        if name in ("normal", "outlier", "laplace"):
            palette(f"{name} float16 [100, 104]", values.astype(np.float16).reshape(100, 104), "KMEANS", 4, 0, 0, 1)
    weight = rng.standard_normal((16, 32)).astype(np.float16)
    prune, int8 = ("prune", {"target_sparsity": 0.5}), {"mode": "linear_symmetric"}
    joint("pruned, then int8", weight, [prune, ("linear", int8)])
    joint("pruned, then uint8 with offset", weight, [prune, ("linear", {"mode": "linear", "dtype": "uint8"})])
    joint("pruned, then int4 per block", weight,
          [prune, ("linear", {**int8, "dtype": "int4", "granularity": "per_block", "block_size": 8})])
    joint("pruned, then a uniform palette", weight, [prune, ("palette", {"mode": "uniform", "nbits": 4})])
    joint("a uniform palette, then int8", weight,
          [("palette", {"mode": "uniform", "nbits": 6}), ("linear", {**int8, "granularity": "per_tensor"})])
    joint("int8, then a uniform palette", weight, [("linear", int8), ("palette", {"mode": "uniform", "nbits": 4})])
    joint("int8, then pruned", weight, [("linear", int8), prune])
    joint("int8 with offset, then pruned", weight, [("linear", {"mode": "linear"}), prune])
    joint("a uniform palette, then pruned", weight, [("palette", {"mode": "uniform", "nbits": 4}), prune])
    meta = {"cases": json.dumps(cases), "source": f"coremltools {ct.__version__}, numpy {np.__version__}"}
    write(path, tensors, meta)
    print(f"{len(cases)} cases in {path}")


main(sys.argv[1])
