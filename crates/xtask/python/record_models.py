"""Records what ONNX Runtime computes for the models of corpus/models and examples.

Usage:
  python crates/xtask/python/record_models.py
      records every case of the corpus again (needs onnx, onnxruntime, numpy, safetensors, pillow);
  python crates/xtask/python/record_models.py OUT MODEL.onnx [name=1x3x320x320 | name=16000 ...]
      adds a case with random inputs to OUT/index.json, for models that are not part of the repository. A lone number
      for an input without dims is its value.

Arrays are named as in the package that the importer makes: identifiers, 64-bit integers as 32-bit ones.
"""

import json
import os
import re
import sys
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from safetensors.numpy import save_file

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
MODELS = os.path.join(ROOT, "corpus/models")
EXAMPLES = os.path.join(ROOT, "examples")
DTYPES = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.INT64: np.int64,
}


def identifier(name):
    """The name that an ONNX value has in a package."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return "_" + name if not name or name[0].isdigit() else name


def narrow(a):
    """As a package holds it."""
    a = np.asarray(a)
    if a.dtype in (np.int64, np.uint8, np.int8, np.bool_):
        a = a.astype(np.int32)
    return a.copy(order="C")


def generator(name):
    """A random generator that is always the same for a case."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def declared(path):
    """Element type and dims of each real input."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {t.name for t in graph.initializer}
    out = {}
    for i in graph.input:
        if i.name not in constants:
            t = i.type.tensor_type
            out[i.name] = (DTYPES[t.elem_type], [d.dim_value for d in t.shape.dim])
    return out


def record(out, name, path, inputs):
    """Runs one case and writes its arrays; answers its entry of the index."""
    run = session(path)
    outputs = [o.name for o in run.get_outputs()]
    results = dict(zip(outputs, run.run(outputs, inputs)))
    files = {"inputs": f"{name}.inputs.safetensors", "expected": f"{name}.expected.safetensors"}
    save_file({identifier(k): np.atleast_1d(narrow(v)) for k, v in inputs.items()}, os.path.join(out, files["inputs"]))
    save_file({identifier(k): narrow(v) for k, v in results.items()}, os.path.join(out, files["expected"]))
    shapes = {k: list(np.shape(v)) for k, v in inputs.items()}
    print(name, shapes, {k: list(v.shape) for k, v in results.items()})
    model = os.path.relpath(path, out).replace(os.sep, "/")
    return {"name": name, "model": model, "shapes": shapes, **files}


def picture(name, size, crop=1.0, resample=None):
    """A picture as RGB of float32 [height, width, 3], its centre cropped, resized to `size` = (width, height)."""
    from PIL import Image

    image = Image.open(os.path.join(EXAMPLES, name)).convert("RGB")
    if crop < 1.0:
        side = int(round(min(image.size) * crop))
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    image = image.resize(size, resample or Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def planes(pixels):
    """[height, width, channels] as [1, channels, height, width]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def corpus():
    """Every case of the corpus: name, path, inputs."""
    lite = os.path.join(EXAMPLES, "efficientnet-lite0.onnx")
    dog = planes((picture("dog.jpg", (224, 224), crop=0.875) - 127) / 128)
    yield "efficientnet-lite0", lite, {"image": dog}
    noise = generator("efficientnet-lite0-random").standard_normal((1, 3, 224, 224)).astype(np.float32)
    yield "efficientnet-lite0-random", lite, {"image": noise}
    digit = generator("mnist").uniform(0, 255, (1, 1, 28, 28)).astype(np.float32)
    yield "mnist", os.path.join(MODELS, "mnist.onnx"), {"Input3": digit}
    dog = planes(picture("dog.jpg", (352, 352))[:, :, ::-1] / 255).astype(np.float32)
    yield "fastestdet", os.path.join(MODELS, "fastestdet.onnx"), {"input.1": dog}
    kitten = planes((picture("kitten.png", (320, 240)) - 127) / 128)
    for kind in ("rfb-320", "rfb-320-simplified", "slim-320"):
        yield f"ultraface-{kind}", os.path.join(MODELS, f"ultraface-{kind}.onnx"), {"input": kitten}
    # The first and the last bytes of a text, with the code for "past the end" between them.
    text = np.frombuffer(open(os.path.join(MODELS, "LICENSE-mnist"), "rb").read()[:1000], np.uint8)
    codes = np.full((1, 2048), 256, np.int32)
    codes[0, : len(text)] = text
    codes[0, 2048 - len(text) :] = text
    yield "magika", os.path.join(MODELS, "magika.onnx"), {"bytes": codes}
    time = np.arange(43844) / 22050
    sound = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 659.26 * time)
    sound += 0.01 * generator("basic-pitch").standard_normal(sound.shape)
    name = "serving_default_input_2:0"
    yield "basic-pitch", os.path.join(MODELS, "basic-pitch.onnx"), {name: sound.astype(np.float32)[None, :, None]}
    line = planes(picture("dog.jpg", (192, 48)) / 127.5 - 1).astype(np.float32)
    yield "ppocr-cls", os.path.join(MODELS, "ppocr-cls.onnx"), {"x": line}
    g = generator("silero-vad-16k")
    voice = {"input": (0.1 * g.standard_normal((1, 576))).astype(np.float32)}
    voice["state"] = (0.5 * g.standard_normal((2, 1, 128))).astype(np.float32)
    yield "silero-vad-16k", os.path.join(MODELS, "silero-vad-16k.onnx"), voice


def write_index(out, cases):
    with open(os.path.join(out, "index.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


def random_case(out, path, settings):
    """A case of its own: random inputs, free dims as the settings say, else 1."""
    name = os.path.splitext(os.path.basename(path))[0]
    given = dict(s.split("=", 1) for s in settings)
    g, inputs = generator(name), {}
    for key, (dtype, dims) in declared(path).items():
        text = given.get(key)
        if text is not None and not dims:
            inputs[key] = np.array(int(text), dtype)
            continue
        shape = [int(n) for n in text.split("x")] if text else [d or 1 for d in dims]
        draw = g.standard_normal(shape) if dtype == np.float32 else g.integers(0, 16, shape)
        inputs[key] = np.asarray(draw, dtype)
    return record(out, name, path, inputs)


def main():
    if len(sys.argv) == 1:
        write_index(MODELS, [record(MODELS, *case) for case in corpus()])
        return
    out, path = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    index = os.path.join(out, "index.json")
    cases = json.load(open(index)) if os.path.exists(index) else []
    case = random_case(out, os.path.abspath(path), sys.argv[3:])
    write_index(out, [c for c in cases if c["name"] != case["name"]] + [case])


if __name__ == "__main__":
    main()
