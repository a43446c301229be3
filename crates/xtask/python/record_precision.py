"""Packages whose fp16 faults are known, and what NumPy computes for them in three precisions.

Writes corpus/precision/<case>.mlpackage and corpus/precision/expected.json.

declared: every op as the program types it, with NumPy's float16 (which computes in float32 and rounds).
f32: every op in float32; the output is rounded to fp16, its declared type.
strict: as declared, and ops that a chip computes in steps step by step.
finding: the kind of the first op that is at fault in fp16, what is at fault, and nothing where all is well.
"""

import json
import pathlib
import shutil

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from packages import settle

FOLDER = pathlib.Path("corpus/precision")
HALF = types.fp16
np.seterr(all="ignore")


def f16(values):
    return np.asarray(values, dtype=np.float16)


def exact(function, x):
    """A function of single elements, rounded once to the type of x."""
    return function(x.astype(np.float64)).astype(x.dtype)


def total(x, axis, keep):
    """A sum that is kept in float32 and rounded once."""
    return x.astype(np.float32).sum(axis=axis, keepdims=keep).astype(x.dtype)


def mean(x, axis, keep):
    return x.astype(np.float32).mean(axis=axis, keepdims=keep, dtype=np.float32).astype(x.dtype)


def softmax_steps(x):
    exps = exact(np.exp, x - x.max(-1, keepdims=True))
    return exps / total(exps, -1, True)


def layer_norm_steps(x):
    centred = x - mean(x, -1, True)
    variance = mean(centred * centred, -1, True)
    root = exact(lambda v: 1 / np.sqrt(v + float(np.float16(1e-5))), variance)
    return centred * root


def layer_norm_whole(x):
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return (centred / np.sqrt(variance + float(np.float16(1e-5)))).astype(x.dtype)


def softmax_whole(x):
    wide = x.astype(np.float64)
    exps = np.exp(wide - wide.max(-1, keepdims=True))
    return (exps / exps.sum(-1, keepdims=True)).astype(x.dtype)


# Each case: inputs, the program, the same in NumPy for a type, the same in steps (None: no difference), the finding.


def square():
    def program(x):
        return mb.mul(x=mb.mul(x=x, y=x), y=np.float16(1e-3))

    def numpy(x):
        return (x * x) * x.dtype.type(np.float16(1e-3))

    return {"x": f16([[1, -20, 300]])}, program, numpy, None, ("mul", "overflow")


def exponential():
    def program(x):
        e = mb.exp(x=x)
        return mb.real_div(x=e, y=mb.reduce_sum(x=e, axes=[-1], keep_dims=True))

    def numpy(x):
        e = exact(np.exp, x)
        return e / total(e, -1, True)

    return {"x": f16([[9, 10, 12]])}, program, numpy, None, ("exp", "overflow")


def mean_of_squares():
    def program(x):
        squares = mb.square(x=x)
        return mb.sqrt(x=mb.reduce_mean(x=squares, axes=[-1], keep_dims=True))

    def numpy(x):
        return exact(np.sqrt, mean(x * x, -1, True))

    return {"x": f16([[300, 20, -10, 4]])}, program, numpy, None, ("square", "overflow")


def long_sum():
    def program(x):
        y = mb.matmul(x=x, y=np.full((64, 2), 20, np.float16))
        return mb.mul(x=y, y=np.float16(1e-3))

    def numpy(x):
        y = (x.astype(np.float32) @ np.full((64, 2), 20, np.float32)).astype(x.dtype)
        return y * x.dtype.type(np.float16(1e-3))

    return {"x": np.full((1, 64), 100, np.float16)}, program, numpy, None, ("matmul", "overflow")


def no_number():
    def program(x, z):
        a = mb.mul(x=x, y=np.float16(300))
        b = mb.mul(x=z, y=np.float16(400))
        return mb.mul(x=mb.sub(x=a, y=b), y=np.float16(1e-3))

    def numpy(x, z):
        number = lambda v: x.dtype.type(np.float16(v))
        return (x * number(300) - z * number(400)) * number(1e-3)

    return {"x": f16([[400, 1]]), "z": f16([[310, 1]])}, program, numpy, None, ("mul", "overflow")


def cancellation():
    def program(x):
        return mb.sub(x=mb.add(x=x, y=np.float16(2048)), y=np.float16(2048))

    def numpy(x):
        large = x.dtype.type(2048)
        return (x + large) - large

    return {"x": f16([[0.25, 0.5, 0.75]])}, program, numpy, None, ("sub", "loss")


def underflow():
    def program(x):
        return mb.mul(x=mb.square(x=x), y=np.float16(60000))

    def numpy(x):
        return (x * x) * x.dtype.type(60000)

    return {"x": f16([[1e-4, -5e-5, 1e-5]])}, program, numpy, None, ("square", "loss")


def softmax():
    def program(x):
        return mb.softmax(x=x, axis=-1)

    return {"x": f16([[60000, -60000, 59968, 3]])}, program, softmax_whole, softmax_steps, None


def layer_norm():
    def program(x):
        return mb.layer_norm(x=x, axes=[-1], epsilon=np.float16(1e-5))

    return {"x": f16([[1000, -1000, 250, 500]])}, program, layer_norm_whole, layer_norm_steps, None


def clean():
    def program(x):
        y = mb.add(x=mb.mul(x=x, y=np.float16(1.5)), y=np.float16(0.25))
        return mb.softmax(x=mb.relu(x=y), axis=-1)

    def before(x):
        return np.maximum(x * x.dtype.type(1.5) + x.dtype.type(0.25), 0)

    return (
        {"x": f16([[0.1, -3, 2.7, 1]])},
        program,
        lambda x: softmax_whole(before(x)),
        lambda x: softmax_steps(before(x)),
        None,
    )


CASES = [
    square, exponential, mean_of_squares, long_sum, no_number, cancellation, underflow, softmax, layer_norm, clean,
]


def save(model, name):
    path = FOLDER / f"{name}.mlpackage"
    shutil.rmtree(path, ignore_errors=True)
    model.save(str(path))
    settle(path, name)


def numbers(array):
    flat = [float(v) for v in np.asarray(array, np.float64).ravel()]
    text = lambda v: v if np.isfinite(v) else str(v)
    return {"shape": list(np.shape(array)), "values": [text(v) for v in flat]}


def state():
    """A state that is squared and kept; the first step starts at zero."""

    @mb.program(
        input_specs=[mb.TensorSpec((1, 2), dtype=HALF), mb.StateTensorSpec((1, 2), dtype=HALF)],
        opset_version=ct.target.iOS18,
    )
    def program(x, s):
        held = mb.read_state(input=s)
        total = mb.add(x=held, y=x)
        square = mb.mul(x=total, y=total)
        mb.coreml_update_state(state=s, value=mb.mul(x=square, y=np.float16(1e-3)))
        return mb.mul(x=square, y=np.float16(1e-3), name="y")

    return program


def narrowing():
    """A cast to fp16 of a number that has no place there."""

    @mb.program(input_specs=[mb.TensorSpec((1, 2), dtype=types.fp32)], opset_version=ct.target.iOS17)
    def program(x):
        return mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(1e-3), name="y")

    return program


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {}
    for case in CASES:
        name = case.__name__.replace("_", "-")
        inputs, build, numpy, steps, finding = case()
        specs = [mb.TensorSpec(v.shape, dtype=HALF) for v in inputs.values()]
        if len(inputs) == 1:
            function = lambda x: mb.identity(x=build(x), name="y")
        else:
            function = lambda x, z: mb.identity(x=build(x, z), name="y")
        program = mb.program(input_specs=specs, opset_version=ct.target.iOS17)(function)
        convert(program, ct.target.iOS17, name)
        wide = numpy(*[v.astype(np.float32) for v in inputs.values()]).astype(np.float16)
        declared = numpy(*inputs.values())
        strict = declared if steps is None else steps(*inputs.values())
        assert declared.dtype == strict.dtype == np.float16
        expected[name] = {
            "inputs": {k: numbers(v) for k, v in inputs.items()},
            "declared": numbers(declared),
            "f32": numbers(wide),
            "strict": numbers(strict),
            "finding": finding and {"kind": finding[0], "reason": finding[1]},
        }
    convert(state(), ct.target.iOS18, "state")
    x = f16([[300, 2]])
    expected["state"] = {
        "inputs": {"x": numbers(x)},
        "declared": numbers((x * x) * np.float16(1e-3)),
        "f32": numbers(
            ((x.astype(np.float32) * x.astype(np.float32)) * np.float32(np.float16(1e-3))).astype(np.float16)
        ),
        "strict": numbers((x * x) * np.float16(1e-3)),
        "finding": {"kind": "mul", "reason": "overflow"},
    }
    convert(narrowing(), ct.target.iOS17, "narrowing")
    x = np.array([[70000, 3]], np.float32)
    factor = np.float16(1e-3)
    expected["narrowing"] = {
        "inputs": {"x": numbers(x)},
        "declared": numbers(x.astype(np.float16) * factor),
        "f32": numbers((x * np.float32(factor)).astype(np.float16)),
        "strict": numbers(x.astype(np.float16) * factor),
        "finding": {"kind": "cast", "reason": "overflow"},
    }
    lines = [f"{json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in sorted(expected.items())]
    (FOLDER / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def convert(program, target, name):
    options = {"source": "milinternal", "convert_to": "mlprogram", "minimum_deployment_target": target}
    options |= {"compute_precision": ct.precision.FLOAT32, "skip_model_load": True}
    save(ct.convert(program, pass_pipeline=ct.PassPipeline.EMPTY, **options), name)


main()
