"""The archive that the Comfy registry serves and ComfyUI-Manager unpacks: `python -m tools.archive FILE.zip`.

It holds what comfy-cli puts into it: the files that git tracks, less those that .comfyignore names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tracked(*options: str) -> set[str]:
    """Paths that `git ls-files` lists, relative to the root, with `/`."""
    listed = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, check=True, capture_output=True).stdout
    return set(listed.decode().split("\0")) - {""}


def archive_names() -> list[str]:
    """The archive's files, sorted. Git itself reads .comfyignore, whose syntax is that of .gitignore."""
    return sorted(tracked() - tracked("--cached", "--ignored", "--exclude-from=.comfyignore"))


def write_archive(path: Path) -> None:
    """Write the archive beside `path` and rename it when whole. Raises OSError."""
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in archive_names():
                archive.write(ROOT / name, name)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.archive", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.zip")
    path: Path = parser.parse_args(words).file
    try:
        write_archive(path)
    except OSError as problem:
        print(f"{path} could not be written: {problem}", file=sys.stderr)
        return 1
    print(f"{path}: {len(archive_names())} files, {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
