"""`python -m animate_core.models download`, as a user starts it, against a hub on this machine."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from animate_core.model_files import CATALOGUE, every_file, file_set
from tests.core.hub_server import COMMIT, Hub, serving

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "somebody/Weights"
VAE_FILE, UNET_FILE = f"{REPOSITORY}/vae.safetensors", f"{REPOSITORY}/inside/denoising_unet.pth"
SIZE = 300_000
LONG = 25_000_000  # huggingface_hub writes, and so keeps, 10 MiB at a time
KEPT = 20 << 20
# the command with a catalogue of two small sets: one whose size and checksum are known beforehand, one that needs it
DRIVER = """
import sys
from animate_core import models
from animate_core.model_files import FileSet, ModelFile
size, sha256, *arguments = sys.argv[1:]
shared = FileSet("Shared", "CreativeML OpenRAIL-M", (
    ModelFile("VAE", "vae", "vae.safetensors", "somebody/Weights", int(size), True, sha256),))
family = FileSet("Small", "non-commercial research only", (
    ModelFile("denoising UNet", "animate_anyone/Small", "inside/denoising_unet.pth", "somebody/Weights", 300_000),), ("Shared",))
far = FileSet("Far", "not stated", (ModelFile("pose guider", "animate_anyone/Far", "pose_guider.pth", "", 0),), (), "By post alone")
sys.exit(models.main(arguments, (family, shared, far)))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    noise = random.Random(7)
    files = {name: noise.randbytes(SIZE) for name in (VAE_FILE, UNET_FILE)}
    with serving(Hub(files)) as served:
        yield served


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def environment(hub: Hub) -> dict[str, str]:
    """The user's, with the hub on this machine and nothing of the user's own."""
    plain = {key: value for key, value in os.environ.items()
             if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and not key.lower().endswith("_proxy")}
    return {**plain, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}


def command(hub: Hub, *arguments: str) -> list[str]:
    known = hub.files[VAE_FILE]
    return [sys.executable, "-c", DRIVER, str(len(known)), hashlib.sha256(known).hexdigest(), *arguments]


def run(hub: Hub, models: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(hub, *arguments, "--models", str(models)), env={**environment(hub), **variables}, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=60)


def files_in(folder: Path) -> list[str]:
    """What is there, beginnings and locks too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def said(done: subprocess.CompletedProcess[str], *words: str) -> None:
    text = done.stdout + done.stderr
    assert [word for word in words if word not in text] == [], text
    assert "Traceback" not in text, text


def whole(hub: Hub, models: Path) -> bool:
    places = {VAE_FILE: "vae/vae.safetensors", UNET_FILE: "animate_anyone/Small/denoising_unet.pth"}
    return files_in(models) == sorted(places.values()) and all(
        (models / place).read_bytes() == hub.files[name] for name, place in places.items())


def beginnings(models: Path) -> list[Path]:
    return sorted(models.rglob(".*.part"))


def arrived(models: Path) -> None:
    """Waits until so much of a file is on the disk."""
    until = time.monotonic() + 30
    while [path.stat().st_size for path in beginnings(models)] != [KEPT]:
        assert time.monotonic() < until, "nothing arrives"
        time.sleep(0.05)


def test_a_family_comes_whole_with_what_it_needs(hub: Hub, models: Path) -> None:
    done = run(hub, models, "download", "small", "--yes")
    assert done.returncode == 0, done.stderr
    assert whole(hub, models)
    said(done, "Small: non-commercial research only", "Shared: CreativeML OpenRAIL-M", "600 kB  in all", "300 kB",
         str(models / "animate_anyone" / "Small" / "denoising_unet.pth"), hub.sha256(VAE_FILE), "Press R")


def test_nothing_is_downloaded_before_the_licences_are_accepted(hub: Hub, models: Path) -> None:
    done = run(hub, models, "download", "Small")
    assert done.returncode == 1
    said(done, "non-commercial research only", "--yes")
    assert files_in(models) == [] and hub.ranges == []


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", 1), ("n\n", 1)])
def test_the_user_is_asked(hub: Hub, models: Path, answer: str, status: int) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        done = subprocess.run(command(hub, "download", "Shared", "--models", str(models)), env=environment(hub), text=True,
                              capture_output=True, stdin=theirs, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == status, done.stderr
    said(done, "accept the licences?")
    assert files_in(models) == ([] if status else ["vae/vae.safetensors"])


def test_progress_is_shown(hub: Hub, models: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    try:
        done = subprocess.run(command(hub, "download", "Shared", "--yes", "--models", str(models)), env=environment(hub),
                              stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, stderr=theirs, timeout=60)
        os.set_blocking(ours, False)
        shown = b""
        with suppress(BlockingIOError):
            while part := os.read(ours, 10_000):
                shown += part
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert [word for word in (b"vae.safetensors: 100%", b"300k/300k", b"B/s") if word not in shown] == [], shown


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, models: Path) -> None:
    hub.files[VAE_FILE] = random.Random(1).randbytes(LONG)
    hub.breaks = [LONG - 1]
    done = run(hub, models, "download", "Shared", "--yes")
    assert done.returncode == 0, done.stderr
    assert (models / "vae" / "vae.safetensors").read_bytes() == hub.files[VAE_FILE]
    assert hub.ranges == [0, KEPT]


def test_a_download_that_failed_goes_on_in_the_next_run(hub: Hub, models: Path) -> None:
    hub.files[VAE_FILE] = random.Random(1).randbytes(LONG)
    hub.breaks = [LONG - 1, -1]
    done = run(hub, models, "download", "Shared", "--yes")
    assert done.returncode == 1
    said(done, "vae.safetensors: the download broke off (403", "same command again, which goes on from 21.0 MB")
    assert [path.stat().st_size for path in beginnings(models)] == [KEPT] and not (models / "vae" / "vae.safetensors").exists()

    again = run(hub, models, "download", "Shared", "--yes")
    assert again.returncode == 0, again.stderr
    said(again, "goes on from 21.0 MB of 25.0 MB")
    assert hub.ranges == [0, KEPT, KEPT]
    assert (models / "vae" / "vae.safetensors").read_bytes() == hub.files[VAE_FILE]
    assert beginnings(models) == []


def test_a_stopped_download_goes_on_in_the_next_run(hub: Hub, models: Path) -> None:
    hub.files[VAE_FILE] = random.Random(1).randbytes(LONG)
    hub.stalls = LONG - 1
    process = subprocess.Popen(command(hub, "download", "Shared", "--yes", "--models", str(models)), env=environment(hub), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    arrived(models)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 130 and "goes on from here" in complaint and "Traceback" not in complaint, complaint
    assert not (models / "vae" / "vae.safetensors").exists()

    hub.stalls = None
    hub.released.set()
    again = run(hub, models, "download", "Shared", "--yes")
    assert again.returncode == 0, again.stderr
    assert hub.ranges == [0, KEPT]
    assert (models / "vae" / "vae.safetensors").read_bytes() == hub.files[VAE_FILE]
    assert beginnings(models) == []


def test_two_downloads_of_one_file_do_not_meet(hub: Hub, models: Path) -> None:
    hub.files[VAE_FILE] = random.Random(1).randbytes(LONG)
    hub.stalls = LONG - 1
    first = subprocess.Popen(command(hub, "download", "Shared", "--yes", "--models", str(models)), env=environment(hub),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    arrived(models)
    second = run(hub, models, "download", "Shared", "--yes")
    assert second.returncode == 1
    said(second, "vae.safetensors is being downloaded by another process")
    hub.stalls = None
    hub.released.set()
    assert first.wait(30) == 0
    assert files_in(models) == ["vae/vae.safetensors"] and hub.ranges == [0, KEPT]


def test_a_whole_beginning_is_checked_and_not_fetched_again(hub: Hub, models: Path) -> None:
    (models / "vae").mkdir()
    (models / "vae" / f".vae.safetensors.{hub.sha256(VAE_FILE)[:12]}.part").write_bytes(hub.files[VAE_FILE])
    assert run(hub, models, "download", "Shared", "--yes").returncode == 0
    assert hub.ranges == [] and files_in(models) == ["vae/vae.safetensors"]


def test_a_wrong_checksum_leaves_nothing_in_place(hub: Hub, models: Path) -> None:
    hub.claimed[UNET_FILE] = "a" * 64
    done = run(hub, models, "download", "Small", "--only", "denoising_unet.pth", "--yes")
    assert done.returncode == 1
    said(done, "denoising_unet.pth", hashlib.sha256(hub.files[UNET_FILE]).hexdigest(), "a" * 64, "was deleted")
    assert files_in(models) == []


def test_a_damaged_beginning_is_found_and_replaced(hub: Hub, models: Path) -> None:
    (models / "vae").mkdir()
    (models / "vae" / f".vae.safetensors.{hub.sha256(VAE_FILE)[:12]}.part").write_bytes(b"x" * 100_000)
    done = run(hub, models, "download", "Shared", "--yes")
    assert done.returncode == 1 and files_in(models) == []
    said(done, "was deleted", "same command again")
    assert run(hub, models, "download", "Shared", "--yes").returncode == 0
    assert (models / "vae" / "vae.safetensors").read_bytes() == hub.files[VAE_FILE]


@pytest.mark.parametrize("change", ["checksum", "size"])
def test_a_file_that_changed_on_the_hub_is_refused(hub: Hub, models: Path, change: str) -> None:
    before = command(hub, "download", "Shared", "--yes", "--models", str(models))
    hub.files[VAE_FILE] = b"y" * (SIZE if change == "checksum" else 1000)
    done = subprocess.run(before, env=environment(hub), text=True, capture_output=True, timeout=60)
    assert done.returncode == 1
    said(done, "has changed", hub.sha256(VAE_FILE), "--accept-changed", *(["1,000 bytes instead of 300,000"] if change == "size" else []))
    assert files_in(models) == [] and hub.ranges == []
    accepted = subprocess.run([*before, "--accept-changed"], env=environment(hub), text=True, capture_output=True, timeout=60)
    assert accepted.returncode == 0, accepted.stderr
    assert (models / "vae" / "vae.safetensors").read_bytes() == hub.files[VAE_FILE]


def test_a_disk_that_is_too_small_is_seen_beforehand(hub: Hub, models: Path) -> None:
    hub.sizes[UNET_FILE] = 10**15
    done = run(hub, models, "download", "Small", "--yes")
    assert done.returncode == 1
    said(done, "Not enough disk space", str(models), "1000000 GB are needed")
    assert files_in(models) == [] and hub.ranges == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the kernel's full disk is Linux's")
def test_a_disk_that_fills_up_leaves_nothing_in_place(hub: Hub, models: Path) -> None:
    (models / "vae").mkdir()
    # what is written to /dev/full fails with ENOSPC, as on a full disk
    (models / "vae" / f".vae.safetensors.{hub.sha256(VAE_FILE)[:12]}.part").symlink_to("/dev/full")
    done = run(hub, models, "download", "Shared", "--yes")
    assert done.returncode == 1
    said(done, "vae.safetensors: the disk of", "is full", "same command again")
    assert not (models / "vae" / "vae.safetensors").exists()


def test_files_that_are_there_are_kept(hub: Hub, models: Path) -> None:
    (models / "vae").mkdir()
    (models / "vae" / "vae.safetensors").write_bytes(b"mine")
    folder = models / "animate_anyone" / "Small"
    folder.mkdir(parents=True)
    (folder / "denoising_unet.safetensors").write_bytes(b"converted")
    done = run(hub, models, "download", "Small", "--yes")
    assert done.returncode == 0, done.stderr
    said(done, "is there, and is left as it is", "Nothing to download")
    assert files_in(models) == ["animate_anyone/Small/denoising_unet.safetensors", "vae/vae.safetensors"]
    assert (models / "vae" / "vae.safetensors").read_bytes() == b"mine" and hub.heads == []


def test_extra_model_paths_are_used(hub: Hub, models: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other disk"
    (elsewhere / "vae").mkdir(parents=True)
    (elsewhere / "vae" / "vae.safetensors").write_bytes(b"mine")
    (tmp_path / "extra_model_paths.yaml").write_text(
        f"shared:\n  base_path: {elsewhere}\n  vae: vae\n"
        f"mine:\n  base_path: {elsewhere}\n  is_default: true\n  animate_anyone: |\n    weights\n", encoding="utf-8")
    done = run(hub, models, "download", "Small", "--yes")
    assert done.returncode == 0, done.stderr
    said(done, f"{elsewhere / 'vae' / 'vae.safetensors'} is there")
    assert files_in(models) == []
    assert (elsewhere / "weights" / "Small" / "denoising_unet.pth").read_bytes() == hub.files[UNET_FILE]


@pytest.mark.parametrize(("arguments", "words"), [
    (["download", "Smal"], ["'Smal'", "Small, Shared, Far"]),
    (["download", "Small", "--only", "pose_guider.pth"], ["--only", "pose_guider.pth", "vae.safetensors"]),
    (["download", "Far", "--yes"], ["Far", "By post alone", "Far"]),
    (["check", "/no/such/folder"], ["/no/such/folder is no folder"]),
])
def test_bad_requests(hub: Hub, models: Path, arguments: Sequence[str], words: Sequence[str]) -> None:
    done = run(hub, models, *arguments)
    assert done.returncode == 1
    said(done, *words)
    assert hub.heads == [] and files_in(models) == []


def test_a_models_folder_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    done = run(hub, tmp_path / "nowhere", "download", "Shared", "--yes")
    assert done.returncode == 1
    said(done, "nowhere is no folder", "--models")


def test_the_pack_finds_the_host_around_it(hub: Hub, models: Path, tmp_path: Path) -> None:
    (tmp_path / "custom_nodes").mkdir()
    pack = tmp_path / "custom_nodes" / "ComfyUI-Marionette"
    pack.symlink_to(ROOT, target_is_directory=True)
    done = subprocess.run(command(hub, "download", "Shared", "--yes"), env={**environment(hub), "PYTHONPATH": "", "PWD": str(pack)},
                          cwd=pack, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert files_in(models) == ["vae/vae.safetensors"]


@pytest.mark.parametrize(("variables", "words"), [
    ({"HF_HUB_OFFLINE": "1"}, ["HF_HUB_OFFLINE"]), ({"TRANSFORMERS_OFFLINE": "1"}, ["TRANSFORMERS_OFFLINE"]),
    ({"HF_ENDPOINT": "http://127.0.0.1:9"}, ["vae.safetensors", "could not be reached"]),
])
def test_no_way_to_the_hub(hub: Hub, models: Path, variables: dict[str, str], words: Sequence[str]) -> None:
    done = run(hub, models, "download", "Shared", "--yes", **variables)
    assert done.returncode == 1
    said(done, *words)
    assert files_in(models) == []


def test_a_file_that_is_gone(hub: Hub, models: Path) -> None:
    known = command(hub, "download", "Shared", "--yes", "--models", str(models))
    del hub.files[VAE_FILE]
    done = subprocess.run(known, env=environment(hub), text=True, capture_output=True, timeout=60)
    assert done.returncode == 1
    said(done, "vae.safetensors", "is not there any more")


def test_without_huggingface_hub(hub: Hub, models: Path, tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "sitecustomize.py").write_text("import sys\nsys.modules['huggingface_hub'] = None\n", encoding="utf-8")
    done = run(hub, models, "download", "Shared", "--yes", PYTHONPATH=f"{tmp_path / 'absent'}{os.pathsep}{ROOT}")
    assert done.returncode == 1
    said(done, "huggingface_hub", "the Python that runs ComfyUI")


def test_every_published_address_is_asked_for(models: Path) -> None:
    """The real catalogue: small files under the real names, which must differ from what is known of them."""
    files = {f"{file.repository}/{file.path}": file.choice.encode() for _, file in every_file() if file.url}
    names = [found.name for found in CATALOGUE if not found.elsewhere]
    with serving(Hub(files)) as hub:
        start = [sys.executable, "-m", "animate_core.models", "download", *names, "--yes", "--models", str(models)]
        refused = subprocess.run(start, env=environment(hub), cwd=ROOT, text=True, capture_output=True, timeout=60)
        assert refused.returncode == 1 and "has changed" in refused.stderr and files_in(models) == []
        done = subprocess.run([*start, "--accept-changed"], env=environment(hub), cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {path: (models / path).read_text() for path in files_in(models)} == {
        f"{file.folder}/{file.name}": file.choice for _, file in every_file() if file.url}
    said(done, "MusePose: non-commercial research only", "image encoder: CreativeML OpenRAIL-M")
    assert all(f"/resolve/{COMMIT}/" not in head for head in hub.heads) and len(file_set("Champ").files) == 7
