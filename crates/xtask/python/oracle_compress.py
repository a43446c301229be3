"""Compresses and unpacks packages with coremltools and compares every weight with ours: CASES.jsonl.

A case has the original, our package, and what was done: `way` and `settings` of an optimisation of coremltools, or
`decompress`. Deterministic schemes must agree in every operand of every constexpr op; k-means in its error alone, which must
be no larger than theirs.
"""

import json
import sys
import warnings

import numpy as np

import coremltools as ct
import coremltools.optimize.coreml as cto
from coremltools.converters.mil.frontend.milproto.load import load

warnings.filterwarnings("ignore")
np.seterr(all="ignore")

WAYS = {
    "linear": (cto.linear_quantize_weights, cto.OpLinearQuantizerConfig),
    "palette": (cto.palettize_weights, cto.OpPalettizerConfig),
    "prune": (cto.prune_weights, cto.OpMagnitudePrunerConfig),
}


def program(model):
    return load(model._spec, model._spec.specificationVersion, model.weights_dir)


def weights(prog):
    """Every constant or unpacked float tensor that an op reads, by function, result of the op and parameter."""
    found = {}
    for name, function in prog.functions.items():
        stack = [function]
        while stack:
            block = stack.pop()
            for op in block.operations:
                stack.extend(op.blocks)
                if op.op_type == "const" or op.op_type.startswith("constexpr_"):
                    continue
                for param, var in op.inputs.items():
                    if var is None or isinstance(var, (list, tuple)) or var.op is None:
                        continue
                    if var.op.op_type == "const" or var.op.op_type.startswith("constexpr_"):
                        found[(name, op.outputs[0].name, param)] = var
    return found


def dense(var):
    op = var.op
    return np.asarray(var.val if op.op_type == "const" else op.materialized_val_inference())


def operands(var):
    """Kind and arrays of what a weight is made of."""
    if var.op.op_type == "const":
        return "const", {"val": var.val}
    arrays = {k: v.val for k, v in var.op.inputs.items() if v is not None and v.val is not None}
    return var.op.op_type, arrays


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)


def compare(case, original, theirs, ours):
    """What is wrong, and how many weights were compared."""
    faults, count = [], 0
    kmeans = case["settings"].get("mode") == "kmeans" if case["way"] != "decompress" else False
    theirs, ours, plain = weights(theirs), weights(ours), weights(original)
    for key, var in theirs.items():
        left = var.op.op_type == "const" and (key not in ours or ours[key].op.op_type == "const")
        if left and (case["way"] != "decompress" or not np.issubdtype(np.asarray(var.val).dtype, np.floating)):
            continue
        if key not in ours:
            faults.append(f"{key}: not there")
            continue
        if case["way"] == "decompress":
            if not np.issubdtype(np.asarray(dense(var)).dtype, np.floating):
                continue
            if not same(dense(var), dense(ours[key])):
                faults.append(f"{key}: other values")
            count += 1
            continue
        (their_kind, their_arrays), (our_kind, our_arrays) = operands(var), operands(ours[key])
        count += 1
        if their_kind != our_kind:
            faults.append(f"{key}: {our_kind}, theirs is {their_kind}")
        elif kmeans:
            was = np.asarray(plain[key].val, np.float64)
            error = [np.mean((np.asarray(dense(v), np.float64) - was) ** 2) for v in (ours[key], var)]
            if error[0] > error[1] * (1 + 1e-6) + 1e-30:
                faults.append(f"{key}: error {error[0]}, theirs is {error[1]}")
        else:
            for param in sorted(set(their_arrays) | set(our_arrays)):
                if param == "shape":
                    continue
                if param not in their_arrays or param not in our_arrays:
                    faults.append(f"{key}: {param} is in one alone")
                elif not same(their_arrays[param], our_arrays[param]):
                    faults.append(f"{key}: other {param}")
    return faults, count


def main():
    cases = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    wrong = 0
    print(f"{'compression':<52} {'weights':>8}")
    for case in cases:
        try:
            original = ct.models.MLModel(case["original"], skip_model_load=True)
            if case["way"] == "decompress":
                made = cto.decompress_weights(original)
            else:
                way, config = WAYS[case["way"]]
                made = way(original, cto.OptimizationConfig(global_config=config(**case["settings"])))
            mine = ct.models.MLModel(case["package"], skip_model_load=True)
            faults, count = compare(case, program(original), program(made), program(mine))
        except Exception as error:
            faults, count = [f"{type(error).__name__}: {error}".splitlines()[0]], 0
        if count == 0 and not faults:
            faults = ["nothing was compared"]
        print(f"{case['name']:<52} {count:>8}  {'ok' if not faults else 'FAILED'}")
        for fault in faults[:5]:
            print(f"    {fault}")
        wrong += bool(faults)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
