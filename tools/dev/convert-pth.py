#!/usr/bin/env python3
"""Turns a consolidated checkpoint of the reference into safetensors.

    convert-pth.py CHECKPOINT_DIR OUTPUT_DIR [--dtype f32|bf16|keep]

CHECKPOINT_DIR holds consolidated.pth, or consolidated.00.pth, consolidated.01.pth, ... of a
model-parallel run, beside config.json and, mostly, consolidate_config.json. OUTPUT_DIR gets
model.safetensors, config.json and consolidate_config.json with model_parallel_size 1.
Shards are merged along the dimensions of docs/Megalodon.md, section 2.

Reading .pth files needs torch; writing needs nothing. Exit codes: 1 the checkpoint does not
fit together, 2 wrong usage, 3 a file is missing or cannot be written, 4 torch is missing,
5 disk full.
"""

import argparse
import ctypes
import errno
import json
import os
import re
import shutil
import struct
import sys
import tempfile


class Failure(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


# ---------------------------------------------------------------------------
# Merging (needs only .shape and .dtype of tensors until `cat`)
# ---------------------------------------------------------------------------

# The dimension along which model-parallel ranks split a tensor (section 2, last column);
# None: every rank holds all of it.
SPLIT = [
    (r"embed\.weight", 1),
    (r"rope\.freqs", None),
    (r".*\.prior_count", None),
    (r".*\.(timenorm|final_norm)\.(weight|bias|prior_mean|prior_logv)", 0),
    (r"layers\.\d+\.mega\.cema\.(alpha|delta|theta|gamma|omega)", 0),
    (r"layers\.\d+\.mega\.rmsnorm\.weight", None),
    (r"layers\.\d+\.mega\.(wv|wz|wr|wh1)\.(weight|bias)", 0),
    (r"layers\.\d+\.mega\.wh2\.weight", 1),
    (r"layers\.\d+\.mega\.(gamma|beta)", 1),
    (r"layers\.\d+\.nffn\.norm\.(weight|bias)", None),
    (r"layers\.\d+\.nffn\.fc[13]\.weight", 0),
    (r"layers\.\d+\.nffn\.fc2\.weight", 1),
    (r"output\.output\.weight", 1),
]
SPLIT = [(re.compile(pattern + r"\Z"), dim) for pattern, dim in SPLIT]


def split_dim(name):
    """Dimension of `name`, None if replicated; Failure for a tensor the model does not have."""
    for pattern, dim in SPLIT:
        if pattern.match(name):
            return dim
    if re.match(r"layers\.\d+\.nffn\.alpha\Z", name):
        raise Failure(1, "'%s': the reference cannot split rescale_nffn over several ranks, so its "
                         "shards have no meaning" % name)
    raise Failure(1, "'%s' is no tensor of a Megalodon model" % name)


def merge(name, parts, cat, equal):
    """One tensor from its parts of all ranks."""
    if len(parts) == 1:
        return parts[0]
    dim = split_dim(name)
    first = parts[0]
    for rank, part in enumerate(parts):
        if tuple(part.shape) != tuple(first.shape):
            raise Failure(1, "'%s': shapes differ between ranks: %s on rank 0, %s on rank %d"
                          % (name, list(first.shape), list(part.shape), rank))
    if dim is None:
        for rank, part in enumerate(parts):
            if not equal(first, part):
                raise Failure(1, "'%s' should be the same on all ranks, but rank %d differs"
                              % (name, rank))
        return first
    return cat(parts, dim)


# ---------------------------------------------------------------------------
# safetensors
# ---------------------------------------------------------------------------

def write_safetensors(path, tensors, metadata=None):
    """`tensors`: list of (name, dtype name, shape, function that gives the bytes).

    Widest elements first, so that data is aligned. The file appears whole or not at all.
    """
    width = {"I64": 8, "F64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "BOOL": 1,
             "U8": 1, "I8": 1}
    tensors = sorted(tensors, key=lambda t: -width[t[1]])
    header = {"__metadata__": dict(metadata or {"format": "pt"})}
    offset = 0
    for name, dtype, shape, _ in tensors:
        size = width[dtype]
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".",
                                         prefix=os.path.basename(path) + ".tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(struct.pack("<Q", len(text)))
            file.write(text)
            for name, _, _, data in tensors:
                begin, end = header[name]["data_offsets"]
                content = data()
                if len(content) != end - begin:
                    raise Failure(70, "'%s': %d bytes expected, %d came"
                                  % (name, end - begin, len(content)))
                file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# ---------------------------------------------------------------------------
# The conversion
# ---------------------------------------------------------------------------

def find_shards(folder):
    single = os.path.join(folder, "consolidated.pth")
    numbered = {}
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise Failure(3, "cannot read '%s': %s" % (folder, error.strerror))
    for name in names:
        match = re.match(r"consolidated\.(\d+)\.pth\Z", name)
        if match:
            numbered[int(match.group(1))] = os.path.join(folder, name)
    if os.path.exists(single):
        return [single]
    if not numbered:
        raise Failure(3, "no consolidated.pth or consolidated.00.pth in '%s'" % folder)
    missing = [i for i in range(max(numbered) + 1) if i not in numbered]
    if missing:
        raise Failure(3, "shard %02d of '%s' is missing; expected consolidated.00.pth to "
                         "consolidated.%02d.pth" % (missing[0], folder, max(numbered)))
    return [numbered[i] for i in range(len(numbered))]


def load_json(path, default=None):
    if default is not None and not os.path.exists(path):
        return default
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise Failure(3, "cannot read '%s': %s" % (path, error.strerror))
    except ValueError as error:
        raise Failure(1, "%s: invalid JSON: %s" % (path, error))


def convert(arguments):
    shards = find_shards(arguments.checkpoint)
    config = load_json(os.path.join(arguments.checkpoint, "config.json"))
    consolidated = load_json(os.path.join(arguments.checkpoint, "consolidate_config.json"), {})
    ranks = consolidated.get("model_parallel_size")
    if ranks is not None and ranks != len(shards):
        raise Failure(1, "consolidate_config.json says model_parallel_size %s, but there are %d "
                         "shards" % (ranks, len(shards)))
    try:
        import torch
    except ImportError:
        raise Failure(4, "reading .pth files needs torch, which is not installed for this Python; "
                         "run 'pip install torch' or run this script where torch is installed")

    def load(path):
        try:
            # Tensors only: a pickle could run any code. Mapped, so shards need not fit memory.
            try:
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except (TypeError, RuntimeError):
                state = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise Failure(3, "cannot read '%s': %s" % (path, error))
        except Exception as error:
            raise Failure(3, "'%s' is no checkpoint that torch can read: %s"
                          % (path, str(error).split("\n")[0]))
        if isinstance(state, dict) and isinstance(state.get("model"), dict):
            state = state["model"]
        if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
            raise Failure(1, "'%s' holds no state dictionary of tensors" % path)
        return state

    states = [load(path) for path in shards]
    names = list(states[0])
    for rank, state in enumerate(states):
        different = sorted(set(names) ^ set(state))
        if different:
            raise Failure(1, "ranks 0 and %d hold different tensors: %s"
                          % (rank, ", ".join(different[:10])))

    dtypes = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16",
              torch.float64: "F64", torch.int64: "I64"}
    target = {"f32": torch.float32, "bf16": torch.bfloat16, "keep": None}[arguments.dtype]

    def final_type(tensor):
        return target if target is not None and tensor.is_floating_point() else tensor.dtype

    def bytes_of(name):
        tensor = merge(name, [state[name] for state in states], torch.cat, torch.equal)
        tensor = tensor.detach().to(final_type(tensor)).contiguous()
        # Not .numpy(): it needs numpy, and numpy has no bfloat16.
        return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())

    tensors = []
    kinds = set()
    for name in names:
        tensor = states[0][name]
        kind = dtypes.get(final_type(tensor))
        if kind is None:
            raise Failure(1, "'%s' has elements of type %s, which a model does not have"
                          % (name, tensor.dtype))
        shape = list(tensor.shape)
        if len(states) > 1 and split_dim(name) is not None:
            shape[split_dim(name)] *= len(states)
        if tensor.is_floating_point():
            kinds.add(kind)
        tensors.append((name, kind, shape, lambda name=name: bytes_of(name)))

    if os.path.exists(arguments.output) and os.listdir(arguments.output):
        raise Failure(3, "'%s' exists and is not empty; choose another name or remove it"
                      % arguments.output)
    created = not os.path.exists(arguments.output)
    os.makedirs(arguments.output, exist_ok=True)
    try:
        write_safetensors(os.path.join(arguments.output, "model.safetensors"), tensors)
        if "model_parallel_size" in config:
            config["model_parallel_size"] = 1
        names = {"F32": "fp32", "BF16": "bf16", "F16": "fp16", "F64": "fp64"}
        consolidated = {"model_parallel_size": 1,
                        "dtype": names[kinds.pop()] if len(kinds) == 1 else "mixed"}
        for name, content in (("config.json", config), ("consolidate_config.json", consolidated)):
            with open(os.path.join(arguments.output, name), "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
    except BaseException:
        for name in ("model.safetensors", "config.json", "consolidate_config.json"):
            if os.path.exists(os.path.join(arguments.output, name)):
                os.unlink(os.path.join(arguments.output, name))
        if created:
            shutil.rmtree(arguments.output, ignore_errors=True)
        raise
    print("%s: %d tensors from %d shard%s" % (arguments.output, len(tensors), len(shards),
                                              "" if len(shards) == 1 else "s"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="folder with consolidated*.pth and config.json")
    parser.add_argument("output", help="folder to make")
    parser.add_argument("--dtype", choices=("f32", "bf16", "keep"), default="keep",
                        help="element type of the floating-point tensors (default: as they are)")
    arguments = parser.parse_args()
    try:
        convert(arguments)
    except Failure as failure:
        print("error: %s" % failure, file=sys.stderr)
        return failure.code
    except OSError as error:
        print("error: cannot write '%s': %s" % (error.filename or arguments.output, error.strerror),
              file=sys.stderr)
        return 5 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
