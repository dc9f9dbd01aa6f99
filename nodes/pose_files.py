"""Load Pose, Save Pose: keypoints in JSON files of the host's input and output folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ..animate_core.pose.files import list_poses, load_pose, save_openpose, save_pose, sequence_files
from ..animate_core.pose.keypoints import PoseError
from ..animate_core.pose.openpose import binary_scores, read_pose, write_pose
from ..animate_core.pose.people import choose_person
from ..animate_core.pose.posedata import write_posedata
from . import host
from .sockets import BINARY, GRADED, POSE_CATEGORY, PoseDataSocket, PoseKeypointSocket, keypoints_input, scores_input

DEFAULT_FPS = 24.0
ONE_FILE, SEQUENCE = "one file", "OpenPose sequence"


def pose_path(file: str) -> Path:
    """A file or folder of the input folder, or of the output folder where the name ends in [output]. Raises PoseError."""
    try:
        path = Path(folder_paths.get_annotated_filepath(file))
    except ValueError as error:
        raise PoseError(f"file: {file!r} lies outside of ComfyUI's input folder; copy it there") from error
    if not path.exists():
        raise PoseError(f"file: {file!r} is not in ComfyUI's input folder ({folder_paths.get_input_directory()}); put it there, and "
                        "press R in the page")
    return path


class LoadPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = list_poses(Path(folder_paths.get_input_directory()))
        files += [f"{name} [output]" for name in list_poses(Path(folder_paths.get_output_directory()))]
        return io.Schema(
            node_id="MarionetteLoadPose", display_name="Load Pose", category=POSE_CATEGORY,
            description="Loads keypoints from a JSON file, or from a folder with an OpenPose sequence.",
            search_aliases=["load openpose json", "load keypoints", "pose file", "pose json", "skeleton", "import pose"],
            inputs=[
                io.Combo.Input("file", options=files,
                               tooltip="A JSON file, or a folder with OpenPose's *_keypoints.json files, in ComfyUI's input folder (or its "
                                       "output folder). Press R after adding one."),
                io.Int.Input("first_frame", default=0, min=0, max=10_000_000, tooltip="Frames before this one are left out. The first "
                                                                                       "has the number 0."),
                io.Int.Input("frames", default=0, min=0, max=10_000_000, tooltip="How many frames to give out at most; 0: all."),
                io.Int.Input("every_nth", default=1, min=1, max=1000, tooltip="2 keeps every other frame, 3 every third, and so on."),
                io.Int.Input("width", default=0, min=0, max=16384, tooltip="Width of the video that the poses were taken from, in pixels. "
                                                                           "0: the file states it. OpenPose's own files do not."),
                io.Int.Input("height", default=0, min=0, max=16384, tooltip="Height of that video. 0: the file states it."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT", tooltip="The keypoints in pixels, a frame each."),
                io.Int.Output("frame_count", display_name="frames", tooltip="How many frames there are."),
                io.Int.Output("canvas_width", display_name="width", tooltip="Width of the canvas in pixels."),
                io.Int.Output("canvas_height", display_name="height", tooltip="Height of the canvas in pixels."),
                io.Float.Output("fps", display_name="fps", tooltip=f"Frames per second after every_nth; where the file states none, it is "
                                                                   f"taken for {DEFAULT_FPS:g}."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        # with this, the host also takes names that came after the page was loaded
        try:
            pose_path(file)
        except PoseError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> Any:
        path = pose_path(file)
        return host.file_stamp(*map(str, sequence_files(path) if path.is_dir() else [path]))

    @classmethod
    def execute(cls, file: str, first_frame: int = 0, frames: int = 0, every_nth: int = 1, width: int = 0,
                height: int = 0, scores: str = BINARY) -> io.NodeOutput:
        if bool(width) != bool(height):
            raise PoseError(f"width, height: {width}x{height} is no size; give both, or 0 for both where the file states them")
        clip, fps = load_pose(pose_path(file), (width, height) if width else None)
        if first_frame >= len(clip):
            raise PoseError(f"first_frame: {first_frame} is beyond the clip, whose {len(clip)} frames are counted from 0")
        chosen = clip.of(clip.points[first_frame::every_nth][:frames or None])
        return io.NodeOutput(write_pose(chosen, scores != GRADED), len(chosen), clip.width, clip.height, (fps or DEFAULT_FPS) / every_nth)


class SavePose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteSavePose", display_name="Save Pose", category=POSE_CATEGORY, is_output_node=True,
            description="Saves keypoints as JSON in ComfyUI's output folder, for Load Pose and for other programs.",
            search_aliases=["save openpose json", "save keypoints", "export pose", "pose json", "posedata"],
            inputs=[
                keypoints_input("pose", "Keypoints of any node: POSE_KEYPOINT, or WanAnimate's POSEDATA."),
                io.String.Input("filename_prefix", default="poses/pose", tooltip="Folder and beginning of the name; a counter is added. "
                                                                                 "%width%, %height%, %year% and so on work as in Save "
                                                                                 "Image."),
                io.Combo.Input("format", options=[ONE_FILE, SEQUENCE], default=ONE_FILE,
                               tooltip=f"{ONE_FILE}: one JSON file with all frames. {SEQUENCE}: a folder with a BODY_25 file for each "
                                       "frame, as OpenPose writes them."),
                io.Combo.Input("scores", options=[GRADED, BINARY], default=GRADED,
                               tooltip=f"In the file. {GRADED}: how sure the detector was of each point. {BINARY}: points above 0.3 get "
                                       "1, others vanish."),
                io.Float.Input("fps", default=0.0, min=0.0, max=1000.0, step=0.01, advanced=True,
                               tooltip="Frames per second, kept in the one file for Load Pose; 0: not said."),
            ],
            outputs=[
                PoseKeypointSocket.Output("keypoints", display_name="POSE_KEYPOINT",
                                          tooltip="What was saved, in pixels, with scores of 0 and 1 for other packs' nodes: also a way "
                                                  "to turn one pack's keypoints into what another's take."),
                PoseDataSocket.Output("posedata", display_name="POSEDATA",
                                      tooltip="The clip for WanAnimate's nodes; of several people, the one whom Clean Pose would follow."),
            ],
        )

    @classmethod
    def execute(cls, pose: Any, filename_prefix: str, format: str = ONE_FILE, scores: str = GRADED, fps: float = 0.0) -> io.NodeOutput:
        clip = read_pose(pose)
        kept = binary_scores(clip) if scores == BINARY else clip
        folder, name, counter, _, _ = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory(), clip.width,
                                                                       clip.height)
        target = Path(folder) / f"{name}_{counter:05}_"
        if format == ONE_FILE:
            target = target.with_name(f"{target.name}.json")
            save_pose(kept, target, fps or None)
        else:
            save_openpose(kept, target, name)
        return io.NodeOutput(write_pose(kept), write_posedata(choose_person(clip)), ui=ui.PreviewText(str(target)))
