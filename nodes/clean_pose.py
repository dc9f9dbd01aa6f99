"""Clean Pose: keypoints without gaps, leaps, swapped sides and jitter."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..animate_core.pose.cleaning import LONG_GAPS, CleanSettings, clean
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.pose.people import PERSON_CHOICES, choose_person
from . import host
from .sockets import BINARY, GRADED, POSE_CATEGORY, PoseKeypointSocket, keypoints_input, scores_input

DEFAULTS = CleanSettings()
FILTERS = ("local polynomial", "none")
OLD_FILTERS = ("one-euro", "savitzky-golay")  # of saved workflows: the local polynomial takes their place
AUTOMATIC = -1


def strength(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0, max=1, step=0.05, display_mode=io.NumberDisplay.slider, tooltip=tooltip)


class CleanPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteCleanPose", display_name="Clean Pose", category=POSE_CATEGORY,
            description="Repairs one person's keypoints over a clip: swapped sides are put back, leaping points taken out, jitter "
                        "smoothed, short gaps filled. Who leaves the picture is left out. Works in body heights and seconds, so any "
                        "resolution and frame rate will do.",
            search_aliases=["smooth pose", "stabilize keypoints", "jitter", "flicker", "one euro filter", "savitzky-golay", "loess", "fill "
                            "missing frames", "interpolate pose", "outliers", "nobody found"],
            inputs=[
                keypoints_input("pose", "From Extract Pose, Load Pose, ControlNet Aux's DWPose, ComfyUI's SDPose or others."),
                strength("fix_swaps", DEFAULTS.fix_swaps, "Left and right exchanged by mistake: arms, legs, or eyes and ears. Higher takes "
                                                          "less for a mistake. A person who turns round is left alone. 0: off."),
                strength("remove_outliers", DEFAULTS.remove_outliers,
                         "Points that leap away for at most 0.15 seconds, while the limb that they belong to does not. Higher removes "
                         "smaller leaps: 0.5 those from about 5% of body height on, 1 from 2.5%. Fast motion stays. 0: off."),
                io.Int.Input("max_gap", default=AUTOMATIC, min=AUTOMATIC, max=10_000,
                             tooltip="Points and people missing for at most so many frames are filled in on a straight line between their "
                                     "sights before and after. 0: none. -1: half a second, whatever the fps."),
                io.Combo.Input("long_gaps", options=list(LONG_GAPS), default=DEFAULTS.long_gaps,
                               tooltip="Longer gaps. hold: a point that is seen in most frames, and did not leave the picture, keeps its "
                                       "nearest sight and moves along with the body; a face turned away and people out of the picture are "
                                       "left out. hide: all are left out."),
                strength("smooth", DEFAULTS.smooth, "Against jitter. Higher is smoother; motion that is more than jitter stays. 0: off."),
                io.Combo.Input("filter", options=list(FILTERS), default=FILTERS[0],
                               tooltip="local polynomial: a parabola through the sights within a quarter of a second on each side (at "
                                       "smooth 0.5), taken as far as they miss it by jitter only. none: as smooth 0. Saved workflows' "
                                       "one-euro and savitzky-golay are taken for the local polynomial."),
                io.Float.Input("fps", default=DEFAULTS.fps, min=0.1, max=1000, step=0.01,
                               tooltip="Frames per second of the poses, after any frames were skipped; Load Pose and ComfyUI's Get "
                                       "Video Components give it. All limits are in seconds; about right is good enough."),
                io.Combo.Input("person", options=list(PERSON_CHOICES), default=PERSON_CHOICES[0],
                               tooltip="Whom to keep where several people are in a frame."),
                io.Float.Input("score_threshold", default=DEFAULTS.score_threshold, min=0, max=0.99, step=0.01, advanced=True,
                               tooltip="Points with this score or less count as not seen."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                          tooltip="One person, as many frames as came in: for Retarget Pose, Draw Pose or Encode Pose."),
                io.String.Output("report", display_name="report", tooltip="What was done, and in which frames (counted from 0)."),
            ],
        )

    @classmethod
    def validate_inputs(cls, filter: str | None = None) -> bool | str:
        return filter is None or filter in FILTERS + OLD_FILTERS or f"filter: {filter!r} is unknown; there are: {', '.join(FILTERS)}"

    @classmethod
    def execute(cls, pose: Any, fix_swaps: float = DEFAULTS.fix_swaps, remove_outliers: float = DEFAULTS.remove_outliers,
                max_gap: int = AUTOMATIC, long_gaps: str = DEFAULTS.long_gaps, smooth: float = DEFAULTS.smooth,
                filter: str = FILTERS[0], fps: float = DEFAULTS.fps, person: str = PERSON_CHOICES[0],
                score_threshold: float = DEFAULTS.score_threshold, scores: str = BINARY) -> io.NodeOutput:
        settings = CleanSettings(fix_swaps, remove_outliers, DEFAULTS.max_gap if max_gap == AUTOMATIC else max_gap / fps, long_gaps,
                                 0 if filter == "none" else smooth, score_threshold, fps)
        clip = choose_person(read_pose(pose), person)
        progress = host.FrameProgress(len(clip))
        cleaned, report = clean(clip, settings, on_frame=lambda: progress.update(1))
        return io.NodeOutput(write_pose(cleaned, scores != GRADED), report.text())
