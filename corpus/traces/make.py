"""Writes the traces of this folder. Usage: python make.py (standard library only)

What Core ML planned and what the compiler estimated comes from ../placement, see README.md there; the layouts are those
of published tools, see README.md here. Times of predictions come from published measurements, which `TIMES` names.
"""
import json
import pathlib

HERE = pathlib.Path(__file__).parent
PLACEMENT = HERE.parent / "placement"
LABELS = {r["id"]: r for r in map(json.loads, (PLACEMENT / "labels.jsonl").read_text().splitlines())}
COSTS = [json.loads(line) for line in (PLACEMENT / "costs.jsonl").read_text().splitlines()]
GRAPH = "ctx/gather_nd"
UNITS = "CPU_AND_NE"
CLASS = {"CPU": "MLCPUComputeDevice", "GPU": "MLGPUComputeDevice", "ANE": "MLNeuralEngineComputeDevice"}
CAMEL = {"CPU": "cpu", "GPU": "gpu", "ANE": "neuralEngine"}
LETTER = {"CPU": "C", "GPU": "G", "ANE": "N"}

# Neural Engine time of a chain and dispatch of a warm call on an M4, in ns: 751K/Apple-Neural-Engine-Microarchitecture-
# Study-M6, final_report/en.md (90 to 95 us per call). The recording below repeats one call with these times.
TIMES = {"dispatch": 92_500, "engine": 1_000_000, "gap": 200_000, "load": 35_000_000}


def put(name, content):
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    path.write_text(text)


def ops(graph=GRAPH, units=UNITS):
    return LABELS[graph]["plans"][units]


# JSON, one op an object: as erwinzhang7/coreml-compute-placement writes its residency reports.
put("plan-snake.json", {
    "model": "gather_nd.mlpackage", "compute_units": UNITS,
    "operations": [{"function": "main", "operator": o["coreml_type"], "preferred": o["preferred"],
                    "supported": sorted(o["supported"]), "cost": o["cost_share"]} for o in ops()]})

# JSON in camel case, as Swift programs encode it; constants have no device.
put("plan-camel.json", {"computePlans": [{"component": "gather_nd", "status": "available", "operations": [
    {"path": "main/0:const", "operatorName": "const", "estimatedCostWeight": None, "preferredComputeDevice": None,
     "supportedComputeDevices": []}] + [
    {"path": f"main/{i}:{o['op']}", "operatorName": o["coreml_type"], "outputNames": [o["output"]],
     "estimatedCostWeight": o["cost_share"], "preferredComputeDevice": CAMEL[o["preferred"]],
     "supportedComputeDevices": [CAMEL[d] for d in o["supported"]], "fallbackReason": None}
    for i, o in enumerate(ops(), 1)]}]})

# JSON with the names of classes, as scripts over coremltools dump them.
put("plan-classes.json", {"kind": "program", "function_name": "main", "operation_count": len(ops()), "rows": [
    {"op_index": i, "operator_type": o["coreml_type"], "identity": o["output"],
     "preferred_compute_device": CLASS[o["preferred"]], "supported_compute_devices": [CLASS[d] for d in o["supported"]],
     "estimated_cost_weight": o["cost_share"]} for i, o in enumerate(ops())]})


# JSON as coremltools 9.0 fetches it from a device (models/ml_program/experimental/remote_device.py, ComputePlan).
def remote(device):
    return {CAMEL[device]: {"totalCoreCount": 16} if device == "ANE" else {}}


put("plan-remote.json", {"infos": [
    {"deviceUsage": {"preferred": remote(o["preferred"]), "supported": [remote(d) for d in o["supported"]]},
     "estimatedCost": o["cost_share"],
     "path": {"components": [{"program": {}}, {"programFunction": {"data": {"name": "main"}}},
                             {"programBlock": {"data": {"index": -1}}},
                             {"programOperation": {"data": {"outputName": o["output"]}}}]}} for o in ops()]})

# JSON lines: records of a placement study.
put("plans.jsonl", "".join(json.dumps(LABELS[g]) + "\n" for g in ("iso/log_softmax", "iso/conv1x1", "ctx/sdpa_mask")))

# A table with tabs: tools/common/computeplan.swift of 751K/Apple-Neural-Engine-Microarchitecture-Study-M6.
rows = []
for graph in ("iso/add_f32", GRAPH, "iso/max_pool_k15"):
    for i, o in enumerate(ops(graph)):
        cells = [graph.split("/")[1], str(i), o["coreml_type"], o["output"], o["preferred"], ",".join(o["supported"])]
        rows.append("\t".join(cells + [f"{o['cost_share']:.4f}"]))
rows.append("nms\t-\tERROR\t-\t-\t-\tError Domain=com.apple.mlassetio Code=1")
put("plan.tsv", "\n".join(rows) + "\n")

# Log lines of freedomtan/coreml_modelc_profling; cost in percent.
put("plan.log", "2024-06-13 16:59:10.784 coreml_profiling[1:1] ML Program \n" + "".join(
    f"2024-06-13 16:59:10.785 coreml_profiling[1:1] operation {o['coreml_type']}, device <{CLASS[o['preferred']]}: "
    f"0x6000036e8170>, cost {100 * o['cost_share']:.4f}%\n" for o in ops()))

# The listing of smpanaro/CoreMLInspect; cost in percent, the preferred unit first.
put("plan.listing", "func main(x0, x1) {\n           begin_0 = const()\n" + "".join(
    f"{100 * o['cost_share']:.2f}% {LETTER[o['preferred']]}|"
    f"{''.join(LETTER[d] for d in o['supported'] if d != o['preferred'])}  "
    f"{o['output']} = {o['coreml_type']}(x: [\"x\"])\n" for o in ops()) + "}\n")

# A table with commas: the compiler's estimates as freedomtan/coreml_modelc_profling prints them.
BACKENDS = ["ane", "bnns", "classic_cpu"]
picked = [c for c in COSTS if c["graph"] in ("iso/conv1x1", "iso/embedding", "iso/log_softmax", "iso/linear")]
lines = ["DebugName, OpType, SelectedBackend, " + ", ".join(f"backend_{i}" for i in range(3)) + ", "
         + ", ".join(f"est_time_{i}" for i in range(3)) + ", " + ", ".join(f"invalid_{i}" for i in range(3))]
for at, c in enumerate(picked, 5):
    ms = [c["estimated_ms"].get(b) for b in BACKENDS]
    lines.append(", ".join(
        [f"ios18.{c['op']}:{at}:12", f"ios18.{c['op']}", '"bnns"'] + [b if v is not None else "" for b, v in zip(BACKENDS, ms)]
        + ["" if v is None else repr(v) for v in ms]
        + ["Unsupported tensor data type: int32." if ms[0] is None else "", "", ""]))
put("estimates.csv", "\n".join(lines) + "\n")


# analytics.mil, as the E5 compiler leaves it in its cache; published under data/03_compile/opdispatch/ana of 751K/….
def ty(t, buffer=False):
    shape = ", ".join(map(str, t["shape"]))
    if not buffer:
        return f"tensor<{t['dtype']}, [{shape}]>" if t["shape"] else t["dtype"]
    strides, step = [], 1
    for d in reversed(t["shape"]):
        strides.insert(0, step)
        step *= d
    return (f"tensor_buffer<{t['dtype']}, shape=[{shape}], strides=[{', '.join(map(str, strides))}], "
            f"interleave_factors=[{', '.join('1' for _ in strides)}]>")


def literal(v, dtype):
    if isinstance(v, list):
        return "[" + ", ".join(literal(x, dtype) for x in v) + "]"
    if isinstance(v, bool):
        return str(v).lower()
    return json.dumps(v) if isinstance(v, str) else repr(v)


def constant(t):
    if "value" not in t:
        return f"{ty(t)}(BLOBFILE(path = string(\"@model_path/weights/weights.bin\"), offset = uint64(64)))"
    return f"{ty(t)}({literal(t['value'], t['dtype'])})"


def attributes(ms, index, selected, why):
    support = ["unsupported", "unsupported", "bnns", "classic_cpu", "ane" if "ane" in ms else "unsupported"]
    times = ", ".join(f'{{"{b}", {v!r}}}' for b, v in sorted(ms.items()))
    parts = ["BackendSupport = list<string, 5>([" + ", ".join(f'"{s}"' for s in support) + "])",
             f"EstimatedRuntime = dict<string, fp64>({{{times}}})",
             f'SelectedBackend = string("{selected}")']
    if "ane" not in ms:
        parts.append(f'ValidationMessage = dict<string, string>({{{{"ane", "{why}"}}}})')
    return "[" + ", ".join(parts + [f"milId = uint64({index})"]) + "]"


LAUNCH = ["ane", "bnns", "classic_cpu", "e5_minimal_cpu", "jit_call"]
FIXED = [f"Launch_{b}_ms = fp64({'0x1p-3' if b == 'ane' else '0x0p+0'})" for b in LAUNCH] + [
    f"Src_{a}_Dest_{b}_ms = fp64(0x1p-3)" for a in LAUNCH for b in LAUNCH if a != b]
MOVED = "_4D454D5F4F5054"


def analytics(graph, names, why="Unsupported tensor data type: int32"):
    """`names`: for each op of the graph, the values that its operands come from, by parameter."""
    rows = [c for c in COSTS if c["graph"] == graph]
    made = {c["output"] for c in rows}
    label = {o["output"]: o["preferred"] for o in LABELS[graph]["plans"][UNITS]} if graph in LABELS else {}
    inputs, body, index = {}, [], 0
    for c, operands in zip(rows, names):
        for param, ts in c["inputs"].items():
            for t, name in zip(ts, operands.get(param, [])):
                if name not in made:
                    inputs[name] = t
    for name, t in inputs.items():
        zero = {b: 0 for b in BACKENDS}
        body.append(f"{ty(t)} {name}{MOVED} = tensor_buffer_to_tensor<ios17>(input = {name})"
                    + attributes(zero, index, "bnns", "") + ";")
        index += 1
    for c, operands in zip(rows, names):
        args = []
        for param in sorted(c["inputs"]):
            ts = c["inputs"][param]
            values = [n + MOVED for n in operands.get(param, [])] or [constant(t) for t in ts]
            args.append(f"{param} = {values[0]}" if len(values) == 1 else f"{param} = ({', '.join(values)})")
        selected = "ane" if label.get(c["output"]) == "ANE" else "bnns"
        results = ", ".join(f"{ty(t)} {c['output']}{MOVED}" for t in c["outputs"][:1])
        body.append(f"{results} = {c['op']}({', '.join(args)})" + attributes(c["estimated_ms"], index, selected, why)[:-1]
                    + f', name = string("{c["output"]}")];')
        index += 1
    last = rows[-1]
    out = last["outputs"][0]
    body.append(f"{ty(out, True)} {last['output']} = tensor_to_tensor_buffer<ios17>(input = {last['output']}{MOVED}, "
                f"interleave_factors = tensor<uint8, [{len(out['shape'])}]>([{', '.join('1' for _ in out['shape'])}]))"
                '[BackendSupport = list<string, 5>(["unsupported", "unsupported", "unsupported", "unsupported", '
                f'"unsupported"]), SelectedBackend = string("bnns"), milId = uint64({index})];')
    head = ", ".join(f"{ty(t, True)} {n}" for n, t in inputs.items())
    text = ('program(1.3)\n[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3600.16.1"}, '
            '{"coremlc-version", "3600.25.2"}, {"coremltools-component-milinternal", ""}, {"coremltools-version", "9.0"}})]\n{\n'
            f"    func main<ios18>({head}) [{', '.join(FIXED)}] {{\n"
            + "".join(f"            {line}\n" for line in body)
            + f"        }} -> ({last['output']});\n}}\n")
    put(f"analytics/{graph.split('/')[1]}.mil", text)


analytics("iso/log_softmax", [{"x": ["x0"]}, {"x": ["x0"], "y": ["reduce_log_sum_exp_0"]}])
analytics("iso/conv1x1", [{"x": ["x0"]}])
analytics("iso/conv_transpose", [{"x": ["x0"]}])
analytics("iso/linear", [{"x": ["x0"]}])
analytics("iso/argmax_flat", [{"x": ["x0"]}, {"x": ["reduce_argmax_0"]}])


# Tables of Instruments: columns, types of elements, ids and references as in the fixtures of public parsers.
def table(schema, columns, rows, number):
    cols = "".join(f"<col><mnemonic>{m}</mnemonic><name>{m.title()}</name><engineering-type>{t}</engineering-type></col>"
                   for m, t in columns)
    known, out = {}, []
    for row in rows:
        cells = []
        for (_, kind), value in zip(columns, row):
            if value is None:
                cells.append("<sentinel/>")
            elif (kind, value) in known:
                cells.append(f'<{kind} ref="{known[kind, value]}"/>')
            else:
                table.next += 1
                known[kind, value] = table.next
                shown = f"{value / 1e6:.2f} ms" if isinstance(value, int) else str(value).replace("&", "&amp;")
                inner = value if isinstance(value, int) else shown
                cells.append(f'<{kind} id="{table.next}" fmt="{shown}">{inner}</{kind}>')
        out.append("<row>" + "".join(cells) + "</row>\n")
    return (f"<node xpath='//trace-toc[1]/run[1]/data[1]/table[{number}]'>\n<schema name=\"{schema}\">{cols}</schema>\n"
            + "".join(out) + "</node>\n")


table.next = 0
CALLS = 12
LABEL = "model_main_1F2E_ane_0"
ANE = [("start", "start-time"), ("duration", "duration"), ("channel-name", "ane-event-name"), ("state", "gpu-state"),
       ("nesting-level", "metal-nesting-level"), ("label", "formatted-label")]
COREML = [("start", "start-time"), ("duration", "duration"), ("process", "process"), ("event", "coreml-model-event"),
          ("model-name", "coreml-model-name")]
GPU = [("start", "start-time"), ("duration", "duration"), ("channel-name", "gpu-channel-name"), ("state", "gpu-state"),
       ("process", "process")]


def recording(gpu_too=False):
    ane, coreml, gpu = [], [], []
    load = TIMES["load"]
    ane.append((1_000_000, load, "Neural Engine", "Active", 0, f"{LABEL} Load"))
    coreml.append((1_000_000, load + 500_000, "app (42)", "Load", "model-1F2E"))
    at = 60_000_000
    for _ in range(CALLS):
        engine, dispatch = TIMES["engine"], TIMES["dispatch"]
        coreml.append((at, engine + dispatch, "app (42)", "Prediction", "model-1F2E"))
        if gpu_too:
            # Layers by turns: attention on the GPU, the rest on the Neural Engine.
            part, begin = (engine // 10, at + dispatch // 2)
            for i in range(10):
                lane = gpu if i % 3 == 2 else ane
                row = (begin + i * part, part) + (("Compute", "Active", "app (42)") if lane is gpu else
                                                  ("Neural Engine", "Active", 0, f"{LABEL} Prediction"))
                lane.append(row)
        else:
            ane.append((at + dispatch // 2, engine, "Neural Engine", "Active", 0, f"{LABEL} Prediction"))
            ane.append((at + dispatch // 2, engine // 2, "Neural Engine", "Active", 1, f"{LABEL} Prediction"))
        at += engine + dispatch + TIMES["gap"]
    ane.append((at, 10_000_000, "Neural Engine", "Idle", 0, None))
    gpu.append((at, 10_000_000, "Compute", "Idle", "app (42)"))
    tables = [table("ane-hw-intervals", ANE, ane, 1), table("coreml-os-signpost", COREML, coreml, 2),
              table("metal-gpu-intervals", GPU, gpu, 3),
              table("thermal-state", [("start", "start-time")], [(0,)], 4)]
    return '<?xml version="1.0"?>\n<trace-query-result>\n' + "".join(tables) + "</trace-query-result>\n"


put("instruments/engine.xml", recording())
put("instruments/alternating.xml", recording(gpu_too=True))
put("instruments/toc.xml", '<?xml version="1.0"?>\n<trace-toc><run number="1"><info><summary><duration>2.0</duration></summary>'
    '</info><data><table schema="ane-hw-intervals"/></data></run></trace-toc>\n')
