"""Records the bytes that coremltools stores for one weight under each scheme: `expected.json`.

The weight is that of a linear op, 96 output channels of 128 inputs. Bytes are those of the blobs in `weight.bin`
(field `sizeInBytes` of the blob metadata) and of the values that the program holds itself.
"""

import json
import pathlib
import struct
import tempfile

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
from coremltools.converters.mil import Builder as mb

ROWS, COLUMNS = 96, 128
# mb.linear adds a bias of zeros.
BIAS = 2 * ROWS
SCHEMES = {
    "fp16": None,
    "int8 per tensor": cto.OpLinearQuantizerConfig(dtype="int8", granularity="per_tensor"),
    "int8 per channel": cto.OpLinearQuantizerConfig(dtype="int8", granularity="per_channel"),
    "int8 per block of 32": cto.OpLinearQuantizerConfig(dtype="int8", granularity="per_block", block_size=32),
    "int4 per tensor": cto.OpLinearQuantizerConfig(dtype="int4", granularity="per_tensor"),
    "int4 per channel": cto.OpLinearQuantizerConfig(dtype="int4", granularity="per_channel"),
    "int4 per block of 32": cto.OpLinearQuantizerConfig(dtype="int4", granularity="per_block", block_size=32),
}
for bits in (8, 6, 4, 3, 2, 1):
    SCHEMES[f"palette {bits}-bit"] = cto.OpPalettizerConfig(mode="uniform", nbits=bits)
for bits in (4, 2):
    SCHEMES[f"palette {bits}-bit, per 32 channels"] = cto.OpPalettizerConfig(
        mode="uniform", nbits=bits, granularity="per_grouped_channel", group_size=32
    )


def model():
    weight = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float16)

    @mb.program(input_specs=[mb.TensorSpec((1, COLUMNS), dtype=ct.converters.mil.mil.types.fp16)],
                opset_version=ct.target.iOS18)
    def program(x):
        return mb.linear(x=x, weight=weight)

    return ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)


def blobs(data):
    """Bytes of each blob: 64-byte header, then 64-byte metadata before each blob, both little-endian."""
    count, at = struct.unpack_from("<I", data, 0)[0], 64
    for _ in range(count):
        sentinel, _dtype, size, offset = struct.unpack_from("<IIQQ", data, at)
        assert sentinel == 0xDEADBEEF
        yield size
        at = (offset + size + 63) // 64 * 64


def inline(spec):
    """Bytes of scales and tables that the program holds itself, as arguments of its constexpr ops."""
    total = 0
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            values = {}
            for op in block.operations:
                if op.type == "const":
                    values[op.outputs[0].name] = op.attributes["val"]
                if not op.type.startswith("constexpr"):
                    continue
                for key, argument in list(op.inputs.items()):
                    for binding in argument.arguments:
                        value = binding.value if binding.HasField("value") else values[binding.name]
                        if value.WhichOneof("value") == "immediateValue":
                            total += len(value.immediateValue.tensor.bytes.values)
                for value in op.attributes.values():
                    if value.WhichOneof("value") == "immediateValue" and value.type.HasField("tensorType"):
                        total += len(value.immediateValue.tensor.bytes.values)
    return total


def main():
    expected = {}
    for name, scheme in SCHEMES.items():
        made = model()
        if scheme is not None:
            made = cto.palettize_weights(made, cto.OptimizationConfig(global_config=scheme)) if name.startswith(
                "palette") else cto.linear_quantize_weights(made, cto.OptimizationConfig(global_config=scheme))
        with tempfile.TemporaryDirectory() as folder:
            made.save(f"{folder}/m.mlpackage")
            data = next(pathlib.Path(folder).glob("**/weight.bin")).read_bytes()
        expected[name] = sum(blobs(data)) + inline(made.get_spec()) - BIAS
    out = pathlib.Path(__file__).parent / "expected.json"
    out.write_text(json.dumps({"rows": ROWS, "columns": COLUMNS, "bytes": expected}, indent=1) + "\n")


main()
