"""The pack as users get it: the published archive, unpacked into the folder that ComfyUI-Manager gives it, in both hosts."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import graphs
from tests.host.host_server import REGISTRY_NAME, ROOT, HostServer, old_host_path
from tests.host.test_clip import NODES
from tests.host.test_oldest_host import FRAMES, assert_clip, demo_graph
from tools.archive import archive_names, write_archive

TEMPLATES = {Path(name).stem for name in archive_names() if name.startswith("workflows/") and name.endswith(".json")}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "node.zip"
    write_archive(path)
    return path


@pytest.fixture(scope="module", params=["pinned", "oldest"])
def installed(request: pytest.FixtureRequest, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    checkout = old_host_path() if request.param == "oldest" else None
    with HostServer(tmp_path_factory.mktemp("installed"), archive=archive, checkout=checkout) as server:
        yield server


def fetched(host: HostServer, path: str) -> bytes:
    with urllib.request.urlopen(host.url + path, timeout=30) as reply:
        return bytes(reply.read())


def test_it_is_the_archive_alone(installed: HostServer) -> None:
    packs = [path.name for path in (installed.base / "custom_nodes").iterdir() if path.is_dir()]
    assert packs == [REGISTRY_NAME]
    assert set(installed.object_info()) >= NODES


def test_templates_and_their_pictures(installed: HostServer) -> None:
    assert set(installed.get("/api/workflow_templates")[REGISTRY_NAME]) == TEMPLATES and "demo" in TEMPLATES
    for name in TEMPLATES:
        served = installed.get(f"/api/workflow_templates/{REGISTRY_NAME}/{name}.json")
        assert served == json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
        assert fetched(installed, f"/api/workflow_templates/{REGISTRY_NAME}/{name}.jpg")


def test_help_with_its_pictures(installed: HostServer) -> None:
    pages = [name for name in archive_names() if name.startswith("web/docs/")]
    assert len(pages) > len(NODES)
    for name in pages:
        assert fetched(installed, f"/extensions/{REGISTRY_NAME}/{name.removeprefix('web/')}") == (ROOT / name).read_bytes()


def test_languages(installed: HostServer) -> None:
    served = installed.get("/i18n")
    languages = {name.split("/")[1] for name in archive_names() if name.startswith("locales/")}
    assert len(languages) > 10
    for language in languages:
        kept = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
        assert kept.items() <= served[language]["nodeDefs"].items()


def test_blueprints(installed: HostServer) -> None:
    ours = {key: entry for key, entry in installed.get("/global_subgraphs").items() if entry["info"]["node_pack"].endswith(REGISTRY_NAME)}
    stored = {Path(name).stem: ROOT / name for name in archive_names() if name.startswith("subgraphs/")}
    assert len(stored) > 3 and {entry["name"] for entry in ours.values()} == set(stored)
    for key, entry in ours.items():
        served = installed.get(f"/global_subgraphs/{urllib.parse.quote(key)}")
        assert json.loads(served["data"]) == json.loads(stored[entry["name"]].read_text(encoding="utf-8"))


def test_the_built_in_model_runs(installed: HostServer) -> None:
    assert_clip(installed.run(demo_graph("demo", character={"frames": FRAMES})), 192, 288)


def test_the_sample_drawing_runs(installed: HostServer) -> None:
    graph = graphs.load("my_drawing", sampler={"steps": 2}, moves={"frames": FRAMES})
    result = installed.run(graph)
    assert result.status == "success", f"{result.error}\n{result.traceback}"


def test_the_commands_run(archive: Path, tmp_path: Path) -> None:
    """As docs/models.md says it: from the pack's folder."""
    pack = tmp_path / "ComfyUI" / "custom_nodes" / REGISTRY_NAME
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(pack)
    for command in (["animate_core.models", "list"], ["animate_core.checkpoints", "inspect", "models/demo/pose_guider.safetensors"],
                    ["training", "--help"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=pack, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr
