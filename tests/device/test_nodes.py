"""Every host node of `outcomes.NODES` does what its table says: nothing is ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.device.card import ROOT
from tests.device.conftest import Run
from tests.device.outcomes import NODES, PAGE, Node, markdown, with_table

EQUAL, CHANGES = 1e-3, 5e-3  # relative distances
GUIDANCE = ("RescaleCFG", "CFGZeroStar", "CFGNorm", "APG", "TCFG", "Mahiro", "Video Linear CFG Guidance", "FreSca")
CASES = [pytest.param(node, path, windows, outcome, id=f"{node.label}-{path}-{windows}")
         for node in NODES for path, windows, outcome in node.cases()]


def problem(outcome: str, result: dict[str, Any]) -> str:
    """What is wrong with a result; empty where it is as the outcome says."""
    kind, _, text = outcome.partition(":")
    if kind == "refused":
        if result.get("error") == "ValueError" and text.lower() in result["message"].lower():
            return ""
        return f"no ValueError that names {text}"
    if "error" in result:
        return f"{result['error']} at {result['where']}: {result['message'][:300]}"
    if not result["finite"]:
        return "not finite"
    told = [line for line in result["log"] if text.lower() in line.lower()]
    rows = result["rows"]
    right = {
        "equal": result["distance"] < EQUAL,
        "changes": result["distance"] > CHANGES,
        "near": rows is not None and rows < 0.95 and result["distance"] < 0.2,
        "fewer": rows is not None and rows < 0.95,
        "equals": result.get("from other", 1.0) < EQUAL < result["distance"],
        "warns": result["distance"] < EQUAL and len(told) == 1,
    }
    return "" if right[kind] else f"not {outcome}: {result}"


@pytest.mark.parametrize(("node", "path", "windows", "outcome"), CASES)
def test_a_node_does_what_the_table_says(run: Run, node: Node, path: str, windows: str, outcome: str) -> None:
    result = run("cpu").of(f"node/{node.label}")[f"{path}/{windows}"]
    assert problem(outcome, result) == ""


@pytest.mark.parametrize("label", GUIDANCE)
def test_guidance_is_the_same_in_both_paths(run: Run, label: str) -> None:
    result = run("cpu").of(f"node/{label}")
    assert result["between plain paths"] < 0.05
    assert result["between paths"] < 0.2


@pytest.mark.parametrize("label", ["LoRA hook on the conditioning", "LoRA hook, attn2 alone"])
@pytest.mark.parametrize("windows", ["one", "several"])
def test_a_lora_hook_equals_the_loader_with_dynamic_vram(run: Run, label: str, windows: str) -> None:
    result = run("dynamic").of(f"hooks/{label}")[f"k_sampler/{windows}"]
    assert "error" not in result, result
    # the host adds LoRAs in fp16 on such a card
    assert result["from other"] < 0.05 < result["distance"]


def test_self_attention_guidance_works_in_one_window(run: Run) -> None:
    result = run("cpu").of("guidance/Self-Attention Guidance in one window")
    assert all(CHANGES < result[path] < 10 for path in ("k_sampler", "multi_frame")), result


def test_a_lora_hook_follows_its_schedule(run: Run) -> None:
    result = run("cpu").of("hooks/schedule")
    assert result["on"] < EQUAL and result["off"] < EQUAL
    assert result["later from on"] > CHANGES and result["later from off"] > CHANGES


def test_a_saved_model_loads_again(run: Run) -> None:
    assert run("cpu").of("saved/ModelSave")["distance"] < EQUAL


def test_half_of_a_merge_is_half_of_the_strength(run: Run) -> None:
    result = run("cpu").of("merged/ModelMergeSimple")
    assert result["changes"] > 0.1 and result["distance"] < EQUAL and result["multi_frame"] < EQUAL


@pytest.mark.parametrize("graph", ["basic", "ksampler"])
def test_merging_by_blocks_is_refused_by_name(run: Run, graph: str) -> None:
    result = run("cpu").about[f"merged/ModelMergeBlocks/{graph}"]
    assert "error" in result, "ModelMergeBlocks took one ratio for all blocks in silence"
    assert "ModelMergeBlocks" in result["message"]


def test_the_docs_hold_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text), "python -m tests.device.outcomes writes the table into the page"
    assert "](docs/host_nodes.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_names_every_node_once() -> None:
    text = markdown()
    assert [text.count(f"| {node.label} ") for node in NODES] == [1] * len(NODES)
    assert len({node.label for node in NODES}) == len(NODES)
