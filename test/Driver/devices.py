#!/usr/bin/env python3
"""devices.py OTODUS GOLDEN

The flags of GPUs and of the simulator, with the real simulator and without a GPU: exit codes and
messages, one program for several targets in one artefact, and states that go from one to another.
"""
import os
import shutil
import subprocess
import sys
import tempfile

OTODUS, GOLDEN = sys.argv[1:3]
TINY = os.path.join(GOLDEN, "tiny-megalodon")
ROOT = tempfile.mkdtemp(prefix="otodus-devices-")
failures = []


def run(*arguments):
    environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(ROOT, "cache"))
    return subprocess.run([OTODUS, *arguments], capture_output=True, text=True, timeout=600,
                          env=environment)


def expect(name, code, words, *arguments):
    result = run(*arguments)
    missing = [word for word in words if word not in result.stdout + result.stderr]
    if result.returncode != code or missing:
        failures.append(f"{name}: exit code {result.returncode}, expected {code}; missing {missing}\n"
                        f"  {' '.join(arguments)}\n{result.stdout[-800:]}{result.stderr[-800:]}")
    return result.stdout


cema = os.path.join(GOLDEN, "cema_basic.safetensors")
stream = os.path.join(GOLDEN, "cema_stream.safetensors")
both = os.path.join(ROOT, "both.oto")

expect("doctor", 0, ["NVIDIA driver", "simulator", "ptxas", "--target=sim:sm_90a"], "doctor")
expect("ok", 0, ["0 failed"], "check", "--target=sim:sm_80", "--only=forward", cema)
expect("seeds", 0, ["0 failed"], "check", "--target=sim:sm_80", "--only=stream",
       "--sim=check=full,order=random:5,async=mixed", stream)
expect("timeout", 5, ["kernel 'k0_cema' on the simulator", "did not end within 1e-07 s", "--device-timeout"],
       "check", "--target=sim:sm_80", "--device-timeout=1e-7", "--only=forward", cema)
expect("options", 2, ["--sim expects check=none|fast|full", "'check=all'"],
       "check", "--target=sim:sm_80", "--sim=check=all", cema)

expect("preset", 2, ["unknown preset 'mega200X'", "mega200M"], "generate", "--model", "random:mega200X",
       "--tokens", "1", "--max-tokens", "1")
expect("seed", 2, ["random:PRESET:SEED", "'x'"], "generate", "--model", "random:mega200M:x", "--tokens",
       "1", "--max-tokens", "1")

# One artefact for the processor and a simulated GPU: weights once where they are alike, states of
# either for both.
expect("compile", 0, [], "compile", TINY, "-o", both, "--target=cpu,sim:sm_80")
out = expect("inspect", 0, ["program          1", "program          2", "simulator code", "machine code"],
             "inspect", both, "--verify")
expect("other chip", 4, ["no code in the artefact runs on sim:sm_90a", "sim:sm_80 is not for sim:sm_90a"],
       "generate", "--model", both, "--target=sim:sm_90a", "--tokens", "1", "--max-tokens", "1")
tokens = ["--print=ids", "--max-tokens", "6"]
state = os.path.join(ROOT, "state")
here = expect("cpu", 0, [], "generate", "--model", both, "--tokens", "1,2,3,4,5,6,7,8,9", *tokens)
there = expect("sim", 0, [], "generate", "--model", both, "--target=sim:sm_80", "--tokens",
               "1,2,3,4,5,6,7,8,9", *tokens)
if here != there:
    failures.append(f"cpu and simulator choose other tokens: {here} {there}")
# What a processor samples, the simulator samples; half of it here and half there is the same text.
for options in [], ["--temperature", "0.8", "--top-p", "0.9", "--seed", "7"], \
        ["--temperature", "1.2", "--top-k", "20", "--min-p", "0.01", "--seed", "8"]:
    prompt = ["--model", both, "--tokens", "1,2,3,4", *options, "--print=ids"]
    texts = [expect("sampled", 0, [], "generate", *prompt, "--max-tokens", "7", f"--target={target}")
             for target in ("cpu", "sim:sm_80")]
    first = expect("save", 0, [], "generate", *prompt, "--max-tokens", "3", "--state-out", state)
    for target in "cpu", "sim:sm_80":
        rest = expect("restore", 0, [], "generate", "--model", both, f"--target={target}", "--state-in",
                      state, "--print=ids", "--max-tokens", "4", *options)
        texts.append(first.strip() + " " + rest)
    if len(set(texts)) != 1:
        failures.append(f"targets or runs choose other tokens with {options}: {texts}")
batches = [expect("batch", 0, [], "generate", "--model", both, "--tokens", "1,2", "--batch", "3", *tokens,
                  "--temperature", "1", f"--target={target}") for target in ("cpu", "sim:sm_80")]
if batches[0] != batches[1] or len(set(batches[0].splitlines())) != 3:
    failures.append(f"sequences of a batch sample otherwise: {batches}")

if "no NVIDIA driver" in run("doctor").stdout:
    expect("no driver", 4, ["NVIDIA driver", "--target=cpu"], "generate", "--model", both,
           "--target=cuda", "--tokens", "1", "--max-tokens", "1")

shutil.rmtree(ROOT)
print("\n".join(failures) or "all as expected")
sys.exit(bool(failures))
