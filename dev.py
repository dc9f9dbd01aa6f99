#!/usr/bin/env python3
"""The project's commands, with nothing but the standard library.

    python dev.py test [-- pytest arguments]    environment, host and browser, then ruff, mypy and every test
    python dev.py demo [--seed N] [--motion NAME] [--frames N] [--picture FILE] [--models DIR] [--open]
                                                a clip through the pack in a real ComfyUI, by the built-in model or by published
                                                files; --help says more
    python dev.py lint                          ruff and mypy alone
    python dev.py host [-- host arguments]      a ComfyUI with this pack in it, for trying things out
    python dev.py env                           makes the environment and prints its interpreter's path

What they make is kept under ~/.cache/marionette: environments keyed by what is installed in them, and two checkouts of the host, the
pinned one and the oldest that the pack states to run in. COMFYUI_PATH and COMFYUI_OLD_PATH name others to use.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CACHE = Path.home() / ".cache" / "marionette"

HOST_URL = "https://github.com/comfyanonymous/ComfyUI"


@dataclass(frozen=True)
class Checkout:
    """One release of the host: the variable that names another checkout of it, its folder in the cache, its commit."""

    variable: str
    folder: str
    commit: str


HOST = Checkout("COMFYUI_PATH", "ComfyUI", "783545f689a0af730065994b46b382ae24844c99")
# 0.18.0: what pyproject.toml requires at least. It starts in the pinned host's environment, so there is no second one.
OLD_HOST = Checkout("COMFYUI_OLD_PATH", "ComfyUI-0.18.0", "dc719cde9c448c65242ae2d4ba400ba18c36846f")

# A set that works together: torchaudio refuses to be imported beside a torch made for another CUDA, and the host imports it.
TORCH = ("torch==2.14.1", "torchvision==0.29.1", "torchaudio==2.11.0")
DEV_PACKAGES = ("pytest>=8", "ruff", "mypy", "playwright", "psutil", "onnx", "matplotlib")
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "training" / "requirements.txt")
# Two runs side by side, of about the same length: all but a running host, and what talks to one
TEST_FOLDERS = (("tests/core", "tests/parity", "tests/training", "tests/device"), ("tests/host", "tests/browser"))
UNUSED_ENV_DAYS = 14


class DevError(Exception):
    """Something that the person at the keyboard can mend; shown without a traceback."""


def say(text: str) -> None:
    """Report on stderr: stdout belongs to what a command was asked for."""
    print(f"[dev] {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command with its output on stderr; raises DevError where it fails."""
    words = [str(word) for word in command]
    try:
        subprocess.run(words, cwd=cwd, stdout=sys.stderr, check=True)
    except FileNotFoundError as error:
        raise DevError(f"{words[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise DevError(f"failed with exit code {error.returncode}: {' '.join(words)}") from error


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep two commands of this cache from building the same thing at once (where the system has file locks)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(CACHE / f"{name}.lock", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------------------------------------------------------- host


def find_host(wanted: Checkout = HOST, history: Path | None = None) -> Path:
    """A checkout of the host: the one that its variable names, else the cache's, else a new one. Raises DevError.

    history: another checkout, whose git history may hold the commit; it is asked before the network.
    """
    named = os.environ.get(wanted.variable)
    path = Path(named).expanduser().resolve() if named else CACHE / wanted.folder
    if named and not is_host(path):
        raise DevError(f"{wanted.variable} is {path}, which is no ComfyUI checkout: set it to one, or unset it for {CACHE / wanted.folder}")
    with locked("host"):
        if not is_host(path):
            make_host(wanted, path, history)
    return path


def is_host(path: Path) -> bool:
    return (path / "main.py").is_file() and (path / "comfyui_version.py").is_file()


def make_host(wanted: Checkout, path: Path, history: Path | None) -> None:
    """Check the commit out into a folder beside `path` and rename it when whole."""
    if path.exists():
        raise DevError(f"{path} is no ComfyUI checkout (main.py or comfyui_version.py is missing): remove it, or set {wanted.variable}")
    say(f"making a checkout of ComfyUI {wanted.commit[:12]} at {path}")
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        if not (history and from_history(wanted.commit, history, part)):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            run("git", "init", "--quiet", cwd=part)
            run("git", "fetch", "--quiet", "--depth", "1", HOST_URL, wanted.commit, cwd=part)
            run("git", "checkout", "--quiet", "FETCH_HEAD", cwd=part)
        part.rename(path)
    except DevError as error:
        raise DevError(
            f"ComfyUI was not found and could not be cloned ({error}).\n"
            f"      Looked in {wanted.variable} (not set), {path} (absent), "
            f"{f'the history of {history} (without the whole commit), ' if history else ''}and {HOST_URL}.\n"
            f"      Put a checkout of commit {wanted.commit} at {path}, or set {wanted.variable} to one."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def from_history(commit: str, history: Path, part: Path) -> bool:
    """Check a commit of a local repository out into `part`. Gives whether that holds the commit with all its Python files.

    A mirror may lack large files, as tokenizers' tables are; git checks the others out. The pack runs without them.
    """

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], capture_output=True, text=True)

    shutil.rmtree(part, ignore_errors=True)
    try:
        if git("-C", str(history), "cat-file", "-e", f"{commit}^{{commit}}").returncode:
            return False
        git("clone", "--quiet", "--no-checkout", str(history), str(part))
    except FileNotFoundError as error:
        raise DevError("git is not installed") from error
    # no exit status tells whether it was only such files that failed: what is there afterwards does
    git("-C", str(part), "checkout", "--quiet", "--force", "--detach", commit)
    at = git("-C", str(part), "rev-parse", "HEAD").stdout.strip()
    absent = git("-C", str(part), "ls-files", "--deleted").stdout.split("\n")[:-1]
    if at != commit or not is_host(part) or any(name.endswith(".py") for name in absent):
        return False
    if absent:
        say(f"{history} lacks some files of this commit, which were left out: {', '.join(absent)}")
    return True


# --------------------------------------------------------------------------------------------------------- environment


def requirement_lines(path: Path) -> list[str]:
    """The lines of a requirements file that name something."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def host_requirements(host: Path) -> list[str]:
    """What the host needs, less the torch family, which is installed first and apart."""
    path = host / "requirements.txt"
    if not path.is_file():
        raise DevError(f"{host} has a main.py and no requirements.txt: it is no whole ComfyUI checkout")
    family = {line.split("==")[0] for line in TORCH}
    return [line for line in requirement_lines(path) if re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() not in family]


def env_key(host: Path) -> str:
    """A hash of everything that decides what the environment holds."""
    parts = [sys.version, sys.base_prefix, *TORCH, *host_requirements(host),
             *(line for path in REQUIREMENTS for line in requirement_lines(path)), *DEV_PACKAGES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def env_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_env(host: Path) -> Path:
    """Make the environment if it is not there; gives its interpreter.

    A virtual environment can't be moved (its scripts hold absolute paths), so it is built in place, and the file `.complete`,
    written last, tells a whole one from one whose making was interrupted.
    """
    folder = CACHE / f"env-{env_key(host)}"
    complete = folder / ".complete"
    with locked("env"):
        if not complete.is_file():
            build_env(folder, host)
            complete.touch()
            remove_unused_envs(keep=folder)
        complete.touch()
    return env_python(folder)


def build_env(folder: Path, host: Path) -> None:
    say(f"making the environment {folder} (once; some minutes and several GB)")
    started = time.monotonic()
    if folder.exists():
        shutil.rmtree(folder)
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError as error:
        raise DevError("this Python can't make virtual environments with pip; on Debian: apt-get install python3-venv") from error
    pip = (env_python(folder), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")
    torch, torchvision, torchaudio = TORCH
    run(*pip, torch, torchvision)
    # torchaudio's own requirement can lag behind torch's releases; the host only needs it to import.
    run(*pip, "--no-deps", torchaudio)
    run(*pip, *host_requirements(host))
    for path in REQUIREMENTS:
        run(*pip, "-r", path)
    run(*pip, *DEV_PACKAGES)
    say(f"environment ready after {time.monotonic() - started:.0f} s")


def remove_unused_envs(keep: Path) -> None:
    """Environments are several GB each: drop those that no command has used for two weeks."""
    limit = time.time() - UNUSED_ENV_DAYS * 86400
    for folder in CACHE.glob("env-*"):
        marker = folder / ".complete"
        last_used = (marker if marker.is_file() else folder).stat().st_mtime
        if folder != keep and last_used < limit:
            say(f"removing {folder}, unused for {UNUSED_ENV_DAYS} days")
            shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------- browser


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM_PATH")
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    return next((path for path in map(shutil.which, names) if path), None)


def ensure_chromium() -> str:
    """A Chromium for the page tests; installed by apt where that is possible. Raises DevError."""
    found = find_chromium()
    if not found and not os.environ.get("CHROMIUM_PATH") and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say("installing chromium by apt-get")
        try:
            run("apt-get", "update", "-qq")
            run("apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium")
        except DevError as error:
            say(str(error))
        found = find_chromium()
    if not found:
        raise DevError("no Chromium for the page tests: install chromium or Google Chrome, or set CHROMIUM_PATH to its program")
    return found


# ------------------------------------------------------------------------------------------------------------ commands


def lint(python: Path) -> int:
    """ruff and mypy, both in any case. Gives an exit status."""
    say("ruff")
    style = subprocess.call([python, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT)
    say("mypy")
    types = mypy(python)
    return style or types


def mypy(python: Path) -> int:
    """Check the pack as a package called `marionette`, the way its relative imports see it, and `training` as it is run, from the root.

    The repository's folder may have a name that is no Python identifier ("ComfyUI-Marionette"), hence the link.
    """
    home = CACHE / "mypy" / hashlib.sha256(str(ROOT).encode()).hexdigest()[:16]
    home.mkdir(parents=True, exist_ok=True)
    link = home / "marionette"
    if not link.exists():
        link.symlink_to(ROOT, target_is_directory=True)
    command = [str(python), "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(home / "cache")]
    pack = subprocess.call([*command, "-p", "marionette.animate_core", "-p", "marionette.nodes"], cwd=home)
    return pack or subprocess.call([*command, "-p", "training"], cwd=ROOT)


def command_env(_: argparse.Namespace) -> int:
    print(ensure_env(find_host()))
    return 0


def command_lint(_: argparse.Namespace) -> int:
    return lint(ensure_env(find_host()))


def command_test(arguments: argparse.Namespace) -> int:
    host = find_host()
    old_host = find_host(OLD_HOST, history=host)
    python = ensure_env(host)
    chromium = ensure_chromium()
    status = lint(python)
    if status:
        say("error: ruff or mypy found something (above); no test was run")
        return status
    extra: list[str] = arguments.rest
    chosen = any((ROOT / word.split("::")[0]).exists() for word in extra if not word.startswith("-"))
    environment = {
        **os.environ,
        HOST.variable: str(host),
        OLD_HOST.variable: str(old_host),
        "CHROMIUM_PATH": chromium,
        # No test may depend on what a model hub happens to serve.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    say("pytest")
    if chosen:
        return subprocess.call([python, "-m", "pytest", *extra], cwd=ROOT, env=environment)
    return run_side_by_side(python, extra, environment)


def run_side_by_side(python: Path, extra: Sequence[str], environment: dict[str, str]) -> int:
    """All tests in two processes of one thread each; what the second one says follows the first one's. Nothing is printed after pytest:
    its summary closes the run."""
    environment = {**environment, "OMP_NUM_THREADS": "1"}
    first, second = ([str(python), "-m", "pytest", *folders, *extra] for folders in TEST_FOLDERS)
    with tempfile.TemporaryFile() as said:
        other = subprocess.Popen(second, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            status = subprocess.call(first, cwd=ROOT, env=environment)
            other.wait()
        finally:
            other.kill()
        said.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.flush()
    return status or other.returncode


def command_demo(arguments: argparse.Namespace) -> int:
    host = find_host()
    python = ensure_env(host)
    environment = {**os.environ, "COMFYUI_PATH": str(host), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    started = time.monotonic()
    status = subprocess.call([python, ROOT / "tools" / "demo.py", *arguments.rest], env=environment)
    if status == 0 and not {"--open", "--help", "-h"} & set(arguments.rest):
        say(f"{time.monotonic() - started:.0f} s in all")
    return status


def command_host(arguments: argparse.Namespace) -> int:
    host = find_host()
    python = ensure_env(host)
    base = CACHE / "host"
    for name in ("custom_nodes", "models", "input", "output", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / "ComfyUI-Marionette"
    if link.is_symlink():
        link.unlink()
    if link.exists():
        raise DevError(f"{link} is in the way: it should be a link to {ROOT}")
    link.symlink_to(ROOT, target_is_directory=True)
    cuda = subprocess.run([python, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"], stderr=subprocess.DEVNULL)
    device = [] if cuda.returncode == 0 or sys.platform == "darwin" else ["--cpu"]
    say(f"models, input and output lie in {base}")
    command = [python, host / "main.py", "--base-directory", base, "--listen", "127.0.0.1", "--preview-method", "auto", *device]
    command += ["--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"]
    return subprocess.call([*map(str, command), *arguments.rest], cwd=host)


def parse(words: Sequence[str]) -> argparse.Namespace:
    own, rest = (list(words), [])
    if own[:1] == ["demo"]:
        # its options are read where its packages are, in the environment
        own, rest = own[:1], own[1:]
    if "--" in own:
        at = own.index("--")
        own, rest = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function, summary in (
        ("test", command_test, "everything: environment, host, browser, ruff, mypy, pytest"),
        ("demo", command_demo, "a clip by the built-in model, or by published files, in the real host"),
        ("lint", command_lint, "ruff and mypy"),
        ("host", command_host, "start the host with this pack"),
        ("env", command_env, "make the environment and print its interpreter"),
    ):
        commands.add_parser(name, help=summary).set_defaults(function=function)
    arguments = parser.parse_args(own)
    arguments.rest = rest
    return arguments


def main(words: Sequence[str]) -> int:
    arguments = parse(words)
    try:
        return int(arguments.function(arguments))
    except DevError as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - said clearly to who starts it with an old Python
        sys.exit("[dev] error: Python 3.10 or newer is needed")
    sys.exit(main(sys.argv[1:]))
