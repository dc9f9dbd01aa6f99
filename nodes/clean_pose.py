"""Clean Pose: removes gaps, outliers, swapped sides and jitter from keypoints."""

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
            description="Repairs one person's keypoints over a clip: corrects swapped left and right, removes outliers, smooths jitter and "
                        "fills short gaps. A person who leaves the image stays out. "
                        "All limits are in body heights and seconds, so it works at any resolution and frame rate.",
            search_aliases=["smooth pose", "stabilize keypoints", "jitter", "flicker", "one euro filter", "savitzky-golay", "loess", "fill "
                            "missing frames", "interpolate pose", "outliers", "nobody found"],
            inputs=[
                keypoints_input("pose", "Keypoints from Extract Pose, Load Pose, ControlNet Aux's DWPose, ComfyUI's SDPose or others."),
                strength("fix_swaps", DEFAULTS.fix_swaps,
                         "Corrects left and right exchanged by mistake: arms, legs, eyes and ears. Higher values correct more. "
                         "A person who turns around is left unchanged. 0: off."),
                strength("remove_outliers", DEFAULTS.remove_outliers,
                         "Removes points that jump away for at most 0.15 seconds while the rest of the limb does not. "
                         "Higher values remove smaller jumps: 0.5 from about 5% of body height, 1 from 2.5%. Fast motion is kept. 0: off."),
                io.Int.Input("max_gap", default=AUTOMATIC, min=AUTOMATIC, max=10_000,
                             tooltip="Longest gap in frames that is filled by linear interpolation, for single points and whole people. "
                                     "0: fill nothing. -1: half a second at any fps."),
                io.Combo.Input("long_gaps", options=list(LONG_GAPS), default=DEFAULTS.long_gaps,
                               tooltip="What to do with longer gaps. hold: a point seen in most frames that did not leave the image "
                                       "keeps its nearest position and moves along with the body; "
                                       "a face turned away and a person outside the image stay out. hide: leave out all missing points."),
                strength("smooth", DEFAULTS.smooth, "Removes jitter. Higher is smoother; motion larger than the jitter is kept. 0: off."),
                io.Combo.Input("filter", options=list(FILTERS), default=FILTERS[0],
                               tooltip="local polynomial: fits a parabola to the points within a quarter of a second on each side "
                                       "(at smooth 0.5) and follows it only where the difference is jitter. none: same as smooth 0. "
                                       "Saved workflows with one-euro or savitzky-golay use local polynomial."),
                io.Float.Input("fps", default=DEFAULTS.fps, min=0.1, max=1000, step=0.01,
                               tooltip="Frames per second of the poses, after any skipped frames. "
                                       "Load Pose and ComfyUI's Get Video Components output it. An approximate value is fine."),
                io.Combo.Input("person", options=list(PERSON_CHOICES), default=PERSON_CHOICES[0],
                               tooltip="Which person to keep if a frame contains several. followed: the largest person at the start, "
                                       "tracked through the whole clip. The other options choose frame by frame."),
                io.Float.Input("score_threshold", default=DEFAULTS.score_threshold, min=0, max=0.99, step=0.01, advanced=True,
                               tooltip="Points with this score or less count as missing."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                          tooltip="One person, same number of frames as the input. "
                                                  "Connect to Retarget Pose, Draw Pose or Encode Pose."),
                io.String.Output("report", display_name="report",
                                 tooltip="What was changed, and in which frames (counted from 0). Show it with Preview as Text."),
            ],
        )

    @classmethod
    def validate_inputs(cls, filter: str | None = None) -> bool | str:
        return filter is None or filter in FILTERS + OLD_FILTERS or f"filter: {filter!r} is unknown; choose from: {', '.join(FILTERS)}"

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
