"""Programs with inputs and what NumPy computes for them, by the formulas of the op reference of coremltools 9.0.

A case is yielded as (name, op set, inputs, program, expected): inputs and expected are arrays by name, and the program
takes the inputs as keyword arguments and gives its outputs by name. Sums are made in 64 bits.
"""

import itertools

import numpy as np

from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

RANDOM = np.random.default_rng(20260)


def floats(*shape, low=-1.0, high=1.0):
    return RANDOM.uniform(low, high, shape).astype(np.float32)


# Recurrent layers. What the op reference leaves open is as in coremltools' own tests (test_recurrent.py): `scaled_tanh`
# is `tanh`, `clip` bounds the cell state, and a reversed layer gives its steps in the order in which it makes them.

ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "relu": lambda v: np.maximum(v, 0),
    "linear": lambda v: v,
    "hard_sigmoid": lambda v: np.clip(0.2 * v + 0.5, 0, 1),
    "scaled_tanh": np.tanh,
}


def lstm_steps(x, h, c, w, u, b, p, acts, clip, backwards):
    recurrent, cell, out = (ACTIVATIONS[a] for a in acts)
    ys = []
    for step in x[::-1] if backwards else x:
        i, f, o, z = np.split(step @ w.T + h @ u.T + b, 4, axis=-1)
        pi, pf, po = np.split(p, 3)
        i, f, z = recurrent(i + pi * c), recurrent(f + pf * c), cell(z)
        c = f * c + i * z
        if clip is not None:
            c = np.clip(c, -clip, clip)
        h = recurrent(o + po * c) * out(c)
        ys.append(h)
    return np.stack(ys), h, c


def lstm_case(direction, acts, sequence, peephole=False, clip=None):
    steps, batch, inner, size = 4, 2, 3, 2
    count = 2 if direction == "bidirectional" else 1
    x, h, c = floats(steps, batch, inner), floats(batch, count * size), floats(batch, count * size)
    weights = [(floats(4 * size, inner), floats(4 * size, size), floats(4 * size), floats(3 * size)) for _ in range(count)]

    def program(x, h, c):
        more = {}
        for (w, u, b, p), tail in zip(weights, ("", "_back")):
            more |= {f"weight_ih{tail}": w, f"weight_hh{tail}": u, f"bias{tail}": b}
            if peephole:
                more[f"peephole{tail}"] = p
        if clip is not None:
            more["clip"] = np.float32(clip)
        recurrent, cell, out = acts
        ys, yh, yc = mb.lstm(
            x=x, initial_h=h, initial_c=c, direction=direction, output_sequence=sequence,
            recurrent_activation=recurrent, cell_activation=cell, activation=out, **more,
        )
        return {"ys": ys, "yh": yh, "yc": yc}

    results = []
    for at, (w, u, b, p) in enumerate(weights):
        part = slice(at * size, (at + 1) * size)
        p = p if peephole else 0 * p
        wide = [v.astype(np.float64) for v in (x, h[:, part], c[:, part], w, u, b, p)]
        results.append(lstm_steps(*wide, acts, clip, direction == "reverse" or at == 1))
    if count == 2:
        # Side by side, both halves of a step stand at that step.
        results[1] = (results[1][0][::-1], *results[1][1:])
    ys, yh, yc = (np.concatenate(parts, axis=-1) for parts in zip(*results))
    expected = {"yh": yh, "yc": yc}
    if sequence:
        expected["ys"] = ys
    return {"x": x, "h": h, "c": c}, program, expected


def gru_case(direction, acts, sequence, reset_after=None):
    steps, batch, inner, size = 4, 2, 3, 2
    x, h, w, u, b = floats(steps, batch, inner), floats(batch, size), floats(3 * size, inner), floats(3 * size, size), floats(3 * size)

    def program(x, h):
        more = {} if reset_after is None else {"reset_after": reset_after}
        ys, yh = mb.gru(
            x=x, initial_h=h, weight_ih=w, weight_hh=u, bias=b, direction=direction, output_sequence=sequence,
            recurrent_activation=acts[0], activation=acts[1], **more,
        )
        return {"ys": ys, "yh": yh}

    recurrent, out = (ACTIVATIONS[a] for a in acts)
    state, ys = h.astype(np.float64), []
    (wr, wo, wz), (ur, uo, uz), (br, bo, bz) = (np.split(v.astype(np.float64), 3) for v in (w, u, b))
    for step in x.astype(np.float64)[:: -1 if direction == "reverse" else 1]:
        r, z = recurrent(step @ wr.T + state @ ur.T + br), recurrent(step @ wz.T + state @ uz.T + bz)
        inside = r * (state @ uo.T) if reset_after else (r * state) @ uo.T
        state = (1 - z) * out(step @ wo.T + inside + bo) + z * state
        ys.append(state)
    expected = {"yh": state}
    if sequence:
        expected["ys"] = np.stack(ys)
    return {"x": x, "h": h}, program, expected


def rnn_case(direction, activation, sequence):
    x, h, w, u, b = floats(4, 2, 3), floats(2, 2), floats(2, 3), floats(2, 2), floats(2)

    def program(x, h):
        ys, yh = mb.rnn(
            x=x, initial_h=h, weight_ih=w, weight_hh=u, bias=b, direction=direction, output_sequence=sequence,
            activation=activation,
        )
        return {"ys": ys, "yh": yh}

    state, ys = h.astype(np.float64), []
    for step in x.astype(np.float64)[:: -1 if direction == "reverse" else 1]:
        state = ACTIVATIONS[activation](step @ w.astype(np.float64).T + state @ u.astype(np.float64).T + b)
        ys.append(state)
    expected = {"yh": state}
    if sequence:
        expected["ys"] = np.stack(ys)
    return {"x": x, "h": h}, program, expected


def recurrent():
    kinds = list(ACTIVATIONS)
    for at, direction in enumerate(("forward", "reverse", "bidirectional")):
        for shift in range(2):
            acts = [kinds[(2 * at + shift + k) % 6] for k in (1, 0, 4)]
            yield f"lstm_{direction}_{'_'.join(acts)}", "iOS15", *lstm_case(direction, acts, shift == 0)
    usual = ["sigmoid", "tanh", "tanh"]
    yield "lstm_peephole", "iOS15", *lstm_case("forward", usual, True, peephole=True)
    yield "lstm_peephole_bidirectional", "iOS17", *lstm_case("bidirectional", usual, True, peephole=True)
    yield "lstm_clip", "iOS17", *lstm_case("forward", usual, True, clip=0.25)
    for at, direction in enumerate(("forward", "reverse", "forward", "reverse")):
        acts = [kinds[(1 + at) % 6], kinds[(at * 2) % 6]]
        yield f"gru_{direction}_{'_'.join(acts)}", "iOS17", *gru_case(direction, acts, at < 2)
    yield "gru_reset_before", "iOS18", *gru_case("forward", ["sigmoid", "tanh"], True, reset_after=False)
    for at, activation in enumerate(kinds):
        yield f"rnn_{activation}", "iOS15", *rnn_case(["forward", "reverse"][at % 2], activation, at % 3 != 0)


# Convolutions and pools.


def padding(kind, shape, kernel, stride, dilation, custom):
    """Pairs of pads for each spatial dim."""
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if kind == "valid":
        return [(0, 0)] * len(shape)
    if kind == "custom":
        return list(zip(custom[0::2], custom[1::2]))
    pairs = []
    for n, s, k in zip(shape, stride, span):
        whole = max((-(-n // s) - 1) * s + k - n, 0)
        small, large = whole // 2, whole - whole // 2
        pairs.append((small, large) if kind == "same" else (large, small))
    return pairs


def windows(x, kernel, stride, dilation, pairs, fill):
    """For each place of a window its elements: [batch, channels, *places, elements]."""
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0)] + pairs, constant_values=fill)
    spatial = padded.shape[2:]
    counts = [(n - ((k - 1) * d + 1)) // s + 1 for n, k, s, d in zip(spatial, kernel, stride, dilation)]
    parts = []
    for offset in itertools.product(*(range(k) for k in kernel)):
        at = tuple(slice(o * d, o * d + (c - 1) * s + 1, s) for o, d, c, s in zip(offset, dilation, counts, stride))
        parts.append(padded[(slice(None), slice(None)) + at])
    return np.stack(parts, axis=-1)


def conv_case(rank, kind, groups=1, stride=1, dilation=1):
    shape, kernel = (5, 6, 4)[:rank], (3, 2, 2)[:rank]
    strides, dilations = [stride] * rank, [dilation] * rank
    custom = [1, 0, 2, 1, 0, 1][: 2 * rank]
    x, w, b = floats(1, 4, *shape), floats(6, 4 // groups, *kernel), floats(6)
    pairs = padding(kind, shape, kernel, strides, dilations, custom)
    seen = windows(x, kernel, strides, dilations, pairs, 0)
    outs = []
    for o in range(6):
        group = o // (6 // groups)
        part = seen[:, group * 4 // groups : (group + 1) * 4 // groups]
        outs.append((part * w[o].astype(np.float64).reshape((1, -1) + (1,) * rank + (part.shape[-1],))).sum(axis=(1, -1)) + b[o])

    def program(x):
        more = {"pad": np.array(custom, np.int32)} if kind == "custom" else {}
        y = mb.conv(x=x, weight=w, bias=b, strides=strides, dilations=dilations, groups=groups, pad_type=kind, **more)
        return {"y": y}

    return {"x": x}, program, {"y": np.stack(outs, axis=1)}


def pool_case(op, rank, kind, stride=2, **more):
    shape, kernel = (6, 5, 7)[:rank], (3, 2, 2)[:rank]
    strides, custom = [stride] * rank, [1, 1, 0, 1, 1, 0][: 2 * rank]
    x = floats(1, 2, *shape, low=-3, high=3)
    pairs = padding(kind, shape, kernel, strides, [1] * rank, custom)
    args = (kernel, strides, [1] * rank, pairs)
    if op == "max_pool":
        y = windows(x, *args, -np.inf).max(-1)
    elif op == "l2_pool":
        y = np.sqrt((windows(x, *args, 0) ** 2).sum(-1))
    else:
        inside = windows(np.ones_like(x), *args, 0).sum(-1)
        total = windows(x, *args, 0).sum(-1)
        y = total / (inside if more.get("exclude_padding_from_average") else np.prod(kernel))

    def program(x):
        given = {"pad": np.array(custom, np.int32)} if kind == "custom" else {}
        return {"y": getattr(mb, op)(x=x, kernel_sizes=list(kernel), strides=strides, pad_type=kind, **given, **more)}

    return {"x": x}, program, {"y": y}


def window_ops():
    kinds = ("valid", "same", "same_lower", "custom")
    for rank, kind in itertools.product((1, 3), kinds):
        yield f"conv_{rank}d_{kind}", "iOS16", *conv_case(rank, kind, stride=1 + rank % 2)
    yield "conv_3d_groups", "iOS16", *conv_case(3, "same", groups=2)
    yield "conv_3d_dilated", "iOS17", *conv_case(3, "custom", dilation=2)
    yield "conv_1d_dilated_same_lower", "iOS17", *conv_case(1, "same_lower", dilation=2)
    for rank, kind in itertools.product((1, 3), kinds):
        yield f"max_pool_{rank}d_{kind}", "iOS16", *pool_case("max_pool", rank, kind)
        inner = {"exclude_padding_from_average": kind in ("same", "custom")}
        yield f"avg_pool_{rank}d_{kind}", "iOS16", *pool_case("avg_pool", rank, kind, **inner)
    for rank, kind in ((1, "same"), (2, "custom"), (2, "valid")):
        yield f"l2_pool_{rank}d_{kind}", "iOS16", *pool_case("l2_pool", rank, kind)


# Resizing.


def grid(mode, low, high, count, size):
    """Where the samples lie between low and high; `size` is the number of pixels."""
    span, i = high - low + 1, np.arange(count, dtype=np.float64)
    if mode == "STRICT_ALIGN_CORNERS" or mode == "ALIGN_CORNERS" and count > 1:
        at = i * (span - 1) / (count - 1) if count > 1 else 0 * i
    elif mode == "ALIGN_CORNERS":
        at = np.array([(span - 1) / 2])
    elif mode == "DEFAULT":
        at = i * (span - span / count) / (count - 1) if count > 1 else 0 * i
    elif mode == "OFFSET_CORNERS":
        delta = max(1, span - 1) / count
        at = 0.5 * delta + i * delta
    else:
        at = i * span / count + 0.5 * span / count - 0.5
    return np.clip(low + np.clip(at, 0, span - 1), 0, size - 1)


def sample(x, rows, columns):
    """Bilinear samples of [..., height, width]."""
    x = x.astype(np.float64)
    for axis, at in ((-2, rows), (-1, columns)):
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (at - low).reshape((-1, 1) if axis == -2 else (-1,))
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")
BOXES = {
    "CORNERS_HEIGHT_FIRST": lambda b: b[[0, 1, 2, 3]],
    "CORNERS_WIDTH_FIRST": lambda b: b[[1, 0, 3, 2]],
    "CENTER_SIZE_HEIGHT_FIRST": lambda b: np.array([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]]),
    "CENTER_SIZE_WIDTH_FIRST": lambda b: np.array([(b[1] + b[3]) / 2, (b[0] + b[2]) / 2, b[3] - b[1], b[2] - b[0]]),
}


def crop_case(coordinates, normalized, scale, opset, count=None):
    count = count or (2 if opset == "iOS17" else 1)
    x = floats(count, 3, 8, 9)
    corners = np.array([[1.0, 2.0, 4.0, 6.0], [0.5, 1.25, 5.0, 7.5], [3.0, 0.0, 6.5, 3.5]])
    which = np.array([0, 1, 1], np.int32) % count
    expected = []
    for (top, left, bottom, right), image in zip(corners, which):
        rows = np.linspace(top, bottom, 4)
        columns = np.linspace(left, right, 3)
        expected.append(sample(x[image], rows, columns))
    given = corners / scale
    if normalized:
        given = corners / np.array([7, 8, 7, 8])
    given = np.stack([BOXES[coordinates](b) for b in given]).astype(np.float32)
    options = dict(
        target_height=4, target_width=3, normalized_coordinates=normalized, spatial_scale=np.float32(scale),
        box_coordinate_mode=coordinates, sampling_mode="STRICT_ALIGN_CORNERS",
    )

    def newer(x, boxes):
        return {"y": mb.crop_resize(x=x, boxes=boxes, box_indices=which, **options)}

    def older(x, boxes):
        return {"y": mb.crop_resize(x=x, roi=boxes, **options)}

    if opset == "iOS17":
        return {"x": x, "boxes": given}, newer, {"y": np.stack(expected)}
    roi = np.concatenate([which[:, None].astype(np.float32), given], axis=1).reshape(3, 1, 5, 1, 1)
    return {"x": x, "boxes": roi}, older, {"y": np.stack(expected)[:, None]}


def resizing():
    for mode in MODES:
        x = floats(1, 2, 5, 4)
        for label, (height, width) in (("up", (9, 7)), ("down", (3, 2))):
            def bilinear(x, mode=mode, height=height, width=width):
                y = mb.resize_bilinear(x=x, target_size_height=height, target_size_width=width, sampling_mode=mode)
                return {"y": y}

            y = sample(x, grid(mode, 0, 4, height, 5), grid(mode, 0, 3, width, 4))
            yield f"resize_bilinear_{mode.lower()}_{label}", "iOS15", {"x": x}, bilinear, {"y": y}

        def linear(x, mode=mode):
            shape = np.array([7, 6], np.int32)
            y = mb.resize(x=x, shape=shape, resized_dims=np.uint32(2), interpolation_mode="LINEAR", sampling_mode=mode)
            return {"y": y}

        y = sample(x, grid(mode, 0, 4, 7, 5), grid(mode, 0, 3, 6, 4))
        yield f"resize_linear_{mode.lower()}", "iOS17", {"x": x}, linear, {"y": y}
    for coordinates in BOXES:
        yield f"crop_resize_{coordinates.lower()}", "iOS17", *crop_case(coordinates, False, 1, "iOS17")
    yield "crop_resize_normalized", "iOS17", *crop_case("CORNERS_HEIGHT_FIRST", True, 1, "iOS17")
    yield "crop_resize_scaled", "iOS17", *crop_case("CORNERS_WIDTH_FIRST", False, 0.5, "iOS17")
    yield "crop_resize_ios16_indexed", "iOS16", *crop_case("CENTER_SIZE_WIDTH_FIRST", False, 1, "iOS16")


# Gathering, scattering and sorting.

SCATTER = {
    "update": lambda a, b: b,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": max,
    "min": min,
}


def scatter_cases():
    for mode, combine in SCATTER.items():
        data, indices = floats(4, 3, low=1, high=3), np.array([2, 0, 2] if mode != "update" else [2, 0, 1], np.int32)
        updates = floats(3, 3, low=1, high=3)

        def rows(data, updates, mode=mode, indices=indices):
            return {"y": mb.scatter(data=data, indices=indices, updates=updates, axis=0, mode=mode)}

        y = data.astype(np.float64)
        for k, at in enumerate(indices):
            y[at] = [combine(a, b) for a, b in zip(y[at], updates[k].astype(np.float64))]
        yield f"scatter_{mode}", "iOS15", {"data": data, "updates": updates}, rows, {"y": y}

        places = np.array([[0, 1], [3, 2], [0, 1] if mode != "update" else [2, 0], [1, 1]], np.int32)
        points = floats(4, low=1, high=3)

        def nd(data, updates, mode=mode, places=places):
            return {"y": mb.scatter_nd(data=data, indices=places, updates=updates, mode=mode)}

        y = data.astype(np.float64)
        for at, v in zip(places, points.astype(np.float64)):
            y[tuple(at)] = combine(y[tuple(at)], v)
        yield f"scatter_nd_{mode}", "iOS17", {"data": data, "updates": points}, nd, {"y": y}

        along = np.array([[0, 1, 2], [3, 1, 0]] if mode != "update" else [[0, 1, 2], [3, 2, 0]], np.int32)
        two = floats(2, 3, low=1, high=3)

        def axis(data, updates, mode=mode, along=along):
            return {"y": mb.scatter_along_axis(data=data, indices=along, updates=updates, axis=0, mode=mode)}

        y = data.astype(np.float64)
        for (r, c), at in np.ndenumerate(along):
            y[at, c] = combine(y[at, c], np.float64(two[r, c]))
        yield f"scatter_along_axis_{mode}", "iOS17", {"data": data, "updates": two}, axis, {"y": y}


def gather_cases():
    x = floats(2, 4, 3)
    indices = np.array([[3, -1], [0, -4]], np.int32)

    def batched(x):
        return {"y": mb.gather(x=x, indices=indices, axis=1, batch_dims=1, validate_indices=False)}

    y = np.stack([x[b][indices[b]] for b in range(2)])
    yield "gather_batch_dims_negative", "iOS17", {"x": x}, batched, {"y": y}

    points = np.array([[[1, 2], [-1, 0]], [[3, -3], [0, 1]]], np.int32)

    def nd(x):
        return {"y": mb.gather_nd(x=x, indices=points, batch_dims=1, validate_indices=False)}

    y = np.stack([[x[b][tuple(p)] for p in points[b]] for b in range(2)])
    yield "gather_nd_batch_dims_negative", "iOS17", {"x": x}, nd, {"y": y}

    along = np.array([[[0, -1, 2]], [[-4, 3, 1]]], np.int32)

    def axis(x):
        return {"y": mb.gather_along_axis(x=x, indices=along, axis=1, validate_indices=False)}

    yield "gather_along_axis_negative", "iOS17", {"x": x}, axis, {"y": np.take_along_axis(x, along % 4, 1)}

    for dtype in ("int16", "uint16", "int8", "uint8"):
        values = np.arange(6, dtype=np.int32).reshape(2, 3) * 7

        def narrow(x, dtype=dtype):
            y = mb.gather(x=mb.cast(x=x, dtype=dtype), indices=np.array([1, 0], np.int32), axis=0)
            return {"y": mb.cast(x=y, dtype="int32")}

        yield f"gather_{dtype}", "iOS17", {"x": values}, narrow, {"y": values[[1, 0]]}


def sorting_cases():
    x = np.array([[2, 5, 5, -1, 2, 9], [0, 0, 0, 0, 1, -1]], np.float32)
    for ascending in (False, True):
        ordered = np.sort(x, axis=-1)
        ordered = ordered if ascending else ordered[:, ::-1]

        def largest(x, ascending=ascending):
            values, indices = mb.topk(x=x, k=4, axis=-1, ascending=ascending)
            # Which of equal elements comes first is not said: what the indices stand for is.
            return {"values": values, "found": mb.gather_along_axis(x=x, indices=indices, axis=-1)}

        top = ordered[:, :4]
        yield f"topk_ties_{ascending}", "iOS16", {"x": x}, largest, {"values": top, "found": top}

        def order(x, ascending=ascending):
            return {"y": mb.gather_along_axis(x=x, indices=mb.argsort(x=x, axis=-1, ascending=ascending), axis=-1)}

        yield f"argsort_ties_{ascending}", "iOS15", {"x": x}, order, {"y": ordered}


# Boxes.


def iou(a, b):
    (al, at, ar, ab), (bl, bt, br, bb) = (
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in (a.astype(np.float64), b.astype(np.float64))
    )
    inner = max(0, min(ar, br) - max(al, bl)) * max(0, min(ab, bb) - max(at, bt))
    return inner / ((ar - al) * (ab - at) + (br - bl) * (bb - bt) - inner)


def kept_boxes(boxes, scores, limit, least, count):
    """Indices of one image with one class, best first."""
    chosen = []
    for k in np.argsort(-scores[:, 0], kind="stable"):
        if scores[k, 0] >= least and all(iou(boxes[k], boxes[c]) <= limit for c in chosen) and len(chosen) < count:
            chosen.append(k)
    return chosen


def nms_cases():
    for limit, least, count in ((0.3, 0.0, 4), (0.6, 0.4, 6), (0.05, 0.1, 3)):
        boxes = np.concatenate([floats(1, 12, 2, low=0, high=6), floats(1, 12, 2, low=2, high=4)], -1)
        scores = RANDOM.permutation(np.linspace(0.05, 0.95, 12)).astype(np.float32).reshape(1, 12, 1)
        chosen = kept_boxes(boxes[0], scores[0], limit, least, count)

        def program(boxes, scores, limit=limit, least=least, count=count):
            b, s, i, n = mb.non_maximum_suppression(
                boxes=boxes, scores=scores, iou_threshold=np.float32(limit), score_threshold=np.float32(least), max_boxes=count,
            )
            return {"boxes_out": b, "scores_out": s, "indices": i, "number": n}

        expected = {"number": np.array([len(chosen)])}
        # What stands behind the last box that was chosen is not said.
        if len(chosen) == count:
            expected |= {"boxes_out": boxes[:, chosen], "scores_out": scores[:, chosen], "indices": np.array([chosen])}
        yield f"nms_{limit}_{least}", "iOS15", {"boxes": boxes, "scores": scores}, program, expected


# Weights that are unpacked in two steps.


def as_type(values, dtype):
    return np.array(values).astype(dtype)


def joint_cases():
    x = floats(2, 8)
    mask = RANDOM.integers(0, 2, (6, 8)).astype(np.uint8)
    mask[0, 0] = 1
    count = int(mask.sum())
    bits = as_type(mask, types.np_uint1_dtype)

    def dense(values):
        full = np.zeros(mask.shape)
        full[mask == 1] = values
        return full

    def linear(x, weight):
        return {"y": mb.linear(x=x, weight=weight)}

    for name, dtype, size in (("uint4", types.np_uint4_dtype, 16), ("uint2", types.np_uint2_dtype, 4), ("uint1", types.np_uint1_dtype, 2)):
        codes, lut = RANDOM.integers(0, size, count), floats(1, 1, size, 1)

        def palette(x, codes=codes, lut=lut, dtype=dtype):
            m, v = mb.constexpr_lut_to_sparse(indices_mask=bits, indices_nonzero_data=as_type(codes, dtype), lut=lut)
            return linear(x, mb.constexpr_sparse_to_dense(nonzero_data=v, mask=m))

        y = x.astype(np.float64) @ dense(lut.astype(np.float64)[0, 0, codes, 0]).T
        yield f"constexpr_lut_to_sparse_{name}", "iOS18", {"x": x}, palette, {"y": y}

    for name, dtype, low, high in (("int8", np.int8, -128, 128), ("uint8", np.uint8, 0, 256), ("int4", types.np_int4_dtype, -8, 8), ("uint4", types.np_uint4_dtype, 0, 16)):
        data, scale = RANDOM.integers(low, high, count), floats(6, 1, low=0.01, high=0.1)
        for shifted in (False, True):
            offset = RANDOM.integers(max(low, -4), 5, (6, 1))

            def blocks(x, data=data, scale=scale, offset=offset, dtype=dtype, shifted=shifted):
                more = {"offset": as_type(offset, dtype)} if shifted else {}
                m, v = mb.constexpr_sparse_blockwise_shift_scale(
                    data_mask=bits, nonzero_data=as_type(data, dtype), scale=scale, **more
                )
                return linear(x, mb.constexpr_sparse_to_dense(nonzero_data=v, mask=m))

            weight = (dense(data) - (offset if shifted else 0)) * scale.astype(np.float64) * mask
            label = f"constexpr_sparse_blockwise_{name}{'_offset' if shifted else ''}"
            yield label, "iOS18", {"x": x}, blocks, {"y": x.astype(np.float64) @ weight.T}

    for name, dtype in (("int8", np.int8), ("uint8", np.uint8)):
        codes = RANDOM.integers(0, 16, (6, 8))
        lut = RANDOM.integers(0 if name == "uint8" else -100, 100, (1, 1, 16, 1))
        scale = floats(1, 2, low=0.01, high=0.1)

        def scaled(x, codes=codes, lut=lut, scale=scale, dtype=dtype):
            w = mb.constexpr_lut_to_dense(indices=as_type(codes, types.np_uint4_dtype), lut=as_type(lut, dtype))
            return linear(x, mb.constexpr_blockwise_shift_scale(data=w, scale=scale))

        weight = lut[0, 0, codes, 0] * np.repeat(scale.astype(np.float64), 4, axis=1)
        yield f"constexpr_lut_then_blockwise_{name}", "iOS18", {"x": x}, scaled, {"y": x.astype(np.float64) @ weight.T}


# Ops that are rare elsewhere, and newer op sets.


def rare_cases():
    x = floats(2, 3, 4, low=-3, high=3)
    for keep, axes in ((True, [0]), (False, [1, 2]), (True, [-1])):
        def norm(x, keep=keep, axes=axes):
            return {"y": mb.reduce_l1_norm(x=x, axes=axes, keep_dims=keep)}

        y = np.abs(x.astype(np.float64)).sum(axis=tuple(axes), keepdims=keep)
        yield f"reduce_l1_norm_{keep}_{axes[0]}", "iOS15", {"x": x}, norm, {"y": y}
    for opset in ("iOS15", "iOS17"):
        image, alpha = floats(1, 3, 2, 4, low=-3, high=3), floats(3)

        def slope(x, alpha=alpha):
            return {"y": mb.prelu(x=x, alpha=alpha)}

        y = np.where(image >= 0, image, image * alpha.reshape(1, 3, 1, 1).astype(np.float64))
        yield f"prelu_{opset}", opset, {"x": image}, slope, {"y": y}
    for opset in ("iOS15", "iOS18", "iOS26"):
        small = floats(5, low=-0.95, high=0.95)

        def curves(x):
            return {"c": mb.cos(x=x), "a": mb.atanh(x=x), "s": mb.sinh(x=x), "t": mb.tan(x=x)}

        wide = small.astype(np.float64)
        expected = {"c": np.cos(wide), "a": np.arctanh(wide), "s": np.sinh(wide), "t": np.tan(wide)}
        yield f"curves_{opset}", opset, {"x": small}, curves, expected
    for block in (2, 3):
        image = floats(1, 2 * block * block, 2, 3)

        def spread(x, block=block):
            return {"y": mb.depth_to_space(x=x, block_size=block)}

        y = image.reshape(1, block, block, 2, 2, 3).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 2 * block, 3 * block)
        yield f"depth_to_space_{block}", "iOS15", {"x": image}, spread, {"y": y}
    values = floats(2, 3)

    def into_list(x):
        ls = mb.make_list(init_length=4, elem_shape=(3,), dtype="fp32")
        ls = mb.list_scatter(ls=ls, indices=np.array([3, 1], np.int32), value=x)
        return {"y": mb.list_gather(ls=ls, indices=np.array([1, 3], np.int32))}

    yield "list_scatter", "iOS15", {"x": values}, into_list, {"y": values[::-1]}

    q, k, v = floats(1, 2, 3, 4), floats(1, 2, 5, 4), floats(1, 2, 5, 4)
    allowed = RANDOM.integers(0, 2, (3, 5)).astype(bool)
    allowed[:, 0] = True
    wide = [t.astype(np.float64) for t in (q, k, v)]
    weights = wide[0] @ wide[1].swapaxes(-1, -2) / 2
    weights = np.where(allowed, weights, -np.inf)
    weights = np.exp(weights - weights.max(-1, keepdims=True))
    y = weights / weights.sum(-1, keepdims=True) @ wide[2]
    for opset in ("iOS18", "iOS26"):
        def attention(q, k, v):
            return {"y": mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=allowed)}

        yield f"attention_masked_{opset}", opset, {"q": q, "k": k, "v": v}, attention, {"y": y}

    x, part = floats(4, 6), floats(2, 2)

    def update(x, part):
        begin, end, stride = (np.array(t, np.int32) for t in ([1, -5], [3, 5], [1, 2]))
        return {"y": mb.slice_update(x=x, update=part, begin=begin, end=end, stride=stride)}

    y = x.copy()
    y[1:3, -5:5:2] = part
    yield "slice_update_strided_iOS26", "iOS26", {"x": x, "part": part}, update, {"y": y}

    numbers = np.array([[-7, -3, 0, 5], [8, 100, -100, 3]], np.int32)
    by = np.array([[3], [-7]], np.int32)

    def whole(x, by):
        return {"d": mb.floor_div(x=x, y=by), "m": mb.mod(x=x, y=by), "a": mb.maximum(x=x, y=by)}

    expected = {"d": numbers // by, "m": numbers % by, "a": np.maximum(numbers, by)}
    yield "int32_division_iOS26", "iOS26", {"x": numbers, "by": by}, whole, expected


def image_batches():
    """Boxes before iOS17 on several images.

    The op reference makes [N, 1, C, height, width] of boxes that name their image, but coremltools' type inference says
    [N, B, C, height, width] for both forms of a box, and every op after it builds on that: each crop, repeated.
    """
    for mode, opset in (("CORNERS_HEIGHT_FIRST", "iOS15"), ("CENTER_SIZE_WIDTH_FIRST", "iOS16")):
        inputs, program, expected = crop_case(mode, False, 1, opset, count=2)
        expected = {"y": np.repeat(expected["y"], 2, axis=1)}
        yield f"crop_resize_{opset.lower()}_indexed_batch", opset, inputs, program, expected
    x = floats(2, 3, 6, 5)
    rows, columns = (np.linspace(1, 4, 3), np.linspace(0, 5, 3)), (np.linspace(2, 4, 2), np.linspace(0, 3, 2))
    boxes = np.array([[1, 2, 4, 4], [0, 0, 5, 3]], np.float32).reshape(2, 1, 4, 1, 1)

    def every(x, boxes):
        y = mb.crop_resize(x=x, roi=boxes, target_height=3, target_width=2, sampling_mode="STRICT_ALIGN_CORNERS")
        return {"y": y}

    y = np.stack([sample(x, *box) for box in zip(rows, columns)])
    yield "crop_resize_ios15_every_image", "iOS15", {"x": x, "boxes": boxes}, every, {"y": y}


def all_cases():
    groups = (
        recurrent, window_ops, resizing, scatter_cases, gather_cases, sorting_cases, nms_cases, joint_cases, rare_cases,
        image_batches,
    )
    for group in groups:
        yield from group()
