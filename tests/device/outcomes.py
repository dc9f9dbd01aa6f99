"""What the host's nodes that change a MODEL, or a CONDITIONING, do to an Animate Anyone MODEL: the table that tests and docs share.

An outcome is what must happen: "equal" to the run without the node; "changes" the result; "near" it with fewer rows computed; "fewer"
rows computed, at a price that is the node's own; "equals:NODE", the result of another one; "warns:TEXT", which changes nothing and
says so once in the log; "refused:TEXT", a ValueError with TEXT in its message.

`python -m tests.device.outcomes` writes the table into docs/host_nodes.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES, EQUAL, NEAR, FEWER, ABSENT = "changes", "equal", "near", "fewer", "-"
BOTH = ("one", "several")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "host_nodes.md"


@dataclass(frozen=True)
class Node:
    """A node on the way from the loader to the sampler, with its widgets, and its outcome in each path.

    several: outcomes with a clip in several windows (k_sampler, multi_frame) where they differ. note: for the docs. windows: what is tried.
    """

    label: str
    class_type: str
    inputs: tuple[Any, ...]
    k_sampler: str
    multi_frame: str
    several: tuple[str, str] | None = None
    note: str = ""
    windows: tuple[str, ...] = BOTH

    def cases(self) -> Iterator[tuple[str, str, str]]:
        """(path, windows, outcome) of each run."""
        ones = (self.k_sampler, self.multi_frame)
        for path, one, many in zip(("k_sampler", "multi_frame"), ones, self.several or ones, strict=True):
            for windows, outcome in zip(BOTH, (one, many), strict=True):
                if outcome != ABSENT and windows in self.windows:
                    yield path, windows, outcome


# A class_type in small letters is no node but a function of scenarios_patches.py: no single node sets these.

NODES = (
    # the guidance
    Node("RescaleCFG", "RescaleCFG", (0.7,), CHANGES, CHANGES),
    Node("CFGZeroStar", "CFGZeroStar", (), CHANGES, CHANGES),
    Node("CFGNorm", "CFGNorm", (0.7,), CHANGES, CHANGES),
    Node("APG", "APG", (0.5, 5.0, 0.0), CHANGES, CHANGES),
    Node("TCFG", "TCFG", (), CHANGES, CHANGES),
    Node("Mahiro", "Mahiro", (), CHANGES, CHANGES),
    Node("Video Linear CFG Guidance", "VideoLinearCFGGuidance", (1.0,), CHANGES, CHANGES),
    Node("Epsilon Scaling", "Epsilon Scaling", (1.05,), CHANGES, CHANGES),
    Node("FreSca", "FreSca", (1.0, 1.25, 2), CHANGES, CHANGES),
    Node("Perturbed-Attention Guidance", "PerturbedAttentionGuidance", (3.0,), CHANGES, CHANGES),
    Node("Self-Attention Guidance", "SelfAttentionGuidance", (0.5, 2.0), CHANGES, CHANGES,
         several=("refused:Self-Attention Guidance", "refused:Self-Attention Guidance"), windows=("several",)),
    # answers kept from an earlier step
    Node("EasyCache", "EasyCache", (1.0, 0.3, 0.95, False), NEAR, NEAR),
    Node("LazyCache", "LazyCache", (1.0, 0.3, 0.95, False), FEWER, FEWER),
    # the blocks
    Node("FreeU", "FreeU", (1.1, 1.2, 0.9, 0.2), CHANGES, CHANGES),
    Node("FreeU_V2", "FreeU_V2", (1.3, 1.4, 0.9, 0.2), CHANGES, CHANGES),
    Node("HyperTile", "HyperTile", (32, 2, 0, False), CHANGES, CHANGES),
    Node("Tome Patch Model", "TomePatchModel", (0.5,), CHANGES, CHANGES),
    Node("PatchModelAddDownscale", "PatchModelAddDownscale", (3, 2.0, 0.0, 0.5, True, "bicubic", "bicubic"), CHANGES, CHANGES),
    Node("Normalized Attention Guidance", "NAGuidance", (5.0, 0.5, 1.5), CHANGES, CHANGES),
    Node("SkipLayerGuidanceDiT", "SkipLayerGuidanceDiT", (3.0, 0.01, 0.8, "7, 8", "7, 8", 0.0), "warns:dit", "warns:dit",
         note="for transformers (DiT), whose blocks this UNet does not have"),
    Node("GLIGEN (middle_patch)", "middle_patch", (), "warns:middle_patch", "warns:middle_patch"),
    Node("IPAdapter-like (attn2 replaced)", "attn2_replace", (), CHANGES, CHANGES),
    # the noise schedule
    Node("ModelSamplingDiscrete eps", "ModelSamplingDiscrete", ("eps", False), CHANGES, "refused:ModelSampling",
         note="for weights that predict noise; the published ones predict v"),
    Node("ModelSamplingDiscrete v, zsnr", "ModelSamplingDiscrete", ("v_prediction", True), EQUAL, EQUAL),
    Node("ModelSamplingDiscrete lcm", "ModelSamplingDiscrete", ("lcm", False), "refused:ModelSampling", "refused:ModelSampling",
         note="it has 50 noise levels, and the published timesteps are others"),
    Node("ModelSamplingSD3", "ModelSamplingSD3", (3.0,), CHANGES, "refused:ModelSampling"),
    Node("ModelSamplingContinuousEDM", "ModelSamplingContinuousEDM", ("v_prediction", 120.0, 0.002), CHANGES, "refused:ModelSampling"),
    # the weights
    Node("UNetSelfAttentionMultiply", "UNetSelfAttentionMultiply", (1.0, 1.0, 1.2, 1.0), CHANGES, CHANGES),
    Node("UNetCrossAttentionMultiply", "UNetCrossAttentionMultiply", (1.0, 1.0, 1.2, 1.0), CHANGES, CHANGES),
    Node("UNetTemporalAttentionMultiply, structural", "UNetTemporalAttentionMultiply", (1.2, 1.0, 1.0, 1.0), CHANGES, CHANGES),
    Node("UNetTemporalAttentionMultiply, temporal", "UNetTemporalAttentionMultiply", (1.0, 1.2, 1.0, 1.2), EQUAL, EQUAL,
         note="it looks for the temporal layers of other video models, and motion modules have none of these names"),
    Node("LoraLoaderModelOnly", "LoraLoaderModelOnly", ("small_lora.safetensors", 1.0), CHANGES, CHANGES),
    Node("LoRA hook on the conditioning", "hooks", (), "equals:LoraLoaderModelOnly", ABSENT),
    Node("LoRA hook, attn2 alone", "hooks_attn2", (), "equals:LoraLoaderModelOnly", ABSENT),
    # how it runs
    Node("ModelComputeDtype bf16", "ModelComputeDtype", ("bf16",), CHANGES, CHANGES),
    Node("TorchCompileModel", "TorchCompileModel", ("eager",), EQUAL, EQUAL, windows=("several",)),
    Node("Context Windows", "ContextWindowsManual", (4, 2, "standard_uniform", 1, False, "pyramid", 0, False), CHANGES,
         "refused:Context Windows"),
    Node("a model function wrapper", "function_wrapper", (), CHANGES, CHANGES),
    Node("ControlNet", "control", (), "refused:ControlNet", ABSENT),
)


def markdown() -> str:
    """The table for the docs."""
    words = {CHANGES: "works", EQUAL: "works, same result", NEAR: "works, fewer computations", FEWER: "works, fewer computations",
             ABSENT: "not possible"}

    def said(outcome: str) -> str:
        kind, _, text = outcome.partition(":")
        spoken = {"warns": "no effect, said in the log", "refused": "refused by name", "equals": f"as {text}"}
        return spoken[kind] if kind in spoken else words[outcome]

    lines = ["| node | KSampler with Animate Conditioning | Multi-Frame Sampler |", "|---|---|---|"]
    for node in NODES:
        cells = []
        for one, many in zip((node.k_sampler, node.multi_frame), node.several or (node.k_sampler, node.multi_frame), strict=True):
            cells.append(said(one) if one == many else f"{said(one)}; with several windows: {said(many)}")
        lines.append(f"| {node.label}{f' ({node.note})' if node.note else ''} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with this table at its end."""
    return page.partition("| node |")[0] + markdown()


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
