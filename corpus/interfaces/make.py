"""Writes models whose interfaces are out of the ordinary, with inputs and what NumPy computes for them.

Usage: python make.py   (needs coremltools 9.0, numpy and safetensors from PyPI)

One folder a case, laid out as those of corpus/cases: model.mlpackage, meta.json, inputs[.N].safetensors,
expected[.N].safetensors. A case without expectations is one that must be refused; meta.json says with which words.
"""
import json
import pathlib
import shutil
import struct
import tempfile
import zlib

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types
from coremltools.proto import Model_pb2
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(7)


def program(specs, target=ct.target.iOS16):
    return mb.program(input_specs=specs, opset_version=target)


def convert(prog, target=ct.target.iOS16, precision=ct.precision.FLOAT32, **kw):
    return ct.convert(
        prog, minimum_deployment_target=target, compute_precision=precision, skip_model_load=True, **kw
    )


def stored(value):
    value = np.asarray(value)
    if value.dtype == np.float64:
        value = value.astype(np.float32)
    if value.dtype in (np.int64, np.bool_):
        value = value.astype(np.int32)
    return np.ascontiguousarray(value)


def case(name, model, steps, atol=1e-5, rtol=1e-5, **meta):
    """Steps are pairs of inputs and expectations."""
    folder = HERE / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    model.save(str(folder / "model.mlpackage"))
    stable(folder / "model.mlpackage/Manifest.json")
    weights = folder / "model.mlpackage/Data/com.apple.CoreML/weights"
    if not any(weights.iterdir()):
        (weights / ".gitkeep").touch()
    for i, (inputs, expected) in enumerate(steps):
        suffix = "" if i == 0 else f".{i}"
        if inputs:
            save_file({k: np.ascontiguousarray(v) for k, v in inputs.items()}, folder / f"inputs{suffix}.safetensors")
        if expected:
            save_file({k: stored(v) for k, v in expected.items()}, folder / f"expected{suffix}.safetensors")
    limits = {"atol": atol, "rtol": rtol}
    meta = {"test": name, "function": None, "steps": len(steps), "stateful": False, "tolerance": limits, **meta}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def stable(manifest):
    """Identifiers that are the same every time."""
    text = manifest.read_text()
    for i, old in enumerate(json.loads(text)["itemInfoEntries"]):
        text = text.replace(old, f"00000000-0000-4000-8000-{i:012}")
    manifest.write_text(text)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def with_picture_output(model, width, height, color_space):
    """The only output as a picture, which coremltools does not do for programs built by hand."""
    spec = model.get_spec()
    image = Model_pb2.FeatureTypes__pb2.ImageFeatureType(width=width, height=height, colorSpace=color_space)
    spec.description.output[0].type.imageType.CopyFrom(image)
    return ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)


def linear(x_name, y_name, weight, bias, relu=False):
    @program([mb.TensorSpec(shape=(1, weight.shape[1]))])
    def prog(x):
        y = mb.linear(x=x, weight=weight, bias=bias)
        return mb.relu(x=y, name="y") if relu else mb.identity(x=y, name="y")

    model = convert(prog)
    spec = model.get_spec()
    ct.utils.rename_feature(spec, "x", x_name)
    ct.utils.rename_feature(spec, "y", y_name)
    return ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)


W1, B1, W2, B2 = normal(16, 8), normal(16), normal(5, 16), normal(5)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pipelines():
    x = normal(1, 8)
    h = np.maximum(x @ W1.T + B1, 0)
    y = h @ W2.T + B2
    first, second = linear("features", "hidden", W1, B1, relu=True), linear("hidden", "scores", W2, B2)
    case("pipeline-two", ct.utils.make_pipeline(first, second), [({"features": x}, {"scores": y})])

    # The second model takes the first's output and an input of the pipeline; both models' outputs are handed out.
    @program([mb.TensorSpec(shape=(1, 16)), mb.TensorSpec(shape=(1, 16))])
    def mix(hidden, extra):
        return mb.add(x=hidden, y=extra, name="sum"), mb.reduce_max(x=hidden, axes=[1], keep_dims=True, name="top")

    extra = normal(1, 16)
    model = ct.utils.make_pipeline(first, convert(mix))
    case(
        "pipeline-joined",
        model,
        [({"features": x, "extra": extra}, {"sum": h + extra, "top": h.max(1, keepdims=True)})],
    )

    # Between two models a picture has 8 bits: what is not whole is rounded.
    @program([mb.TensorSpec(shape=(1, 3, 4, 6))])
    def dim(photo):
        return mb.mul(x=photo, y=np.float32(0.37), name="dimmed")

    @program([mb.TensorSpec(shape=(1, 3, 4, 6))])
    def bright(dimmed):
        return mb.add(x=dimmed, y=np.float32(0.25), name="out")

    picture = lambda name: ct.ImageType(name=name, shape=(1, 3, 4, 6), color_layout=ct.colorlayout.RGB)
    a = with_picture_output(convert(dim, inputs=[picture("photo")]), 6, 4, 20)
    b = convert(bright, inputs=[picture("dimmed")])
    photo = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    dimmed = np.rint(photo.astype(np.float32) * np.float32(0.37)).clip(0, 255)
    out = (dimmed + 0.25).transpose(2, 0, 1)[None]
    case("pipeline-picture", ct.utils.make_pipeline(a, b), [({"photo": photo}, {"out": out})])

    classifier(x)
    regressor(x)
    with_scaler(first, x)


LABELS = ["ant", "bee", "cat", "dog", "elk"]


def classifying(weight, bias, labels):
    @program([mb.TensorSpec(shape=(1, weight.shape[1]))])
    def prog(hidden):
        return mb.softmax(x=mb.linear(x=hidden, weight=weight, bias=bias), axis=-1, name="probabilities")

    return convert(prog, classifier_config=ct.ClassifierConfig(labels))


def wrapped(kind, *models):
    """The models as a pipelineClassifier or pipelineRegressor, whose interface names the last one's prediction."""
    pipe = ct.utils.make_pipeline(*models)
    spec, last = pipe.get_spec(), models[-1].get_spec().description
    stages = [*spec.pipeline.models]
    getattr(spec, kind).pipeline.models.extend(stages)
    spec.description.predictedFeatureName = last.predictedFeatureName or last.output[0].name
    spec.description.predictedProbabilitiesName = last.predictedProbabilitiesName
    return ct.models.MLModel(spec, weights_dir=pipe.weights_dir, skip_model_load=True)


def classifier(x):
    first, second = linear("features", "hidden", W1, B1, relu=True), classifying(W2, B2, LABELS)
    model = wrapped("pipelineClassifier", first, second)
    d = model.get_spec().description
    p = softmax(np.maximum(x @ W1.T + B1, 0) @ W2.T + B2)[0]
    case(
        "pipeline-classifier",
        model,
        [({"features": x}, {})],
        labels={d.predictedFeatureName: LABELS[int(p.argmax())]},
        dicts={d.predictedProbabilitiesName: [[label, float(v)] for label, v in zip(LABELS, p)]},
    )
    numbered = wrapped("pipelineClassifier", first, classifying(W2, B2, [7, 5, 3, 2, 1]))
    d = numbered.get_spec().description
    case(
        "pipeline-classifier-int",
        numbered,
        [({"features": x}, {})],
        labels={d.predictedFeatureName: [7, 5, 3, 2, 1][int(p.argmax())]},
        dicts={d.predictedProbabilitiesName: [[label, float(v)] for label, v in zip([7, 5, 3, 2, 1], p)]},
    )


def regressor(x):
    first, second = linear("features", "hidden", W1, B1, relu=True), linear("hidden", "value", W2[:1], B2[:1])
    y = np.maximum(x @ W1.T + B1, 0) @ W2[:1].T + B2[:1]
    case("pipeline-regressor", wrapped("pipelineRegressor", first, second), [({"features": x}, {"value": y})])


def with_scaler(first, x):
    scaler = Model_pb2.Model()
    scaler.specificationVersion = 1
    scaler.description.input.add().CopyFrom(first.get_spec().description.output[0])
    scaler.description.output.add().CopyFrom(first.get_spec().description.output[0])
    scaler.description.output[0].name = "scaled"
    scaler.scaler.shiftValue.append(1.0)
    scaler.scaler.scaleValue.append(2.0)
    second = ct.models.MLModel(scaler, skip_model_load=True)
    model = ct.utils.make_pipeline(first, second)
    case("pipeline-scaler", model, [({"features": x}, {})], refused=["stage 1", "scaler", "mlProgram"])


def pictures():
    def doubling(shape, target=ct.target.iOS16, dtype=types.fp32):
        @program([mb.TensorSpec(shape=shape, dtype=dtype)], target)
        def prog(photo):
            two = np.float16(2) if dtype == types.fp16 else np.float32(2)
            return mb.mul(x=photo, y=two, name="out")

        return prog

    def step(h, w, layout="rgb"):
        photo = RNG.integers(0, 256, (h, w, 3) if layout != "gray" else (h, w), dtype=np.uint8)
        planes = photo[None, None] if layout == "gray" else photo.transpose(2, 0, 1)[None]
        planes = planes[:, ::-1] if layout == "bgr" else planes
        return {"photo": photo}, {"out": planes.astype(np.float32) * 2}

    h, w = get_new_symbol(), get_new_symbol()
    sizes = ct.EnumeratedShapes(shapes=[(1, 3, 4, 6), (1, 3, 8, 8), (1, 3, 2, 10)])
    image = ct.ImageType(name="photo", shape=sizes, color_layout=ct.colorlayout.RGB)
    model = convert(doubling((1, 3, h, w)), inputs=[image])
    case("picture-enumerated", model, [step(4, 6), step(8, 8), step(2, 10)], refuses=[[4, 4, 3], [6, 4, 3]])

    h, w = get_new_symbol(), get_new_symbol()
    area = ct.Shape(shape=(1, 3, ct.RangeDim(2, 16, default=4), ct.RangeDim(3, 12, default=6)))
    image = ct.ImageType(name="photo", shape=area, color_layout=ct.colorlayout.BGR)
    model = convert(doubling((1, 3, h, w)), inputs=[image])
    case(
        "picture-range",
        model,
        [step(4, 6, "bgr"), step(16, 3, "bgr"), step(2, 12, "bgr")],
        refuses=[[17, 6, 3], [4, 2, 3]],
    )

    image = ct.ImageType(name="photo", shape=(1, 1, 3, 5), color_layout=ct.colorlayout.GRAYSCALE)
    case("picture-gray", convert(doubling((1, 1, 3, 5)), inputs=[image]), [step(3, 5, "gray")], refuses=[[5, 3]])

    half = ct.colorlayout.GRAYSCALE_FLOAT16
    model = convert(
        doubling((1, 1, 3, 5), dtype=types.fp16),
        precision=ct.precision.FLOAT16,
        inputs=[ct.ImageType(name="photo", shape=(1, 1, 3, 5), color_layout=half)],
    )
    model = with_picture_output(model, 5, 3, 40)
    photo = RNG.standard_normal((3, 5)).astype(np.float16).astype(np.float32)
    case("picture-gray16", model, [({"photo": photo}, {"out": photo * 2})], refuses=[[5, 3]])
    gray_files()


def gray_png(path, samples):
    """A PNG of one channel, as the specification has it: 8 or 16 bits, no filter."""
    height, width = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">")).tobytes()
    rows = b"".join(b"\0" + rows[i : i + width * samples.itemsize] for i in range(0, len(rows), width * samples.itemsize))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, samples.itemsize * 8, 0, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*p) for p in parts))


def gray_files():
    """What goes into picture-gray16 and comes out as files: 0 is 0, the largest sample is 1, and the model doubles."""
    rng, folder = np.random.default_rng(5), HERE / "picture-gray16"
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        most = np.iinfo(dtype).max
        samples = rng.integers(0, most + 1, (3, 5), dtype=dtype)
        out = (samples.astype(np.float32) / np.float32(most)).astype(np.float16).astype(np.float32) * 2
        gray_png(folder / f"in{bits}.png", samples)
        gray_png(folder / f"out{bits}.png", np.rint(out.clip(0, 1).astype(np.float64) * 65535).astype(np.uint16))
        # As --save-image with range=0:2 has it: nothing is cut off.
        gray_png(folder / f"half{bits}.png", np.rint(out.astype(np.float64) / 2 * 65535).astype(np.uint16))
        save_file({"out": out}, folder / f"out{bits}.safetensors")


def shapes():
    n = get_new_symbol()

    @program([mb.TensorSpec(shape=(n, 4)), mb.TensorSpec(shape=(n, 4))])
    def add(a, b):
        return mb.add(x=a, y=b, name="sum")

    # Between 2 and any number of rows; both inputs must have as many.
    rows = lambda name: ct.TensorType(name=name, shape=(ct.RangeDim(2, 64, default=3), 4))
    model = convert(add, inputs=[rows("a"), rows("b")])
    spec = model.get_spec()
    for feature in spec.description.input:
        feature.type.multiArrayType.shapeRange.sizeRanges[0].upperBound = -1
    model = ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    steps = []
    for count in (3, 2, 70, 3):
        a, b = normal(count, 4), normal(count, 4)
        steps.append(({"a": a, "b": b}, {"sum": a + b}))
    case("range-open", model, steps, refuses=[[1, 4], [2, 5]])

    n = get_new_symbol()

    @program([mb.TensorSpec(shape=(1, n))])
    def halves(x):
        return mb.reduce_sum(x=x, axes=[1], keep_dims=True, name="total"), mb.mul(x=x, y=np.float32(0.5), name="half")

    listed = ct.EnumeratedShapes(shapes=[(1, 4), (1, 1), (1, 9)])
    steps = []
    for count in (4, 9, 1):
        x = normal(1, count)
        steps.append(({"x": x}, {"total": x.sum(1, keepdims=True), "half": x * 0.5}))
    case("enumerated", convert(halves, inputs=[ct.TensorType(name="x", shape=listed)]), steps, refuses=[[1, 5], [4]])


def optional():
    @program([mb.TensorSpec(shape=(2, 3)), mb.TensorSpec(shape=(1,), dtype=types.int32)])
    def prog(x, n):
        return mb.mul(x=x, y=mb.cast(x=n, dtype="fp32"), name="y")

    model = convert(prog, inputs=[ct.TensorType(name="x", shape=(2, 3)), ct.TensorType(name="n", shape=(1,), dtype=np.int32)])
    spec = model.get_spec()
    n = next(i for i in spec.description.input if i.name == "n")
    n.type.isOptional = True
    n.type.multiArrayType.intDefaultValue = 3
    model = ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    x = normal(2, 3)
    steps = [({"x": x}, {"y": x * 3}), ({"x": x, "n": np.array([5], np.int32)}, {"y": x * 5})]
    case("optional-int", model, steps)

    @program([mb.TensorSpec(shape=(2, 3)), mb.TensorSpec(shape=(2, 3))])
    def shift(x, bias):
        return mb.add(x=x, y=bias, name="y")

    inputs = [ct.TensorType(name="x", shape=(2, 3)), ct.TensorType(name="bias", shape=(2, 3), default_value=np.full((2, 3), 1.5, np.float32))]
    bias = normal(2, 3)
    steps = [({"x": x}, {"y": x + 1.5}), ({"x": x, "bias": bias}, {"y": x + bias})]
    case("optional-float", convert(shift, inputs=inputs), steps)


def loops():
    """Counts up to n: a loop without end when n is large."""

    @program([mb.TensorSpec(shape=(1,))])
    def prog(n):
        def cond(i, total):
            return mb.less(x=i, y=mb.squeeze(x=n))

        def body(i, total):
            return mb.add(x=i, y=np.float32(1)), mb.add(x=total, y=i)

        zero = mb.mul(x=mb.squeeze(x=n), y=np.float32(0))
        i, total = mb.while_loop(_cond=cond, _body=body, loop_vars=(zero, mb.add(x=zero, y=np.float32(0))))
        return mb.expand_dims(x=total, axes=[0], name="total")

    case("loop", convert(prog), [({"n": np.array([k], np.float32)}, {"total": np.array([k * (k - 1) / 2])}) for k in (5, 0)])


def within(prefix, pipe):
    """A pipeline as a stage of another one: its models, with weight files of names that are its own."""
    spec = pipe.get_spec()

    def rename(models):
        for model in models:
            kind = model.WhichOneof("Type")
            if kind == "pipeline":
                rename(model.pipeline.models)
            if kind in ("pipelineClassifier", "pipelineRegressor"):
                rename(getattr(model, kind).pipeline.models)
            if kind == "mlProgram":
                for function in model.mlProgram.functions.values():
                    for block in function.block_specializations.values():
                        for op in block.operations:
                            for value in [*op.attributes.values()]:
                                if value.WhichOneof("value") == "blobFileValue":
                                    folder, file = value.blobFileValue.fileName.rsplit("/", 1)
                                    value.blobFileValue.fileName = f"{folder}/{prefix}{file}"

    rename([spec])
    files = {prefix + f.name: f.read_bytes() for f in pathlib.Path(pipe.weights_dir).iterdir()}
    return spec, files


def piped(inputs, outputs, stages, kind="pipeline", names=()):
    """A pipeline of specifications with their weight files, as one with its weight files."""
    spec, files = Model_pb2.Model(), {}
    spec.specificationVersion = max(s.specificationVersion for s, _ in stages)
    spec.description.input.extend(inputs)
    spec.description.output.extend(outputs)
    pipeline = spec.pipeline if kind == "pipeline" else getattr(spec, kind).pipeline
    pipeline.names.extend(names)
    for stage, weights in stages:
        pipeline.models.add().CopyFrom(stage)
        files |= weights
    return spec, files


def assembled(spec, files):
    folder = pathlib.Path(tempfile.mkdtemp())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return ct.models.MLModel(spec, weights_dir=str(folder), skip_model_load=True)


def nested():
    x = normal(1, 8)
    first, second = linear("features", "hidden", W1, B1, relu=True), linear("hidden", "scores", W2, B2)
    third = linear("scores", "hidden", W2.T[:8].copy(), B1[:8])
    inner = ct.utils.make_pipeline(first, second)
    h = np.maximum(x @ W1.T + B1, 0)
    y = h @ W2.T + B2

    # Two inner pipelines have a feature `hidden` each: neither sees the other's.
    again = ct.utils.make_pipeline(third, linear("hidden", "out", W1[:3], B1[:3]))
    a, b = within("a-", inner), within("b-", again)
    hidden = y @ W2[:, :8] + B1[:8]
    out = hidden @ W1[:3].T + B1[:3]
    d = lambda pair: pair[0].description
    model = assembled(*piped(d(a).input, [*d(b).output, *d(a).output], [a, b], names=["body", "head"]))
    case("nested-two", model, [({"features": x}, {"out": out, "scores": y})])

    # A classifier in a pipelineClassifier in a pipelineClassifier, with an optional input on the way.
    @program([mb.TensorSpec(shape=(1, 8)), mb.TensorSpec(shape=(1, 8))])
    def shift(raw, bias):
        return mb.add(x=raw, y=bias, name="features")

    inputs = [ct.TensorType(name="raw", shape=(1, 8)), ct.TensorType(name="bias", shape=(1, 8), default_value=np.full((1, 8), 0.5, np.float32))]
    shifted = convert(shift, inputs=inputs)
    wrapped_model = wrapped("pipelineClassifier", first, classifying(W2, B2, LABELS))
    c = within("c-", wrapped_model)
    shifting = (shifted.get_spec(), {})
    two = piped(d(shifting).input, d(c).output, [shifting, c], "pipelineClassifier")
    for field in ("predictedFeatureName", "predictedProbabilitiesName"):
        setattr(two[0].description, field, getattr(d(c), field))
    three = piped(d(two).input, d(two).output, [two], "pipelineClassifier")
    for field in ("predictedFeatureName", "predictedProbabilitiesName"):
        setattr(three[0].description, field, getattr(d(c), field))
    p = softmax(np.maximum((x + 0.5) @ W1.T + B1, 0) @ W2.T + B2)[0]
    case(
        "nested-classifier",
        assembled(*three),
        [({"raw": x}, {})],
        labels={d(c).predictedFeatureName: LABELS[int(p.argmax())]},
        dicts={d(c).predictedProbabilitiesName: [[label, float(v)] for label, v in zip(LABELS, p)]},
    )

    # A classifier's label is text, which no ML program takes.
    @program([mb.TensorSpec(shape=(1, 5))])
    def after(label):
        return mb.relu(x=label, name="out")

    classes = classifying(W2, B2, LABELS)
    label = classes.get_spec().description.predictedFeatureName
    spec = convert(after).get_spec()
    ct.utils.rename_feature(spec, "label", label)
    one = within("", ct.utils.make_pipeline(first, classes))
    last = (spec, {})
    refused = ["stage 1", f"`{label}`", "text", "tensors"]
    case("nested-label", assembled(*piped(d(one).input, d(last).output, [one, last])), [({"features": x}, {})], refused=refused)

    # The default function of a program of several is the one that runs.
    twofold(x, first, h)

    deep = within("", inner)
    for _ in range(16):
        deep = piped(d(deep).input, d(deep).output, [deep])
    case("nested-deep", assembled(*deep), [({"features": x}, {})], refused=["16 deep"])


def overflowing():
    """The second stage squares what the first one makes: 200 times 2 fits fp16, the square of 400 does not."""

    @program([mb.TensorSpec(shape=(1, 4), dtype=types.fp16)])
    def double(x):
        return mb.mul(x=x, y=np.float16(2), name="twice")

    @program([mb.TensorSpec(shape=(1, 4), dtype=types.fp16)])
    def square(twice):
        return mb.mul(x=twice, y=twice, name="square")

    half = ct.precision.FLOAT16
    model = ct.utils.make_pipeline(convert(double, precision=half), convert(square, precision=half))
    x = np.array([[1, 2, 100, 200]], np.float16)
    with np.errstate(over="ignore"):
        made = (x * np.float16(2)) ** 2
    assert np.isinf(made).tolist() == [[False, False, False, True]]
    case("pipeline-overflow", model, [({"x": x}, {"square": made})], overflow={"name": "1/square", "elements": 1})


def twofold(x, first, h):
    """A pipeline whose second stage has two functions."""
    with tempfile.TemporaryDirectory() as folder:
        functions = ct.utils.MultiFunctionDescriptor()
        for name, rows in (("low", slice(0, 2)), ("high", slice(2, 4))):
            linear("hidden", "scores", W2[rows], B2[rows]).save(f"{folder}/{name}.mlpackage")
            functions.add_function(f"{folder}/{name}.mlpackage", "main", name)
        functions.default_function_name = "high"
        ct.utils.save_multifunction(functions, f"{folder}/both.mlpackage")
        both = ct.models.MLModel(f"{folder}/both.mlpackage", skip_model_load=True)
        weights = pathlib.Path(both.weights_dir) / "weight.bin"
        files = {"1-weight.bin": weights.read_bytes()}
    second = both.get_spec()
    for function in second.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for op in block.operations:
                for value in op.attributes.values():
                    if value.WhichOneof("value") == "blobFileValue":
                        value.blobFileValue.fileName = "@model_path/weights/1-weight.bin"
    one = first.get_spec()
    plain = {"weight.bin": (pathlib.Path(first.weights_dir) / "weight.bin").read_bytes()}
    scores = second.description.functions[1].output
    model = assembled(*piped(one.description.input, scores, [(one, plain), (second, files)]))
    case("nested-functions", model, [({"features": x}, {"scores": h @ W2[2:4].T + B2[2:4]})])


def suppressed(confidence, coordinates, iou, least, per_class):
    """Rows that stay, the most confident first; the procedure of NonMaximumSuppression.proto in whole matrices."""
    confidence, coordinates = confidence.astype(np.float64), coordinates.astype(np.float64)
    best, score = confidence.argmax(1), confidence.max(1)
    low, high = coordinates[:, :2] - coordinates[:, 2:] / 2, coordinates[:, :2] + coordinates[:, 2:] / 2
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    shared = shared.clip(0).prod(2)
    area = coordinates[:, 2] * coordinates[:, 3]
    close = shared / (area[:, None] + area[None] - shared) > iou
    if per_class:
        close &= best[:, None] == best[None]
    left = score >= least
    rows = []
    while left.any():
        top = int(np.where(left, score, -1).argmax())
        rows.append(top)
        left &= ~close[top]
        left[top] = False
    return rows


def detector(boxes, classes, per_class=True, labels=None, described=True, rows=None, dtype=None):
    """An object detector as exporters write it: a program that gives scores and boxes, and suppression after it."""

    @program([mb.TensorSpec(shape=(boxes, classes + 4))])
    def prog(raw):
        return (
            mb.slice_by_index(x=raw, begin=[0, 0], end=[boxes, classes], name="raw_confidence"),
            mb.slice_by_index(x=raw, begin=[0, classes], end=[boxes, classes + 4], name="raw_coordinates"),
        )

    body = convert(prog)
    nms = Model_pb2.Model()
    nms.specificationVersion = 7
    for i, (given, made, extent) in enumerate(zip(("raw_confidence", "raw_coordinates"), ("confidence", "coordinates"), (classes, 4))):
        source = next(o for o in body.get_spec().description.output if o.name == given)
        nms.description.input.add().CopyFrom(source)
        nms.description.output.add().CopyFrom(source)
        out = nms.description.output[i]
        out.name = made
        array = out.type.multiArrayType
        del array.shape[:]
        if rows is None:
            for low, high in ((0, -1), (extent, extent)):
                size = array.shapeRange.sizeRanges.add()
                size.lowerBound, size.upperBound = low, high
        elif isinstance(rows, int):
            array.shape.extend((rows, extent))
        else:
            for low, high in (rows, (extent, extent)):
                size = array.shapeRange.sizeRanges.add()
                size.lowerBound, size.upperBound = low, high
    settings = nms.nonMaximumSuppression
    settings.confidenceInputFeatureName, settings.coordinatesInputFeatureName = "raw_confidence", "raw_coordinates"
    settings.confidenceOutputFeatureName, settings.coordinatesOutputFeatureName = "confidence", "coordinates"
    settings.iouThresholdInputFeatureName = "iouThreshold"
    settings.confidenceThresholdInputFeatureName = "confidenceThreshold"
    settings.iouThreshold, settings.confidenceThreshold = 0.45, 0.25
    settings.pickTop.perClass = per_class
    if labels and isinstance(labels[0], str):
        settings.stringClassLabels.vector.extend(labels)
    elif labels:
        settings.int64ClassLabels.vector.extend(labels)
    thresholds = []
    for name in ("iouThreshold", "confidenceThreshold"):
        threshold = Model_pb2.FeatureDescription(name=name)
        threshold.type.doubleType.SetInParent()
        threshold.type.isOptional = described
        thresholds.append(threshold)
    if described:
        nms.description.input.extend(thresholds)
    program_spec = body.get_spec()
    return assembled(
        *piped([*program_spec.description.input, *thresholds], nms.description.output, [(program_spec, {}), (nms, {})])
    )


def detectors():
    rng = np.random.default_rng(11)

    def scene(boxes, classes, objects):
        """Boxes around a few places, all confidences distinct and no overlap near a threshold."""
        middles, sizes = rng.uniform(0.2, 0.8, (objects, 2)), rng.uniform(0.1, 0.3, (objects, 2))
        which = rng.integers(0, objects, boxes)
        places = np.concatenate([middles[which], sizes[which]], 1) * rng.uniform(0.85, 1.15, (boxes, 4))
        scores = rng.uniform(0, 0.15, (boxes, classes))
        scores[np.arange(boxes), rng.integers(0, classes, boxes)] = rng.permutation(np.linspace(0.02, 0.99, boxes))
        return np.concatenate([scores, places], 1).astype(np.float32)

    def step(raw, classes, iou=0.45, least=0.25, per_class=True, rows=None, **thresholds):
        confidence, coordinates = raw[:, :classes], raw[:, classes:]
        kept = suppressed(confidence, coordinates, iou, least, per_class)
        made = {"confidence": confidence[kept], "coordinates": coordinates[kept]}
        if rows:
            low, high = (rows, rows) if isinstance(rows, int) else rows
            count = max(min(len(kept), high), low)
            made = {k: np.concatenate([v, np.zeros((low, v.shape[1]), np.float32)])[:count] for k, v in made.items()}
        given = {k: np.array([v]) for k, v in thresholds.items()}
        return {"raw": raw, **given}, made

    raw = scene(60, 3, 6)
    both = {"iouThreshold": 0.8, "confidenceThreshold": 0.6}
    steps = [
        step(raw, 3),
        step(raw, 3, iou=0.8, least=0.6, **both),
        step(raw, 3, iou=0.0, iouThreshold=0.0),
        step(raw, 3, iou=1.0, least=0.0, iouThreshold=1.0, confidenceThreshold=0.0),
        step(raw, 3, least=2.0, confidenceThreshold=2.0),
    ]
    case("detector", detector(60, 3, labels=["ant", "bee", "cat"]), steps, atol=0.0, rtol=0.0)
    # Thresholds that only the pipeline describes, and as inputs that must be given, as some exporters have it.
    steps = [step(raw, 3, per_class=False), step(raw, 3, per_class=False, least=0.6, confidenceThreshold=0.6)]
    case("detector-any-class", detector(60, 3, per_class=False, labels=[7, 8, 9], described=False), steps, atol=0.0, rtol=0.0)
    low = scene(12, 2, 2)
    steps = [step(low, 2, rows=8), step(low, 2, rows=8, least=0.95, confidenceThreshold=0.95), step(low, 2, iou=1.0, least=0.0, rows=8, iouThreshold=1.0, confidenceThreshold=0.0)]
    case("detector-fixed", detector(12, 2, rows=8), steps, atol=0.0, rtol=0.0)
    steps = [step(low, 2, rows=(3, 5)), step(low, 2, rows=(3, 5), least=0.95, confidenceThreshold=0.95), step(low, 2, iou=1.0, least=0.0, rows=(3, 5), iouThreshold=1.0, confidenceThreshold=0.0)]
    case("detector-range", detector(12, 2, rows=(3, 5)), steps, atol=0.0, rtol=0.0)


if __name__ == "__main__":
    pipelines()
    pictures()
    shapes()
    optional()
    loops()
    nested()
    detectors()
    overflowing()
