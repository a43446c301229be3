"""Loads packages with coremltools, rebuilds each as a program there, and compares the types that its inference gives.

Usage: python oracle.py CASES.jsonl

A case is {"name": ..., "package": path, "original": path or null}; the original is the package that coremltools wrote
and ours was made from. Where coremltools fails on the original in the same words, the package is listed as one that it
cannot judge. Prints a table and the findings; exits with 1 when there are findings, with 2 when nothing could be judged.
"""

import collections
import concurrent.futures
import json
import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import coremltools as ct
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.converters.mil.mil import types

COUNTS = collections.Counter()


class Located(Exception):
    """An error with the op that it happened at."""


def dims(kind):
    """Element type and dims of a scalar or tensor type; None for other types."""
    if types.is_tensor(kind):
        return kind.get_primitive(), tuple(kind.get_shape())
    if types.is_scalar(kind) or kind == types.str:
        return kind, ()
    return None


def same(rebuilt, stored):
    a, b = dims(rebuilt), dims(stored)
    if a is None or b is None:
        return types.is_compatible_type(rebuilt, stored)
    known = all(isinstance(x, int) for x in a[1] + b[1])
    agree = a[1] == b[1] if known else len(a[1]) == len(b[1])
    return a[0] == b[0] and agree


def spell(kind):
    found = dims(kind)
    return f"{found[0].__name__}{list(found[1])}" if found else str(kind)


load_one = milproto._load_operation


def load_operation(context, op):
    """Rebuilds one op; then every type that was inferred must be the type that is stored."""
    place = f"{op.type} {', '.join(o.name for o in op.outputs)}"
    try:
        load_one(context, op)
    except Located:
        raise
    except Exception as error:
        raise Located(f"{place}: {type(error).__name__}: {error}".splitlines()[0]) from error
    COUNTS["ops"] += 1
    for output in op.outputs if op.type != "write_state" else []:
        stored = milproto.proto_to_types(output.type)
        rebuilt = context.get_var_from_name(output.name).sym_type
        COUNTS["types"] += 1
        if not same(rebuilt, stored):
            raise Located(f"{place}: {output.name} is stored as {spell(stored)}, but is {spell(rebuilt)}")


milproto._load_operation = load_operation


def interface(spec):
    """Names of the description and of the functions are the same."""
    program = spec.mlProgram
    described = {f.name: f for f in spec.description.functions} or {"main": spec.description}
    for name, function in program.functions.items():
        if name not in described:
            raise Located(f"function {name} is not described")
        features = described[name]
        block = function.block_specializations[function.opset]
        inputs = [i.name for i in function.inputs if i.type.WhichOneof("type") != "stateType"]
        if sorted(inputs) != sorted(f.name for f in features.input):
            raise Located(f"function {name} takes {inputs}, described are {[f.name for f in features.input]}")
        if sorted(block.outputs) != sorted(f.name for f in features.output):
            raise Located(f"function {name} gives {list(block.outputs)}, described are {[f.name for f in features.output]}")


def fault(package):
    """Why coremltools does not take a package; None when it does."""
    try:
        model = ct.models.MLModel(package, skip_model_load=True)
        spec = model.get_spec()
        interface(spec)
        milproto.load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)
    except Exception as error:
        kind = "" if isinstance(error, Located) else f"{type(error).__name__}: "
        return (kind + str(error)).splitlines()[0] if str(error) else type(error).__name__
    return None


def judge(case):
    COUNTS.clear()
    found = fault(case["package"])
    counts = dict(COUNTS)
    if found is not None and case["original"] and fault(case["original"]) == found:
        return case, "unjudged", found, counts
    return case, "ok" if found is None else "FAILED", found, counts


def main():
    cases = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    groups = collections.defaultdict(collections.Counter)
    told = {"FAILED": [], "unjudged": []}
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for case, verdict, found, counts in pool.map(judge, cases, chunksize=4):
            group = groups[case["name"].split("/")[0]]
            group.update(counts)
            group[verdict] += 1
            if found is not None:
                told[verdict].append(f"{case['name']}: {found}")
    print(f"{'packages':<14} {'loaded':>7} {'failed':>7} {'unjudged':>9} {'ops':>8} {'types':>8}")
    for name, group in groups.items():
        row = [group[k] for k in ("ok", "FAILED", "unjudged", "ops", "types")]
        print(f"{name:<14} {row[0]:>7} {row[1]:>7} {row[2]:>9} {row[3]:>8} {row[4]:>8}")
    if told["unjudged"]:
        print("\ncoremltools cannot rebuild these, nor the packages that it wrote itself:")
        print(*(f"  {line}" for line in told["unjudged"]), sep="\n")
    if told["FAILED"]:
        print("\nfindings:")
        print(*(f"  {line}" for line in told["FAILED"]), sep="\n")
    passed = sum(group["ok"] for group in groups.values())
    sys.exit(1 if told["FAILED"] else 0 if passed else 2)


if __name__ == "__main__":
    main()
