"""Runs every script of this folder, each in a process of its own, and prints one line for each. Ends with 1 if one of them failed."""

import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent


def main():
    failed = False
    for path in sorted(FOLDER.glob("*.py")):
        if path.name in ("all.py", "shared.py"):
            continue
        run = subprocess.run([sys.executable, path], capture_output=True, text=True)
        said = (run.stdout if run.returncode == 0 else run.stderr).strip().split("\n")[-1]
        print(said if run.returncode == 0 else f"{path.stem} FAILED: {said}")
        failed |= run.returncode != 0
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
