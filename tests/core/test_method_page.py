"""The method's page: every section that a comment or docstring cites is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "method.md"
FOLDERS = ("animate_core", "nodes", "training", "benchmarks", "tests", "tools")  # all that hold tracked .py files

SECTION = r"[A-Z](?:\.\d+)?"
HEADING = re.compile(r"## ([A-Z])\. |### ([A-Z]\.\d+) ")
# what follows the page's name: "F", "A, E", "H.4 and H.5", "H.1-H.3"
CITED = re.compile(rf"method\.md(?: ({SECTION}\b(?:(?:, | and |-){SECTION}\b(?!\.\d))*))?")


def headings(page: str) -> list[str]:
    """The sections' letters and numbers, in the page's order."""
    return [match[1] or match[2] for match in map(HEADING.match, page.splitlines()) if match]


def citations() -> Iterator[tuple[str, str]]:
    """(file:line, the sections as they are cited, empty where none is) of every mention of the page in the code."""
    paths = sorted([*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])
    for path in paths:
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for match in CITED.finditer(line):
                yield f"{path.relative_to(ROOT).as_posix()}:{number}", match[1] or ""


def cited_sections(text: str) -> list[str]:
    """Each section of a citation; of a range its two ends and all that lie between."""
    sections: list[str] = []
    for part in re.split(r", | and ", text):
        first, _, last = part.partition("-")
        sections.append(first)
        if last:
            letter, start, end = first[0], int(first[2:]), int(last[2:])
            assert last[0] == letter and start < end, f"{part} is no range within a section"
            sections += [f"{letter}.{n}" for n in range(start + 1, end + 1)]
    return sections


def test_every_cited_section_is_on_the_page() -> None:
    there = set(headings(PAGE.read_text(encoding="utf-8")))
    found = list(citations())
    assert len(found) > 20, "the code cites the page; nothing found means that it is not looked for rightly"
    unclear = [where for where, text in found if not text]
    assert not unclear, f"no section is named: {unclear}"
    missing = [f"{where}: {section}" for where, text in found for section in cited_sections(text) if section not in there]
    assert not missing, f"docs/method.md has no such section: {missing}"


def test_sections_are_in_order_and_once() -> None:
    sections = headings(PAGE.read_text(encoding="utf-8"))
    assert sections == sorted(set(sections), key=lambda s: (s[0], int(s[2:] or 0)))
    assert {s[0] for s in sections} == set("ABCDEFGHIJK")


def test_lists_and_ranges_are_read_whole() -> None:
    texts = ["(method.md A, E).", "method.md H.4 and its edges", "method.md H.1-H.3).", "method.md H.4 and H.5 with", "method.md C, D; so"]
    read = [cited_sections(match[1]) for text in texts for match in CITED.finditer(text)]
    assert read == [["A", "E"], ["H.4"], ["H.1", "H.2", "H.3"], ["H.4", "H.5"], ["C", "D"]]
