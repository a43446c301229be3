"""Writes malformed files: <reader>/<ErrorKind>-<what>.<ext>. Usage: python make.py (standard library only)"""
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent


def put(name, raw):
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)


# Weight files: one blob of two fp16 elements, then one field changed.
def weights(version=2, sentinel=0xDEADBEEF, dtype=1, size=4, offset=128, padding=0, data=b"\0\x3c\0\x40"):
    return struct.pack("<II56x", 1, version) + struct.pack("<IIQQQ32x", sentinel, dtype, size, offset, padding) + data


put("blob/Truncated-header.bin", weights()[:63])
put("blob/Truncated-empty.bin", b"")
put("blob/Version-1.bin", weights(version=1))
put("blob/Sentinel-zero.bin", weights(sentinel=0))
put("blob/Sentinel-swapped.bin", weights(sentinel=0xEFBEADDE))
put("blob/Unsupported-type.bin", weights(dtype=99))
put("blob/OutOfBounds-record.bin", weights()[:100])
put("blob/OutOfBounds-data.bin", weights(size=6))
put("blob/OutOfBounds-offset.bin", weights(offset=1 << 40))
put("blob/Overlap-data-on-record.bin", weights(offset=64))
put("blob/Overlap-data-on-header.bin", weights(offset=0))
put("blob/Misaligned-data.bin", weights(offset=130))
put("blob/TooLarge-size.bin", weights(size=(1 << 64) - 1))
put("blob/TooLarge-offset.bin", weights(size=64, offset=(1 << 64) - 64))
put("blob/Length-half-element.bin", weights(size=3))
put("blob/Padding-eight.bin", weights(dtype=8, padding=8))
put("blob/Padding-uneven.bin", weights(dtype=12, padding=1))
put("blob/Padding-more-than-data.bin", weights(dtype=9, size=0, padding=3))

# Manifests: a valid one, then one part changed.
ID = "6f3cdd6c-1bbc-4a0f-8c6f-0a4d3b2f8e11"


def manifest(path="a/model.mlmodel", version="1.0.0", root=ID, drop=None, **more):
    item = {"author": "a", "description": "d", "name": "model.mlmodel", "path": path}
    top = {"fileFormatVersion": version, "itemInfoEntries": {ID: item}, "rootModelIdentifier": root}
    item.pop(drop, None)
    top.pop(drop, None)
    top.update(more)
    return json.dumps(top)


put("manifest/Malformed-no-json.json", '{"fileFormatVersion": ')
put("manifest/Malformed-array.json", "[]")
put("manifest/Malformed-number-for-text.json", manifest(rootModelIdentifier=1))
put("manifest/Malformed-deep.json", "[" * 1_000)
put("manifest/Malformed-item.json", manifest(itemInfoEntries={ID: 3}))
for key in ("fileFormatVersion", "itemInfoEntries", "rootModelIdentifier", "path", "name", "author", "description"):
    put(f"manifest/Missing-{key}.json", manifest(drop=key))
put("manifest/Missing-root-item.json", manifest(root="other"))
put("manifest/Version-2.0.0.json", manifest(version="2.0.0"))
put("manifest/Version-1.1.0.json", manifest(version="1.1.0"))
put("manifest/Version-1.0.1.json", manifest(version="1.0.1"))
put("manifest/Version-words.json", manifest(version="one"))
put("manifest/Version-negative.json", manifest(version="1.-1.0"))
put("manifest/Path-absolute.json", manifest(path="/etc/passwd"))
put("manifest/Path-parent.json", manifest(path="../model.mlmodel"))
put("manifest/Path-parent-inside.json", manifest(path="a/../../model.mlmodel"))
put("manifest/Path-backslash.json", manifest(path="..\\model.mlmodel"))
put("manifest/Path-drive.json", manifest(path="C:/model.mlmodel"))
put("manifest/Path-empty.json", manifest(path=""))
two = json.loads(manifest())
two["itemInfoEntries"]["other"] = two["itemInfoEntries"][ID]
put("manifest/Duplicate-path.json", json.dumps(two))


# Models: protobuf by hand.
def varint(v):
    out = bytearray()
    while v > 127:
        out.append(v & 127 | 128)
        v >>= 7
    return bytes(out) + bytes([v])


def field(number, raw):
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def nested(number, levels, inner=b""):
    for _ in range(levels):
        inner = field(number, inner)
    return inner


put("model/Truncated-length.mlmodel", b"\x12\x05ab")
put("model/Truncated-huge-length.mlmodel", b"\x12" + varint((1 << 64) - 1))
put("model/Malformed-varint.mlmodel", b"\x08" + b"\xff" * 11)
put("model/Malformed-field-zero.mlmodel", b"\x00\x01")
put("model/Malformed-wire-type.mlmodel", b"\x0a\x01a")
put("model/Unsupported-group.mlmodel", b"\x1b\x1c")
put("model/NotUtf8-name.mlmodel", field(2, field(1, field(1, b"\xff\xfe"))))
block = b""
for _ in range(60):
    block = field(3, field(4, block))
put("model/TooDeep-blocks.mlmodel", field(502, field(2, field(1, b"f") + field(2, field(3, field(1, b"o") + field(2, block))))))
pipeline = b""
for _ in range(60):
    pipeline = field(202, field(1, pipeline))
put("model/TooDeep-pipelines.mlmodel", pipeline)
put("model/TooLarge-empty-features.mlmodel", field(2, field(1, b"") * 10_000))

put("onnx/Missing-graph.onnx", b"")
put("onnx/Truncated-graph.onnx", b"\x3a\x10\x0a")
put("onnx/Unsupported-text.onnx", "<html>not found</html>")
graph = b""
for _ in range(40):
    graph = field(1, field(5, field(6, graph)))
put("onnx/TooDeep-subgraphs.onnx", field(7, graph))
put("onnx/TooLarge-empty-nodes.onnx", field(7, field(1, b"") * 5_000))


# safetensors: a header and eight bytes of data.
def tensors(header, data=b"\0" * 8, length=None):
    raw = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(raw) if length is None else length) + raw.encode() + data


def info(start, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


put("safetensors/Truncated-length.safetensors", b"\x08\0\0")
put("safetensors/Truncated-header.safetensors", tensors("{}", b"", 100))
put("safetensors/TooLarge-header.safetensors", tensors("{}", b"", 100_000_001))
put("safetensors/TooLarge-header-wraps.safetensors", tensors("{}", b"", (1 << 64) - 8))
put("safetensors/Malformed-start.safetensors", tensors(" {}", b""))
put("safetensors/Malformed-json.safetensors", tensors('{"a": '))
put("safetensors/Malformed-metadata.safetensors", tensors({"__metadata__": {"a": 1}}, b""))
put("safetensors/Malformed-negative-dim.safetensors", tensors({"a": info(0, 8, [-2])}))
put("safetensors/Malformed-not-utf8.safetensors", struct.pack("<Q", 4) + b'{"\xff"')
put("safetensors/Overlap-hole-at-start.safetensors", tensors({"a": info(4, 8, [1])}))
put("safetensors/Overlap-hole-at-end.safetensors", tensors({"a": info(0, 4, [1])}))
put("safetensors/Overlap-hole.safetensors", tensors({"a": info(0, 4, [1]), "b": info(6, 8, [1], "F16")}))
put("safetensors/Overlap-shared.safetensors", tensors({"a": info(0, 8, [2]), "b": info(4, 8, [1])}))
put("safetensors/Overlap-backwards.safetensors", tensors({"a": info(0, 8, [2]), "b": info(8, 4, [1])}))
put("safetensors/OutOfBounds-end.safetensors", tensors({"a": info(0, 12, [3])}))
put("safetensors/Length-shape.safetensors", tensors({"a": info(0, 8, [3])}))
put("safetensors/Length-shape-overflows.safetensors", tensors({"a": info(0, 8, [1 << 40, 1 << 40])}))
put("safetensors/Unsupported-dtype.safetensors", tensors({"a": info(0, 8, [1], "C64")}))
one = json.dumps(info(0, 8, [2]))
none = json.dumps(info(8, 8, [0]))
put("safetensors/Duplicate-name.safetensors", tensors(f'{{"a": {one}, "a": {none}}}'))


# npy: a header and eight bytes of data.
def npy(header, data=b"\0" * 8, major=1, magic=b"\x93NUMPY", length=None):
    raw = header.encode()
    size = struct.pack("<H" if major == 1 else "<I", len(raw) if length is None else length)
    return magic + bytes([major, 0]) + size + raw + data


def head(descr="'<f4'", order="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


put("npy/Sentinel-magic.npy", npy(head(), magic=b"\x93NUMPZ"))
put("npy/Sentinel-empty.npy", b"")
put("npy/Truncated-start.npy", npy(head())[:9])
put("npy/Truncated-header.npy", npy(head(), length=500))
put("npy/TooLarge-header.npy", npy(head(), major=2, length=1 << 31))
put("npy/Version-4.npy", npy(head(), major=4))
put("npy/NotUtf8-header.npy", b"\x93NUMPY\x01\0\x02\0{\xff" + b"\0" * 8)
put("npy/Malformed-no-dictionary.npy", npy("[1, 2]"))
put("npy/Malformed-shape.npy", npy(head(shape="(-2,)")))
put("npy/Malformed-shape-no-tuple.npy", npy(head(shape="2")))
put("npy/Malformed-key.npy", npy("{'descr': '<f4', 'pickle': True, 'shape': (2,)}"))
put("npy/Malformed-byte-order.npy", npy(head(descr="'!f4'")))
put("npy/Missing-shape.npy", npy("{'descr': '<f4', 'fortran_order': False}"))
put("npy/Length-short.npy", npy(head(), b"\0" * 7))
put("npy/Length-long.npy", npy(head(), b"\0" * 9))
put("npy/Length-overflow.npy", npy(head(shape=f"({1 << 62}, {1 << 62})")))
put("npy/Unsupported-object.npy", npy(head(descr="'|O'")))
put("npy/Unsupported-text.npy", npy(head(descr="'<U2'")))
put("npy/Unsupported-complex.npy", npy(head(descr="'<c8'")))
put("npy/Unsupported-structure.npy", npy(head(descr="[('a', '<f4')]")))
put("npz/Malformed-no-archive.npz", b"not a zip archive")
put("npz/Malformed-cut.npz", (HERE.parent / "arrays/stored.npz").read_bytes()[:-30])

put("metadata/Malformed-no-json.json", "{")
put("metadata/Malformed-no-array.json", "{}")
put("metadata/Malformed-shape.json", '[{"inputSchema": [{"name": "x", "shape": "[1, two]"}]}]')
put("metadata/Malformed-type.json", '[{"author": 3}]')
coreml_data = (HERE.parent / "mlmodelc/silero-int8.mlmodelc/coremldata.bin").read_bytes()
put("coremldata/Truncated-header.bin", coreml_data[:40])
put("coremldata/Truncated-description.bin", coreml_data[:200])
put("coremldata/Truncated-length.bin", coreml_data[:0x4B] + b"\xff" * 8 + coreml_data[0x53:])
