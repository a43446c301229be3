"""Writes the packages of this folder: each one has the fault that its name says.

Usage: python make.py   (needs coremltools 9.0 from PyPI, for the protobuf schema only)
"""
import json
import pathlib
import shutil
import struct

from coremltools.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

HERE = pathlib.Path(__file__).parent
MODEL, WEIGHTS = "com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"


def tensor(dtype, dims, into=None):
    ty = into if into is not None else MIL_pb2.ValueType()
    ty.tensorType.dataType, ty.tensorType.rank = dtype, len(dims)
    for d in dims:
        ty.tensorType.dimensions.add().constant.size = d
    return ty


def string(value, text):
    tensor(MIL_pb2.STRING, [], value.type)
    value.immediateValue.tensor.strings.values.append(text)


def op(block, kind, name, inputs, dims=(16,), dtype=MIL_pb2.FLOAT32):
    o = block.operations.add(type=kind)
    string(o.attributes["name"], name)
    for param, arg in inputs.items():
        o.inputs[param].arguments.add().name = arg
    out = o.outputs.add(name=name)
    tensor(dtype, dims, out.type)
    return o


def blob(block, name, offset=64, file="@model_path/weights/weight.bin", dims=(16,), dtype=MIL_pb2.FLOAT32):
    o = op(block, "const", name, {}, dims, dtype)
    tensor(dtype, dims, o.attributes["val"].type)
    o.attributes["val"].blobFileValue.fileName = file
    o.attributes["val"].blobFileValue.offset = offset


def model():
    m = Model_pb2.Model(specificationVersion=8)
    for where, name in ((m.description.input, "x"), (m.description.output, "y")):
        array = where.add(name=name).type.multiArrayType
        array.shape.append(16)
        array.dataType = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    m.mlProgram.version = 1
    f = m.mlProgram.functions["main"]
    f.opset = "CoreML7"
    tensor(MIL_pb2.FLOAT32, [16], f.inputs.add(name="x").type)
    block = f.block_specializations["CoreML7"]
    block.outputs.append("y")
    return m, block


def weight_file(dtype=2, size=64):
    header = struct.pack("<II56x", 1, 2)
    record = struct.pack("<IIQQQ32x", 0xDEADBEEF, dtype, size, 128, 0)
    return header + record + bytes(size)


def write(name, model_bytes, weights=None, path=MODEL, keep_model=True, manifest=True):
    folder = HERE / f"{name}.mlpackage"
    shutil.rmtree(folder, ignore_errors=True)
    data = folder / "Data" / "com.apple.CoreML"
    data.mkdir(parents=True)
    item = lambda path, n, d: {"author": "com.apple.CoreML", "description": d, "name": n, "path": path}
    items = {"00000000-0000-4000-8000-000000000001": item(path, "model.mlmodel", "CoreML Model Specification")}
    if weights is not None:
        items["00000000-0000-4000-8000-000000000002"] = item(WEIGHTS, "weights", "CoreML Model Weights")
        (data / "weights").mkdir()
        (data / "weights" / "weight.bin").write_bytes(weights)
    top = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": next(iter(items))}
    if manifest:
        (folder / "Manifest.json").write_text(json.dumps(top, indent=4) + "\n")
    if keep_model:
        (data / "model.mlmodel").write_bytes(model_bytes)
    elif not weights:
        (data / "other.txt").write_text("The model is not here.\n")


def program(name, edit, weights=None):
    m, block = model()
    edit(block, m)
    write(name, m.SerializeToString(deterministic=True), weights)


def add(block, right="w"):
    op(block, "add", "y", {"x": "x", "y": right})


def with_blob(**how):
    def edit(block, _):
        blob(block, "w", **how)
        add(block)
    return edit


def literal(dims, values, rank=None):
    def edit(block, _):
        o = op(block, "const", "w", {}, dims)
        v = o.attributes["val"]
        tensor(MIL_pb2.FLOAT32, dims, v.type)
        v.immediateValue.tensor.floats.values.extend(values)
        if rank is not None:
            v.type.tensorType.rank = rank
        add(block)
    return edit


def const_without_value(block, _):
    op(block, "const", "w", {})
    add(block)


def cycle(block, _):
    op(block, "relu", "a", {"x": "b"})
    op(block, "relu", "b", {"x": "a"})
    op(block, "add", "y", {"x": "x", "y": "b"})


def duplicate(block, _):
    op(block, "relu", "a", {"x": "x"})
    op(block, "relu", "a", {"x": "x"})
    add(block, "a")


def leaves_its_block(block, _):
    o = op(block, "cond", "c", {"pred": "x"})
    for _ in range(2):
        inner = o.blocks.add(outputs=["inner"])
        op(inner, "relu", "inner", {"x": "x"})
    add(block, "inner")


def undefined_output(block, _):
    op(block, "relu", "a", {"x": "x"})


def unknown_opset(block, m):
    op(block, "relu", "y", {"x": "x"})
    f = m.mlProgram.functions["main"]
    f.block_specializations["CoreML77"].CopyFrom(block)
    f.opset = "CoreML77"


def no_body(block, m):
    op(block, "relu", "y", {"x": "x"})
    m.mlProgram.functions["main"].opset = "CoreML8"


def unknown_type(block, _):
    op(block, "relu", "y", {"x": "x"}).outputs[0].type.tensorType.dataType = 99


def main():
    whole = weight_file()
    program("weights-missing", with_blob())
    program("weight-offset-beyond-file", with_blob(offset=4096), whole)
    program("weight-file-cut-off", with_blob(), whole[:150])
    program("weight-of-other-type", with_blob(), weight_file(dtype=1, size=64))
    program("weight-of-other-size", with_blob(), weight_file(size=48))
    program("weight-file-absolute", with_blob(file="/etc/hostname"), whole)
    program("weight-file-outside", with_blob(file="@model_path/../../../weight.bin"), whole)
    program("weight-dims-overflow", with_blob(dims=(2**40, 2**40)), whole)
    program("constant-too-short", literal([16], [1.0, 2.0]))
    program("constant-rank-differs", literal([2], [1.0, 2.0], rank=3))
    program("constant-without-value", const_without_value)
    program("cycle", cycle)
    program("name-defined-twice", duplicate)
    program("name-undefined", lambda block, _: add(block, "nowhere"))
    program("name-leaves-its-block", leaves_its_block)
    program("output-undefined", undefined_output)
    program("opset-unknown", unknown_opset)
    program("opset-without-body", no_body)
    program("type-unknown", unknown_type)

    m, block = model()
    op(block, "relu", "y", {"x": "x"})
    good = m.SerializeToString(deterministic=True)
    write("model-missing", good, keep_model=False)
    write("model-cut-off", good[:-7])
    write("manifest-missing", good, manifest=False)
    write("manifest-path-outside", good, path="../com.apple.CoreML/model.mlmodel")
    write("manifest-path-absolute", good, path="/com.apple.CoreML/model.mlmodel")

    network = Model_pb2.Model()
    network.CopyFrom(m)
    network.neuralNetwork.SetInParent()
    network.specificationVersion = 4
    write("not-a-program", network.SerializeToString(deterministic=True))
    pipeline = Model_pb2.Model()
    pipeline.CopyFrom(m)
    pipeline.pipeline.models.extend([m, network])
    pipeline.pipeline.names.extend(["body", "head"])
    write("pipeline", pipeline.SerializeToString(deterministic=True))


main()
