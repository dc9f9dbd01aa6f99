"""pyproject.toml by the rules that the Comfy registry and comfy-cli publish, requirements by ComfyUI-Manager's, and the oldest Python.

The rules: https://docs.comfy.org/registry/specifications and /standards, and what comfy-cli warns of before it publishes.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from PIL import Image

from tools.archive import ROOT, archive_names, tracked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OLDEST = (3, 10)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
RAW = re.compile(r"https://raw\.githubusercontent\.com/([\w.-]+/[\w.-]+)/main/(.+)")
ACCELERATORS = {"GPU :: NVIDIA CUDA", "GPU :: AMD ROCm", "GPU :: Intel Arc", "NPU :: Huawei Ascend", "GPU :: Apple Metal"}
# The host's own choice, made for the machine: another of them breaks it, or is undone by the Manager
OF_THE_HOST = {"torch", "torchvision", "torchaudio", "xformers", "triton", "numpy", "opencv-python", "opencv-python-headless",
               "opencv-contrib-python", "opencv-contrib-python-headless", "comfyui-frontend-package"}
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "Linux on ARM": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    "Windows on ARM": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "ARM64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
}


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project(pyproject: dict[str, Any]) -> dict[str, Any]:
    return dict(pyproject["project"])


@pytest.fixture(scope="module")
def comfy(pyproject: dict[str, Any]) -> dict[str, Any]:
    return dict(pyproject["tool"]["comfy"])


def test_name_and_version(project: dict[str, Any]) -> None:
    name = project["name"]
    assert len(name) < 100 and re.fullmatch(r"[a-z](?:[._-]?[a-z0-9])*", name), "also the folder that the Manager installs into"
    assert "comfy" not in name
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])


def test_texts_and_licence(project: dict[str, Any], comfy: dict[str, Any]) -> None:
    assert project["license"] == {"file": "LICENSE"} and {"LICENSE", project["readme"]} <= set(archive_names())
    assert 20 < len(project["description"]) <= 200 and "\n" not in project["description"]
    assert comfy["DisplayName"]


def test_addresses(project: dict[str, Any], comfy: dict[str, Any]) -> None:
    """One repository for all, of the publisher."""
    urls = project["urls"]
    assert {"Repository", "Documentation", "Issues"} <= set(urls)
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", urls["Repository"])
    assert all(url.startswith(urls["Repository"]) for url in urls.values())
    assert re.fullmatch(r"[a-z][a-z0-9-]*", comfy["PublisherId"]) and f"/{comfy['PublisherId']}/" in urls["Repository"]


@pytest.mark.parametrize(("key", "shape", "largest"), [("Icon", (1, 1), 400), ("Banner", (21, 9), 2100)])
def test_pictures(project: dict[str, Any], comfy: dict[str, Any], key: str, shape: tuple[int, int], largest: int) -> None:
    link = RAW.fullmatch(comfy[key])
    assert link and project["urls"]["Repository"].endswith(f"/{link[1]}") and link[2] in tracked()
    with Image.open(ROOT / link[2]) as picture:
        width, height = picture.size
        assert picture.format == "PNG" and width * shape[1] == height * shape[0] and width <= largest
    assert (ROOT / link[2]).stat().st_size < 300_000


def test_classifiers(project: dict[str, Any]) -> None:
    classifiers = project["classifiers"]
    assert "Operating System :: OS Independent" in classifiers
    gpus = [c.removeprefix("Environment :: ") for c in classifiers if c.startswith("Environment :: ")]
    assert gpus and set(gpus) <= ACCELERATORS
    assert [c.rpartition(" ")[2] for c in classifiers if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", c)] == [*PYTHONS]
    assert all(SpecifierSet(project["requires-python"]).contains(version) for version in PYTHONS)
    assert not SpecifierSet(project["requires-python"]).contains("3.9")


def test_host_versions(comfy: dict[str, Any]) -> None:
    part = r"(?:==|>=|<=|!=|~=|>|<|<>|=)?\s*\d+\.\d+\.\d+(?:-[a-zA-Z0-9]+)?"
    assert re.fullmatch(rf"{part}(?:,\s*{part})*", comfy["requires-comfyui"])


def test_nothing_that_only_runs_on_an_install(pyproject: dict[str, Any]) -> None:
    """The Manager reads requirements.txt and runs install.py; the registry refuses packs that install by themselves."""
    assert pyproject["project"]["dynamic"] == ["dependencies"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    names = archive_names()
    assert "requirements.txt" in names and "install.py" not in names and "prestartup_script.py" not in names
    for name in names:
        if name.endswith(".py"):
            source = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"""["'](?:-m )?pip["']""", source), f"{name} runs pip"


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines]  # every line is one: the Manager gives each to pip by itself


def test_requirements_leave_the_hosts_own_alone() -> None:
    assert not {line.name for line in requirements()} & OF_THE_HOST
    for line in requirements():
        assert line.url is None and {part.operator for part in line.specifier} <= {">=", "!="}, f"{line}: a limit can take a release away"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_requirements_on_every_system(system: str, python: str) -> None:
    """Each asks for one onnxruntime: two overwrite each other's files. CUDA's has files for two systems alone."""
    environment = {**default_environment(), **SYSTEMS[system], "python_version": python, "python_full_version": f"{python}.0"}
    asked = [line.name for line in requirements() if line.marker is None or line.marker.evaluate(environment)]
    runtimes = [name for name in asked if name.startswith("onnxruntime")]
    assert runtimes == ["onnxruntime-gpu" if system in ("Linux", "Windows") else "onnxruntime"]
    assert {"diffusers", "einops", "kornia", "safetensors", "transformers"} == set(asked) - set(runtimes)


def test_sources_are_of_the_oldest_python(pyproject: dict[str, Any]) -> None:
    assert Version(pyproject["project"]["requires-python"].removeprefix(">=")).release == OLDEST
    assert pyproject["tool"]["ruff"]["target-version"] == "py310"
    paths = [Path(name) for name in tracked() if name.endswith(".py")]
    assert len(paths) > 100
    for path in paths:
        ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path), feature_version=OLDEST)


def test_text_files_are_opened_as_utf_8() -> None:
    """On Windows the default is the system's code page."""
    found = []
    for name in archive_names():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and opens_text(node) and not any(keyword.arg == "encoding" for keyword in node.keywords):
                found.append(f"{name}:{node.lineno} opens a text file without encoding")
    assert not found, "\n".join(found)


def opens_text(call: ast.Call) -> bool:
    """Whether a call is `open` (the built-in or a path's, with no binary mode), `read_text` or `write_text`."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in ("read_text", "write_text"):
        return True
    if isinstance(function, ast.Name) and function.id == "open" or isinstance(function, ast.Attribute) and function.attr == "fdopen":
        modes = call.args[1:2]
    elif isinstance(function, ast.Attribute) and function.attr == "open" and call.args and isinstance(call.args[0], ast.Constant):
        modes = call.args[:1]
    else:
        return False
    modes += [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    return not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)


@pytest.mark.parametrize(("source", "expected"), [
    ("open(path)", True), ("open(path, 'rb')", False), ("open(path, mode='wb')", False), ("path.open('w')", True),
    ("path.open('rb')", False),
    ("path.read_text()", True), ("Image.open(path)", False), ("os.fdopen(number, 'w')", True), ("os.fdopen(number, 'wb')", False),
])
def test_the_reader_itself(source: str, expected: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call) and opens_text(call) is expected
