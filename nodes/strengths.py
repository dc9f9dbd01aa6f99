"""Strengths: how strongly reference, pose and guidance act, over the steps of a run and the frames of a clip."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..animate_core.strengths import Curve, Strengths
from .sampling import CATEGORY
from .sockets import StrengthsSocket, floats, floats_input

KINDS = {
    "reference": "How much the reference counts against what a frame itself shows. 1: as trained. 2: twice as much. 0: not read.",
    "pose": "Scale of the pose features. 1: as trained. 0: the poses are ignored.",
    "guidance": "Scale of what cfg adds to 1: with cfg 3.5, strength 0.5 gives 2.25. 1: the sampler's cfg. 0: no guidance.",
}


def inputs(kind: str, tooltip: str) -> list[Any]:
    """One strength: its value, its course over the frames, and the part of the steps in which it acts."""
    return [
        io.Float.Input(kind, default=1.0, min=0.0, max=10.0, step=0.05, tooltip=tooltip),
        floats_input(f"{kind}_curve", f"Factors of {kind} over the clip, one per frame. A shorter list is stretched over the clip with "
                                      "straight lines between (0, 1: rises from first to last frame); a longer one is cut. Empty: 1."),
        io.Float.Input(f"{kind}_start", default=0.0, min=0.0, max=1.0, step=0.05, advanced=True,
                       tooltip=f"Fraction of the steps after which {kind} acts; before it the strength is 0."),
        io.Float.Input(f"{kind}_end", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                       tooltip=f"Fraction of the steps until which {kind} acts; after it the strength is 0."),
    ]


class StrengthsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteStrengths", display_name="Strengths", category=CATEGORY,
            description="Sets how strongly reference, pose and guidance act: over the frames of the clip, and over the steps. "
                        "Works in Multi-Frame Sampler and with KSampler. With all values at 1 the clip does not change.",
            search_aliases=["reference strength", "pose strength", "cfg schedule", "guidance schedule", "keyframes", "start at", "end at",
                            "fade", "weight"],
            # a list of numbers comes as one, not as one run for each
            is_input_list=True,
            inputs=[each for kind, tooltip in KINDS.items() for each in inputs(kind, tooltip)],
            outputs=[StrengthsSocket.Output("strengths", display_name="STRENGTHS",
                                            tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, **given: list[Any]) -> io.NodeOutput:
        return io.NodeOutput(Strengths(**{kind: curve(kind, given) for kind in KINDS}))


def curve(kind: str, given: dict[str, list[Any]]) -> Curve:
    """A kind's values and steps, as the node has them. Raises ValueError."""
    def one(name: str, default: float) -> float:
        return floats(given.get(name, default), name)[0]

    factors = floats(given.get(f"{kind}_curve", ""), f"{kind}_curve") or (1.0,)
    strength = one(kind, 1.0)
    try:
        return Curve(tuple(strength * x for x in factors), one(f"{kind}_start", 0.0), one(f"{kind}_end", 1.0))
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from error
