"""The translations: complete in every language, served by the host, and as new as the English texts of the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.host_server import HostServer
from tools.locales import commands, english

ROOT = Path(__file__).resolve().parents[2]
LOCALES, DOCS = ROOT / "locales", ROOT / "web" / "docs"
LANGUAGES = ("zh", "zh-TW", "ja", "ko", "fr", "de", "es", "ru", "pt-BR", "it", "tr")
HELP_LANGUAGES = ("zh", "ja", "ko")
CAPITALS = re.compile(r"[A-Z][A-Z_]+")  # names of socket types


def read(language: str, name: str) -> dict[str, Any]:
    return dict(json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8")))


def leaves(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its place."""
    if isinstance(content, str):
        yield path, content
        return
    for key, value in content.items():
        yield from leaves(value, f"{path}/{key}")


def test_the_english_texts_are_those_of_the_code(host: HostServer) -> None:
    definitions, other = english(host.object_info())
    now = dict(leaves({**definitions, **other, **commands()}))
    kept = dict(leaves({**read("en", "nodeDefs"), **read("en", "main"), **read("en", "commands")}))
    changed = sorted(place for place in {*now, *kept} if now.get(place) != kept.get(place))
    assert not changed, f"run python -m tools.locales, and translate again in every language: {changed}"


def test_every_language_is_there() -> None:
    assert {folder.name for folder in LOCALES.iterdir()} == {"en", *LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete(language: str) -> None:
    for name in ("nodeDefs", "main", "commands"):
        source, translated = dict(leaves(read("en", name))), dict(leaves(read(language, name)))
        assert set(translated) == set(source)
        assert all(text.strip() for text in translated.values())
    source, translated = dict(leaves(read("en", "nodeDefs"))), dict(leaves(read(language, "nodeDefs")))
    # a sentence that is the same in both is not translated
    same = [place for place, text in source.items() if translated[place] == text and len(text.split()) > 3]
    assert not same
    types = {place: text for place, text in source.items() if place.endswith("/name") and CAPITALS.fullmatch(text)}
    assert all(translated[place] == text for place, text in types.items()), "names of socket types stay"


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_and_file_names_survive_translation(language: str) -> None:
    """Numbers of two digits and more, and names with a dot or an underscore: a translation that loses one is wrong."""
    facts = re.compile(r"\d{2,}|\b[\w-]+\.(?:pth|safetensors|onnx|json|bin)\b", re.ASCII)
    source, translated = dict(leaves(read("en", "nodeDefs"))), dict(leaves(read(language, "nodeDefs")))

    def found(text: str) -> set[str]:
        return set(facts.findall(re.sub(r"(?<=\d)[., \u00a0\u202f](?=\d{3}\b)", "", text)))

    lost = {place: sorted(found(text) - found(translated[place])) for place, text in source.items()}
    assert not {place: names for place, names in lost.items() if names}


@pytest.mark.parametrize("language", HELP_LANGUAGES)
def test_help_pages_are_translated(language: str) -> None:
    cell = re.compile(r"^\| ([^|]+?) \|", re.MULTILINE)
    titles = {node: info["display_name"] for node, info in read(language, "nodeDefs").items()}
    for page in sorted(DOCS.glob("*.md")):
        here, there = page.read_text(encoding="utf-8"), (DOCS / page.stem / f"{language}.md").read_text(encoding="utf-8")
        assert there.startswith(f"# {titles[page.stem]}\n"), page.stem
        node = read("en", "nodeDefs")[page.stem]
        names = {*node["inputs"], *(output["name"] for output in node["outputs"].values())}
        # ids of inputs and outputs, and quoted messages
        kept = {name for name in cell.findall(here) if name in names} | set(re.findall("`[^`]+`", " ".join(cell.findall(here))))
        said = [*cell.findall(there), *re.findall("`[^`]+`", " ".join(cell.findall(there)))]
        assert kept and not kept.difference(said), f"{page.stem}: {kept.difference(said)}"
        assert len(re.findall("^## ", here, re.MULTILINE)) == len(re.findall("^## ", there, re.MULTILINE)), page.stem
        assert here.count("](images/") == there.count("images/"), page.stem


def test_the_host_serves_them(host: HostServer) -> None:
    served = host.get("/i18n")
    for language in LANGUAGES:
        assert served[language]["nodeDefs"]["MarionetteMultiFrameSampler"] == read(language, "nodeDefs")["MarionetteMultiFrameSampler"]
