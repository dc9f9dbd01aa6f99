"""requirements.txt into an environment of the host, line by line as ComfyUI-Manager gives it to pip: nothing that was there changes.

What is there: `pip list --format=freeze` of real environments, recorded in tests/data/host_freeze. Each was a new virtual environment with
`dev.TORCH` and then the requirements.txt of that host. What can be had: the releases in this test's own environment, which `dev.py env`
got for the same lines. pip's own resolver decides, without the network.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dev

ROOT = Path(__file__).resolve().parents[2]
FREEZES = ROOT / "tests" / "data" / "host_freeze"
HOSTS = {"pinned": dev.HOST, "oldest": dev.OLD_HOST}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


class Environment:
    """A virtual environment in which pip finds distributions that have a name and a version and nothing else."""

    def __init__(self, folder: Path, installed: dict[str, str]) -> None:
        venv.create(folder / "env")
        self.python = dev.env_python(folder / "env")
        self.site = next((folder / "env").rglob("site-packages"))
        self.index = folder / "index"
        self.index.mkdir()
        self.installed: dict[str, str] = {}
        for name, version in installed.items():
            self.add(name, version)

    def add(self, name: str, version: str) -> None:
        info = self.site / f"{normal(name).replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(metadata(name, version), encoding="utf-8")
        self.installed[normal(name)] = version

    def offer(self, name: str, version: str, text: str) -> None:
        """A wheel without files for pip to find. text: its METADATA."""
        stem = f"{normal(name).replace('-', '_')}-{version}"
        with zipfile.ZipFile(self.index / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", text)
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")

    def satisfies(self, line: str) -> bool:
        """Whether pip would leave all as it is, told without the second that it takes to say so."""
        asked = Requirement(line)
        held = self.installed.get(normal(asked.name))
        return asked.marker is not None and not asked.marker.evaluate() or held is not None and asked.specifier.contains(held)

    def install(self, line: str) -> dict[str, str]:
        """What `pip install LINE` would install, by name. Raises AssertionError where pip refuses."""
        report = self.site.parent / "report.json"
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--dry-run", "--quiet", "--report", str(report),
                   "--no-index", "--find-links", str(self.index), "--disable-pip-version-check", line]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
        done = subprocess.run(command, env={**kept, "PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True)
        assert done.returncode == 0, f"pip install {line!r}:\n{done.stderr}"
        items = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
        return {normal(item["name"]): item["version"] for item in items}


def changes(environment: Environment, lines: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What the lines add, and what of the installed they would replace, each by name."""
    added: dict[str, str] = {}
    changed: dict[str, str] = {}
    for line in lines:
        if environment.satisfies(line):
            continue
        for name, version in environment.install(line).items():
            if name in environment.installed:
                changed[name] = f"{environment.installed[name]} -> {version}"
            else:
                added[name] = version
                environment.add(name, version)
    return added, changed


def recorded(host: str) -> dict[str, str]:
    lines = (FREEZES / f"{host}.txt").read_text(encoding="utf-8").splitlines()
    assert HOSTS[host].commit in lines[0], f"{host}.txt is of another host: record it anew"
    return {normal(name): version for name, version in (line.split("==") for line in lines[1:])}


def ours(folder: Path, installed: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What requirements.txt adds to and changes in an environment, with the releases of this test's own to choose from."""
    environment = Environment(folder, installed)
    for found in importlib.metadata.distributions():
        environment.offer(found.name, found.version, found.read_text("METADATA") or metadata(found.name, found.version))
    return changes(environment, dev.requirement_lines(ROOT / "requirements.txt"))


@pytest.mark.parametrize("host", HOSTS)
def test_only_additions(host: str, tmp_path: Path, measured: Callable[[str], None]) -> None:
    added, changed = ours(tmp_path, recorded(host))
    assert not changed
    assert "diffusers" in added and "torch" not in added
    measured(f"requirements.txt adds to the {host} host's environment, and changes nothing: {', '.join(sorted(added))}")


@pytest.mark.xfail(strict=True, reason="diffusers asks for huggingface_hub 1.32, and transformers 4 cannot be imported with that")
def test_only_additions_to_a_host_that_was_updated_for_long(tmp_path: Path) -> None:
    """The host asks for transformers 4.50.3 or newer, so who has updated an old one may still have 4.57."""
    _, changed = ours(tmp_path, {**recorded("oldest"), "transformers": "4.57.6", "huggingface-hub": "0.36.2", "tokenizers": "0.22.2"})
    assert not changed


@pytest.mark.parametrize(("line", "requires", "replaced"), [
    ("numpy<2", "", "numpy"),
    ("greedy", "Requires-Dist: numpy<2\n", "numpy"),
    ("greedy", "Requires-Dist: numpy>=1\n", None),
])
def test_a_change_is_seen(tmp_path: Path, line: str, requires: str, replaced: str | None) -> None:
    environment = Environment(tmp_path, {"numpy": "2.4.0"})
    environment.offer("numpy", "1.26.4", metadata("numpy", "1.26.4"))
    environment.offer("greedy", "1.0", metadata("greedy", "1.0") + requires)
    assert set(changes(environment, [line])[1]) == ({replaced} if replaced else set())
