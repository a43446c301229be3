"""Writes expected.json: what protobuf and coremltools' schema say about every package here.

Usage: python describe.py   (needs coremltools 9.0 from PyPI)
"""
import json
import pathlib
import struct

from coremltools.proto import MIL_pb2, Model_pb2

HERE = pathlib.Path(__file__).parent


def feature(f):
    kind = f.type.WhichOneof("Type")
    return [f.name, kind, f.type.isOptional]


def interface(d):
    return {key: [feature(f) for f in getattr(d, key)] for key in ("input", "output", "state")}


def count(block, into):
    for op in block.operations:
        into[op.type] = into.get(op.type, 0) + 1
        for inner in op.blocks:
            count(inner, into)


def blobs(path):
    raw = path.read_bytes() if path.exists() else struct.pack("<II56x", 0, 2)
    found, at = [], 64
    for _ in range(struct.unpack_from("<I", raw)[0]):
        _, dtype, size, offset, padding = struct.unpack_from("<IIQQQ", raw, at)
        found.append([at, dtype, size, padding])
        at = (offset + size + 63) // 64 * 64
    return found


def describe(package):
    data = package / "Data/com.apple.CoreML"
    model = Model_pb2.Model()
    model.ParseFromString((data / "model.mlmodel").read_bytes())
    functions = {}
    for name, function in sorted(model.mlProgram.functions.items()):
        ops = {}
        count(function.block_specializations[function.opset], ops)
        functions[name] = {
            "opset": function.opset,
            "inputs": [
                [i.name, MIL_pb2.DataType.Name(i.type.tensorType.dataType), i.type.WhichOneof("type")]
                for i in function.inputs
            ],
            "ops": dict(sorted(ops.items())),
        }
    return {
        "type": model.WhichOneof("Type"),
        "specificationVersion": model.specificationVersion,
        "interface": interface(model.description),
        "functionInterfaces": {f.name: interface(f) for f in model.description.functions},
        "functions": functions,
        "blobs": blobs(data / "weights/weight.bin"),
    }


expected = {p.name.removesuffix(".mlpackage"): describe(p) for p in sorted(HERE.glob("*.mlpackage"))}
lines = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in expected.items()]
(HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
