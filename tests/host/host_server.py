"""A real ComfyUI on this machine's loopback, with the pack in its custom_nodes folder, driven the way its page drives it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.host.events import EventListener
from tests.host.result import Graph, Result, result_of

ROOT = Path(__file__).resolve().parents[2]
PACK = "ComfyUI-Marionette"
REGISTRY_NAME = "marionette"  # the folder that ComfyUI-Manager installs into
FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")
START_SECONDS = 180


class HostError(RuntimeError):
    """The host did not start, did not answer, or could not import the pack."""


def host_path(variable: str = "COMFYUI_PATH", folder: str = "ComfyUI") -> Path:
    """The host's checkout, the pinned one or another that is kept beside it; `python dev.py test` makes both and sets the variables."""
    path = Path(os.environ.get(variable) or Path.home() / ".cache" / "marionette" / folder)
    if not (path / "main.py").is_file():
        raise HostError(f"no ComfyUI at {path}: run `python dev.py test`, or set {variable}")
    return path


def old_host_path() -> Path:
    """The checkout of the oldest host that the pack states to run in."""
    return host_path("COMFYUI_OLD_PATH", "ComfyUI-0.18.0")


def copy_pack(target: Path) -> None:
    """What a user's clone of this working tree would hold: tracked and new files that git does not ignore, less the tests."""
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and not name.startswith("tests/") and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class HostServer:
    """One process of the host.

    base: its base directory, made if need be; models put below base/models before a prompt are found by it.
    arguments: further ones for main.py. device: those that choose what it computes on. environment: further variables.
    packs: folders to lay beside ours. checkout: which host, by default the pinned one. archive: a published archive of the pack, to be
    unpacked as ComfyUI-Manager does, in place of this working tree.
    Raises HostError if the host does not come up, or says that a pack failed to import.
    """

    def __init__(self, base: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None,
                 packs: Sequence[Path] = (), device: Sequence[str] = ("--cpu",), checkout: Path | None = None,
                 archive: Path | None = None) -> None:
        self.base = base
        self.output = base / "output"
        self.input = base / "input"
        self.models = base / "models"
        for name in FOLDERS:
            (base / name).mkdir(parents=True, exist_ok=True)
        if archive is None:
            copy_pack(base / "custom_nodes" / PACK)
        else:
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(base / "custom_nodes" / REGISTRY_NAME)
        for pack in packs:
            shutil.copytree(pack, base / "custom_nodes" / pack.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client_id = uuid.uuid4().hex
        self.log_path = base / "host.log"
        host = checkout or host_path()
        command = [sys.executable, "main.py", *device, "--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(base),
                   "--database-url", "sqlite:///:memory:", "--preview-method", "latent2rgb", "--disable-auto-launch",
                   "--disable-api-nodes", *arguments]
        self._log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen(command, cwd=host, stdout=self._log_file, stderr=subprocess.STDOUT,
                                        env=self._environment(environment or {}))
        try:
            self._await_start()
            self.events = EventListener(self.port, self.client_id)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _environment(more: Mapping[str, str]) -> dict[str, str]:
        """This process's, less what would let its import path into the host's."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_")) and key != "PYTHONPATH"}
        # One thread: small networks gain nothing from more, and two that spin for each other on a busy machine cost a factor of eight.
        set_here = {**kept, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **more}
        return {key: value for key, value in set_here.items() if value}

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise HostError(f"the host ended with exit code {self.process.returncode}:\n{self.log_tail()}")
            try:
                self.get("/system_stats")
            except (HostError, OSError):
                time.sleep(0.1)
                continue
            break
        else:
            raise HostError(f"the host did not answer within {START_SECONDS} s:\n{self.log_tail()}")
        failed = [line for line in self.log.splitlines() if "(IMPORT FAILED)" in line]  # the host's own say it without brackets
        if failed:
            raise HostError(f"{failed}\n{self.log_tail(120)}")

    # ------------------------------------------------------------------------------------------------------ requests

    def _request(self, path: str, body: Any = None, timeout: float = 30) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"} if data else {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                status, text = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        except urllib.error.URLError as error:
            raise HostError(f"{path}: {error.reason}") from error
        try:
            return status, json.loads(text) if text else None
        except ValueError:
            return status, text.decode(errors="replace")

    def get(self, path: str) -> Any:
        """A GET's JSON. Raises HostError for a status other than 200."""
        status, reply = self._request(path)
        if status != 200:
            raise HostError(f"GET {path}: {status}: {reply}")
        return reply

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of a POST."""
        return self._request(path, body)

    def object_info(self, node: str | None = None) -> dict[str, Any]:
        """The schema of one node (empty if there is none), or of all of them by node id."""
        if node is None:
            return dict(self.get("/object_info"))
        return dict(self.get(f"/object_info/{node}").get(node, {}))

    def submit(self, graph: Graph) -> str | Result:
        """Queues a graph: its prompt id; or, where the host refuses it, the result that says why."""
        status, reply = self.post("/prompt", {"prompt": graph, "client_id": self.client_id})
        if status == 200 and not reply.get("node_errors"):
            return str(reply["prompt_id"])
        return Result(graph, "invalid", self.output, refusal=reply if isinstance(reply, dict) else {"error": {"message": str(reply)}})

    def wait(self, graph: Graph, prompt_id: str, timeout: float) -> Result:
        """Waits for a queued graph to end. Raises HostError if the time runs out or the host dies."""
        deadline = time.monotonic() + timeout
        while not self.events.finished(prompt_id):
            if self.process.poll() is not None:
                raise HostError(f"the host died with exit code {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.interrupt()
                raise HostError(f"the graph did not end within {timeout:g} s:\n{self.log_tail()}")
            time.sleep(0.02)
        return result_of(graph, self.get(f"/history/{prompt_id}")[prompt_id], self.events.of(prompt_id), self.output)

    def run(self, graph: Graph, timeout: float = 120) -> Result:
        """Queues a graph and waits for its end, whatever that is."""
        queued = self.submit(graph)
        return queued if isinstance(queued, Result) else self.wait(graph, queued, timeout)

    def interrupt(self) -> None:
        """The page's Cancel."""
        self.post("/interrupt", {})

    def free(self) -> None:
        """Unloads models and forgets cached outputs; the host does so when its queue next turns."""
        self.post("/free", {"unload_models": True, "free_memory": True})
        time.sleep(1.5)

    # ------------------------------------------------------------------------------------------------------- process

    def upload(self, source: Path, name: str | None = None) -> str:
        """Puts a file into the input folder; gives the name to load it by."""
        name = name or source.name
        shutil.copyfile(source, self.input / name)
        return name

    def reset_peak_memory(self) -> None:
        """Starts a new measurement of `peak_memory` (Linux)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """Largest resident size in bytes since the start, or since `reset_peak_memory` (Linux)."""
        return self._status_bytes("VmHWM")

    def memory(self) -> int:
        """Resident size in bytes."""
        return self._status_bytes("VmRSS")

    def _status_bytes(self, field: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise HostError(f"/proc has no {field} for the host")

    @property
    def log(self) -> str:
        """Everything that the host has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    def stop(self) -> None:
        """Ends the process; may be called twice."""
        if hasattr(self, "events"):
            self.events.stop()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log_file.close()

    def __enter__(self) -> HostServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
