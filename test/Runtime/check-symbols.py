#!/usr/bin/env python3
"""check-symbols.py NM LIBRARY.so [ARCHIVE.a ...]

The runtime's fence: no symbol of LLVM or MLIR anywhere; the shared library shows the
C API only and needs the C library only.
"""
import re
import subprocess
import sys

nm, shared, *archives = sys.argv[1:]


def symbols(*arguments):
    text = subprocess.run([nm, "-C", *arguments], check=True, capture_output=True, text=True).stdout
    return [line for line in text.splitlines() if line and not line.endswith(":")]


faults = []
for path in [shared, *archives]:
    for line in symbols(path):
        if re.search(r"\b(llvm|mlir)::", line):
            faults.append(f"{path}: compiler inside: {line}")

shown = [line.split()[-1] for line in symbols("-D", "--defined-only", shared)]
faults += [f"{shared}: shows {name}" for name in shown if not name.startswith("otodus_")]
if "otodus_model_open" not in [name.split("@")[0] for name in shown]:
    faults.append(f"{shared}: does not show otodus_model_open")

# Everything from the C library carries its version; the rest are hooks that may be absent.
HOOKS = {"__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"}
for line in symbols("-D", "--undefined-only", shared):
    name = line.split()[-1]
    if "@GLIBC_" not in name and name not in HOOKS:
        faults.append(f"{shared}: needs {name}")

print("\n".join(faults) or f"{shared}: {len(shown)} symbols, all of the C API")
sys.exit(bool(faults))
