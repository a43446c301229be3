"""Records cases of our own: packages by coremltools, expectations by NumPy.

Writes corpus/conformance/own.tar.zst, in the form that corpus/conformance/README.md tells.
"""

import collections
import hashlib
import io
import json
import pathlib
import sys
import tarfile
import tempfile
import warnings

warnings.filterwarnings("ignore")

import coremltools as ct
import numpy as np
import zstandard
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from safetensors.numpy import save as safetensors

from conformance_cases import all_cases
from packages import settle

ARCHIVE = pathlib.Path("corpus/conformance/own.tar.zst")
TYPES = {"float32": types.fp32, "float16": types.fp16, "int32": types.int32}
# Sums of a few dozen products of single floats; NumPy's are made in 64 bits.
TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}


def package(opset, inputs, program, folder):
    """Writes the model; gives its program and what the outputs are called."""
    target = getattr(ct.target, opset)
    specs = [mb.TensorSpec(v.shape, dtype=TYPES[v.dtype.name]) for v in inputs.values()]
    names = []

    def function(*args):
        outputs = program(**dict(zip(inputs, args)))
        names.extend(outputs)
        return tuple(mb.identity(x=v, name=k) for k, v in outputs.items())

    # The builder takes the names of inputs from those of the parameters.
    scope = {"function": function}
    exec(f"def main({', '.join(inputs)}):\n    return function({', '.join(inputs)})", scope)
    mil = mb.program(input_specs=specs, opset_version=target)(scope["main"])
    model = ct.convert(
        mil, convert_to="mlprogram", minimum_deployment_target=target, compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY, skip_model_load=True,
    )
    model.save(str(folder))
    return model.get_spec()


def ops_of(block, counts):
    for op in block.operations:
        counts[op.type] += 1
        for inner in op.blocks:
            ops_of(inner, counts)


def described(name, opset, spec, expected):
    counts = collections.Counter()
    function = spec.mlProgram.functions["main"]
    for block in function.block_specializations.values():
        ops_of(block, counts)
    return {
        "case": hashlib.sha256(name.encode()).hexdigest()[:16],
        "test": f"own/{name}",
        "suite": "own",
        "function": None,
        "opset": function.opset,
        "spec_version": spec.specificationVersion,
        "precision": "fp32",
        "ops": dict(sorted(counts.items())),
        "tolerance": TOLERANCE,
        "test_tolerance": TOLERANCE,
        "strict": TOLERANCE,
        "weak": False,
        "mismatch_ratio": 0.0,
        "compare_shapes": True,
        "steps": 1,
        "stateful": False,
        "outputs": {k: [str(v.dtype), list(v.shape)] for k, v in expected.items()},
        "confirmed": None,
    }


def typed(array):
    array = np.asarray(array)
    wide = np.float32 if array.dtype.kind == "f" else np.int32
    return np.ascontiguousarray(array.astype(wide))


def add(archive, path, data):
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))


def main():
    raw = io.BytesIO()
    count = 0
    with tarfile.open(fileobj=raw, mode="w") as archive, tempfile.TemporaryDirectory() as scratch:
        for name, opset, inputs, program, expected in all_cases():
            folder = pathlib.Path(scratch) / f"{name}.mlpackage"
            expected = {k: typed(v) for k, v in expected.items()}
            spec = package(opset, inputs, program, folder)
            settle(folder, name)
            meta = described(name, opset, spec, expected)
            case = meta["case"]
            add(archive, f"{case}/meta.json", json.dumps(meta, indent=1, sort_keys=True).encode())
            add(archive, f"{case}/inputs.safetensors", safetensors({k: np.ascontiguousarray(v) for k, v in inputs.items()}))
            add(archive, f"{case}/expected.safetensors", safetensors(expected))
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                add(archive, f"{case}/model.mlpackage/{file.relative_to(folder)}", file.read_bytes())
            count += 1
    ARCHIVE.write_bytes(zstandard.ZstdCompressor(level=19).compress(raw.getvalue()))
    print(f"{count} cases, {ARCHIVE.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
