"""Writes the op registry of coremltools as JSON: python dump_ops.py OUT (corpus/mil-ops.json).

One entry per op and version: class, parameters (name, kind, const, optional, element types or type domain), type domains.
"""

import json
import sys

import coremltools.converters.mil.mil.ops.defs  # noqa: F401, registers the ops
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

OPSETS = {4: "ios13", 5: "ios14", 6: "ios15", 7: "ios16", 8: "ios17", 9: "ios18", 10: "ios26"}


def type_names(accepted):
    return [types.builtin_to_string(t) for t in accepted]


def parameter(name, spec):
    domain = getattr(spec, "type_domain_id", None)
    own = getattr(spec, "type_domain", None)
    return {
        "name": name,
        "kind": type(spec).__name__,
        "const": bool(spec.const),
        "optional": bool(spec.optional),
        "domain": domain,
        "types": sorted(type_names(own)) if own and not isinstance(own, str) and domain is None else [],
    }


def version(number, cls):
    domains = {k: type_names(v if isinstance(v, (tuple, list)) else [v]) for k, v in (cls.type_domains or {}).items()}
    return {
        "since": OPSETS[number],
        "class": (cls.__module__ + "." + cls.__name__).split(".defs.")[-1],
        "params": [parameter(n, s) for n, s in cls.input_spec.input_types.items()],
        "domains": domains,
    }


def main(out):
    table = {}
    for name, versions in sorted(SSAOpRegistry.core_ops.items()):
        seen, rows = None, []
        for number, cls in sorted(((int(v), c) for v, c in versions.items()), key=lambda row: row[0]):
            if cls is not seen:
                rows.append(version(number, cls))
            seen = cls
        table[name] = rows
    with open(out, "w") as f:
        json.dump(table, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
