#!/usr/bin/env python3
"""check-example.py MAKE_MODEL COMMAND... : runs `COMMAND model.oto "To be" 12` on the letter
model and compares its text with what the model's formula says; then a file that is missing."""
import os
import subprocess
import sys
import tempfile

make, *command = sys.argv[1:]
text, state = "To be", 7
for char in text:
    state = (state * 31 + ord(char) + 3) & 0xFFFF
expected = text
for _ in range(12):
    char = chr(ord("a") + state % 26)
    expected += char
    state = (state * 31 + ord(char) + 3) & 0xFFFF

with tempfile.TemporaryDirectory() as folder:
    model = os.path.join(folder, "model.oto")
    subprocess.run([make, model], check=True)
    run = subprocess.run([*command, model, text, "12"], capture_output=True, text=True)
    print(run.stdout, run.stderr)
    assert run.returncode == 0, run.returncode
    assert run.stdout == expected + "\n", f"expected {expected!r}"
    missing = subprocess.run([*command, os.path.join(folder, "gone.oto"), text, "1"],
                             capture_output=True, text=True)
    assert missing.returncode == 3 and "gone.oto" in missing.stderr, missing
