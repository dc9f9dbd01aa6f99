"""The house's rules, read from the source: who may import whom, file lengths, safe loading, no print."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 600

HOST_MODULES = {"comfy", "comfy_api", "comfy_api_nodes", "comfy_execution", "comfy_extras", "execution", "folder_paths", "latent_preview",
                "node_helpers", "nodes", "server"}
# What a thin node may see of the host; everything else is for nodes/host*.py.
OPEN_TO_NODES = {"comfy_api", "folder_paths"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve"}
PRINTERS = ("dev.py", "tests/", "benchmarks/", "training/")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def every_source() -> list[Path]:
    return sorted([*ROOT.glob("*.py"), *sources("animate_core", "nodes", "training", "benchmarks", "tests")])


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def absolute_imports(module: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import that names a top-level package; relative imports are ours."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and dotted(node.func) in ("importlib.import_module", "import_module", "__import__"):
            if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def relative_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, folder or file of the pack that a relative import reaches), as `animate_core` or `nodes`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = list(path.relative_to(ROOT).parent.parts)
            base = package[: len(package) - node.level + 1]
            for target in [node.module] if node.module else [alias.name for alias in node.names]:
                yield node.lineno, [*base, *target.split(".")][0]


def dotted(node: ast.expr) -> str:
    """`torch.load` for the expression torch.load; empty for what is no chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def no_findings(findings: list[str]) -> None:
    assert not findings, "\n".join(findings)


def test_there_is_something_to_read() -> None:
    assert len(sources("animate_core")) > 5


def test_core_and_training_do_not_import_the_host() -> None:
    no_findings([
        f"{name(path)}:{line} imports {module}"
        for path in sources("animate_core", "training", "benchmarks")
        for line, module in absolute_imports(tree(path))
        if module.split(".")[0] in HOST_MODULES
    ])


def test_core_and_training_do_not_import_the_nodes() -> None:
    found = []
    for path in sources("animate_core", "training"):
        allowed = {"animate_core"} if name(path).startswith("animate_core/") else {"animate_core", "training"}
        found += [f"{name(path)}:{line} reaches {target}" for line, target in relative_imports(path) if target not in allowed]
        if name(path).startswith("animate_core/"):
            found += [f"{name(path)}:{line} imports {module}" for line, module in absolute_imports(tree(path))
                      if module.split(".")[0] in ("training", "benchmarks", "tests")]
    no_findings(found)


def test_host_internals_are_known_to_the_host_files_alone() -> None:
    found = []
    for path in [*sources("nodes"), *ROOT.glob("__init__.py")]:
        if path.name.startswith("host"):
            continue
        for line, module in absolute_imports(tree(path)):
            top = module.split(".")[0]
            if top in HOST_MODULES - OPEN_TO_NODES or (top == "comfy_api" and not module.startswith("comfy_api.latest")):
                found.append(f"{name(path)}:{line} imports {module}; only nodes/host*.py may")
    no_findings(found)


def test_nodes_reach_the_pack_by_relative_imports() -> None:
    """The host loads the pack under a name that is a path: an absolute import of our folders fails there, or finds the host's `nodes`."""
    ours = {"animate_core", "nodes", "training"}
    no_findings([
        f"{name(path)}:{line} imports {module} by an absolute name"
        for path in [*sources("nodes", "animate_core"), *ROOT.glob("__init__.py")]
        for line, module in absolute_imports(tree(path))
        if module.split(".")[0] in ours
    ])


def test_optional_packages_are_imported_where_they_are_used() -> None:
    """A missing diffusers, onnxruntime or the like must cost a node, not the pack: none is imported at a module's top."""
    found = []
    for path in [*sources("nodes", "animate_core"), *ROOT.glob("__init__.py")]:
        for node in tree(path).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found += [f"{name(path)}:{line} imports {module} at the top" for line, module in absolute_imports(node)
                          if module.split(".")[0] in ("diffusers", "onnxruntime", "kornia", "scipy", "cv2")]
    no_findings(found)


def test_node_ids_are_literal_and_ours() -> None:
    """The registry's scanner reads ids from the source, and only of direct subclasses of ComfyNode."""
    found = []
    for path in sources("nodes"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and dotted(node.func).endswith("Schema"):
                ids = [keyword.value for keyword in node.keywords if keyword.arg == "node_id"]
                if not ids or not isinstance(ids[0], ast.Constant) or not str(ids[0].value).startswith("Marionette"):
                    found.append(f"{name(path)}:{node.lineno} has no literal node_id that begins with Marionette")
    no_findings(found)


def test_no_file_is_longer_than_the_limit() -> None:
    no_findings([
        f"{name(path)} has {lines} lines (limit {MAX_LINES})"
        for path in every_source()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    ])


def test_scripts_of_the_page_are_entries_or_plain_modules() -> None:
    """The page loads every .js below web as an extension: those in folders must do nothing but export, and know nothing of the page."""
    found = []
    for path in sorted((ROOT / "web").rglob("*.js")):
        source = path.read_text(encoding="utf-8")
        if (path.parent == ROOT / "web") != ("app.registerExtension(" in source):
            found.append(f"{name(path)} is no entry in web/, or registers an extension from below it")
        if path.parent != ROOT / "web" and "scripts/" in source:
            found.append(f"{name(path)} imports the page's scripts")
        found += [f"{name(path)}:{i} is too long" for i, line in enumerate(source.splitlines(), 1) if len(line) > 140 or i > MAX_LINES]
    no_findings(found)


def test_nothing_prints_but_commands() -> None:
    found = []
    for path in every_source():
        if name(path).startswith(PRINTERS):
            continue
        commands = {id(inner) for function in main_functions(tree(path)) for inner in ast.walk(function)}
        found += [f"{name(path)}:{node.lineno} prints" for node in ast.walk(tree(path))
                  if isinstance(node, ast.Call) and dotted(node.func) == "print" and id(node) not in commands]
    no_findings(found)


def main_functions(module: ast.Module) -> list[ast.stmt]:
    """`def main` and the block under `if __name__ == "__main__"` of a module that has one."""
    guards = [node for node in module.body if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"]
    if not guards:
        return []
    return [*guards, *(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "main")]


def test_files_are_loaded_safely() -> None:
    found = []
    for path in sources("animate_core", "nodes", "training", "benchmarks"):
        found += [f"{name(path)}:{line} imports {module}" for line, module in absolute_imports(tree(path))
                  if module.split(".")[0] in PICKLES]
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            called = dotted(node.func)
            if called == "torch.load" and not is_true(keywords.get("weights_only")):
                found.append(f"{name(path)}:{node.lineno} calls torch.load without weights_only=True")
            if called.endswith(("np.load", "numpy.load")) and is_true(keywords.get("allow_pickle")):
                found.append(f"{name(path)}:{node.lineno} loads NumPy pickles")
            if called in ("eval", "exec"):
                found.append(f"{name(path)}:{node.lineno} calls {called}")
    no_findings(found)


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


@pytest.mark.parametrize(("source", "expected"), [
    ("import comfy.utils", ["comfy.utils"]),
    ("from comfy.sd import VAE", ["comfy.sd"]),
    ("def f():\n    import folder_paths", ["folder_paths"]),
    ("import importlib\nimportlib.import_module('nodes')", ["importlib", "nodes"]),
    ("from . import nodes\nfrom .nodes import x", []),
])
def test_the_reader_itself(source: str, expected: list[str]) -> None:
    assert [module for _, module in absolute_imports(ast.parse(source))] == expected
