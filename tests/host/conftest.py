"""One host for most of the tests, with a small model in its folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.host import equipment
from tests.host.host_server import HostServer, old_host_path

TOOLS = Path(__file__).parent / "tools_pack" / "marionette_test_tools"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The library beside the host: see HostServer's OMP_NUM_THREADS."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models/ and input/ to lay into a host's base directory."""
    folder = tmp_path_factory.mktemp("stock")
    equipment.write_models(folder / "models")
    equipment.write_media(folder / "input")
    return folder


@pytest.fixture(scope="session")
def host(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """The server that most tests share: the pack, the tools that make wrong pictures, good and bad models."""
    base = tmp_path_factory.mktemp("host")
    equipment.link_tree(stock, base)
    equipment.write_bad_models(base / "models")
    # classic: what a prompt's outputs cost the cache must not depend on how much memory other programs leave
    with HostServer(base, ["--cache-classic"], packs=[TOOLS]) as server:
        yield server


@pytest.fixture(scope="session")
def old_host(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """The oldest host that the pack states to run in, with the pack and good models."""
    base = tmp_path_factory.mktemp("old_host")
    equipment.link_tree(stock, base)
    with HostServer(base, packs=[TOOLS], checkout=old_host_path()) as server:
        yield server
