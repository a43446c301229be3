"""Records small ONNX models with inputs and outputs into corpus/import, for the importer's own tests.

Usage: python crates/xtask/python/record_import_cases.py

Two sources: the node tests of the package onnx (for each operator the two smallest of the cases listed in
corpus/import/passing.txt, which `cargo xtask onnx-backend --write` renews; expected values are theirs), and models made here, mostly the same operator in the forms of different operator sets,
whose expected values ONNX Runtime computes. All of it goes into one file of arrays: `<case>/model` holds the bytes of
the model, `<case>/input/<k>` and `<case>/output/<k>` the values in the order of the graph. Outputs are as a package
hands them out: integers and booleans as 32-bit integers, doubles as floats.

corpus/import/external holds a model with its weights in another file, and the same model in one piece.
"""

import os
import re
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
from onnx.backend.test.case.node import collect_testcases

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
OUT = os.path.join(ROOT, "corpus/import")
RANDOM = np.random.default_rng(11)


def dense(a):
    return np.asarray(a).copy(order="C")


def narrow(a):
    """As a package holds it."""
    a = dense(a)
    if a.dtype.kind in "iub":
        return a.astype(np.int32)
    return a if a.dtype == np.float16 else a.astype(np.float32)


def store(arrays, name, model, inputs, outputs):
    arrays[f"{name}/model"] = np.frombuffer(model, np.uint8)
    for k, v in enumerate(inputs):
        arrays[f"{name}/input/{k}"] = dense(v)
    for k, v in enumerate(outputs):
        arrays[f"{name}/output/{k}"] = narrow(v)


def plain(values):
    """True when every value is an array of numbers that NumPy knows."""
    return all(isinstance(v, (np.ndarray, np.generic)) and np.asarray(v).dtype.kind in "iubf" for v in values)


def node_tests(arrays, passing):
    chosen = {}
    for case in collect_testcases(None):
        if case.name not in passing or "_expanded" in case.name or len(case.model.graph.node) != 1:
            continue
        inputs, outputs = case.data_sets[0]
        if not plain(list(inputs) + list(outputs)):
            continue
        model = case.model.SerializeToString()
        size = len(model) + sum(np.asarray(v).nbytes for v in list(inputs) + list(outputs))
        node = case.model.graph.node[0]
        chosen.setdefault(node.op_type, []).append((size, case.name, model, inputs, outputs))
    for op, cases in sorted(chosen.items()):
        cases.sort(key=lambda c: c[:2])
        for size, name, model, inputs, outputs in cases[:2]:
            if size < 40000:
                store(arrays, name, model, inputs, outputs)


def f32(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def model(opset, nodes, inputs, outputs, constants=None, functions=(), domains=(), types=None):
    """A model; `inputs` maps names to arrays, `outputs` lists names, `constants` maps names to arrays."""
    types = types or {}
    info = lambda n, a: h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(a.dtype), a.shape)
    graph = h.make_graph(
        nodes,
        "g",
        [info(n, a) for n, a in inputs.items()],
        [h.make_tensor_value_info(n, types.get(n, T.FLOAT), None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    imports = [h.make_opsetid("", opset)] + [h.make_opsetid(d, 1) for d in domains]
    return h.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8)


def run(arrays, name, m, inputs):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    data = m.SerializeToString()
    results = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, inputs)
    store(arrays, name, data, inputs.values(), results)


def one(arrays, name, opset, op, inputs, constants=None, outputs=("y",), operands=None, types=None, domain="", **attributes):
    """A case of one node; operands are the inputs, then the constants, unless they are named."""
    operands = operands if operands is not None else list(inputs) + list(constants or {})
    node = h.make_node(op, operands, list(outputs), name="n", domain=domain, **attributes)
    domains = [domain] if domain else []
    m = model(opset, [node], inputs, [o for o in outputs if o], constants, domains=domains, types=types)
    run(arrays, name, m, inputs)


def forms(arrays):
    """The same operator in the forms of different operator sets."""
    i64 = lambda *v: np.array(v, np.int64)
    scalar = lambda v: np.array(v, np.float32)
    x = {"x": f32(2, 3, 4)}
    thin = {"x": f32(2, 1, 4, 1)}
    for opset in (11, 13, 21):
        attribute = opset < 13
        axes = lambda *v: ({}, {"axes": v}) if attribute else ({"axes": i64(*v)}, {})
        for op, data, at in (("Squeeze", thin, (1, -1)), ("Unsqueeze", x, (0, 3)), ("ReduceSum", x, (1,))):
            constants, attributes = axes(*at)
            one(arrays, f"{op}-{opset}", opset, op, data, constants, **attributes)
        one(arrays, f"Squeeze-all-{opset}", opset, "Squeeze", thin)
        for op in ("Softmax", "LogSoftmax"):
            one(arrays, f"{op}-{opset}", opset, op, x)
            one(arrays, f"{op}-axis-1-{opset}", opset, op, x, axis=1)
        one(arrays, f"Hardmax-{opset}", opset, "Hardmax", x)
        if attribute:
            split = ({}, {"split": [1, 3]})
        else:
            split = ({"split": i64(1, 3)}, {})
        one(arrays, f"Split-{opset}", opset, "Split", x, split[0], outputs=("y", "z"), axis=2, **split[1])
        more = {"num_outputs": 2} if opset >= 18 else {}
        one(arrays, f"Split-equal-{opset}", opset, "Split", x, outputs=("y", "z"), axis=2, **more)
    for opset in (11, 18):
        for op in ("ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"):
            given = ({}, {"axes": (0, 2)}) if opset < 18 else ({"axes": i64(0, 2)}, {})
            one(arrays, f"{op}-{opset}", opset, op, x, given[0], keepdims=0, **given[1])
            one(arrays, f"{op}-all-{opset}", opset, op, x)
    one(arrays, "ReduceSum-noop", 13, "ReduceSum", x, {"axes": i64()}, noop_with_empty_axes=1)
    one(arrays, "Clip-10", 10, "Clip", x, min=-0.5, max=0.5)
    one(arrays, "Clip-12", 12, "Clip", x, {"low": scalar(-0.5), "high": scalar(0.5)})
    one(arrays, "Clip-high-only", 13, "Clip", x, {"high": scalar(0.25)}, operands=["x", "", "high"])
    one(arrays, "Clip-computed", 13, "Clip", {**x, "low": scalar(-0.25), "high": scalar(0.5)})
    one(arrays, "Pad-10", 10, "Pad", x, pads=[0, 1, 0, 0, 0, 2], value=1.5)
    one(arrays, "Pad-11", 11, "Pad", x, {"pads": i64(0, 1, 0, 0, 0, 2), "value": scalar(1.5)})
    one(arrays, "Pad-18-axes", 18, "Pad", x, {"pads": i64(1, 2), "axes": i64(-1)}, operands=["x", "pads", "", "axes"])
    one(arrays, "Pad-negative", 13, "Pad", x, {"pads": i64(0, -1, 1, 0, 0, -2)})
    one(arrays, "Pad-reflect-front", 13, "Pad", x, {"pads": i64(1, 0, 2, 0, 1, 0)}, mode="reflect")
    one(arrays, "Pad-edge", 13, "Pad", x, {"pads": i64(0, 1, 2, 0, 1, 0)}, mode="edge")
    one(arrays, "Pad-wrap", 19, "Pad", x, {"pads": i64(0, 1, 2, 0, 1, 0)}, mode="wrap")
    one(arrays, "Slice-9", 9, "Slice", x, starts=[1, -3], ends=[100, -1], axes=[1, 2])
    one(arrays, "Slice-11", 11, "Slice", x, {"starts": i64(-1, 3), "ends": i64(-100, 0), "axes": i64(1, 2), "steps": i64(-1, -2)})
    one(arrays, "Slice-13-no-axes", 13, "Slice", x, {"starts": i64(0, 1), "ends": i64(1, 3)})
    picture = {"x": f32(1, 2, 4, 6)}
    for mode in ("nearest", "linear"):
        one(arrays, f"Upsample-9-{mode}", 9, "Upsample", picture, {"scales": np.float32([1, 1, 2, 3])}, mode=mode)
        one(arrays, f"Resize-10-{mode}", 10, "Resize", picture, {"scales": np.float32([1, 1, 1.5, 0.5])}, mode=mode)
        for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
            for to in ((8, 12), (3, 9)):
                one(arrays, f"Resize-11-{mode}-{rule}-{to[0]}", 11, "Resize", picture,
                    {"none": np.zeros(0, np.float32), "sizes": i64(1, 2, *to)},
                    operands=["x", "none", "none", "sizes"], mode=mode,
                    coordinate_transformation_mode=rule)
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        one(arrays, f"Resize-13-{nearest}", 13, "Resize", picture, {"scales": np.float32([1, 1, 1.5, 0.75])},
            operands=["x", "", "scales"], nearest_mode=nearest)
    one(arrays, "Resize-13-cubic", 13, "Resize", picture, {"scales": np.float32([1, 1, 1.5, 0.5])},
        operands=["x", "", "scales"], mode="cubic")
    one(arrays, "Resize-18-axes", 18, "Resize", picture, {"sizes": i64(7, 5)}, operands=["x", "", "", "sizes"],
        mode="linear", axes=[2, 3])
    one(arrays, "Resize-18-antialias", 18, "Resize", picture, {"sizes": i64(1, 2, 2, 3)}, operands=["x", "", "", "sizes"],
        mode="linear", antialias=1)
    one(arrays, "Resize-13-one-dim", 13, "Resize", {"x": f32(1, 2, 5)}, {"sizes": i64(1, 2, 7)},
        operands=["x", "", "", "sizes"], mode="linear")
    norm = {k: np.abs(f32(2)) + 0.5 for k in ("scale", "b", "mean", "var")}
    for opset in (9, 14, 15):
        one(arrays, f"BatchNormalization-{opset}", opset, "BatchNormalization", picture, norm, epsilon=0.01)
    one(arrays, "BatchNormalization-matrix", 13, "BatchNormalization", {"x": f32(3, 2)}, norm)
    one(arrays, "TopK-11", 11, "TopK", x, {"k": i64(2)}, outputs=("y", "i"), types={"i": T.INT64})
    one(arrays, "Dropout-10", 10, "Dropout", x, ratio=0.5)
    one(arrays, "Dropout-13", 13, "Dropout", x, {"ratio": scalar(0.5)})
    one(arrays, "GroupNormalization-18", 18, "GroupNormalization", {"x": f32(2, 4, 3, 3)},
        {"scale": f32(2), "bias": f32(2)}, num_groups=2)
    one(arrays, "GroupNormalization-21", 21, "GroupNormalization", {"x": f32(2, 4, 3, 3)},
        {"scale": f32(4), "bias": f32(4)}, num_groups=2)
    one(arrays, "LayerNormalization-17-statistics", 17, "LayerNormalization", x, {"scale": f32(4), "bias": f32(4)},
        outputs=("y", "mean", "inverse"))
    one(arrays, "Mish-18", 18, "Mish", x)
    one(arrays, "Not-13", 13, "Not", {"x": x["x"] > 0}, types={"y": T.BOOL})
    one(arrays, "CastLike-15", 15, "CastLike", {"x": f32(3) * 5, "like": np.int32([1])}, types={"y": T.INT32})
    one(arrays, "GlobalLpPool-18", 18, "GlobalLpPool", {"x": f32(1, 2, 3, 4)}, p=2)
    one(arrays, "SimplifiedLayerNormalization", 17, "SimplifiedLayerNormalization", x, {"scale": f32(4)})
    one(arrays, "Cast-14", 14, "Cast", {"x": np.float32([-1.7, 0.2, 3.9])}, to=T.INT64, types={"y": T.INT64})
    one(arrays, "Gather-negative", 13, "Gather", x, {"i": i64(-1, 0)}, axis=2)
    one(arrays, "GatherElements-smaller", 13, "GatherElements", x, {"i": np.int64([[[0, 2]], [[3, 1]]])}, axis=2)
    one(arrays, "ScatterElements-smaller", 13, "ScatterElements", x,
        {"i": np.int64([[[0, 2]], [[3, 1]]]), "u": f32(2, 1, 2)}, axis=2)
    one(arrays, "ScatterND-add", 16, "ScatterND", x, {"i": np.int64([[0, 1], [1, 2], [0, 1]]), "u": f32(3, 4)}, reduction="add")
    one(arrays, "OneHot-negative", 11, "OneHot", {"i": np.int64([0, -1, 2])}, {"d": i64(3), "v": np.float32([-1, 5])}, axis=0)
    one(arrays, "ArgMax-last", 13, "ArgMax", {"x": np.float32([[1, 3, 3], [2, 2, 0]])}, axis=1, select_last_index=1,
        types={"y": T.INT64})
    one(arrays, "Div-int", 13, "Div", {"x": np.int32([-7, 7, -8]), "z": np.int32([2, -2, 4])}, types={"y": T.INT32})
    one(arrays, "MaxPool-ceil", 12, "MaxPool", picture, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    one(arrays, "MaxPool-ceil-pads", 12, "MaxPool", {"x": f32(1, 1, 5, 5)}, kernel_shape=[2, 2], strides=[3, 3],
        pads=[1, 1, 1, 1], ceil_mode=1)
    one(arrays, "AveragePool-ceil", 19, "AveragePool", {"x": f32(1, 1, 6, 6)}, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    one(arrays, "AveragePool-include-pad", 19, "AveragePool", {"x": f32(1, 1, 6, 6)}, kernel_shape=[3, 3], strides=[2, 2],
        pads=[1, 1, 1, 1], count_include_pad=1)
    weight = {"w": f32(3, 2, 3, 3), "b": f32(3)}
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        one(arrays, f"Conv-{auto}", 13, "Conv", picture, weight, auto_pad=auto, strides=[2, 2])
    one(arrays, "Conv-uneven-pads", 13, "Conv", picture, weight, pads=[0, 1, 2, 0], dilations=[1, 2])
    one(arrays, "Conv-computed-weight", 13, "Conv", {**picture, **weight})
    one(arrays, "ConvTranspose-output-padding", 13, "ConvTranspose", picture, {"w": f32(2, 3, 3, 3)}, strides=[2, 2],
        pads=[1, 1, 1, 1], output_padding=[1, 1])
    one(arrays, "ConvTranspose-same", 13, "ConvTranspose", picture, {"w": f32(2, 3, 3, 3)}, strides=[2, 2], auto_pad="SAME_UPPER")
    one(arrays, "Gemm-transposed", 13, "Gemm", {"a": f32(3, 2)}, {"b": f32(3, 4), "c": f32(4)}, transA=1, alpha=0.5, beta=2.0)
    one(arrays, "Gemm-linear", 13, "Gemm", {"a": f32(2, 3)}, {"b": f32(4, 3), "c": f32(4)}, transB=1)
    for equation, shapes in (("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))), ("bhid,bhjd->bhij", ((1, 2, 3, 4), (1, 2, 5, 4))),
                             ("ij->ji", ((2, 3),)), ("...ij,jk->...ik", ((2, 3, 4), (4, 2))), ("i,j->ij", ((2,), (3,))),
                             ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2)))):
        name = re.sub(r"[^a-z]+", "-", equation)
        one(arrays, f"Einsum-{name}", 13, "Einsum", {f"x{i}": f32(*s) for i, s in enumerate(shapes)}, equation=equation)


def recurrent(arrays):
    steps, batch, features, hidden = 5, 2, 3, 4
    for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for direction in ("forward", "reverse", "bidirectional"):
            d = 2 if direction == "bidirectional" else 1
            constants = {"w": f32(d, gates * hidden, features), "r": f32(d, gates * hidden, hidden),
                         "b": f32(d, 2 * gates * hidden)}
            inputs = {"x": f32(steps, batch, features), "h": f32(d, batch, hidden)}
            operands = ["x", "w", "r", "b", "", "h"]
            outputs = ["y", "y_h"]
            if op == "LSTM":
                inputs["c"] = f32(d, batch, hidden)
                constants["p"] = f32(d, 3 * hidden)
                operands += ["c", "p"]
                outputs.append("y_c")
            more = [{}] if op != "GRU" else [{}, {"linear_before_reset": 1}]
            for i, attributes in enumerate(more):
                one(arrays, f"{op}-{direction}-{i}", 14, op, inputs, constants, outputs=outputs, operands=operands,
                    direction=direction, hidden_size=hidden, **attributes)


def quantized(arrays):
    x = {"x": f32(2, 3)}
    scale, zero = np.array(0.05, np.float32), np.array(120, np.uint8)
    pair = [h.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), h.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    run(arrays, "QuantizeLinear-round-trip", model(13, pair, x, ["y"], {"s": scale, "z": zero}), x)
    axis = {"s": np.float32([0.05, 0.1, 0.02]), "z": np.int8([1, -5, 0])}
    pair = [h.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1), h.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1)]
    run(arrays, "QuantizeLinear-axis", model(13, pair, x, ["y"], axis), x)
    weight = {"q": RANDOM.integers(-128, 127, (3, 4)).astype(np.int8), "s": np.float32([0.1, 0.2, 0.3]), "z": np.int8([0, 1, 2])}
    nodes = [h.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), h.make_node("MatMul", ["x", "w"], ["y"])]
    run(arrays, "DequantizeLinear-weight", model(13, nodes, x, ["y"], weight), x)
    nodes = [
        h.make_node("DynamicQuantizeLinear", ["x"], ["a", "as", "az"]),
        h.make_node("MatMulInteger", ["a", "q", "az", "z"], ["i"]),
        h.make_node("Cast", ["i"], ["f"], to=T.FLOAT),
        h.make_node("Mul", ["as", "s"], ["ss"]),
        h.make_node("Mul", ["f", "ss"], ["y"]),
    ]
    weight = {"q": weight["q"], "s": np.array(0.1, np.float32), "z": np.array(3, np.int8)}
    run(arrays, "MatMulInteger-dynamic", model(13, nodes, x, ["y"], weight), x)


def structure(arrays):
    """Branches, functions, names and the domain of ONNX Runtime."""
    x = {"x": f32(2, 3)}
    branch = lambda op, name: h.make_graph([h.make_node(op, ["x"], [name])], op, [], [h.make_tensor_value_info(name, T.FLOAT, None)])
    choice = lambda cond: h.make_node("If", [cond], ["y"], then_branch=branch("Relu", "a"), else_branch=branch("Neg", "b"))
    for value in (True, False):
        constants = {"c": np.array(value)}
        run(arrays, f"If-constant-{value}".lower(), model(16, [choice("c")], x, ["y"], constants), x)
        nodes = [h.make_node("ReduceSum", ["x"], ["s"], keepdims=0), h.make_node("Greater", ["s", "zero"], ["c"]), choice("c")]
        data = {"x": np.abs(x["x"]) * (1 if value else -1)}
        run(arrays, f"If-computed-{value}".lower(), model(16, nodes, data, ["y"], {"zero": np.array(0, np.float32)}), data)
    constants = [h.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32([7, 8])))]
    graph = lambda nodes, out: h.make_graph(nodes, "b", [], [h.make_tensor_value_info(out, T.FLOAT, None)])
    inner = h.make_node("If", ["c"], ["y"], then_branch=graph(constants, "k"), else_branch=graph([h.make_node("Neg", ["z"], ["n"])], "n"))
    flag = {"c": np.array(True), "z": np.float32([1, 2])}
    run(arrays, "If-hands-out-a-constant", model(16, [inner], flag, ["y"]), flag)
    opset = [h.make_opsetid("", 18)]
    alpha = h.make_node("LeakyRelu", ["a"], ["t"])
    alpha.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    body = [alpha, h.make_node("Add", ["t", "b"], ["r"])]
    leaky = h.make_function("local", "LeakySum", ["a", "b"], ["r"], body, opset, ["slope"])
    twice = h.make_function("local", "Twice", ["a"], ["r"], [
        h.make_node("LeakySum", ["a", "a"], ["t"], domain="local", slope=0.5),
        h.make_node("LeakySum", ["t", "a"], ["r"], domain="local", slope=0.25),
    ], opset + [h.make_opsetid("local", 1)], [])
    nodes = [h.make_node("Twice", ["x"], ["t"], domain="local"), h.make_node("LeakySum", ["t", "x"], ["y"], domain="local", slope=0.1)]
    run(arrays, "functions", model(18, nodes, x, ["y"], functions=[leaky, twice], domains=["local"]), x)
    nodes = [h.make_node("Relu", ["in/put:0"], ["9"]), h.make_node("Neg", ["9"], ["out.put"])]
    data = {"in/put:0": x["x"]}
    run(arrays, "names-that-are-no-identifiers", model(13, nodes, data, ["9", "out.put"]), data)
    nodes = [h.make_node("Identity", ["x"], ["y"]), h.make_node("Identity", ["k"], ["z"]), h.make_node("Identity", ["y"], ["w"])]
    run(arrays, "outputs-that-are-no-results", model(13, nodes, x, ["y", "z", "w"], {"k": f32(2)}), x)
    for op, operands in (("FusedMatMul", {"a": f32(2, 3), "b": f32(4, 3)}),):
        one(arrays, f"microsoft-{op}", 17, op, operands, domain="com.microsoft", transB=1, alpha=0.5)
    skip = {"x": f32(1, 2, 4), "skip": f32(1, 2, 4)}
    one(arrays, "microsoft-SkipLayerNormalization", 17, "SkipLayerNormalization", skip,
        {"gamma": f32(4), "beta": f32(4), "bias": f32(4)}, domain="com.microsoft")
    one(arrays, "microsoft-BiasGelu", 17, "BiasGelu", {"x": f32(2, 4)}, {"b": f32(4)}, domain="com.microsoft")
    one(arrays, "microsoft-FastGelu", 17, "FastGelu", {"x": f32(2, 4)}, {"b": f32(4)}, domain="com.microsoft")


def external():
    """A model with its weights in another file, and in one piece."""
    folder = os.path.join(OUT, "external")
    os.makedirs(folder, exist_ok=True)
    x = {"x": np.zeros((2, 300), np.float32)}
    nodes = [h.make_node("MatMul", ["x", "w"], ["t"]), h.make_node("Add", ["t", "b"], ["y"])]
    m = model(13, nodes, x, ["y"], {"w": f32(300, 4), "b": f32(4)})
    onnx.save_model(m, os.path.join(folder, "inline.onnx"))
    data = os.path.join(folder, "weights.bin")
    if os.path.exists(data):
        os.remove(data)
    onnx.save_model(m, os.path.join(folder, "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)


def main():
    os.makedirs(OUT, exist_ok=True)
    passing = set(open(os.path.join(OUT, "passing.txt")).read().split())
    arrays = {}
    node_tests(arrays, passing)
    for part in (forms, recurrent, quantized, structure):
        part(arrays)
    save_file(arrays, os.path.join(OUT, "cases.safetensors"))
    names = {k.split("/")[0] for k in arrays}
    print(f"{len(names)} cases, {sum(a.nbytes for a in arrays.values())} bytes")
    external()


if __name__ == "__main__":
    main()
