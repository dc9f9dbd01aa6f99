"""The pack without its optional packages (issue: proof 6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host import equipment, graphs
from tests.host.host_server import HostServer
from tests.host.test_clip import NODES

# Python imports a module of this name at its start; this one makes packages look as if they were not installed.
SITECUSTOMIZE = '''
import os, sys
from importlib.machinery import PathFinder

ABSENT = os.environ["ABSENT_PACKAGE"]

class Without(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] == ABSENT else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, *args, **kwargs):
        for found in super().find_distributions(*args, **kwargs):
            if not (found.metadata["Name"] or "").lower().startswith(ABSENT):
                yield found

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
'''


@pytest.mark.parametrize("package", ["diffusers", "onnxruntime", "kornia"])
def test_the_pack_lives_without(package: str, stock: Path, tmp_path: Path) -> None:
    blocker = tmp_path / "site"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    equipment.link_tree(stock, tmp_path / "base")
    with HostServer(tmp_path / "base", environment={"PYTHONPATH": str(blocker), "ABSENT_PACKAGE": package}) as host:
        assert set(host.object_info()) >= NODES
        if package == "kornia":
            assert "kornia" in host.log, "the host misses it too: the package is really not there"
        for name in ("basic", "ksampler"):
            result = host.run(graphs.load(name, poses={"length": 4}, sampler={"steps": 2}))
            if package == "diffusers" and name == "basic":
                assert result.status == "error" and result.error_node == "MarionetteMultiFrameSampler"
                assert "diffusers" in result.error and "pip install diffusers" in result.error
            else:
                assert result.images().shape[0] == 4
