"""The help pages: one form, no message that the code does not have, small pictures that are there. Their names against the real host's
schema: tests/host/test_help.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "web" / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LARGEST_PICTURE = 60_000  # bytes
PICTURE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
MESSAGE = re.compile(r"^\| `([^`]+)`", re.MULTILINE)


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next one; empty if there is none."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def said_by_the_code() -> str:
    """Every string of the code, an f-string's parts with `...` for what is filled in."""
    said = []
    for path in [*(ROOT / "nodes").rglob("*.py"), *(ROOT / "animate_core").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                said.append("".join(part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "..."
                                    for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    return "\n".join(said)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_has_the_form_of_all(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    first, blank, summary, after = text.splitlines()[:4]
    assert first.startswith("# ") and not blank and not after
    assert summary.endswith((".", ":")) and len(summary) <= 140, "one sentence says what the node does"
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [title for title in headings if title in ("Inputs", "Outputs")] == ["Inputs", "Outputs"]
    assert "If the result is poor" in headings or page.stem.startswith("MarionetteLoad"), "what to try is said"


def test_the_messages_are_those_of_the_code() -> None:
    """Users look for what they read: each part of a quoted message between `...` is in a string of the code."""
    said = said_by_the_code()
    quoted = [(page.stem, message) for page in PAGES for message in MESSAGE.findall(section(page.read_text(encoding="utf-8"), "Errors"))]
    troubles = MESSAGE.findall((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(quoted) > 60 and len(troubles) > 20
    quoted += [("troubleshooting", message) for message in troubles]
    unknown = [f"{page}: {part!r} of {message!r}" for page, message in quoted for part in map(str.strip, message.split("..."))
               if part.strip(" ,:;") and part not in said]
    assert not unknown, "\n".join(unknown)


def test_pictures_are_there_small_and_shown() -> None:
    shown = {name for page in DOCS.rglob("*.md") for name in PICTURE.findall(page.read_text(encoding="utf-8"))}
    files = {path.relative_to(DOCS).as_posix(): path.stat().st_size for path in DOCS.rglob("*") if path.is_file() and path.suffix != ".md"}
    assert shown == set(files), "every picture exists, and every file is shown"
    assert all(size <= LARGEST_PICTURE for size in files.values()), files
