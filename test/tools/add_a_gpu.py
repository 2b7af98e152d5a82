#!/usr/bin/env python3
"""add_a_gpu.py OTODUS SOURCE: does what docs/Guides/AddAGpu.md says, in a folder of its own.

Blocks behind `<!-- file: NAME -->` are written, those behind `<!-- run [ptxas] -->` must succeed, those behind
`<!-- fails: WORDS -->` must fail and say so.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile


def main():
    otodus, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with open(os.path.join(source, "docs/Guides/AddAGpu.md"), encoding="utf-8") as file:
        page = file.read()
    blocks = re.findall(r"<!-- (file|run|fails)(?:: | )?(.*?) ?-->\n```\w*\n(.*?)```", page, re.S)
    if len([b for b in blocks if b[0] == "run"]) < 2 or not any(b[0] == "fails" for b in blocks):
        sys.exit("the guide has lost its commands")
    has_ptxas = shutil.which("ptxas") or os.access("/usr/local/cuda/bin/ptxas", os.X_OK)
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(os.path.join(source, "test/golden/tiny-megalodon"), os.path.join(folder, "model"))
        os.symlink(os.path.join(source, "test/golden"), os.path.join(folder, "golden"))
        environment = dict(os.environ, HOME=folder, XDG_CACHE_HOME=folder)
        for kind, words, text in blocks:
            if kind == "file":
                with open(os.path.join(folder, words), "w", encoding="utf-8") as file:
                    file.write(text)
                continue
            if words == "ptxas" and not has_ptxas:
                print("skipped without ptxas:", text.strip())
                continue
            for command in text.strip().split("\n"):
                done = subprocess.run([otodus] + command.split()[1:], cwd=folder, env=environment,
                                      capture_output=True, text=True)
                print(f"$ {command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
                if kind == "run" and done.returncode:
                    sys.exit(f"exit code {done.returncode}")
                if kind == "fails" and (done.returncode == 0 or words not in done.stderr):
                    sys.exit(f"expected an error that says '{words}'")
                count += 1
    print(f"{count} commands of the guide work")


if __name__ == "__main__":
    main()
