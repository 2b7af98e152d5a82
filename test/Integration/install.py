#!/usr/bin/env python3
"""install.py CMAKE BUILD OTODUS GOLDEN EXAMPLE.c

Installs to a fresh prefix, then builds the embedding example as a stranger would, by the
CMake package and by pkg-config, and runs it on a compiled model with nothing but the prefix; then
the example of a plugin for the compiler.
"""
import os
import shutil
import subprocess
import sys
import tempfile

CMAKE, BUILD, OTODUS, GOLDEN, EXAMPLE = sys.argv[1:6]

CONSUMER = """cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(otodus 0.1 REQUIRED)
add_executable(consumer example.c)
target_link_libraries(consumer PRIVATE otodus::otodus)
"""


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def main():
    root = tempfile.mkdtemp(prefix="otodus-install-")
    try:
        prefix, work = os.path.join(root, "prefix"), os.path.join(root, "work")
        os.makedirs(work)
        run([CMAKE, "--install", BUILD, "--prefix", prefix])
        program = os.path.join(prefix, "bin", "otodus")
        version = run([program, "--version"])
        assert version.startswith("otodus 0."), version
        assert os.path.isfile(os.path.join(prefix, "share", "doc", "otodus", "LICENSE"))
        environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(root, "cache"))
        artefact = os.path.join(work, "tiny.oto")
        run([program, "compile", os.path.join(GOLDEN, "tiny-megalodon"), "-o", artefact], env=environment)
        expected = run([program, "generate", "--model", artefact, "--tokens", "65,66", "-n", "8", "--print=ids"],
                       env=environment)

        shutil.copy(EXAMPLE, os.path.join(work, "example.c"))
        with open(os.path.join(work, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(CONSUMER)
        run([CMAKE, "-S", work, "-B", os.path.join(work, "build"), "-DCMAKE_C_COMPILER=clang-22",
             "-DCMAKE_PREFIX_PATH=" + prefix])
        run([CMAKE, "--build", os.path.join(work, "build")])

        libraries = next(folder for folder, _, names in os.walk(prefix) if "libotodus.so" in names)
        environment["PKG_CONFIG_PATH"] = os.path.join(libraries, "pkgconfig")
        flags = run(["pkg-config", "--cflags", "--libs", "otodus"],
                    env=environment).split()
        second = os.path.join(work, "second")
        run(["clang-22", os.path.join(work, "example.c"), "-o", second] + flags)

        environment["LD_LIBRARY_PATH"] = libraries
        for name in (os.path.join(work, "build", "consumer"), second):
            needed = run(["ldd", name], env=environment)
            assert "LLVM" not in needed and "MLIR" not in needed and "not found" not in needed, needed
            output = run([name, artefact, "AB", "8"], env=environment)
            # The example prints bytes; the model's tokens are bytes too.
            text = "".join(chr(int(word)) for word in expected.split())
            assert text in output, (output, text)

        # The headers for passes that the programs load are complete.
        plugin = os.path.join(work, "plugin")
        run([CMAKE, "-S", os.path.join(os.path.dirname(EXAMPLE), "..", "plugin"), "-B", plugin,
             "-DCMAKE_C_COMPILER=clang-22", "-DCMAKE_CXX_COMPILER=clang++-22",
             "-DCMAKE_PREFIX_PATH=" + prefix])
        run([CMAKE, "--build", plugin])
        fused = run([program, "compile", os.path.join(GOLDEN, "tiny-megalodon"), "--emit=fused", "-o", "-",
                     "--load-pass-plugin=" + os.path.join(plugin, "norms-apart.so"),
                     "--pass-pipeline=builtin.module(func.func(example-norms-apart))"])
        assert 'mega.group "norm_apart"' in fused, fused[-2000:]
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
