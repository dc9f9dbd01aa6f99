"""The published model files: what there are, getting them, and what is in a folder.

    python -m animate_core.models list
    python -m animate_core.models download FAMILY...
    python -m animate_core.models check [FOLDER...]

Run it in the pack's folder with the Python that runs ComfyUI. Nothing is downloaded but by `download`, after the licences were named and
accepted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .model_download import DownloadError, Offer, ask, fetch, missing_space
from .model_files import CATALOGUE, FileSet, every_file, size_text, with_needs
from .model_folders import FolderError, HostFolders, host_folders


def main(arguments: Sequence[str] | None = None, catalogue: tuple[FileSet, ...] = CATALOGUE) -> int:
    """The command line. Returns the exit status: 0, 1 if something could not be had or used, 130 if it was stopped."""
    parser = argparse.ArgumentParser(prog="python -m animate_core.models", description=__doc__.split("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    lister = commands.add_parser("list", help="say which files each family needs, where they are, and which are there")
    getter = commands.add_parser("download", help="get a family's files from Hugging Face into ComfyUI's folders")
    getter.add_argument("names", nargs="+", metavar="FAMILY", help=f"one or more of: {', '.join(found.name for found in catalogue)}")
    getter.add_argument("--only", nargs="+", metavar="FILE", default=[], help="of these, only the files of this name")
    getter.add_argument("--yes", action="store_true", help="accept the licences that are named, and do not ask")
    getter.add_argument("--accept-changed", action="store_true", help="take files that differ from the sizes and checksums known here")
    checker = commands.add_parser("check", help="say of each file what it is, and what each model lacks")
    checker.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: ComfyUI's folders for this pack's files")
    checker.add_argument("--checksum", action="store_true", help="also compare with the published SHA-256 (reads every byte)")
    for command in (lister, getter, checker):
        command.add_argument("--models", type=Path, metavar="DIR", help="ComfyUI's models folder; default: of the ComfyUI around the pack")
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            return _list(options.models, catalogue)
        if options.command == "check":
            return _check(options)
        return _download(options, catalogue)
    except (DownloadError, FolderError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on from here\n")
        return 130


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _list(models: Path | None, catalogue: tuple[FileSet, ...]) -> int:
    try:
        folders: HostFolders | None = host_folders(models)
    except FolderError as error:
        if models is not None:
            raise
        folders = None
        sys.stderr.write(f"{error}; what is there already is not shown\n")
    for found in catalogue:
        needs = f", with {', '.join(found.needs)}" if found.needs else ""
        _say(f"{found.name} (licence: {found.licence}){needs}")
        if found.elsewhere:
            _say(f"    {found.elsewhere}")
        for file in found.files:
            there = folders.found(file) if folders else None
            state = "" if folders is None else "there" if there else "missing"
            _say(f"    {file.name:<44}{size_text(file.size):>12}  {state:<8} models/{file.folder}")
            if file.url:
                _say(f"        {file.url}")
    return 0


def _wanted(names: Sequence[str], only: Sequence[str], catalogue: tuple[FileSet, ...]) -> list[FileSet]:
    """The sets to get, each once, with the files that were chosen. Raises ValueError."""
    sets = list({found.name: found for name in names for found in with_needs(name, catalogue)}.values())
    if only:
        known = [file.name for _, file in every_file(tuple(sets))]
        unknown = [name for name in only if name not in known]
        if unknown:
            raise ValueError(f"--only: there is no {', '.join(unknown)}; the files are: {', '.join(known)}")
        sets = [FileSet(s.name, s.licence, tuple(f for f in s.files if f.name in only), (), s.elsewhere) for s in sets]
    return [found for found in sets if found.files]


def _download(options: argparse.Namespace, catalogue: tuple[FileSet, ...]) -> int:
    sets = _wanted(options.names, options.only, catalogue)
    folders = host_folders(options.models)
    plan: list[tuple[Offer, Path]] = []
    licences: dict[str, str] = {}
    for found in sets:
        for file in found.files:
            there = folders.found(file)
            if there:
                _say(f"{file.name}: {there} is there, and is left as it is")
            elif not file.url:
                raise DownloadError(f"{found.name}: {found.elsewhere}. Put the files into {folders.target(file).parent}, then `check` them")
            else:
                offer = ask(file)
                if offer.differences and not options.accept_changed:
                    raise DownloadError(f"{file.url} has changed: {offer.differences}. Nothing was downloaded. If you trust it as it is "
                                        "now, give --accept-changed")
                plan.append((offer, folders.target(file)))
                licences[found.name] = found.licence
    if not plan:
        _say("Nothing to download.")
        return 0
    for offer, target in plan:
        _say(f"{size_text(offer.size):>10}  {offer.file.url}\n            -> {target}")
    if short := missing_space(plan):
        raise DownloadError(f"Not enough disk space: {short}")
    _say(f"{size_text(sum(offer.size for offer, _ in plan)):>10}  in all. Licences:")
    for name, licence in licences.items():
        _say(f"            {name}: {licence}")
    if not options.yes and not _agreed():
        return 1
    for offer, target in plan:
        fetch(offer, target, _say)
        _say(f"            -> {target}")
    _say("Press R in ComfyUI's page to see the new files.")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise DownloadError("Nothing was downloaded: nobody is there to accept the licences; give --yes to accept them")
    sys.stdout.write("Download, and accept the licences? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    _say("Nothing was downloaded.")
    return False


def _check(options: argparse.Namespace) -> int:
    from . import model_check  # needs PyTorch, which takes seconds to import

    host: HostFolders | None = None
    try:
        host = host_folders(options.models)
    except FolderError:
        if options.models or not options.folders:
            raise
    categories = dict.fromkeys(file.category for _, file in every_file())
    own = [folder for category in categories for folder in (host.of(category) if host else ()) if folder.is_dir()]
    folders: list[Path] = options.folders or own
    for folder in folders:
        if not folder.is_dir():
            raise FolderError(f"{folder} is no folder")
    paths = list(dict.fromkeys(path.absolute() for folder in folders for path in model_check.weight_files(folder)))
    checked = [model_check.check(path, checksum=options.checksum) for path in paths]
    for line in model_check.report(checked, host):
        _say(line)
    if not paths:
        _say(f"No model files in {', '.join(map(str, folders)) or options.models}; `list` says what there is to get.")
    return int(not all(file.usable for file in checked))


if __name__ == "__main__":
    sys.exit(main())
