#!/usr/bin/env python3
"""update-stage-docs.py [--check] [--otodus PROGRAM]

Compiles test/Pipelines/Inputs/layer.mlir (a GPU's stages: block.mlir) up to every stage and pastes what it looks like there
into docs/Pipelines.md, between `<!-- stage: NAME -->` and `<!-- end -->`. With --check nothing
is written; exit code 1 if the page is out of date.
"""
import argparse
import difflib
import os
import re
import subprocess
import sys
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "Pipelines.md")
EXAMPLE = os.path.join(ROOT, "test", "Pipelines", "Inputs", "layer.mlir")
TARGET = "cpu:x86-64-v4"
# Stages of a GPU are shown on a kernel by hand, which is shorter than any that is made.
BLOCK = os.path.join(ROOT, "test", "Pipelines", "Inputs", "block.mlir")
GPU_STAGES = ("gpu", "nvvm", "ptx")
COLUMNS = 120


def emit(otodus, stage):
    command = [otodus, "compile", EXAMPLE, f"--emit={stage}", f"--target={TARGET}", "-o", "-"]
    if stage in GPU_STAGES:
        command = [otodus, "compile", BLOCK, "--from=gpu", f"--emit={stage}", "--target=sm_80", "-o", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout.rstrip().split("\n")


def one_kernel(lines):
    """Everything up to the end of the first kernel, and the names of the others."""
    kernels = [i for i, line in enumerate(lines) if re.search(r"func\.func private @k", line)]
    others = [re.search(r"@\w+", lines[i]).group() for i in kernels[1:]]
    return lines[:kernels[1]] + [f"  // … {', '.join(others)}", "}"]


def inner_loop(lines, signature, heart, before, after):
    """The signature of the widest kernel, and the lines around the heart of its loop."""
    start = [i for i, line in enumerate(lines) if re.search(signature, line)][-1]
    at = next(i for i in range(start, len(lines)) if heart in lines[i])
    return [lines[start], "  …"] + lines[at - before:at + after] + ["  …"]


def wrapped(line):
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line.strip(), COLUMNS, initial_indent=indent, subsequent_indent=indent + "    ",
                         break_long_words=False, break_on_hyphens=False) or [""]


def shown(otodus, stage):
    lines = emit(otodus, stage)
    if stage == "kernel":
        lines = one_kernel(lines)
    elif stage == "llvm":
        lines = inner_loop(lines, r"llvm\.func @k", "llvm.intr.fmuladd", 4, 4)
    elif stage == "ptx":
        lines = [line.replace("\t", "    ") for line in lines]
    elif stage == "asm":
        lines = [line.replace("\t", "    ") for line in lines]
        lines = inner_loop(lines, r"^k\w+:", "vfmadd", 6, 6)
    return [part for line in lines for part in wrapped(line)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--otodus", default="otodus", help="the program (default: on the path)")
    args = parser.parse_args()

    with open(PAGE, encoding="utf-8") as file:
        page = file.read()

    def paste(match):
        stage = match.group(1)
        language = {"asm": "asm", "ptx": "ptx"}.get(stage, "mlir")
        body = "\n".join(shown(args.otodus, stage))
        return f"<!-- stage: {stage} -->\n```{language}\n{body}\n```\n<!-- end -->"

    new = re.sub(r"<!-- stage: (\w+) -->.*?<!-- end -->", paste, page, flags=re.DOTALL)
    if new == page:
        return 0
    if args.check:
        sys.stdout.writelines(difflib.unified_diff(
            page.splitlines(True), new.splitlines(True), "docs/Pipelines.md", "as it is now"))
        print("docs/Pipelines.md is out of date; run tools/dev/update-stage-docs.py")
        return 1
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
