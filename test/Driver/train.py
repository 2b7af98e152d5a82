#!/usr/bin/env python3
"""train.py OTODUS

`otodus train` from end to end: learning, stopping, resuming bit by bit, kills at random moments,
fine-tuning, and everything a user can do wrong.
"""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

OTODUS = sys.argv[1]
ROOT = tempfile.mkdtemp(prefix="otodus-train-")
ENVIRONMENT = dict(os.environ, XDG_CACHE_HOME=os.path.join(ROOT, "cache"))
failures, count = [], 0

CONFIG = """[model]
num_layers = 1
model_dim = 32
z_dim = 16
value_dim = 32
ffn_hidden_dim = 32
cema_ndim = 4
chunk_size = 16
norm_num_groups = 4
share_emb = true
[train]
steps = 60
batch = 4
length = 16
[optimizer]
lr = 0.02
[schedule]
warmup = 5
[evaluation]
every = 20
[checkpoint]
every = 7
"""


def path(name):
    return os.path.join(ROOT, name)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def otodus(*arguments, **options):
    return subprocess.run([OTODUS, *arguments], capture_output=True, timeout=600, env=ENVIRONMENT, **options)


def check(name, good, detail=""):
    global count
    count += 1
    if not good:
        failures.append(name)
        print(f"FAIL {name}: {detail}")


def expect(name, code, words, *arguments):
    result = otodus(*arguments)
    error = result.stderr.decode(errors="replace")
    missing = [word for word in words if word not in error]
    check(name, result.returncode == code and not missing and "internal error" not in error,
          f"exit code {result.returncode}, expected {code}; missing {missing} in: {error}")
    return result


def train(out, *more, config="c.toml", data="text.txt"):
    return ["train", "--config", path(config), "--data", path(data), "--out", path(out), *more]


def losses(out):
    lines = [json.loads(line) for line in read(out + "/log.jsonl").splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "tokens_per_second")} for line in lines]


def same_end(name, out, step=60, whole="whole"):
    for file in ("model.safetensors", "training.safetensors"):
        at = f"checkpoints/step-{step:08d}/{file}"
        check(f"{name}: {file}", read(f"{out}/{at}") == read(f"{whole}/{at}"), "differs from the run without a break")
    check(f"{name}: log", losses(out) == losses(whole), "differs from the run without a break")


def tensors(file):
    with open(file, "rb") as stream:
        size = struct.unpack("<Q", stream.read(8))[0]
        header = json.loads(stream.read(size))
        data = stream.read()
    return {name: data[entry["data_offsets"][0]:entry["data_offsets"][1]]
            for name, entry in header.items() if name != "__metadata__"}


def main():
    write("c.toml", CONFIG)
    write("text.txt", "".join(f"{i} bottles of beer on the wall, take {i % 7} down. " for i in range(400)))

    # Learning.
    result = expect("learns", 0, ["parameters", "validation loss", "loss.svg"], *train("whole", "--threads=1"))
    log = losses("whole")
    steps = [line for line in log if "loss" in line]
    evaluations = [line for line in log if "validation_loss" in line]
    check("a line per step", [line["step"] for line in steps] == list(range(1, 61)), steps)
    check("evaluations", [line["step"] for line in evaluations] == [20, 40, 60], evaluations)
    check("loss falls", steps[0]["loss"] > 4 and evaluations[-1]["validation_loss"] < 2.8, (steps[0], evaluations))
    folder = result.stdout.decode().strip()
    check("prints the checkpoint", os.path.isdir(folder) and folder.endswith("step-00000060"), folder)
    check("keeps the newest", sorted(os.listdir(path("whole/checkpoints"))) ==
          ["step-00000049", "step-00000056", "step-00000060"], os.listdir(path("whole/checkpoints")))
    check("no initial weights left", not os.path.exists(path("whole/initial")))
    check("curve", read("whole/loss.svg").startswith(b"<svg"))
    text = read("text.txt")
    write("validation.txt", text[int(0.9 * len(text)):])
    for model in (folder, path("whole/latest")):
        result = otodus("eval", "--model", model, "--data", path("validation.txt"), "--window=16")
        words = result.stdout.decode().split()
        found = [float(word) for word in words if word.replace(".", "", 1).isdigit() and "." in word]
        check("eval agrees", any(abs(value - evaluations[-1]["validation_loss"]) < 2e-4 for value in found),
              (words, evaluations[-1]))
    expect("generates", 0, [], "generate", "--model", path("whole/latest"), "--prompt", "12 bottles", "--max-tokens", "20")
    expect("plot", 0, [], "plot", path("whole"), path("whole/log.jsonl"), "-o", path("both.svg"))
    check("plot of two", read("both.svg").count(b"<polyline") == 6)

    # bf16 follows f32; a step does not depend on threads, nor on a break.
    bf16 = ["--dtype=bf16"]
    expect("bf16", 0, [], *train("bf16", "--threads=1", *bf16))
    half = [line for line in losses("bf16") if "loss" in line]
    apart = max(abs(a["loss"] - b["loss"]) for a, b in zip(steps, half))
    check("bf16: loss curve", apart < 0.05, apart)
    ends = [[line for line in losses(out) if "validation_loss" in line][-1]["validation_loss"] for out in ("whole", "bf16")]
    check("bf16: validation loss", abs(ends[0] - ends[1]) < 0.03, ends)
    process = subprocess.Popen([OTODUS, *train("bf16-stopped", "--threads=2", *bf16)], stderr=subprocess.PIPE, env=ENVIRONMENT)
    while not os.path.exists(path("bf16-stopped/log.jsonl")) or len(read("bf16-stopped/log.jsonl").splitlines()) < 10:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    expect("bf16: resume", 0, [], *train("bf16-stopped", "--resume", *bf16))
    same_end("bf16: resume and threads", "bf16-stopped", whole="bf16")
    weights = tensors(path("bf16/checkpoints/step-00000060/model.safetensors"))
    single = tensors(path("whole/checkpoints/step-00000060/model.safetensors"))
    check("bf16: checkpoint of f32", {n: len(v) for n, v in weights.items()} == {n: len(v) for n, v in single.items()})

    # Threads, ^C, kill -9.
    expect("two threads", 0, [], *train("threads", "--threads=3"))
    same_end("two threads", "threads")
    process = subprocess.Popen([OTODUS, *train("stopped")], stderr=subprocess.PIPE, env=ENVIRONMENT)
    while not os.path.exists(path("stopped/log.jsonl")) or len(read("stopped/log.jsonl").splitlines()) < 10:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=300)[1].decode()
    finished = process.returncode == 0  # it may have come first
    check("^C", finished or (process.returncode == 130 and "--resume" in error), (process.returncode, error))
    expect("resume after ^C", 0, [], *train("stopped", "--resume"))
    same_end("resume after ^C", "stopped")
    kills = 0
    for attempt in range(60):
        process = subprocess.Popen([OTODUS, *train("killed", "--resume")], stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        try:
            process.wait(timeout=random.uniform(0.05, 1.5) if attempt < 15 else 300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        check("run between kills", process.returncode == 0, process.returncode)
        break
    check("was killed", kills > 0)
    same_end(f"{kills} kills", "killed")

    # Computing again instead of keeping: the same run, bit by bit.
    expect("layerwise", 0, ["1 of 1 layers computed again"], *train("layerwise", "--set", "model.layerwise_ckpt=true"))
    check("layerwise: the same weights", read("layerwise/latest/model.safetensors") ==
          read("whole/checkpoints/step-00000060/model.safetensors"))
    expect("budget too small", 1, ["a memory budget of 1.0 MB is too small", "need at least", "MB"],
           *train("budget", "--mem-budget=1MB"))
    expect("no budget", 2, ["--mem-budget", "expects bytes such as 8GB", "'much'"], *train("budget", "--mem-budget=much"))
    expect("a budget that is enough", 0, [], *train("budget", "--mem-budget=1GB", "--set", "train.steps=1",
                                                    "--set", "schedule.warmup=0"))
    result = otodus("explain", "memory", "--config", path("c.toml"), "--set", "model.layerwise_ckpt=true")
    check("explain memory", result.returncode == 0 and all(
        word in result.stdout.decode() for word in ("weights, f32", "saved activations", "| peak |", "computed again")), result)
    expect("explain memory of nothing", 2, ["--preset NAME or --config FILE"], "explain", "memory")

    # The same steps on a simulated GPU. Rounding differs, the schedule must not: its length is the run's.
    expect("simulated GPU", 0, [], *train("gpu", "--target=sim:sm_80", "--set", "train.steps=2",
                                          "--set", "schedule.total=60", "--set", "evaluation.every=0"))
    found = [line for line in losses("gpu") if "loss" in line]
    check("simulated GPU: losses", [line["step"] for line in found] == [1, 2] and
          all(abs(a["loss"] - b["loss"]) < 1e-5 * b["loss"] and
              abs(a["norm"] - b["norm"]) < 1e-4 * b["norm"]
              for a, b in zip(found, steps)), (found, steps[:2]))

    # Documents, token files, fine-tuning.
    write("docs.jsonl", "\n".join(json.dumps({"text": f"document {i} says {i * i}. " * (1 + i % 5)}) for i in range(200)))
    expect("jsonl", 0, ["validation loss"], *train("documents", data="docs.jsonl"))
    before = tensors(path("whole/checkpoints/step-00000060/model.safetensors"))
    write("fine.toml", CONFIG[CONFIG.index("[train]"):] + f"""[model]
from = "whole/latest"
frozen = ["embed.*", "layers.0.mega.w?.weight"]
""")
    expect("fine-tuning", 0, ["trained)"], *train("fine", config="fine.toml", data="docs.jsonl"))
    after = tensors(path("fine/latest/model.safetensors"))
    kept = {"embed.weight", *(f"layers.0.mega.{name}.weight" for name in ("wv", "wz", "wr"))}
    for name in before:
        if "prior" in name or name == "rope.freqs":
            continue
        check(f"fine-tuning, {name}", (before[name] == after[name]) == (name in kept))

    # What can go wrong.
    expect("holds a run", 3, ["holds a run already", "--resume"], *train("whole"))
    expect("other configuration", 3, ["optimizer.lr was 0.02, is now 0.5"], *train("whole", "--resume", "--set", "optimizer.lr=0.5"))
    expect("other model", 3, ["model_dim was 32, is now 64"], *train("whole", "--resume", "--set", "model.model_dim=64"))
    expect("other data", 3, ["other data"], *train("whole", "--resume", data="validation.txt"))
    expect("unknown keys", 1, ["2 problems", "train.setps; did you mean train.steps?", "[optimiser]"],
           *train("x", "--set", "train.setps=3", "--set", "optimiser.lr=1"))
    expect("no configuration", 3, ["missing.toml"], *train("x", config="missing.toml"))
    expect("dropout", 1, ["attention_dropout"], *train("x", "--set", "model.attention_dropout=0.1"))
    write("empty.txt", "")
    expect("empty file", 1, ["empty.txt", "empty"], *train("x", data="empty.txt"))
    write("short.txt", "short")
    expect("short file", 1, ["16 tokens", "train.length"], *train("x", data="short.txt"))
    write("bad.jsonl", '{"text": "a"}\n{"text": 1}\n')
    expect("malformed jsonl", 1, ["bad.jsonl:2:", "must be a string"], *train("x", data="bad.jsonl"))
    write("bytes.bin", bytes(range(256)) * 8)
    expect("any bytes", 0, [], *train("bytes", "--set", "train.steps=7", data="bytes.bin"))
    expect("pattern", 1, ["no parameter matches 'embd'"], *train("x", "--set", "model.frozen=['embd']"))
    result = expect("not finite", 1, ["NaN or infinite", "step "],
                    *train("nan", "--set", "optimizer.lr=1e3", "--set", "optimizer.clip=0", "--set", "schedule.warmup=0",
                           "--set", "train.steps=400"))
    check("not finite is logged", b"not_finite" in read("nan/log.jsonl"))
    process = subprocess.Popen([OTODUS, *train("locked", "--set", "train.steps=1000000", "--set", "checkpoint.every=0")],
                               stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    while not os.path.exists(path("locked/log.jsonl")):
        time.sleep(0.01)
    expect("locked", 3, ["another run", "--out"], *train("locked", "--resume"))
    process.kill()
    process.wait()
    damaged = path("whole/checkpoints/step-00000060/training.safetensors")
    with open(damaged, "r+b") as file:
        file.truncate(1000)
    expect("damaged checkpoint", 3, ["training.safetensors"], *train("whole", "--resume"))

    # A disk that fills up: the older checkpoint stays. Needs the right to mount.
    small = path("small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=420k", "none", small], capture_output=True).returncode == 0:
        try:
            result = expect("disk full", 5, ["No space left"], *train("small", "--set", "checkpoint.keep=100"))
            found = sorted(os.listdir(path("small/checkpoints")))
            check("disk full leaves whole checkpoints", found and all(
                set(os.listdir(path(f"small/checkpoints/{name}"))) ==
                {"config.json", "consolidate_config.json", "model.safetensors", "training.safetensors"} for name in found), found)
        finally:
            subprocess.run(["umount", small])
    print(f"{count} checks, {len(failures)} failures")
    return 1 if failures else 0


try:
    code = main()
finally:
    shutil.rmtree(ROOT, ignore_errors=True)
sys.exit(code)
