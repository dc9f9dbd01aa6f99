"""The published archive: what is in it, how large it is, that its pages lead nowhere else, and file names that every system can hold."""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from tools.archive import ROOT, archive_names, main, tracked, write_archive

LIMIT = 35e6  # bytes
FOLDERS = ("animate_core", "docs", "locales", "models/demo", "nodes", "subgraphs", "training", "web", "workflows")
FILES = {".comfyignore", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "__init__.py", "pyproject.toml", "requirements.txt"}
LEFT_OUT = {".ci", "assets", "benchmarks", "dev.py", "tests", "tools"}
# pages for who works on a clone, which has all that they speak of
OF_A_CLONE = {"CONTRIBUTING.md", "docs/adding_a_family.md"}
LINK = re.compile(r"\]\(([^)#\s]+)")
DOCS_PAGE = re.compile(r"\bdocs/\w+\.(?:md|py)\b")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}
# of Windows' 260, this leaves 140 for the folder of the pack
LONGEST = 120


@pytest.fixture(scope="module")
def names() -> list[str]:
    return archive_names()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "node.zip"
    write_archive(path)
    return path


def test_what_is_in_it(names: list[str]) -> None:
    """Every tracked file of a folder that is published, or none: no file is lost to a pattern, and nothing new slips in unseen."""
    published = {name for name in tracked() if name.startswith(tuple(f"{folder}/" for folder in FOLDERS))}
    assert set(names) == published | FILES | (OF_A_CLONE & tracked())
    assert {name.partition("/")[0] for name in tracked() - set(names)} == LEFT_OUT
    for folder in FOLDERS:
        assert any(name.startswith(f"{folder}/") for name in names), f"nothing of {folder}/"


def test_what_users_need(names: list[str]) -> None:
    nodes = {node for path in (ROOT / "nodes").glob("*.py") for node in re.findall(r'node_id="(\w+)"', path.read_text(encoding="utf-8"))}
    assert len(nodes) > 20
    needed = {f"web/docs/{node}.md" for node in nodes}
    needed |= {f"models/demo/{part}.safetensors" for part in ("clip_vision", "denoising_unet", "pose_guider", "reference_unet", "vae")}
    needed |= {"docs/models.md", "locales/en/nodeDefs.json", "locales/en/main.json", "workflows/demo.json", "workflows/video.json"}
    assert not needed - set(names)


def test_the_zip_and_its_size(archive: Path, names: list[str], measured: Callable[[str], None]) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == names and opened.testzip() is None
        assert opened.read("pyproject.toml") == (ROOT / "pyproject.toml").read_bytes()
    size = archive.stat().st_size
    measured(f"the published archive: {len(names)} files, {size / 1e6:.1f} MB (limit {LIMIT / 1e6:.0f})")
    assert size < LIMIT


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "a.zip")]) == 0 and "MB" in capsys.readouterr().out
    assert main([str(tmp_path / "absent" / "a.zip")]) == 1 and "could not be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_links_between_its_pages(names: list[str]) -> None:
    """A page, or an extract of it in the host's help, leads to what was installed with it."""
    held = {*names, *(str(parent) for name in names for parent in PurePosixPath(name).parents)}
    found = []
    for name in names:
        if not name.endswith(".md") or name in OF_A_CLONE:
            continue
        # the page looks for the pictures of every language's help in one place
        base = ROOT / "web" / "docs" if name.startswith("web/docs/") else (ROOT / name).parent
        for link in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
            if "://" not in link and (target := base.joinpath(link).resolve().relative_to(ROOT).as_posix()) not in held:
                found.append(f"{name} leads to {target}")
    assert not found, "\n".join(found)


def test_pages_that_messages_name(names: list[str]) -> None:
    named = {page for name in names if name.startswith(("animate_core/", "nodes/", "web/", "workflows/", "subgraphs/", "locales/"))
             and name.endswith((".py", ".js", ".md", ".json")) for page in DOCS_PAGE.findall((ROOT / name).read_text(encoding="utf-8"))}
    assert "docs/models.md" in named
    assert not named - set(names)


def test_file_names_for_every_system() -> None:
    """Windows' and macOS's rules, and comfy-cli's: it reads git's list by lines, where other characters than ASCII are escaped."""
    found = []
    for name in sorted(tracked()):
        for part in name.split("/"):
            if not re.fullmatch(r"[ -~]+", part) or set(part) & set('<>:"|?*\\'):
                found.append(f"{name}: characters that not every system takes")
            if part.split(".")[0].lower() in RESERVED or part.endswith((".", " ")) or part.startswith(" "):
                found.append(f"{name}: no name on Windows")
        if len(name) > LONGEST:
            found.append(f"{name}: {len(name)} characters, over {LONGEST}")
    assert not found, "\n".join(found)


def test_no_two_names_differ_by_case_alone() -> None:
    paths = {str(path) for name in tracked() for path in (PurePosixPath(name), *PurePosixPath(name).parents)}
    assert len({path.casefold() for path in paths}) == len(paths)


def test_plain_files_alone() -> None:
    """A zip unpacks links as small text files; programs and submodules have no place in it."""
    listed = subprocess.run(["git", "ls-files", "--stage", *archive_names()], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    modes = {line.split()[0] for line in listed.splitlines()}
    assert modes == {"100644"}
