"""Fetching a published file from Hugging Face: whole, checked and in place, or not at all.

What arrives is kept in a hidden file beside the target until it is whole, so that a broken download goes on where it stopped, also in a
later run. (`hf_hub_download` throws away what it has when it fails; its parts are used here.)
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .model_files import ModelFile, size_text

_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DownloadError(Exception):
    """A file could not be had. The message says which, why, and what to do."""


@dataclass(frozen=True)
class Offer:
    """What the hub has under a file's address.

    commit: the repository's, so that all parts of a download are of one version. sha256: empty for files that the hub keeps without one.
    """

    file: ModelFile
    commit: str
    size: int
    sha256: str

    @property
    def differences(self) -> str:
        """How it differs from what the table knows of the file; empty if it does not."""
        found = []
        if self.file.exact and self.size != self.file.size:
            found.append(f"{self.size:,} bytes instead of {self.file.size:,}")
        if self.file.sha256 and self.sha256 != self.file.sha256:
            found.append(f"SHA-256 {self.sha256 or 'not stated'} instead of {self.file.sha256}")
        return ", ".join(found)


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise DownloadError("Downloads need the Python package huggingface_hub: use the Python that runs ComfyUI, or "
                            "pip install huggingface_hub; or get the files in a browser, see `list`") from None
    return huggingface_hub


def ask(file: ModelFile) -> Offer:
    """Asks the hub for a file's size and checksum. Raises DownloadError."""
    hub = _hub()
    try:
        found = hub.get_hf_file_metadata(hub.hf_hub_url(file.repository, file.path))
    except Exception as error:  # the HTTP library's own classes, which changed from one release to the next
        raise DownloadError(f"{file.name}: {_reason(error, file)}") from error
    if found.commit_hash is None or found.size is None:
        raise DownloadError(f"{file.name}: {file.url} was not answered by Hugging Face; check the proxy, and HF_ENDPOINT if it is set")
    sha256 = found.etag if re.fullmatch(r"[0-9a-f]{64}", found.etag or "") else ""
    return Offer(file, found.commit_hash, found.size, sha256)


def _reason(error: Exception, file: ModelFile) -> str:
    kinds = {base.__name__ for base in type(error).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids downloads: unset it"
    if "GatedRepoError" in kinds:
        return f"{file.repository} asks for a login: accept its conditions at huggingface.co/{file.repository}, then run `hf auth login`"
    if kinds & {"RepositoryNotFoundError", "EntryNotFoundError"}:
        return f"{file.url} is not there any more"
    return f"{file.url} could not be reached ({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__})"


def partial_path(target: Path, offer: Offer) -> Path:
    """Where the beginning of a download is kept; another version of the file has another."""
    return target.with_name(f".{target.name}.{(offer.sha256 or offer.commit)[:12]}.part")


def missing_space(wanted: Iterable[tuple[Offer, Path]]) -> str:
    """What is in the way of all these downloads on their disks; empty if they fit. Beginnings that are there count."""
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}
    for offer, target in wanted:
        folder = next(parent for parent in target.parents if parent.is_dir())
        device = folder.stat().st_dev
        places.setdefault(device, folder)
        needed[device] = needed.get(device, 0) + offer.size - _length(partial_path(target, offer))
    short = []
    for device, size in needed.items():
        free = shutil.disk_usage(places[device]).free
        if free < size:
            short.append(f"the disk of {places[device]} has {size_text(free)} free and {size_text(size)} are needed")
    return "; ".join(short)


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def fetch(offer: Offer, target: Path, say: Callable[[str], None]) -> None:
    """Downloads an offered file to `target`, which appears whole and checked or not at all.

    A second call goes on where the first one broke off. Progress is shown by huggingface_hub on the standard error.

    Args:
        offer: of `ask`.
        target: must not exist.
        say: takes a line about what is done.

    Raises:
        DownloadError: the connection broke for good, the disk is full, the checksum is wrong, the target exists, or another process
            downloads the same file.
    """
    from filelock import FileLock, Timeout  # huggingface_hub needs it too

    if target.exists():
        raise DownloadError(f"{target} exists and is left as it is")
    partial = partial_path(target, offer)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{partial}.lock", timeout=0) as lock:
            try:
                _complete(offer, target, partial, say)
                if target.exists():
                    raise DownloadError(f"{target} came into being meanwhile and is left as it is; what was downloaded is {partial}")
                os.replace(partial, target)
            finally:
                with suppress(OSError):  # Windows keeps an open file
                    os.unlink(lock.lock_file)
    except Timeout:
        raise DownloadError(f"{target.name} is being downloaded by another process: wait for that one") from None
    except OSError as error:
        raise DownloadError(_os_reason(error, target, partial)) from error


def _os_reason(error: OSError, target: Path, partial: Path) -> str:
    if error.errno in _FULL:
        return (f"{target.name}: the disk of {target.parent} is full. Nothing is in place; free some space and {_again(partial)}, or "
                f"delete {partial}")
    return f"{target} could not be written ({error}): check the folder's rights"


def _interrupted(error: Exception, target: Path, partial: Path) -> DownloadError:
    first = str(error).strip().splitlines()
    return DownloadError(f"{target.name}: the download broke off ({first[0] if first else type(error).__name__}); {_again(partial)}")


def _again(partial: Path) -> str:
    begun = _length(partial)
    return "run the same command again" + (f", which goes on from {size_text(begun)}" if begun else "")


def _complete(offer: Offer, target: Path, partial: Path, say: Callable[[str], None]) -> None:
    """Makes `partial` whole and checks it; removes it if it is wrong."""
    hub = _hub()
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    begun = _length(partial)
    if begun > offer.size:
        partial.unlink()
        begun = 0
    if begun:
        say(f"{target.name}: goes on from {size_text(begun)} of {size_text(offer.size)}")
    with partial.open("ab") as file:
        try:
            if begun < offer.size:
                http_get(hub.hf_hub_url(offer.file.repository, offer.file.path, revision=offer.commit), file, resume_size=begun,
                         headers=build_hf_headers(), expected_size=offer.size, displayed_filename=target.name)
        except OSError as error:
            if error.errno is not None:
                raise
            raise _interrupted(error, target, partial) from error
        except Exception as error:  # as in `ask`
            raise _interrupted(error, target, partial) from error
        file.flush()
        os.fsync(file.fileno())
    if not offer.sha256:
        say(f"{target.name}: {offer.size:,} bytes; the hub states no SHA-256")
        return
    found = sha256_of(partial)
    if found != offer.sha256:
        partial.unlink()
        raise DownloadError(f"{target.name}: what arrived has the SHA-256 {found} and not {offer.sha256}, and was deleted: run the same "
                            "command again; if it is wrong again, something on the way changes the file (a proxy, a mirror in HF_ENDPOINT)")
    say(f"{target.name}: {offer.size:,} bytes, SHA-256 {found}: right")


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
