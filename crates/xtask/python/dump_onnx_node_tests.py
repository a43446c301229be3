"""Writes ONNX's backend node tests to disk.

Usage: python crates/xtask/python/dump_onnx_node_tests.py OUT [substring]

Needs the package onnx, whose wheels carry the node tests as code. Every case becomes a folder with `model.onnx`,
`input_K.pb` and `output_K.pb`; OUT/index.json lists the cases with operator and tolerances. Cases with sequences or
optional values are listed with `"tensors": false` and not written.
"""

import json
import os
import re
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper

warnings.filterwarnings("ignore")
from onnx.backend.test.case.node import collect_testcases


def is_tensor(info):
    return info.type.WhichOneof("value") == "tensor_type"


def serialized(value, info):
    if isinstance(value, onnx.TensorProto):
        value.name = info.name
        return value.SerializeToString()
    return numpy_helper.from_array(np.asarray(value), info.name).SerializeToString()


def operator(case, by_name):
    """The operator under test; that of the plain case where the model is the body of its function."""
    plain = by_name.get(re.sub(r"_expanded.*$", "", case.name), case)
    return plain.model.graph.node[-1].op_type


def main():
    out, pattern = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    cases = [c for c in collect_testcases(None) if pattern in c.name]
    by_name = {c.name: c for c in cases}
    index = []
    for case in sorted(cases, key=lambda c: c.name):
        graph, (inputs, outputs) = case.model.graph, case.data_sets[0]
        entry = {"name": case.name, "op": operator(case, by_name), "rtol": case.rtol, "atol": case.atol}
        entry["tensors"] = all(map(is_tensor, list(graph.input) + list(graph.output)))
        index.append(entry)
        if not entry["tensors"]:
            continue
        folder = os.path.join(out, case.name)
        os.makedirs(folder, exist_ok=True)
        files = {"model.onnx": case.model.SerializeToString()}
        for kind, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
            for k, (value, info) in enumerate(zip(values, infos)):
                files[f"{kind}_{k}.pb"] = serialized(value, info)
        for name, data in files.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
    with open(os.path.join(out, "index.json"), "w") as f:
        json.dump({"onnx": onnx.__version__, "cases": index}, f, indent=0)
    print(f"{len(index)} cases of onnx {onnx.__version__}")


if __name__ == "__main__":
    main()
