#!/usr/bin/env python3
"""plugin.py CMAKE PACKAGE OTODUS OTODUS_OPT GOLDEN EXAMPLE WORK [CMAKE-ARGUMENT...]

Builds the example of docs/Guides/WriteAFusionPass.md as a stranger would, and looks at what it
changes: the groups, the remarks, the key of the cache; and that no number changes.
"""
import os
import shutil
import subprocess
import sys

CMAKE, PACKAGE, OTODUS, OTODUS_OPT, GOLDEN, EXAMPLE, WORK = sys.argv[1:8]
PIPELINE = "--pass-pipeline=builtin.module(func.func(example-norms-apart))"
MODEL = os.path.join(GOLDEN, "tiny-megalodon")
CACHE = os.path.join(WORK, "cache")


def run(command, code=0):
    result = subprocess.run(command, capture_output=True, text=True, timeout=300,
                            env=dict(os.environ, XDG_CACHE_HOME=CACHE))
    if result.returncode != code:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}, expected {code}\n"
                 f"{result.stdout[-4000:]}{result.stderr[-4000:]}")
    return result


def cached():
    folder = os.path.join(CACHE, "otodus")
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def main():
    os.makedirs(WORK, exist_ok=True)
    shutil.rmtree(CACHE, ignore_errors=True)  # of an earlier run: its entries would be found
    build = os.path.join(WORK, "build")
    run([CMAKE, "-S", EXAMPLE, "-B", build, "-Dotodus_DIR=" + PACKAGE] + sys.argv[8:])
    run([CMAKE, "--build", build])
    plugin = os.path.join(build, "norms-apart.so")
    flags = ["--load-pass-plugin=" + plugin, PIPELINE]

    # Ours repeats the norms; the example's are kernels of their own.
    ours = run([OTODUS, "compile", MODEL, "--emit=fused", "--remarks=fusion", "-o", "-"])
    theirs = run([OTODUS, "compile", MODEL, "--emit=fused", "--remarks=fusion", "-o", "-"] + flags)
    assert "norm_apart" not in ours.stdout and "repeated in front of" in ours.stderr, ours.stderr
    assert 'mega.group "norm_apart"' in theirs.stdout, theirs.stdout[-2000:]
    assert "repeated in front of" not in theirs.stderr and "apart: kept out" in theirs.stderr, theirs.stderr

    # otodus-opt loads it too, and the dialect is the same one.
    module = os.path.join(WORK, "model.mlir")
    run([OTODUS, "compile", MODEL, "--emit=model", "-o", module])
    assert 'mega.group "norm_apart"' in run([OTODUS_OPT, module] + flags).stdout

    # The numbers agree.
    case = os.path.join(GOLDEN, "block_basic.safetensors")
    assert ", 0 failed" in run([OTODUS, "check", case] + flags).stdout

    # Another policy is another entry of the cache; the same one is found there.
    generate = [OTODUS, "generate", "--model", MODEL, "--tokens=65,66", "-n", "8", "--print=ids"]
    plain = run(generate).stdout
    before = cached()
    assert run(generate + flags).stdout == plain
    assert len(cached() - before) == 1, (before, cached())
    before = cached()
    run(generate + flags)
    assert cached() == before
    # So is another content of the file.
    with open(plugin, "ab") as file:
        file.write(b"\0")
    run(generate + flags)
    assert len(cached() - before) == 1
    os.remove(plugin)

    # What is no plugin, or has none of its passes, is one line with the documented code.
    run([OTODUS, "compile", MODEL, "--emit=fused", "-o", "-"] + flags, code=3)
    run([OTODUS, "compile", MODEL, "--emit=fused", "-o", "-", "--load-pass-plugin=" + case], code=4)
    run([OTODUS, "compile", MODEL, "--emit=fused", "-o", "-", PIPELINE], code=2)


if __name__ == "__main__":
    main()
