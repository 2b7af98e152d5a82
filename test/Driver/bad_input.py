#!/usr/bin/env python3
"""bad_input.py OTODUS GOLDEN [--without-compiler] [--editor=PROGRAM]

PROGRAM IN OUT FEATURE copies an artefact so that it needs that CPU feature.

Everything a user can do wrong: the exit code is the documented one, stderr has one clear
line that names the cause, stdout stays empty and no file is left behind.
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

OTODUS, GOLDEN = sys.argv[1], sys.argv[2]
COMPILER = "--without-compiler" not in sys.argv
EDITOR = next((a.split("=", 1)[1] for a in sys.argv if a.startswith("--editor=")), None)
VERSION = 8  # offset of the format version in an artefact
TINY = os.path.join(GOLDEN, "tiny-megalodon")
ROOT = tempfile.mkdtemp(prefix="otodus-bad-input-")
ENVIRONMENT = dict(os.environ, XDG_CACHE_HOME=os.path.join(ROOT, "cache"))
count, failures = 0, []


def run(arguments, **options):
    return subprocess.run([OTODUS] + arguments, capture_output=True, timeout=300, env=ENVIRONMENT,
                          **options)


def files():
    found = set()
    for folder, folders, names in os.walk(ROOT):
        if folder == ROOT and "cache" in folders:
            folders.remove("cache")
        found.update(os.path.join(folder, name) for name in names + folders)
    return found


def expect(name, code, words, arguments, stdout_empty=True, **options):
    """Runs otodus and compares exit code and words of the message."""
    global count
    count += 1
    before = files()
    result = run(arguments, **options)
    error = result.stderr.decode(errors="replace")
    problems = []
    if result.returncode != code:
        problems.append(f"expected exit code {code}, found {result.returncode}")
    for word in [words] if isinstance(words, str) else words:
        if word not in error:
            problems.append(f"expected '{word}' in the message")
    if code and "otodus: " not in error and "error: " not in error:
        problems.append("expected a message")
    if code not in (70,) and ("PLEASE submit" in error or "Stack dump" in error or "internal error" in error):
        problems.append("the program crashed")
    if stdout_empty and result.stdout:
        problems.append(f"expected nothing on stdout, found {result.stdout[:80]!r}")
    left = files() - before
    if left:
        problems.append(f"left behind: {sorted(left)}")
    if problems:
        failures.append(name)
        print(f"FAIL {name}: otodus {' '.join(arguments)}")
        for problem in problems:
            print(f"  {problem}")
        print("  stderr: " + error.strip().replace("\n", "\n          "))


def path(*parts):
    return os.path.join(ROOT, *parts)


def read(name):
    with open(name, "rb") as file:
        return file.read()


def write(name, data):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return name


CONFIG = json.loads(read(os.path.join(TINY, "config.json")))
WEIGHTS = read(os.path.join(TINY, "model.safetensors"))
SIZE = struct.unpack("<Q", WEIGHTS[:8])[0]
HEADER = json.loads(WEIGHTS[8:8 + SIZE])
DATA = WEIGHTS[8 + SIZE:]


def model(name, config=None, weights=WEIGHTS):
    """A copy of the tiny checkpoint with other contents."""
    text = json.dumps(CONFIG if config is None else config) if not isinstance(config, str) else config
    write(path(name, "config.json"), text)
    if weights is not None:
        write(path(name, "model.safetensors"), weights)
    return path(name)


def tensors(header, data=DATA, text=None):
    text = (json.dumps(header) if text is None else text).encode()
    return struct.pack("<Q", len(text)) + text + data


def edited(**fields):
    config = json.loads(json.dumps(CONFIG))
    config["model"].update(fields)
    return config


def checkpoints():
    def case(name, weights, words, code=3):
        folder = model(name, weights=weights)
        expect(name, code, words, ["import", folder, "-o", path("out.mlir")])

    expect("no such model", 3, "no such file or directory",
           ["generate", "--model", path("nowhere"), "--prompt", "x"])
    case("weights missing", None, "model.safetensors")
    case("weights truncated", WEIGHTS[:-100], "model.safetensors")
    case("weights empty", b"", "model.safetensors")
    case("header truncated", WEIGHTS[:100], "header")
    case("header length beyond the file", struct.pack("<Q", 1 << 60) + WEIGHTS[8:], "header")
    flipped = bytearray(WEIGHTS)
    flipped[9] ^= 0x40
    case("bit flipped in the header", bytes(flipped), "model.safetensors")
    case("header is no JSON", tensors(None, text='{"a": '), "model.safetensors")

    def header(edit):
        new = json.loads(json.dumps(HEADER))
        edit(new)
        return tensors(new)

    names = [name for name in HEADER if name != "__metadata__"]
    first, second = names[0], names[1]

    def overlap(h):
        h[second]["data_offsets"] = h[first]["data_offsets"]

    def outside(h):
        begin, end = h[first]["data_offsets"]
        h[first]["data_offsets"] = [begin + len(DATA), end + len(DATA)]

    case("overlapping offsets", header(overlap), "model.safetensors")
    case("offsets outside the file", header(outside), "model.safetensors")
    case("unknown dtype", header(lambda h: h[first].update(dtype="F31")), "F31")
    case("shape overflows", header(lambda h: h[first].update(shape=[1 << 62, 1 << 62])), first)
    text = json.dumps(HEADER)
    entry = json.dumps({first: HEADER[first]})[1:-1]
    case("duplicate name", tensors(None, text=text[:-1] + ", " + entry + "}"), first)

    def wrong(h):
        h["surplus.weight"] = h.pop("output.output.weight")
        shape = h["embed.weight"]["shape"]
        h["embed.weight"]["shape"] = shape[::-1]
        h["layers.0.mega.wv.bias"]["dtype"] = "I32"

    case("missing, extra, misshapen and wrongly typed tensors, all listed", header(wrong),
         ["output.output.weight", "surplus.weight", "embed.weight", "layers.0.mega.wv.bias"])


def configurations():
    def case(name, config, words, code=1):
        folder = model("config " + name, config=config)
        expect("config: " + name, code, words, ["import", folder, "-o", path("out.mlir")])

    case("heads do not divide z", edited(num_heads=3), ["num_heads", "z_dim"])
    case("groups do not divide the width", edited(norm_num_groups=5), "norm_num_groups")
    case("odd dz", edited(z_dim=6, num_heads=2), "even")
    case("negative size", edited(model_dim=-32), "model_dim")
    case("sizes overflow", edited(model_dim=1 << 40, vocab_size=1 << 40, norm_num_groups=1), "model_dim")
    case("wrong type", edited(swiglu="yes"), "swiglu")
    case("unknown key", edited(model_dimm=3), "model_dimm")
    case("several at once", edited(num_heads=3, norm_num_groups=5), ["num_heads", "norm_num_groups"])
    case("invalid JSON", '{\n  "model": {,\n}', "config.json:2:")
    case("not an object", "[1, 2]", "config.json")
    expect("config: missing", 3, "config.json", ["import", write(path("empty", "x"), "")[:-2]])
    expect("unknown preset", 2, "mega200M", ["import", "--preset", "mega200", "--random-init", "-o", path("new")])


def usage():
    expect("no command", 2, "expected a command", [])
    expect("unknown command", 2, "did you mean generate", ["genrate"])
    expect("unknown option", 2, "--frobnicate", ["generate", "--model", TINY, "--frobnicate"])
    expect("unknown stage", 2, "did you mean fused", ["compile", TINY, "--emit=fuse", "-o", path("out")])
    expect("stages in the wrong order", 2, "comes before", ["compile", TINY, "--emit=model", "--from=fused"])
    expect("unknown dtype", 2, "f32 or bf16", ["import", TINY, "--dtype=f16"])
    expect("number expected", 2, "max-tokens", ["generate", "--model", TINY, "--prompt", "x", "-n", "many"])
    expect("negative temperature", 2, "--temperature",
           ["generate", "--model", TINY, "--prompt", "x", "--temperature", "-1"])
    prompt = ["generate", "--model", TINY, "--prompt", "x"]
    expect("negative number of threads", 2, ["--threads", "-3", "65536"], prompt + ["--threads", "-3"])
    expect("negative top-k", 2, ["--top-k", "got -5\n"], prompt + ["--top-k", "-5"])
    expect("huge number of tokens", 2, ["max-tokens", "9" * 20], prompt + ["--max-tokens", "9" * 20])
    expect("state into a missing folder", 3, ["--state-out", "absent"],
           prompt + ["--state-out", path("absent", "x.state")])
    expect("two prompts", 2, "exclude",
           ["generate", "--model", TINY, "--prompt", "x", "--tokens", "1"])
    expect("empty prompt", 1, "empty", ["generate", "--model", TINY, "--prompt", ""])
    expect("no prompt", 1, "empty", ["generate", "--model", TINY])
    expect("pieces without input", 2, "--pieces", ["eval", "--model", TINY, "--data", "x", "--pieces", "1"])
    expect("preset without directory", 2, "-o DIR", ["import", "--preset", "mega200M", "--random-init"])
    expect("preset and model", 2, "a model directory or --preset NAME", ["import", "--preset", "mega200M", TINY])
    expect("explain nothing", 2, "a model or --preset NAME", ["explain", "kernels", "--target=sm_80"])
    expect("explain a CPU's kernels", 2, "expected chips", ["explain", "kernels", TINY, "--target=cpu"])
    expect("no such ptxas", 4, "--ptxas=/no/ptxas", ["explain", "kernels", TINY, "--target=sm_80", "--ptxas=/no/ptxas"])
    expect("no chip file", 3, "/no/chips.json", ["compile", TINY, "--target=sm_80", "--chip-file=/no/chips.json"])
    with open(path("chips.json"), "w", encoding="utf-8") as file:
        file.write('{"name": "acme_1", "like": "sm_81"}')
    expect("chip like none", 1, 'expects "like"', ["compile", TINY, "--target=acme_1", "--chip-file=" + path("chips.json")])
    expect("stage of a CPU", 2, "a GPU gpu, nvvm, ptx and cubin", ["compile", TINY, "--target=sm_80", "--emit=asm"])
    expect("stage of a GPU", 2, "a CPU has llvm and asm", ["compile", TINY, "--emit=ptx"])
    expect("inspect: neither", 3, "notes.txt", ["inspect", write(path("notes.txt"), "hello world, hello")])


def modules():
    bad = write(path("bad.mlir"), "module {\n  func.func @f(%x: tensor<4xf32) {\n}\n")
    expect("unparsable MLIR", 1, ["bad.mlir:2:", "error:"], ["compile", bad, "--emit=fused"])
    expect("unparsable MLIR on stdin", 1, "<stdin>:1:", ["compile", "-", "--emit=fused"], input=b"modul {}")
    expect("MLIR missing", 3, "no such file", ["compile", path("absent.mlir")])
    if not COMPILER:
        return
    bad = write(path("verify.mlir"), """module {
  func.func @f(%x: tensor<?x?x16xf32>) -> tensor<?x?x16xf32> {
    %y = arith.addf %x, %x : tensor<?x?x16xf32>
    return %y : tensor<?x?x12xf32>
  }
}
""")
    expect("unverifiable MLIR", 1, "verify.mlir:4:", ["compile", bad, "--emit=fused"])
    expect("unknown target", 4, "cpu:x86-64-v9", ["compile", TINY, "--target=cpu:x86-64-v9", "-o", path("o.oto")])
    expect("unknown chip", 4, "sm_80, sm_86", ["compile", TINY, "--target=cuda:sm_81", "-o", path("o.oto")])


def outputs():
    good = ["import", TINY, "-o"]
    os.makedirs(path("folder"))
    expect("output is a directory", 3, "folder", good + [path("folder")])
    expect("output in a missing folder", 3, "absent", good + [path("absent", "x.mlir")])
    expect("random model into a file", 3, "notes.txt",
           ["import", os.path.join(TINY, "config.json"), "--random-init", "-o", path("notes.txt")])
    global count
    count += 1
    with open("/dev/full", "wb") as full:
        result = subprocess.run([OTODUS, "inspect", TINY], stdout=full, stderr=subprocess.PIPE, timeout=60,
                                env=ENVIRONMENT)
    if result.returncode != 5 or b"stdout" not in result.stderr:
        failures.append("full disk on stdout")
        print(f"FAIL full disk on stdout: {result.returncode} {result.stderr!r}")
    # Needs the right to mount; where that is missing, /dev/full above must do.
    small = path("small")
    os.makedirs(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small],
                      stderr=subprocess.DEVNULL).returncode == 0:
        try:
            expect("full disk", 5, "space", ["import", os.path.join(TINY, "config.json"), "--random-init",
                                             "-o", os.path.join(small, "model")])
            if COMPILER:
                expect("artefact on a full disk", 5, "space",
                       ["compile", TINY, "-o", os.path.join(small, "tiny.oto")])
        finally:
            subprocess.run(["umount", small])
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", small],
                      stderr=subprocess.DEVNULL).returncode == 0:
        try:
            expect("read-only output", 3, "small", good + [os.path.join(small, "x.mlir")])
        finally:
            subprocess.run(["umount", small])


def tokens():
    expect("token outside the vocabulary", 1, ["128", "[0, 128)"],
           ["generate", "--model", TINY, "--tokens", "5,128"])
    expect("negative token", 1, "-3", ["generate", "--model", TINY, "--tokens=5,-3"])
    expect("huge token", 1, "99999999999999999999", ["generate", "--model", TINY, "--tokens", "99999999999999999999"])
    expect("no token", 1, "'x'", ["generate", "--model", TINY, "--tokens", "1,x"])
    for text in ("1,,2", "1,2,", ",1", "1, ,2"):
        expect(f"empty token in '{text}'", 1, "is empty", ["generate", "--model", TINY, "--tokens", text])
    expect("byte outside the vocabulary", 1, "byte 195", ["generate", "--model", TINY, "--prompt", "café"])
    expect("eval: byte outside the vocabulary", 1, "byte 195",
           ["eval", "--model", TINY, "--data", write(path("cafe.txt"), "café")])
    expect("eval: too short", 1, "at least two", ["eval", "--model", TINY, "--data", write(path("a.txt"), "a")])
    expect("eval: missing", 3, "gone.txt", ["eval", "--model", TINY, "--data", path("gone.txt")])
    nan = bytearray(WEIGHTS)
    begin, end = (8 + SIZE + offset for offset in HEADER["output.output.weight"]["data_offsets"])
    nan[begin:end] = struct.pack("<f", float("nan")) * ((end - begin) // 4)
    damaged = model("nan", weights=bytes(nan))
    expect("NaN logits", 1, "NaN", ["generate", "--model", damaged, "--tokens", "1,2"], stdout_empty=False)
    expect("NaN loss", 1, "NaN", ["eval", "--model", damaged, "--data", write(path("abc.txt"), "abcdef")])
    tokenizer = model("tokenizer", config=dict(CONFIG, tokenizer={"path": "absent.model"}))
    expect("tokenizer missing", 3, "absent.model", ["generate", "--model", tokenizer, "--prompt", "x"])


def artefacts():
    good = path("tiny.oto")
    result = run(["compile", TINY, "-o", good])
    if result.returncode:
        failures.append("compile")
        print("FAIL compile: " + result.stderr.decode())
        return
    data = read(good)
    arguments = ["--tokens", "1,2,3", "-n", "2"]

    def case(name, bytes_, words, code=3):
        expect("artefact: " + name, code, words,
               ["generate", "--model", write(path("bad.oto"), bytes_)] + arguments)

    write(path("bad.oto"), b"")
    case("empty", b"", "bad.oto")
    case("truncated", data[:len(data) // 2], "bad.oto")
    case("one byte short", data[:-1], "bad.oto")
    for position in (9, 100, 300, len(data) // 3):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        result = run(["inspect", "--verify", write(path("bad.oto"), bytes(flipped))])
        global count
        count += 1
        if result.returncode not in (0, 3) or (result.returncode == 0 and position < 1000):
            failures.append(f"bit flip at {position}")
            print(f"FAIL artefact: bit flip at {position}: {result.returncode} {result.stderr.decode()}")
    later = bytearray(data)
    later[VERSION] += 1
    case("of another format version", bytes(later), ["bad.oto", "format version", "compile the model again"])
    if EDITOR:
        foreign = path("foreign.oto")
        subprocess.run([EDITOR, good, foreign, "made-up-feature"], check=True)
        expect("artefact: features this machine lacks", 4, "made-up-feature",
               ["generate", "--model", foreign] + arguments)
    case("not one", b"hello" * 100, "bad.oto")
    expect("artefact: other dtype", 2, "bf16", ["generate", "--model", good, "--dtype=bf16"] + arguments)

    state = path("tiny.state")
    result = run(["generate", "--model", good, "--state-out", state] + arguments)
    if result.returncode:
        failures.append("state")
        print("FAIL state: " + result.stderr.decode())
        return
    other = path("other")
    config = write(path("other.json"), json.dumps(edited(norm_num_groups=8)))
    run(["import", config, "--random-init", "-o", other])
    expect("state of another model", 3, "tiny.state",
           ["generate", "--model", other, "--state-in", state] + arguments)
    expect("state of another dtype", 3, "tiny.state",
           ["generate", "--model", TINY, "--dtype=bf16", "--state-in", state] + arguments)
    content = read(state)
    for name, bytes_ in (("truncated", content[:-8]), ("empty", b""),
                         ("flipped", content[:4100] + bytes([content[4100] ^ 1]) + content[4101:]),
                         ("other version", content[:8] + b"\xff" + content[9:])):
        expect("state: " + name, 3, "bad.state",
               ["generate", "--model", good, "--state-in", write(path("bad.state"), bytes_)] + arguments)
    expect("state: missing", 3, "gone.state",
           ["generate", "--model", good, "--state-in", path("gone.state")] + arguments)
    expect("state output is a directory", 3, "folder",
           ["generate", "--model", good, "--state-out", path("folder")] + arguments)


def signals():
    global count
    count += 2
    command = [OTODUS, "generate", "--model", TINY, "--tokens", "1,2,3", "--print=ids", "-n", "100000000"]
    state = path("interrupted.state")
    process = subprocess.Popen(command + ["--state-out", state], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=ENVIRONMENT)
    process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    if process.returncode != 130 or os.path.exists(state) or not out.endswith(b"\n"):
        failures.append("interrupt")
        print(f"FAIL interrupt: {process.returncode} {error!r}")

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    process.stdout.read(20)
    process.stdout.close()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
    error = process.stderr.read()
    if process.returncode != 0 or error:
        failures.append("closed pipe")
        print(f"FAIL closed pipe: {process.returncode} {error!r}")

    # A failure stays one when nobody reads stdout.
    count += 1
    process = subprocess.Popen([OTODUS, "check", path("nope.safetensors")], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=ENVIRONMENT)
    process.stdout.close()
    error = process.stderr.read()
    if process.wait(timeout=60) != 3:
        failures.append("closed pipe and a failure")
        print(f"FAIL closed pipe and a failure: {process.returncode} {error!r}")


def interrupted_import():
    """^C while gigabytes of weights are written: 130 and nothing left."""
    global count
    count += 1
    before = files()
    process = subprocess.Popen([OTODUS, "import", "--preset", "mega1.3B", "--random-init", "-o", path("huge")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    # Once the temporary folder is there, writing has begun.
    end = time.time() + 60
    while files() == before and process.poll() is None and time.time() < end:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    left = files() - before
    if process.returncode != 130 or left:
        failures.append("interrupted import")
        print(f"FAIL interrupted import: {process.returncode} {error!r}, left behind: {sorted(left)}")


def main():
    start = time.time()
    try:
        usage()
        checkpoints()
        configurations()
        modules()
        outputs()
        interrupted_import()
        if COMPILER:
            tokens()
            artefacts()
            signals()
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    print(f"{count} cases, {len(failures)} failed, {time.time() - start:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
