"""The table of published files, and everything that repeats its facts: the documents, the templates, the loaders' messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from animate_core.families import FAMILIES, FAMILY_NAMES
from animate_core.model_files import (
    CATALOGUE,
    CLIP,
    DENOISER,
    DETECTOR,
    GUIDER,
    MOTION,
    FileSet,
    ModelFile,
    every_file,
    family_in,
    file_set,
    size_text,
    what_to_get,
    where_to_get,
    with_needs,
)
from animate_core.model_folders import FolderError, host_folders
from animate_core.pose import detector

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "models.md"
# named in the documents, and not of this pack's files: ComfyUI's own pose model
OTHERS = {"Comfy-Org/SDPose"}


def test_every_family_has_its_files() -> None:
    assert [found.name for found in CATALOGUE if found.name in FAMILIES] == list(FAMILY_NAMES)
    for name in FAMILY_NAMES:
        guiders = [Path(file.name).stem for file in file_set(name).files if file.part == GUIDER]
        assert sorted(guiders) == sorted(FAMILIES[name].guiders)
        assert {"image encoder", "VAE"} <= {found.name for found in with_needs(name)}
        assert bool(file_set(name).elsewhere) != all(file.url for file in file_set(name).files)
        assert file_set(name).licence == FAMILIES[name].licence


def test_facts_have_the_form_of_facts() -> None:
    places = [(file.folder, file.name) for _, file in every_file()]
    assert len(set(places)) == len(places)
    for _, file in every_file():
        assert re.fullmatch(r"[0-9a-f]{64}|", file.sha256), file
        assert not re.match(r"/|.*\.\.", file.folder) and file.choice.endswith(file.name)
        assert file.exact or len(str(file.size).rstrip("0")) <= 3, f"{file.choice}: no size that is rounded to three digits"


@pytest.mark.parametrize(("size", "text"), [
    (3_440_000_000, "3.44 GB"), (1_215_993_967, "1.22 GB"), (216_746_733, "217 MB"), (10_700_000, "10.7 MB"), (2_065_454, "2.07 MB"),
    (1_000, "1.00 kB"), (12, "12 bytes"), (0, "size unknown"),
])
def test_sizes_in_words(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize("name", ["Moore face", "moore-face", "MOORE_FACE", "MooreFace"])
def test_names_as_people_type_them(name: str) -> None:
    assert file_set(name).name == "Moore face"


def row(file: ModelFile) -> str:
    name = f"[`{file.name}`]({file.url})" if file.url else f"`{file.name}`"
    return f"| {name} | {size_text(file.size)} | `models/{file.folder}/` | {f'`{file.sha256}`' if file.sha256 else '-'} |"


def section(found: FileSet) -> str:
    head = f"### {found.name}\n\nLicence: {found.licence}."
    if found.needs:
        head += f" Needs {', '.join(found.needs)}."
    if found.elsewhere:
        head += f" Not on Hugging Face: {found.elsewhere}."
    return "\n".join([head, "", "| file | size | into | SHA-256 |", "|---|---|---|---|", *map(row, found.files), ""])


def test_the_page_has_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for found in CATALOGUE:
        assert section(found) in text, f"docs/models.md should have:\n\n{section(found)}"
    assert sum("`models/" in line for line in text.splitlines() if line.startswith("| ")) == sum(1 for _ in every_file())


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    for pattern in ("docs/*.md", "web/docs/**/*.md", "workflows/*.json", "nodes/*.py", "animate_core/**/*.py", "models/**/*.md"):
        yield from sorted(ROOT.glob(pattern))


def test_no_document_names_another_repository() -> None:
    known = {file.repository for _, file in every_file()} | OTHERS
    named = [(path.relative_to(ROOT).as_posix(), name) for path in documents()
             for name in re.findall(r"huggingface\.co/([\w-]+/[\w-]+(?:\.[\w-]+)*)", path.read_text(encoding="utf-8"), re.ASCII)]
    assert len(named) > 20
    assert [where for where in named if where[1] not in known] == []


def test_templates_name_files_of_the_table() -> None:
    known = {(file.category, file.choice): file.url for _, file in every_file()}
    entries = 0
    for path in sorted((ROOT / "workflows").glob("*.json")):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        inner = [node for graph in workflow.get("definitions", {}).get("subgraphs", []) for node in graph["nodes"]]
        for node in [*workflow["nodes"], *inner]:
            for model in node.get("properties", {}).get("models", []):
                entries += 1
                assert known.get((model["directory"], model["name"])) == model["url"], f"{path.name}: {model}"
    assert entries


def test_the_detector_names_the_same_place() -> None:
    assert detector.GET_FILES == f"huggingface.co/{file_set('DWPose').files[0].repository}"


@pytest.mark.parametrize(("choice", "part", "words"), [
    ("MusePose/denoising_unet.pth", DENOISER, ["denoising_unet.pth (3.40 GB)", "models/animate_anyone/MusePose", "download MusePose",
                                               "https://huggingface.co/TMElyralab/MusePose/resolve/main/MusePose/denoising_unet.pth"]),
    ("Moore\\motion_module.pth", MOTION, ["motion_module.pth (1.82 GB)", "/patrolli/AnimateAnyone/resolve/main/motion_module.pth"]),
    ("anything else.pth", DENOISER, ["models/animate_anyone/Moore", "download Moore`"]),
    ("Moore-face/pose_guider1.pth", GUIDER, ["pose_guider1.pth", "models/animate_anyone/Moore-face", "Baidu"]),
    ("", CLIP, ["pytorch_model.bin (1.22 GB)", "models/clip_vision/sd-image-variations", "download image-encoder"]),
    ("yolox_l.onnx", DETECTOR, ["yolox_l.onnx (217 MB)", "/yzd-v/DWPose/resolve/main/yolox_l.onnx", "download DWPose"]),
])
def test_where_to_get_a_file(choice: str, part: str, words: list[str]) -> None:
    text = where_to_get(choice, part)
    assert [word for word in words if word not in text] == [], text


def test_what_to_get_for_a_family() -> None:
    text = what_to_get("Champ")
    for found in with_needs("Champ"):
        for file in found.files:
            assert f"{file.name} ({size_text(file.size)})" in text and f"models/{file.folder}" in text and file.page in text
    assert "download Champ" in text
    few = what_to_get("Moore", [MOTION])
    assert "motion_module.pth" in few and "denoising_unet.pth" not in few


@pytest.mark.parametrize(("folder", "family"), [("Moore", "Moore"), ("a/musepose", "MusePose"), ("Moore-face", "Moore face"), ("vae", "")])
def test_folders_tell_families(folder: str, family: str) -> None:
    assert family_in(folder) == family


def test_extra_model_paths_in_the_order_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "extra_model_paths.yaml").write_text(
        "a:\n  base_path: far\n  vae: |\n    one\n    two\nb:\n  is_default: true\n  vae: |\n    three\n    four\nc:\n", encoding="utf-8")
    expected = [tmp_path / "four", tmp_path / "three", tmp_path / "models" / "vae", tmp_path / "far" / "one", tmp_path / "far" / "two"]
    assert list(host_folders(tmp_path / "models").of("vae")) == expected


@pytest.mark.parametrize("text", ["a: [", "a:\n  vae: [one]\n", "- a\n"])
def test_extra_model_paths_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "extra_model_paths.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FolderError, match=r"extra_model_paths\.yaml cannot be read"):
        host_folders(tmp_path / "models")


def test_no_host_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(tmp_path))
    with pytest.raises(FolderError, match="--models"):
        host_folders(pack=tmp_path / "somewhere")
