"""Writes models whose interfaces are out of the ordinary, with inputs and what NumPy computes for them.

Usage: python make.py   (needs coremltools 9.0, numpy and safetensors from PyPI)

One folder a case, laid out as those of corpus/cases: model.mlpackage, meta.json, inputs[.N].safetensors,
expected[.N].safetensors. A case without expectations is one that must be refused; meta.json says with which words.
"""
import json
import pathlib
import shutil

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


if __name__ == "__main__":
    pipelines()
    pictures()
    shapes()
    optional()
    loops()
