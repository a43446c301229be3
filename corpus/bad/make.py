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


# Compute plans: JSON and tables whose values are of another type, cut off, or of another kind of file.
def planned(**changed):
    op = {"operator": "ios18.conv", "preferred": "ANE", "supported": ["CPU", "ANE"], "cost": 0.5}
    op.update(changed)
    return json.dumps({"compute_units": "ALL", "operations": [op]})


put("compute_plan/Truncated-json.json", planned()[:60])
put("compute_plan/Malformed-json.json", planned().replace('"cost":', '"cost"='))
put("compute_plan/Malformed-deep.json", "[" * 1_000 + "]" * 1_000)
put("compute_plan/Malformed-unit.json", planned(preferred="TPU"))
put("compute_plan/Malformed-unit-number.json", planned(preferred=3))
put("compute_plan/Malformed-supported.json", planned(supported=7))
put("compute_plan/Malformed-share.json", planned(cost=1.5))
put("compute_plan/Malformed-share-text.json", planned(cost="half"))
put("compute_plan/Malformed-mixed.json", '{"operations": [{"operator": "conv", "preferred": "CPU"}, 3]}')
put("compute_plan/Malformed-estimate.json", planned(estimated_ms={"ane": "fast"}))
put("compute_plan/Missing-ops.json", '{"operations": []}')
put("compute_plan/Missing-counts-only.json", '{"ops": 118, "by_count": {"ANE": 118}}')
put("compute_plan/Missing-steps.json", '{"schema": "anemone.bench/1", "models": [{"package": "a"}]}')
put("compute_plan/Malformed-time.json",
    '{"schema": "anemone.bench/1", "models": [{"profile": {"steps": [{"kind": "conv", "time_ms": -1}]}}]}')
put("compute_plan/Unsupported-schema.json", '{"schema": "anemone.inspect/1", "ops": []}')
put("compute_plan/Unsupported-prose.txt", "This is a letter to a friend.\nIt holds no plan.\n")
put("compute_plan/NotUtf8-text.txt", b"conv\t\xff\n")
put("compute_plan/Truncated-line.jsonl", planned() + "\n" + planned()[:30])
ROW = "relu\t0\tios18.relu\trelu_0\tCPU\tCPU,ANE\t1.0000\n"
put("compute_plan/Truncated-row.tsv", ROW + ROW[:30])
put("compute_plan/Malformed-row-unit.tsv", ROW + ROW.replace("CPU,ANE", "CPU,TPU"))
put("compute_plan/Malformed-row-index.tsv", ROW + ROW.replace("\t0\t", "\tfirst\t"))
put("compute_plan/Malformed-row-share.tsv", ROW + ROW.replace("1.0000", "2.5"))
put("compute_plan/Missing-rows.tsv", ROW.replace("\t0\t", "\tindex\t"))
HEAD = "DebugName, OpType, SelectedBackend, backend_0, est_time_0, invalid_0\n"
put("compute_plan/Missing-column.csv", HEAD.replace("est_time_0", "time"))
put("compute_plan/Truncated-columns.csv", HEAD + 'a, ios17.mul, "bnns"\n')
put("compute_plan/Malformed-estimate.csv", HEAD + 'a, ios17.mul, "bnns", bnns, fast,\n')
put("compute_plan/Malformed-backend.csv", HEAD + 'a, ios17.mul, "tpu", bnns, 1,\n')
put("compute_plan/Malformed-log.txt", "operation ios17.mul, device <MLTPUComputeDevice: 0x1>, cost 4.6%\n")
put("compute_plan/Truncated-log.txt",
    "operation ios17.mul, device <MLCPUComputeDevice: 0x1>, cost 4.6%\noperation ios17.add, device <MLCPU")

# analytics.mil: a program with one op, then one part changed.
MIL = """program(1.3)
{
    func main<ios18>(tensor_buffer<fp16, shape=[2], strides=[1], interleave_factors=[1]> x) [Launch_ane_ms = fp64(0x1p-3)] {
            tensor<fp16, [2]> y = relu(x = x)[SelectedBackend = string("bnns"), milId = uint64(0)];
        } -> (y);
}
"""
put("analytics_mil/Missing-selection.mil", MIL.replace("SelectedBackend", "Backend"))
put("analytics_mil/Truncated-statement.mil", MIL[:MIL.index("milId")])
put("analytics_mil/Truncated-text.mil", MIL[:MIL.index("bnns") + 2])
put("analytics_mil/Truncated-empty.mil", "")
put("analytics_mil/Malformed-json.mil", '{"SelectedBackend": 1}')
put("analytics_mil/Malformed-no-equals.mil", MIL.replace("y = relu", "y relu"))
put("analytics_mil/Malformed-bracket.mil", MIL.replace("(x = x)", "(x = x]"))
put("analytics_mil/Malformed-attribute.mil", MIL.replace('string("bnns")', '"bnns"'))
put("analytics_mil/Malformed-no-function.mil", MIL.replace("func main", "function main"))
put("analytics_mil/TooDeep-brackets.mil", MIL.replace("(x = x)", "(" * 100 + ")" * 100))
put("analytics_mil/NotUtf8-name.mil", MIL.encode().replace(b"relu", b"rel\xff"))

# Tables of Instruments: one row, then one part changed.
XML = """<?xml version="1.0"?>
<trace-query-result>
<node><schema name="ane-hw-intervals"><col><mnemonic>start</mnemonic></col><col><mnemonic>duration</mnemonic></col></schema>
<row><start-time id="1" fmt="0.5 ms">500000</start-time><duration id="2">400000</duration></row>
<row><start-time>1000000</start-time><duration ref="2"/></row></node>
</trace-query-result>
"""
put("instruments/Truncated-row.xml", XML[:XML.index("</row>")])
put("instruments/Truncated-tag.xml", XML[:XML.index(' fmt="0.5') + 8])
put("instruments/Truncated-comment.xml", XML + "<!-- ")
put("instruments/Malformed-tags.xml", XML.replace("</node>", "</row>"))
put("instruments/Malformed-time.xml", XML.replace("500000<", "soon<"))
put("instruments/Malformed-negative.xml", XML.replace(">400000<", ">-400000<"))
put("instruments/Malformed-attribute.xml", XML.replace('id="1"', "id=1"))
put("instruments/OutOfBounds-reference.xml", XML.replace('ref="2"', 'ref="9"'))
put("instruments/Missing-duration.xml", XML.replace('<duration ref="2"/>', "<sentinel/>"))
put("instruments/Missing-schema.xml", XML[:XML.index("<schema")] + XML[XML.index("<row>"):])
put("instruments/Missing-table.xml", XML.replace("ane-hw-intervals", "time-sample"))
put("instruments/Unsupported-toc.xml", '<trace-toc><run number="1"><data><table schema="ane-hw-intervals"/></data></run></trace-toc>')
put("instruments/Unsupported-page.xml", "<html><body>no trace</body></html>")
put("instruments/Unsupported-doctype.xml", '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')
put("instruments/TooDeep-elements.xml", "<a>" * 100)
put("instruments/TooLarge-row.xml", XML.replace("<duration id", "<core>1</core>" * 300 + "<duration id", 1))
put("instruments/NotUtf8-label.xml", XML.encode().replace(b"0.5 ms", b"\xff"))
