#!/usr/bin/env python3
"""check-layers.py [ROOT] | --self-test

Holds the code to the table of layers in docs/Architecture.md: reads every #include and
complains about those that climb a stair. Exit code 1 if there are any.
"""
import os
import re
import sys
import tempfile

# Who may include whom. Everybody may include their own part.
MAY = {
    "ABI": set(),
    "Formats": {"ABI"},
    "mega": set(),
    "gk": set(),
    "Runtime": {"ABI", "Formats"},
    "Reference": {"Formats"},
    "Simulator": {"ABI", "Formats"},
    "Training": {"Runtime", "Formats"},
    "Importer": {"mega", "Formats"},
    "Transforms": {"mega"},
    "Codegen": {"mega", "gk", "Transforms", "Formats", "ABI"},
    "Target": {"gk", "Formats", "ABI"},
    "Pipelines": {"mega", "gk", "Transforms", "Codegen", "Target", "Formats"},
    "Driver": {"ABI", "Formats", "mega", "gk", "Runtime", "Reference", "Training", "Importer",
               "Transforms", "Codegen", "Target", "Pipelines"},
}
# Tools are doors: one part each.
MAY_TOOLS = {"otodus-opt": {"Pipelines"}, "otodus-lsp-server": {"Pipelines"}}
# Parts that a program without the compiler links.
WITHOUT_LLVM = {"Simulator", "ABI", "Formats", "Runtime", "Reference", "Training"}

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]')
SOURCES = (".h", ".hpp", ".c", ".cpp", ".inc", ".td")
INCLUDE_TD = re.compile(r'^\s*include\s+"([^"]+)"')


def part_of_include(name):
    """The part an included file belongs to, or None if it is not ours."""
    pieces = name.split("/")
    if pieces[0] in ("mega", "gk"):
        return pieces[0]
    if pieces[0] == "otodus" and len(pieces) > 2:
        return pieces[1]
    if name in ("otodus/otodus.h", "otodus.h"):
        return "Runtime"
    return None


def part_of_file(path):
    """The part a source file belongs to, and who it may include; None if not checked."""
    pieces = path.split("/")
    if pieces[0] == "lib" and len(pieces) > 2:
        return pieces[1], MAY.get(pieces[1])
    if pieces[:2] == ["include", "otodus"]:
        part = pieces[2] if len(pieces) > 3 else "Runtime"
        return part, MAY.get(part)
    if pieces[0] == "dialects" and len(pieces) > 2:
        return pieces[1], MAY.get(pieces[1])
    if pieces[0] == "tools" and len(pieces) > 2:
        return "tools", MAY_TOOLS.get(pieces[1], {"Driver"})
    return None


def check_file(root, path):
    found = part_of_file(path)
    if found is None:
        return []
    part, may = found
    if may is None:
        return [f"{path}: {part} is not in the table of layers (docs/Architecture.md, tools/dev/check-layers.py)"]
    complaints = []
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = (INCLUDE_TD if path.endswith(".td") else INCLUDE).match(line)
            if not match:
                continue
            name = match.group(1)
            where = f"{path}:{number}"
            other = part_of_include(name)
            if other is not None and other != part and other not in may:
                complaints.append(f"{where}: {part} may not include {other}")
            if part in WITHOUT_LLVM and name.split("/")[0] in ("mlir", "mlir-c", "llvm", "llvm-c", "clang"):
                complaints.append(f"{where}: {part} may not include {name.split('/')[0]}")
            if name.startswith("../"):
                complaints.append(f"{where}: include by the name below include/ or lib/, not by ..")
            # Inside Codegen, CPU stands on Common.
            if "/Codegen/Common/" in "/" + path and re.search(r"(^|/)CPU/", name):
                complaints.append(f"{where}: Codegen/Common may not include Codegen/CPU")
    return complaints


def check_tree(root):
    complaints = []
    for top in ("lib", "include", "dialects", "tools"):
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(SOURCES):
                    complaints += check_file(root, os.path.relpath(os.path.join(folder, name), root))
    return complaints


def self_test():
    cases = {
        "lib/Runtime/X.cpp": ('#include "otodus/Codegen/Tile.h"', "Runtime may not include Codegen"),
        "lib/Runtime/Y.cpp": ("#include <mlir/IR/Value.h>", "Runtime may not include mlir"),
        "lib/Formats/Z.cpp": ('#include "otodus/Runtime/Model.h"', "Formats may not include Runtime"),
        "include/otodus/Formats/F.h": ('#include "mega/IR/Mega.h"', "Formats may not include mega"),
        "lib/Transforms/T.cpp": ('#include "otodus/Codegen/Tile.h"', "Transforms may not include Codegen"),
        "lib/Codegen/Common/C.cpp": ('#include "otodus/Codegen/CPU/V.h"', "Common may not include"),
        "tools/otodus-opt/main.cpp": ('#include "otodus/Driver/Driver.h"', "tools may not include Driver"),
        "lib/Newcomer/N.cpp": ("", "not in the table"),
        # These must not be found.
        "lib/Driver/D.cpp": ('#include "otodus/Runtime/Model.h"\n#include "mlir/IR/Value.h"', None),
        "lib/Runtime/Z.cpp": ('// #include "otodus/Codegen/Tile.h"\n#include "otodus/ABI/Kernel.h"', None),
        "lib/Codegen/CPU/V.cpp": ('#include "otodus/Codegen/Common/C.h"', None),
        "tools/otodus/main.cpp": ('#include "otodus/Driver/Driver.h"', None),
    }
    with tempfile.TemporaryDirectory() as root:
        for path, (text, _) in cases.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text + "\n")
        complaints = check_tree(root)
    for path, (_, expected) in cases.items():
        own = [line for line in complaints if line.startswith(path)]
        if expected is None and own:
            sys.exit(f"self-test: {path} should be fine, but: {own[0]}")
        if expected is not None and not any(expected in line for line in own):
            sys.exit(f"self-test: expected '{expected}' for {path}, but found {own}")
    print(f"{len(cases)} cases as expected")


def main():
    if "--self-test" in sys.argv:
        return self_test()
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    complaints = check_tree(root)
    for line in complaints:
        print(line)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
