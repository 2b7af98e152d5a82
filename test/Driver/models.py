#!/usr/bin/env python3
"""models.py OTODUS GOLDEN TEXT

What the commands do with whole models: generation equals the stored continuation, a saved
state continues as if nothing had happened, splits and artefacts do not change results,
stages can be printed and fed back, a long text takes constant memory.
"""
import array
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

OTODUS, GOLDEN, TEXT = sys.argv[1:4]
TINY = os.path.join(GOLDEN, "tiny-megalodon")
ROOT = tempfile.mkdtemp(prefix="otodus-models-")
ENVIRONMENT = dict(os.environ, XDG_CACHE_HOME=os.path.join(ROOT, "cache"))


def path(*parts):
    return os.path.join(ROOT, *parts)


def run(*arguments, data=None):
    result = subprocess.run([OTODUS, *map(str, arguments)], capture_output=True, timeout=600, input=data,
                            env=ENVIRONMENT)
    if result.returncode:
        raise AssertionError(f"otodus {' '.join(map(str, arguments))}: exit code {result.returncode}\n"
                             + result.stderr.decode())
    return result.stdout


def ids(*arguments):
    return [int(word) for word in run("generate", "--print=ids", *arguments).split()]


def text_of(numbers):
    return ",".join(map(str, numbers))


FORMS = {"F32": "f", "F64": "d", "I32": "i", "I64": "q"}


def load(name):
    """Tensors of a safetensors file as {name: (shape, array)}."""
    with open(name, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    found = {}
    for key, entry in json.loads(data[8:8 + size]).items():
        if key != "__metadata__":
            values = array.array(FORMS[entry["dtype"]])
            begin, end = entry["data_offsets"]
            values.frombytes(data[8 + size + begin:8 + size + end])
            found[key] = (entry["shape"], values)
    return found


def save(name, tensors):
    header, data = {}, b""
    for key, (dtype, shape, values) in tensors.items():
        bytes_ = array.array(FORMS[dtype], values).tobytes()
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    head = json.dumps(header).encode()
    with open(name, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + data)
    return name


def logits_of(model, tokens, *arguments):
    shape, values = tokens
    save(path("in.safetensors"), {"tokens": ("I64", shape, values)})
    run("eval", "--model", model, "--input", path("in.safetensors"), "--output", path("out.safetensors"),
        *arguments)
    return load(path("out.safetensors"))["logits"]


def difference(a, b):
    assert len(a) == len(b), f"{len(a)} and {len(b)} elements"
    worst = max(abs(x - y) for x, y in zip(a, b))
    assert not math.isnan(sum(a)), "NaN"
    return worst


def random_model(name, **fields):
    config = {"model": dict({
        "num_layers": 2, "model_dim": 64, "z_dim": 32, "value_dim": 64, "num_heads": 2,
        "ffn_hidden_dim": 96, "cema_ndim": 4, "chunk_size": 32, "vocab_size": 256,
        "norm_num_groups": 8}, **fields.pop("model", {}))}
    config.update(fields)
    with open(path(name + ".json"), "w") as file:
        json.dump(config, file)
    run("import", path(name + ".json"), "--random-init", "--seed", "3", "-o", path(name), "-q")
    return path(name)


EXPECTED = load(os.path.join(TINY, "expected.safetensors"))
GREEDY = list(EXPECTED["greedy_tokens"][1])
PROMPT = EXPECTED["greedy_prompt_len"][1][0]


def greedy_tokens_as_stored():
    for dtype in ("f32", "bf16"):
        found = ids("--model", TINY, "--dtype", dtype, "--tokens", text_of(GREEDY[:PROMPT]),
                    "-n", len(GREEDY) - PROMPT)
        if dtype == "f32":
            assert found == GREEDY[PROMPT:], f"found {found}, expected {GREEDY[PROMPT:]}"
        else:
            assert len(found) == len(GREEDY) - PROMPT


def logits_as_stored():
    for tokens, logits in (("tokens", "logits"), ("ragged_tokens", "ragged_logits")):
        shape, found = logits_of(TINY, EXPECTED[tokens])
        assert shape == EXPECTED[logits][0], shape
        worst = difference(found, EXPECTED[logits][1])
        assert worst < 1e-4, f"{logits}: {worst}"


def pieces_do_not_matter():
    whole = logits_of(TINY, EXPECTED["tokens"])[1]
    for pieces in ("1,7,8,9,15", "40", "3,5,16,16", "39,1"):
        worst = difference(logits_of(TINY, EXPECTED["tokens"], "--pieces", pieces)[1], whole)
        assert worst < 1e-5, f"pieces {pieces}: {worst}"


def threads_do_not_matter():
    one = logits_of(TINY, EXPECTED["tokens"], "--threads", 1)[1]
    assert one == logits_of(TINY, EXPECTED["tokens"], "--threads", 3)[1]


def artefact_equals_directory():
    run("compile", TINY, "-o", path("tiny.oto"), "-q")
    assert logits_of(path("tiny.oto"), EXPECTED["tokens"])[1] == logits_of(TINY, EXPECTED["tokens"])[1]
    # It stands alone: neither checkpoint nor cache is needed.
    shutil.copytree(TINY, path("copy"))
    run("compile", path("copy"), "-o", path("alone.oto"), "-q")
    shutil.rmtree(path("copy"))
    assert ids("--model", path("alone.oto"), "--tokens", "1,2", "-n", 4, "--no-cache") == \
        ids("--model", TINY, "--tokens", "1,2", "-n", 4)
    assert b"embedded" in run("inspect", "--verify", path("tiny.oto"))


def several_targets_in_one_artefact():
    run("compile", TINY, "--target=cpu:x86-64-v3,cpu:native", "-o", path("two.oto"), "-q")
    shown = run("inspect", path("two.oto")).decode()
    assert "cpu:x86-64-v3" in shown, shown
    assert ids("--model", path("two.oto"), "--tokens", "1,2", "-n", 4) == \
        ids("--model", TINY, "--tokens", "1,2", "-n", 4)


def stages_feed_back():
    stages = ["model", "fused", "kernel", "llvm"]
    # Groups are named by the locations that the importer sets; printed IR has none, so
    # the chain of equal texts starts behind the fusion.
    run("compile", "-", "--emit=fused", data=run("import", TINY))
    at = run("compile", TINY, "--emit=fused")
    for stage, after in zip(stages[1:], stages[2:]):
        direct = run("compile", TINY, "--emit=" + after)
        at = run("compile", "-", "--from=" + stage, "--emit=" + after, data=at)
        assert at == direct, f"--emit={after} differs when it comes from {stage}"
        assert at == run("compile", "-", "--from=" + after, "--emit=" + after, data=at), after
    run("compile", TINY, "--save-stages", path("stages"), "-o", path("staged.oto"), "-q")
    assert sorted(os.listdir(path("stages"))) == [f"{i}-{name}.mlir" for i, name in enumerate(stages)], \
        os.listdir(path("stages"))
    assert b"ret" in run("compile", TINY, "--emit=asm")


def state_continues():
    base = ["--model", TINY, "--tokens", "5,17,99"]
    for sampling in ([], ["--temperature", "0.9", "--top-p", "0.95", "--seed", "11"]):
        whole = ids(*base, "-n", 30, *sampling)
        first = ids(*base, "-n", 11, "--state-out", path("s1"), *sampling)
        second = ids("--model", TINY, "--state-in", path("s1"), "-n", 19, "--state-out", path("s2"), *sampling)
        assert first + second == whole, f"{first} {second} {whole}"
        # With a prompt, the state stands for everything before it.
        third = ids("--model", TINY, "--state-in", path("s2"), "--tokens", "7,8", "-n", 5, *sampling)
        assert third == ids("--model", TINY, "--tokens", text_of([5, 17, 99] + whole + [7, 8]), "-n", 5, *sampling)
    shown = run("inspect", path("s2")).decode()
    assert "position 33" in shown, shown


def state_size_is_the_formula():
    config = json.load(open(os.path.join(TINY, "config.json")))["model"]
    layers, width, groups = config["num_layers"], config["model_dim"], config["norm_num_groups"]
    for dtype, size in (("f32", 4), ("bf16", 2)):
        run("generate", "--model", TINY, "--dtype", dtype, "--tokens", "1,2,3", "-n", 18, "--state-out", path("s3"))
        count = 21 % config["chunk_size"]
        # Spec 5 without the per-block count, which is the position: once for a sequence.
        payload = layers * (count * (config["z_dim"] + config["value_dim"]) * size
                            + 8 * width * config["cema_ndim"] + 8 * groups + 8) + 8 * groups + 8
        found = os.path.getsize(path("s3"))
        assert payload <= found <= payload + 4096 + 8 + 8 * layers, f"{found} bytes, payload {payload}"


def stop_strings():
    model = random_model("bytes")
    text = run("generate", "--model", model, "--prompt", "abc", "-n", 40)[:-1]
    stop = text[10:12].decode("latin-1")
    if all(ord(c) < 128 and c.isprintable() for c in stop):
        shown = run("generate", "--model", model, "--prompt", "abc", "-n", 40, "--stop", stop)[:-1]
        assert shown == text[:text.index(stop.encode())], (text, stop, shown)
    from_stdin = run("generate", "--model", model, "--prompt-file", "-", "-n", 40, data=b"abc")[:-1]
    assert from_stdin == text


def batches_are_independent_sequences():
    many = run("generate", "--model", TINY, "--tokens", "1,2,3", "-n", 6, "--print=ids", "--batch", 3).split(b"\n")
    one = run("generate", "--model", TINY, "--tokens", "1,2,3", "-n", 6, "--print=ids").strip()
    assert many[:3] == [one] * 3, many


def sentencepiece_end_to_end():
    model = random_model("pieces", model={"vocab_size": 500}, tokenizer={"path": "text.model"})
    subprocess.run(["spm_train", "--input=" + TEXT, "--model_prefix=" + os.path.join(model, "text"),
                    "--vocab_size=500", "--model_type=bpe", "--byte_fallback=true",
                    "--character_coverage=0.99", "--num_threads=1"], check=True, capture_output=True)
    shown = run("generate", "--model", model, "--prompt", "the state of the norm", "-n", 30, "--ignore-eos")
    shown.decode()  # whole characters only
    assert len(shown) > 10
    out = run("eval", "--model", model, "--data", TEXT, "--max-tokens", 2000).decode()
    assert "loss" in out
    run("compile", model, "-o", path("pieces.oto"), "-q")
    assert run("generate", "--model", path("pieces.oto"), "--tokenizer", os.path.join(model, "text.model"),
               "--prompt", "the state of the norm", "-n", 30, "--ignore-eos") == shown


def value(out, name):
    return next(float(line.rsplit(" ", 1)[1]) for line in out.decode().splitlines() if line.startswith(name))


def loss_of_text():
    """The loss over a text is that of the logits; windows start afresh."""
    model = random_model("loss")
    with open(TEXT, "rb") as file:
        data = file.read(301)
    with open(path("text.txt"), "wb") as file:
        file.write(data)
    (_, length, size), logits = logits_of(model, ([1, 300], list(data[:300])))

    def nll(row, target):
        values = logits[row * size:(row + 1) * size]
        top = max(values)
        return math.log(sum(math.exp(v - top) for v in values)) + top - values[target]

    expected = sum(nll(t, data[t + 1]) for t in range(300)) / 300
    out = run("eval", "--model", model, "--data", path("text.txt"))
    assert abs(value(out, "loss") - expected) < 1e-5, (value(out, "loss"), expected)
    assert abs(value(out, "bits per byte") - expected / math.log(2)) < 1e-5
    assert abs(value(out, "perplexity") - math.exp(expected)) < 1e-3
    assert value(run("eval", "--model", model, "--data", path("text.txt"), "--piece", 7), "tokens") == 300
    piped = run("eval", "--model", model, "--data", "-", data=data)
    assert piped == out
    windowed = run("eval", "--model", model, "--data", path("text.txt"), "--window", 50)
    total = 0
    for begin in range(0, 300, 50):
        _, logits = logits_of(model, ([1, 50], list(data[begin:begin + 50])))
        total += sum(nll(t, data[begin + t + 1]) for t in range(50))
    assert abs(value(windowed, "loss") - total / 300) < 1e-5, (value(windowed, "loss"), total / 300)


def norm_window_is_the_reference_loop():
    """The option against the loop of spec 5, written with `otodus run` and explicit states."""
    model, chunk = random_model("window", model={"chunk_size": 8}), 8
    with open(TEXT, "rb") as file:
        data = list(file.read(8 * 13 + 6))
    forms = {"f": "F32", "q": "I64"}

    def call(begin, end, states):
        """Logits of steps [begin, end) and the states after them."""
        tensors = {"tokens": ("I64", [1, end - begin], data[begin:end])}
        if states:
            tensors["position"] = ("I64", [1], [begin])
            for name, (shape, values) in states.items():
                tensors[name] = (forms[values.typecode], shape, values)
        save(path("call.safetensors"), tensors)
        run("run", model, "--entry=forward", "--states", "--input", path("call.safetensors"), "--output",
            path("result.safetensors"))
        found = load(path("result.safetensors"))
        return found.pop("logits")[1], found

    length, at, states, total = len(data) - 1, 0, None, 0
    while at < length:
        end = min(at + 2 * chunk, length)
        if end - at > chunk:
            end -= end % chunk
        logits, states = call(at, end, states)
        for t in range(at, end):
            row = logits[(t - at) * 256:(t - at + 1) * 256]
            top = max(row)
            total += math.log(sum(math.exp(v - top) for v in row)) + top - row[data[t + 1]]
        at = end
        if at >= 8 * chunk and at < length:
            _, recent = call(at - 6 * chunk, at, None)
            states.update({name: value for name, value in recent.items() if "norm" in name})
    with open(path("window.txt"), "wb") as file:
        file.write(bytes(data))
    out = run("eval", "--model", model, "--data", path("window.txt"), "--norm-window-chunks", 6)
    plain = run("eval", "--model", model, "--data", path("window.txt"))
    assert abs(value(out, "loss") - total / length) < 1e-5, (value(out, "loss"), total / length)
    assert abs(value(plain, "loss") - value(out, "loss")) > 1e-4, "the window changes nothing"


def long_text_in_constant_memory():
    model = random_model("long", model={"model_dim": 32, "z_dim": 16, "value_dim": 32, "num_heads": 1,
                                        "ffn_hidden_dim": 32, "norm_num_groups": 4})
    with open(TEXT, "rb") as file:
        text = file.read()
    with open(path("long.txt"), "wb") as file:
        for _ in range(400000 // len(text) + 1):
            file.write(text)
    run("eval", "--model", model, "--data", path("long.txt"), "--curve", path("curve"), "--curve-every", 20000,
        "--state-out", path("long.state"))
    lines = [json.loads(line) for line in open(path("curve"))]
    assert len(lines) >= 20 and all(math.isfinite(line["loss"]) for line in lines)
    first, last = lines[1]["peak_bytes"], lines[-1]["peak_bytes"]
    assert last <= first * 1.01, f"memory grew from {first} to {last}"
    assert os.path.getsize(path("long.state")) < 200000


def run_calls_a_function():
    tokens = EXPECTED["tokens"]
    save(path("in.safetensors"), {"tokens": ("I64", tokens[0], tokens[1])})
    run("run", TINY, "--entry=forward", "--input", path("in.safetensors"), "--output", path("run.safetensors"),
        "--states")
    found = load(path("run.safetensors"))
    assert found["logits"][0] == EXPECTED["logits"][0], found["logits"][0]
    assert difference(found["logits"][1], EXPECTED["logits"][1]) < 1e-4
    assert any("cema" in name for name in found), list(found)


def cache_is_used():
    shutil.rmtree(path("cache"), ignore_errors=True)
    ids("--model", TINY, "--tokens", "1", "-n", 1)
    entries = os.listdir(path("cache", "otodus"))
    assert len(entries) == 1, entries
    # A damaged entry is replaced, never trusted.
    entry = path("cache", "otodus", entries[0])
    with open(entry, "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 1
    with open(entry, "wb") as file:
        file.write(data)
    assert ids("--model", TINY, "--tokens", text_of(GREEDY[:PROMPT]), "-n", 3) == GREEDY[PROMPT:PROMPT + 3]
    ids("--model", TINY, "--tokens", "1", "-n", 1, "--target=cpu:x86-64-v3")
    assert len(os.listdir(path("cache", "otodus"))) == 2


TESTS = [greedy_tokens_as_stored, logits_as_stored, pieces_do_not_matter, threads_do_not_matter,
         artefact_equals_directory, several_targets_in_one_artefact, stages_feed_back, state_continues,
         state_size_is_the_formula, stop_strings, batches_are_independent_sequences,
         sentencepiece_end_to_end, loss_of_text, norm_window_is_the_reference_loop, long_text_in_constant_memory,
         run_calls_a_function, cache_is_used]


def main():
    failed = 0
    chosen = sys.argv[4:]
    try:
        for test in TESTS:
            if chosen and test.__name__ not in chosen:
                continue
            start = time.time()
            try:
                test()
                verdict = "ok  "
            except Exception as error:  # every test runs, whatever the others did
                failed += 1
                verdict = "FAIL"
                print(f"{type(error).__name__}: {error}")
            print(f"{verdict} {test.__name__} ({time.time() - start:.1f} s)", flush=True)
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
