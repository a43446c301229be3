"""Writes a small ONNX model with a tensor of every element type, a subgraph and a function, and what the package `onnx`
reads back. Usage: python make.py (needs onnx, ml_dtypes and numpy from PyPI)"""
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).parent
SIGNED = [0, 1, -1, 2, -2, 3]
UNSIGNED = [0, 1, 2, 3, 1, 2]
FLOATS = [0.0, 1.0, -1.5, 2.0, 0.5, -0.25]
TYPES = {
    "FLOAT": FLOATS, "DOUBLE": FLOATS, "FLOAT16": FLOATS, "BFLOAT16": FLOATS,
    "FLOAT8E4M3FN": FLOATS, "FLOAT8E5M2": FLOATS,
    "INT8": SIGNED, "INT16": SIGNED, "INT32": SIGNED, "INT64": SIGNED, "INT4": SIGNED,
    "UINT8": UNSIGNED, "UINT16": UNSIGNED, "UINT32": UNSIGNED, "UINT64": UNSIGNED, "UINT4": UNSIGNED,
    "BOOL": [1, 0, 0, 1, 1, 0],
}

initializers = []
for name, values in TYPES.items():
    code = getattr(T, name)
    typed = helper.make_tensor(f"{name}.typed", code, [2, 3], values)
    raw = numpy_helper.to_array(typed)
    packed = numpy_helper.from_array(raw, f"{name}.raw")
    assert packed.data_type == code and packed.HasField("raw_data"), name
    initializers += [typed, packed]
odd = helper.make_tensor("odd", T.UINT4, [3], [1, 2, 3])
initializers += [odd, helper.make_tensor("scalar", T.FLOAT, [], [2.5]), helper.make_tensor("empty", T.FLOAT, [0, 2], [])]

branch = helper.make_graph(
    [helper.make_node("Constant", [], ["y"], value=helper.make_tensor("", T.FLOAT, [1], [1.0]))],
    "branch", [], [helper.make_tensor_value_info("y", T.FLOAT, [1])])
nodes = [
    helper.make_node("If", ["flag"], ["z"], name="choose", then_branch=branch, else_branch=branch),
    helper.make_node("Twice", ["z"], ["w"], domain="custom", alpha=0.0, axes=[1, -2], mode="linear", scales=[0.5, 2.0]),
]
graph = helper.make_graph(
    nodes, "main",
    [helper.make_tensor_value_info("flag", T.BOOL, []), helper.make_tensor_value_info("x", T.FLOAT, ["batch", 3, None])],
    [helper.make_tensor_value_info("w", T.FLOAT, [1])], initializers)
twice = helper.make_function(
    "custom", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 21)], ["mode"])
model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("custom", 1)], functions=[twice], ir_version=10,
    producer_name="make.py")
helper.set_model_props(model, {"key": "value"})
(HERE / "small.onnx").write_bytes(model.SerializeToString(deterministic=True))

facts = {}
for t in initializers:
    array = numpy_helper.to_array(t)
    facts[t.name] = [list(array.shape), [float(v) for v in array.flatten()]]
lines = [f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in facts.items()]
(HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
