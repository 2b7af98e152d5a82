# The lit suite: every .mlir and .test file below this folder.
import os
import shutil

import lit.formats

config.name = "otodus"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "golden"]
config.test_source_root = os.path.join(config.otodus_source, "test")
config.test_exec_root = os.path.join(config.otodus_build, "test", "lit")

# otodus, otodus-opt; FileCheck, not, split-file.
path = [os.path.join(config.otodus_build, "bin"), config.llvm_tools, os.environ.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(path)
# No test reads or fills the user's cache of compiled models.
config.environment["XDG_CACHE_HOME"] = os.path.join(config.test_exec_root, "cache")
config.environment["HOME"] = config.test_exec_root

config.substitutions.append(("%golden", os.path.join(config.test_source_root, "golden")))

# REQUIRES: avx2, avx512f, avx512_bf16, ... as the kernel names them.
try:
    with open("/proc/cpuinfo") as info:
        flags = next(line for line in info if line.startswith("flags")).split(":")[1].split()
    config.available_features.update(flags)
except (OSError, StopIteration):
    pass

# %if ptxas: CUDA's assembler is at hand, where the compiler looks for it.
config.environment["PATH"] += os.pathsep + os.path.join(
    os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin")
if shutil.which("ptxas", path=config.environment["PATH"]):
    config.available_features.add("ptxas")
