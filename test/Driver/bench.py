#!/usr/bin/env python3
"""bench.py OTODUS GOLDEN

`otodus bench` measures a tiny model once: its report is complete, its numbers can be. How
fast anything is, is not judged here.
"""
import json
import math
import os
import subprocess
import sys

OTODUS, GOLDEN = sys.argv[1:3]
TINY = os.path.join(GOLDEN, "tiny-megalodon")
QUICK = ["--repeats=1", "--prefill=20", "--decode=3", "--read-mb=16", "--threads=2"]


def run(*arguments, code=0):
    result = subprocess.run([OTODUS, "bench", *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == code, (arguments, result.returncode, result.stderr)
    return result.stdout if code == 0 else result.stderr


def launch(phase, kind):
    found = [entry for entry in phase["launches"] if entry["kind"] == kind]
    assert len(found) == 1, (kind, phase["launches"])
    return found[0]


report = json.loads(run(TINY, *QUICK, "-o", "json", "--label=abc"))
assert report["label"] == "abc" and report["repeats"] == 1 and report["threads"] == 2
for name in ("read", "fma"):
    stat = report["ceilings"][name]
    assert 0 < stat["min"] <= stat["median"] <= stat["max"] < 1e16, stat
[only] = report["runs"]
assert only["dtype"] == "f32"
for phase in (only["prefill"], only["decode"]):
    assert phase["tokensPerSecond"]["median"] > 0
    assert math.isclose(sum(entry["share"] for entry in phase["launches"]), 1, rel_tol=1e-6)
for start in ("warm", "cold"):
    assert 0 < only["start"][start]["open"]["median"] < only["start"][start]["firstToken"]["median"]
assert only["start"]["warm"]["compile"]["median"] == 0 < only["start"]["cold"]["compile"]["median"]

# What there is to do follows from the configuration alone.
with open(os.path.join(TINY, "config.json")) as file:
    config = json.load(file)
config = config.get("model", config)
D, Z, V, L, C = (config[key] for key in ("model_dim", "z_dim", "value_dim", "num_layers", "chunk_size"))
down = launch(only["prefill"], "down")
assert down["flops"] == 2 * 20 * D * config["ffn_hidden_dim"] * L, down
pairs = sum(t % C + 1 for t in range(20))
attention = launch(only["prefill"], "attention")
assert attention["flops"] == 2 * pairs * (Z + V) * L, attention
steps = [t % C + 1 for t in range(20, 23)]
attention = launch(only["decode"], "attention")
assert attention["flops"] == 2 * sum(steps) * (Z + V) * L, attention
assert attention["stateBytes"] == 4 * sum(steps) * (Z + V) * L, attention
append = launch(only["decode"], "attention_append")
assert append["stateBytes"] == 4 * len(steps) * (Z + V) * L, append
assert launch(only["decode"], "down")["weightBytes"] == 3 * 4 * D * config["ffn_hidden_dim"] * L

openblas = only["openblas"]
assert openblas.get("missing") or len(openblas["shapes"]) > 3
memory = only["memory"]
assert 0 < memory["weights"] < memory["peak"] and 0 < memory["state"] < memory["bound"]

# Both types, and nothing but the table of floors.
lines = run(TINY, *QUICK, "--compare").splitlines()
assert lines[0] == "| goal | floor | measured | verdict |", lines
assert all(line.startswith("| ") and line.count("|") == 5 for line in lines[2:]), lines
assert {"f32", "bf16"} <= {line.split()[1] for line in lines[2:]}, lines
assert len(lines) == 8, lines

assert "stdin" in run("-", code=2)
assert "md or json" in run(TINY, "-o", "xml", code=2)
assert "no such file" in run(TINY + "-missing", code=3)
print("ok")
