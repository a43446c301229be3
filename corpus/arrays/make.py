"""Writes arrays with NumPy, in every layout that the readers know. Usage: python make.py (needs numpy)"""
import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
base = np.arange(24).reshape(2, 3, 4)
cases = {f"c-{np.dtype(t).name}": base.astype(t) for t in "<i1 <i2 <i4 <i8 <u1 <u2 <u4 <u8 <f2 <f4 <f8".split()}
cases |= {f"big-{np.dtype(t).name}": base.astype(t) for t in ">i2 >i8 >f4".split()}
cases["fortran-float32"] = np.asfortranarray(base.astype("<f4"))
cases["fortran-big-uint16"] = np.asfortranarray(base.astype(">u2"))
cases["bool"] = base % 3 == 0
cases["scalar"] = np.float32(1.5)
cases["vector"] = np.arange(5, dtype="<i4")
cases["empty"] = np.zeros((3, 0, 2), "<f4")

expected = {}
for name, array in cases.items():
    np.save(HERE / f"{name}.npy", array, allow_pickle=False)
    array = np.asarray(array)
    expected[name] = [list(array.shape), [float(v) for v in array.flatten()]]
for version in ((2, 0), (3, 0)):
    with open(HERE / f"version-{version[0]}.npy", "wb") as out:
        np.lib.format.write_array(out, base.astype("<f4"), version=version)
    expected[f"version-{version[0]}"] = expected["c-float32"]
np.savez(HERE / "stored.npz", a=base.astype("<f4"), b=np.float64(2.5))
np.savez_compressed(HERE / "deflated.npz", a=base.astype("<f4"), b=np.float64(2.5))
lines = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in expected.items()]
(HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
