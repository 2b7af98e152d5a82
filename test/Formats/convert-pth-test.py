#!/usr/bin/env python3
"""Tests tools/dev/convert-pth.py as far as that goes without torch."""

import json
import os
import runpy
import struct
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../tools/dev/convert-pth.py"))
MODULE = runpy.run_path(SCRIPT, run_name="convert_pth")
Failure = MODULE["Failure"]


class Rows:
    """As much of a tensor as merging looks at: a list of rows."""

    def __init__(self, rows):
        self.rows = rows

    @property
    def shape(self):
        return (len(self.rows), len(self.rows[0]))


def cat(parts, dim):
    if dim == 0:
        return Rows([row for part in parts for row in part.rows])
    return Rows([sum(rows, []) for rows in zip(*(part.rows for part in parts))])


def equal(a, b):
    return a.rows == b.rows


def merge(name, *parts):
    return MODULE["merge"](name, [Rows(part) for part in parts], cat, equal).rows


def run(*arguments, path=None):
    environment = dict(os.environ, PYTHONPATH=path or "")
    return subprocess.run([sys.executable, SCRIPT, *arguments], env=environment,
                          capture_output=True, text=True)


class Merge(unittest.TestCase):
    def test_dimensions(self):
        self.assertEqual(merge("layers.3.mega.wv.weight", [[1, 2]], [[3, 4]]), [[1, 2], [3, 4]])
        self.assertEqual(merge("layers.3.mega.wh2.weight", [[1, 2]], [[3, 4]]), [[1, 2, 3, 4]])
        self.assertEqual(merge("layers.0.mega.gamma", [[1], [2]], [[3], [4]]), [[1, 3], [2, 4]])
        self.assertEqual(merge("embed.weight", [[1]], [[2]]), [[1, 2]])
        self.assertEqual(merge("layers.0.mega.rmsnorm.weight", [[1]], [[1]]), [[1]])
        self.assertEqual(merge("anything", [[1]]), [[1]])

    def test_every_tensor_has_a_rule(self):
        split = MODULE["split_dim"]
        zero = ["mega.timenorm.weight", "mega.timenorm.prior_mean", "mega.cema.theta",
                "mega.wz.bias", "mega.wh1.weight", "nffn.fc1.weight", "nffn.fc3.weight"]
        one = ["mega.wh2.weight", "mega.beta", "nffn.fc2.weight"]
        none = ["mega.timenorm.prior_count", "mega.rmsnorm.weight", "nffn.norm.bias"]
        for names, dim in ((zero, 0), (one, 1), (none, None)):
            for name in names:
                self.assertEqual(split("layers.17." + name), dim, name)
        self.assertEqual(split("output.final_norm.weight"), 0)
        self.assertEqual(split("output.output.weight"), 1)
        self.assertIsNone(split("rope.freqs"))

    def test_refusals(self):
        for name, parts, message in (
                ("layers.0.mega.wv.weight", ([[1]], [[1, 2]]), "shapes differ"),
                ("layers.0.mega.rmsnorm.weight", ([[1]], [[2]]), "rank 1 differs"),
                ("layers.0.nffn.alpha", ([[1]], [[2]]), "rescale_nffn"),
                ("surprise", ([[1]], [[2]]), "no tensor of a Megalodon")):
            with self.assertRaises(Failure) as caught:
                merge(name, *parts)
            self.assertEqual(caught.exception.code, 1)
            self.assertIn(message, str(caught.exception))


class Writer(unittest.TestCase):
    def test_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.safetensors")
            MODULE["write_safetensors"](path, [
                ("a", "F32", [2], lambda: struct.pack("<2f", 1, 2)),
                ("count", "I64", [], lambda: struct.pack("<q", 7))])
            with open(path, "rb") as file:
                data = file.read()
            (length,) = struct.unpack("<Q", data[:8])
            header = json.loads(data[8:8 + length])
            self.assertEqual((8 + length) % 64, 0)
            self.assertEqual(header["count"],
                             {"dtype": "I64", "shape": [], "data_offsets": [0, 8]})
            self.assertEqual(header["a"], {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]})
            self.assertEqual(struct.unpack("<q2f", data[8 + length:]), (7, 1, 2))
            with self.assertRaises(Failure):
                MODULE["write_safetensors"](path + "2", [("a", "F32", [2], lambda: b"")])
            self.assertEqual(os.listdir(folder), ["m.safetensors"])


class CommandLine(unittest.TestCase):
    def test_errors(self):
        with tempfile.TemporaryDirectory() as folder:
            def write(name, text):
                with open(os.path.join(folder, name), "w") as file:
                    file.write(text)

            self.assertEqual(run(folder).returncode, 2)
            result = run(folder + "/none", folder + "/out")
            self.assertEqual((result.returncode, "cannot read" in result.stderr), (3, True))
            result = run(folder, folder + "/out")
            self.assertEqual((result.returncode, "no consolidated.pth" in result.stderr), (3, True))
            write("consolidated.01.pth", "")
            result = run(folder, folder + "/out")
            self.assertEqual((result.returncode, "shard 00" in result.stderr), (3, True))
            write("consolidated.00.pth", "")
            write("config.json", "{")
            result = run(folder, folder + "/out")
            self.assertEqual((result.returncode, "invalid JSON" in result.stderr), (1, True))
            write("config.json", "{}")
            write("consolidate_config.json", '{"model_parallel_size": 3}')
            result = run(folder, folder + "/out")
            self.assertEqual((result.returncode, "there are 2 shards" in result.stderr), (1, True))
            self.assertFalse(os.path.exists(folder + "/out"))

            # A torch that cannot be imported, whether or not there is a real one.
            write("consolidate_config.json", '{"model_parallel_size": 2}')
            write("torch.py", "raise ImportError")
            result = run(folder, folder + "/out", path=folder)
            self.assertEqual((result.returncode, "needs torch" in result.stderr), (4, True))
            self.assertFalse(os.path.exists(folder + "/out"))


if __name__ == "__main__":
    unittest.main()
