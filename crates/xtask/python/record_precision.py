"""Packages whose fp16 faults are known, and what NumPy computes for them in three precisions.

Writes corpus/precision/<case>.mlpackage and corpus/precision/expected.json.

declared: every op as the program types it, with NumPy's float16 (which computes in float32 and rounds).
f32: every op in float32; the output is rounded to fp16, its declared type.
strict: as declared, and ops that are made of simpler ones step by step, as docs/precision.md lists the steps.
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


# The cases below are written once, with a rounding after every step: in steps it rounds to float16, whole not at all.
# Sums and products of float64 are rounded to float16 as NumPy's float16 does, which computes in float32.


def half(values):
    return np.asarray(values, np.float64).astype(np.float16).astype(np.float64)


def wide(values):
    return np.asarray(values, np.float64)


def weights(seed, *shape, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float16)


def in_steps(build, compute, finding=None, **inputs):
    """A case of one op: compute takes the inputs in float64 and the rounding."""
    whole = lambda *x: compute(wide, *map(wide, x)).astype(x[0].dtype)
    steps = lambda *x: compute(half, *map(wide, x)).astype(np.float16)
    return inputs, build, whole, steps, finding


def channels(values):
    return wide(values)[None, :, None, None]


def instance_norm():
    gamma, beta, epsilon = f16([10, 3]), f16([-12.4, 1]), np.float16(1e-5)

    def build(x):
        return mb.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=epsilon)

    def compute(r, x):
        centred = r(x - r(x.mean((2, 3), keepdims=True)))
        root = r(1 / np.sqrt(r(r(centred * centred).mean((2, 3), keepdims=True)) + float(epsilon)))
        return r(r(r(centred * root) * channels(gamma)) + channels(beta))

    return in_steps(build, compute, x=f16([[[[1, -2], [3, 4.5]], [[1000, -1000], [500, 250]]]]))


def batch_norm():
    mean, variance, epsilon = f16([0.1, -60000]), f16([2, 30000]), np.float16(1e-3)
    gamma, beta = f16([30, 0.01]), f16([-47, 2])

    def build(x):
        return mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon)

    def compute(r, x):
        root = r(np.sqrt(r(channels(variance) + float(epsilon))))
        return r(r(r(r(x - channels(mean)) / root) * channels(gamma)) + channels(beta))

    return in_steps(build, compute, x=f16([[[[1, -2, 2.3]], [[60000, -60000, 100]]]]))


def local_response_norm():
    alpha, beta, k = np.float16(0.3), np.float16(0.75), np.float16(1)

    def build(x):
        return mb.local_response_norm(x=x, size=3, alpha=alpha, beta=beta, k=k)

    def compute(r, x):
        squares = np.pad(r(x * x), ((0, 0), (1, 1), (0, 0), (0, 0)))
        mean = r((squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]) / 3)
        return r(x / r(r(r(mean * float(alpha)) + float(k)) ** float(beta)))

    x = f16([[1, -2], [0.5, 3], [7, 2], [300, 1], [4, -5]])[None, :, None, :]
    return in_steps(build, compute, x=x)


def l2_norm():
    def build(x):
        return mb.l2_norm(x=x, epsilon=np.float16(1e-6))

    def compute(r, x):
        total = r(r(x * x).sum((-1, -2, -3), keepdims=True))
        return r(x * r(1 / np.sqrt(total + float(np.float16(1e-6)))))

    return in_steps(build, compute, x=f16([[[[1, 300, -20]]], [[[0.1, 0.2, 0.3]]]]))


def reduction(name, compute, x):
    build = lambda x: getattr(mb, name)(x=x, axes=[-1], keep_dims=True)
    return in_steps(build, compute, x=f16(x))


def reduce_sum_square():
    compute = lambda r, x: r(r(x * x).sum(-1, keepdims=True))
    return reduction("reduce_sum_square", compute, np.full((1, 300), 2e-4))


def reduce_l2_norm():
    compute = lambda r, x: r(np.sqrt(r(r(x * x).sum(-1, keepdims=True))))
    return reduction("reduce_l2_norm", compute, [[300, 20, -10, 4], [3, 4, 0, 1]])


def reduce_log_sum():
    compute = lambda r, x: r(np.log(r(x.sum(-1, keepdims=True))))
    return reduction("reduce_log_sum", compute, [[60000, 50000, 30000], [0.3, 0.4, 0.2]])


def reduce_log_sum_exp():
    def compute(r, x):
        top = x.max(-1, keepdims=True)
        return r(r(np.log(r(r(np.exp(r(x - top))).sum(-1, keepdims=True)))) + top)

    return reduction("reduce_log_sum_exp", compute, [[0, -9.2, -20], [-0.7, -0.7, -3]])


def attention(mask, added):
    # Keys that are nearly the same: scores near each other and far from 0.
    keys = weights(1, 1, 1, 4, scale=20) + weights(5, 1, 3, 4, scale=0.2)
    values = weights(2, 1, 3, 2, scale=300)

    def build(x):
        return mb.scaled_dot_product_attention(query=x, key=keys, value=values, attn_mask=mask)

    def compute(r, x):
        scores = r(r(x * float(np.float16(0.5))) @ wide(keys).transpose(0, 2, 1))
        scores = np.where(mask, scores, -np.inf) if added is None else r(scores + added)
        exps = r(np.exp(r(scores - scores.max(-1, keepdims=True))))
        return r(r(exps / r(exps.sum(-1, keepdims=True))) @ wide(values))

    return in_steps(build, compute, x=weights(3, 1, 5, 4, scale=8))


def attention_float():
    mask = weights(4, 5, 3, scale=3)
    return attention(mask, wide(mask))


def attention_bool():
    mask = np.array([[1, 0, 1], [1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]], bool)
    return attention(mask, None)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_pass(r, x, h, c, w, reverse=False):
    """Hidden states beside their steps, and the last states."""
    from_input = r(x @ wide(w["ih"]).T + wide(w["b"]))
    states = [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        i, f, o, z = np.split(r(from_input[t] + r(h @ wide(w["hh"]).T)), 4, axis=1)
        look = lambda s, gate, c: r(s + r(np.split(wide(w["p"]), 3)[gate] * c)) if "p" in w else s
        i, f = r(sigmoid(look(i, 0, c))), r(sigmoid(look(f, 1, c)))
        c = r(r(f * c) + r(i * r(np.tanh(z))))
        if "clip" in w:
            c = np.clip(c, -float(w["clip"]), float(w["clip"]))
        h = r(r(sigmoid(look(o, 2, c))) * r(np.tanh(c)))
        states[t] = h
    return np.stack(states), h, c


def lstm_weights(seed, features, hidden, scale):
    at = lambda i, *shape: weights(seed + i, *shape, scale=scale)
    return {"ih": at(0, 4 * hidden, features), "hh": at(1, 4 * hidden, hidden), "b": at(2, 4 * hidden)}


def joined(sequence, *states):
    """Every result of a recurrent layer in one tensor."""
    parts = [sequence] + [mb.expand_dims(x=s, axes=[0]) for s in states]
    return mb.concat(values=parts, axis=0)


def stacked(sequence, *states):
    return np.concatenate([sequence] + [s[None] for s in states])


def lstm():
    w = lstm_weights(10, 3, 4, 10) | {"p": weights(13, 12, scale=60), "clip": np.float16(1.2)}
    h, c = weights(14, 2, 4), weights(15, 2, 4)

    def build(x):
        return joined(*mb.lstm(
            x=x, initial_h=h, initial_c=c, weight_ih=w["ih"], weight_hh=w["hh"], bias=w["b"], peephole=w["p"],
            clip=w["clip"], output_sequence=True,
        ))

    def compute(r, x):
        return stacked(*lstm_pass(r, x, wide(h), wide(c), w))

    return in_steps(build, compute, x=weights(16, 4, 2, 3))


def both_ways(seed, steps, batch, features, hidden, scale):
    w, back = (lstm_weights(s, features, hidden, scale) for s in (seed, seed + 10))
    h, c = weights(seed + 14, batch, 2 * hidden), weights(seed + 15, batch, 2 * hidden)

    def build(x):
        return joined(*mb.lstm(
            x=x, initial_h=h, initial_c=c, weight_ih=w["ih"], weight_hh=w["hh"], bias=w["b"],
            weight_ih_back=back["ih"], weight_hh_back=back["hh"], bias_back=back["b"],
            direction="bidirectional", output_sequence=True,
        ))

    def compute(r, x):
        left = lstm_pass(r, x, wide(h)[:, :hidden], wide(c)[:, :hidden], w)
        right = lstm_pass(r, x, wide(h)[:, hidden:], wide(c)[:, hidden:], back, reverse=True)
        return stacked(*[np.concatenate(pair, -1) for pair in zip(left, right)])

    return in_steps(build, compute, x=weights(seed + 16, steps, batch, features))


def lstm_both():
    return both_ways(20, 4, 2, 3, 2, 40)


def lstm_long():
    return both_ways(70, 70, 1, 1, 1, 5)


def gru_case(seed, scale, options, reset_after):
    ih, hh = weights(seed, 12, 3, scale=scale), weights(seed + 1, 12, 4, scale=scale)
    b, h = weights(seed + 2, 12, scale=scale / 5), weights(seed + 3, 2, 4, scale=3)
    ib = wide(options.get("input_bias", np.zeros(12)))

    def build(x):
        return joined(*mb.gru(
            x=x, initial_h=h, weight_ih=ih, weight_hh=hh, bias=b, output_sequence=True, **options
        ))

    def compute(r, x):
        state, states = wide(h), []
        from_input = r(x @ wide(ih).T + ib)
        product = lambda s: np.split(r(s @ wide(hh).T + wide(b)), 3, axis=1)
        steps = range(len(x))
        for t in reversed(steps) if options.get("direction") == "reverse" else steps:
            reset, output, update = np.split(from_input[t], 3, axis=1)
            from_state = product(state)
            reset, update = r(sigmoid(r(reset + from_state[0]))), r(sigmoid(r(update + from_state[2])))
            candidate = r(reset * from_state[1]) if reset_after else product(r(reset * state))[1]
            output = r(np.tanh(r(output + candidate)))
            state = r(r(r(1 - update) * output) + r(update * state))
            states.append(state)
        return stacked(np.stack(states), state)

    return in_steps(build, compute, x=weights(seed + 4, 4, 2, 3))


def gru():
    return gru_case(440, 2, {"direction": "reverse"}, False)


def gru_reset_after():
    return gru_case(50, 5, {"reset_after": True, "input_bias": weights(55, 12)}, True)


def rnn_case(ih, hh, b, h, x):
    def build(x):
        return joined(*mb.rnn(
            x=x, initial_h=h, weight_ih=ih, weight_hh=hh, bias=b, output_sequence=True, activation="relu"
        ))

    def compute(r, x):
        state, states = wide(h), []
        from_input = r(x @ wide(ih).T + wide(b))
        for step in from_input:
            state = np.maximum(r(step + r(state @ wide(hh).T)), 0)
            states.append(state)
        return stacked(np.stack(states), state)

    return in_steps(build, compute, x=x)


def rnn():
    x = weights(60, 6, 2, 3)
    return rnn_case(
        weights(61, 4, 3, scale=60), weights(62, 4, 4, scale=1.8), weights(63, 4, scale=9), weights(64, 2, 4), x
    )


def rnn_fp32():
    """Declared fp32: inputs and constants stay as they are, every result is rounded."""
    x = weights(60, 6, 2, 3).astype(np.float32) + np.float32(1e-4)
    single = lambda seed, *shape, scale: np.float32(weights(seed, *shape, scale=scale)) * np.float32(1.0001)
    return rnn_case(
        single(61, 4, 3, scale=60), single(62, 4, 4, scale=1.8), single(63, 4, scale=9), single(64, 2, 4, scale=1), x
    )


CASES = [
    square, exponential, mean_of_squares, long_sum, no_number, cancellation, underflow, softmax, layer_norm, clean,
    instance_norm, batch_norm, local_response_norm, l2_norm, reduce_sum_square, reduce_l2_norm, reduce_log_sum,
    reduce_log_sum_exp, attention_float, attention_bool, lstm, lstm_both, lstm_long, gru, gru_reset_after, rnn,
    rnn_fp32,
]
NEWER = {attention_float, attention_bool, gru_reset_after}


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
        target = ct.target.iOS18 if case in NEWER else ct.target.iOS17
        single = any(v.dtype == np.float32 for v in inputs.values())
        specs = [mb.TensorSpec(v.shape, dtype=types.fp32 if single else HALF) for v in inputs.values()]
        finish = lambda y: mb.cast(x=y, dtype="fp16", name="y") if single else mb.identity(x=y, name="y")
        if len(inputs) == 1:
            function = lambda x: finish(build(x))
        else:
            function = lambda x, z: finish(build(x, z))
        program = mb.program(input_specs=specs, opset_version=target)(function)
        convert(program, target, name)
        single = numpy(*[v.astype(np.float32) for v in inputs.values()]).astype(np.float16)
        declared = numpy(*inputs.values()).astype(np.float16)
        strict = declared if steps is None else steps(*inputs.values())
        assert strict.dtype == np.float16
        if steps is not None and case not in (softmax, clean):
            assert telling(declared, strict), f"{name}: rounding within the op makes no difference"
        expected[name] = {
            "inputs": {k: numbers(v) for k, v in inputs.items()},
            "declared": numbers(declared),
            "f32": numbers(single),
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


def telling(whole, steps):
    """True when some element differs by more than the two roundings that the test allows."""
    whole, steps = wide(whole), wide(steps)
    return bool((~(np.abs(whole - steps) <= np.abs(whole) / 200)).any())


def convert(program, target, name):
    options = {"source": "milinternal", "convert_to": "mlprogram", "minimum_deployment_target": target}
    options |= {"compute_precision": ct.precision.FLOAT32, "skip_model_load": True}
    save(ct.convert(program, pass_pipeline=ct.PassPipeline.EMPTY, **options), name)


main()
