"""README and docs say what is there: links, nodes, templates, commands and figures."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from animate_core.demo.motion import MOTIONS
from animate_core.families import FAMILY_NAMES
from animate_core.model_files import size_text, with_needs
from animate_core.sampling import SCHEDULERS
from tests.host.test_locales import HELP_LANGUAGES, LANGUAGES

ROOT = Path(__file__).resolve().parents[2]
README, CONTRIBUTING, CHANGELOG = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"
PAGES = [README, CONTRIBUTING, CHANGELOG, *sorted((ROOT / "docs").glob("*.md")),
         ROOT / "training/README.md", ROOT / "models/demo/README.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"python (-m [\w.]+|[\w/]+\.py)((?: [^`\n]*)?)")
# what stands beside a command in a block, after two spaces or a hash
REMARK = re.compile(r" {2,}.*| #.*")


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def anchors(page: Path) -> set[str]:
    """A heading's anchor as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_readme_leads_to_every_page() -> None:
    linked = {(README.parent / link.partition("#")[0]).resolve() for link in LINK.findall(README.read_text(encoding="utf-8"))}
    architecture = ROOT / "docs/architecture.md"
    linked |= {(architecture.parent / link).resolve() for link in LINK.findall(architecture.read_text(encoding="utf-8"))}
    hidden = {page.name for page in (ROOT / "docs").glob("*.md") if page not in linked}
    assert not hidden


def test_the_first_lines_show_a_clip_and_how_to_install() -> None:
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line]
    assert lines[1].startswith("![") and LINK.findall(lines[1])[0].endswith(".webp")
    headings = [line for line in lines if line.startswith("## ")]
    assert headings[:3] == ["## Install", "## First clip in one minute", "## What it can do"]
    assert lines.index("## Install") < 10


def test_publication_is_in_one_place() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("<!-- publication -->") == text.count("<!-- publication ends -->") == 1
    before, _, rest = text.partition("<!-- publication -->")
    inside, _, after = rest.partition("<!-- publication ends -->")
    found = re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    address = found[1]
    assert address in inside and "Manager" in inside and "Manager" not in before + after
    others = [page.name for page in PAGES if page != README and address in page.read_text(encoding="utf-8")]
    assert address not in before + after and not others


def shown_nodes() -> dict[str, str]:
    """Display name by node id, of the classes in the list that the host registers."""
    found = {}
    for path in (ROOT / "nodes").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
                words = {k.arg: k.value.value for call in calls for k in call.keywords if isinstance(k.value, ast.Constant)
                         and k.arg in ("node_id", "display_name") and "node_id" in {other.arg for other in call.keywords}}
                if words:
                    found[f"{path.stem}.{node.name}"] = words
    listed = re.findall(r"^    (\w+\.\w+),$", (ROOT / "nodes/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    return {found[name]["node_id"]: found[name]["display_name"] for name in listed}


def test_the_node_table_has_every_node_once() -> None:
    rows = re.findall(r"^\| \[([^\]]+)\]\(\.\./web/docs/(\w+)\.md\) \|", (ROOT / "docs/nodes.md").read_text(encoding="utf-8"), re.MULTILINE)
    nodes = shown_nodes()
    assert len(nodes) > 20
    assert sorted((node_id, name) for name, node_id in rows) == sorted(nodes.items())


def first_column(heading: str, page: str = "docs/workflows.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_templates_and_blueprints_are_those_of_the_pack() -> None:
    assert sorted(first_column("Templates")) == sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    assert sorted(first_column("Blueprints")) == sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))


def commands() -> Iterator[tuple[str, str, list[str]]]:
    """(page, module or script, words behind it) of every command that a page quotes."""
    for page in [*PAGES, *sorted((ROOT / "web/docs").glob("*.md"))]:
        for program, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
            yield page.name, program.removeprefix("-m "), REMARK.sub("", rest).split()


def sources(program: str, words: list[str]) -> list[Path]:
    """The files whose argparse reads the words."""
    if program == "dev.py" and words[:1] == ["demo"]:
        return [ROOT / "dev.py", ROOT / "tools/demo.py"]
    path = ROOT / (program if program.endswith(".py") else program.replace(".", "/"))
    return [path / "__main__.py" if path.is_dir() else path.with_suffix(".py")]


def test_commands_exist_with_their_options() -> None:
    found = list(commands())
    assert len(found) > 25
    wrong = []
    for page, program, words in found:
        files = sources(program, words)
        if not all(file.is_file() for file in files):
            wrong.append(f"{page}: there is no {program}")
            continue
        trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
        known = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        options = [word for word in words[: words.index("--") if "--" in words else None] if word.startswith("--")]
        wrong += [f"{page}: {program} has no {option}" for option in options if option not in {*known, "--help"}]
        has_commands = "add_subparsers" in "".join(file.read_text(encoding="utf-8") for file in files) or program == "training"
        if has_commands and words and re.fullmatch(r"[a-z]+", words[0]) and words[0] not in known:
            wrong.append(f"{page}: {program} has no command {words[0]}")
    assert not wrong


def benchmark(section: str) -> list[list[str]]:
    """The cells of the tables in a section of the benchmarks' page."""
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_memory_is_that_of_the_benchmarks() -> None:
    counted = {tuple(cells[:3]): cells[3] for cells in benchmark("Memory and FLOPs at full size on a card, by count") if len(cells) == 7}
    weights = re.search(r"weights apart: (\d+) MiB", (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8"))
    row = re.compile(r"^\| (\d+x\d+) \| (\d+) \| (\d+) MiB \| (\d+) MiB \| (\d+) MiB \|$", re.MULTILINE)
    rows = row.findall((ROOT / "docs/settings.md").read_text(encoding="utf-8"))
    assert len(rows) == 2 and weights
    for size, frames, of_weights, both, one in rows:
        assert (of_weights, both, one) == (weights[1], counted[size, frames, "both"], counted[size, frames, "one half"])


def test_acceleration_is_that_of_the_benchmarks() -> None:
    rows = benchmark("Acceleration: work saved, and nearness to the plain run")
    saved = {cells[0]: f"{float(cells[1].rstrip('x')):.1f}" for cells in rows if cells[0] in ("Balanced", "Fast") and cells[3] > "0.95"}
    for page in (README, CHANGELOG):
        assert f"{saved['Balanced']} or {saved['Fast']} times less work" in re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    settings = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert all(f"| {preset} | {times} times |" in settings for preset, times in saved.items())


def test_retargeting_is_that_of_the_benchmarks() -> None:
    rows = {tuple(cells[:2]): cells[2].rstrip(" %") for cells in benchmark("Retargeting against the truth")}
    text = README.read_text(encoding="utf-8")
    for label, noise in (("exact", "clean"), ("of a noisy driving video", "noisy driver")):
        assert f"| {label} | {' | '.join(rows[noise, way] for way in ('ours', 'pose_align', 'none'))} |" in text


def test_numbers_of_the_readme() -> None:
    text = re.sub(r"\s+", " ", README.read_text(encoding="utf-8"))
    needed = sum(file.size for name in ("Moore", "DWPose") for found in with_needs(name) for file in found.files)
    packages = [line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]
    assert f"download Moore DWPose` in the pack's folder ({size_text(needed)[:4]} GB;" in text
    assert f"{len(MOTIONS)} motions" in text and f"one of {len(MOTIONS)} motions" in (ROOT / "docs/nodes.md").read_text(encoding="utf-8")
    assert f"| model families | {len(FAMILY_NAMES)} |" in text and f"| required packages | {len(packages)} lines |" in text
    assert f"| samplers | {len(SCHEDULERS)}, and all of ComfyUI's |" in text
    assert not [line for line in packages if "==" in line.partition(";")[0]], "the table says that none is bound to one version"


def test_the_languages_are_those_that_are_tested() -> None:
    """The README counts English in."""
    named = re.search(r"in (\d+) languages; names and tooltips in (\d+)", re.sub(r"\s+", " ", README.read_text(encoding="utf-8")))
    assert named and (int(named[1]), int(named[2])) == (1 + len(HELP_LANGUAGES), 1 + len(LANGUAGES))
