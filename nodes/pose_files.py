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
        raise PoseError(f"file: {file!r} is outside ComfyUI's input folder; copy it there") from error
    if not path.exists():
        raise PoseError(f"file: {file!r} is not in ComfyUI's input folder ({folder_paths.get_input_directory()}); copy it there and press "
                        "R in the page")
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
                               tooltip="A JSON file, or a folder with OpenPose's *_keypoints.json files, "
                                       "in ComfyUI's input or output folder. Press R after adding one."),
                io.Int.Input("first_frame", default=0, min=0, max=10_000_000,
                             tooltip="Frames before this one are skipped. Frames are counted from 0."),
                io.Int.Input("frames", default=0, min=0, max=10_000_000, tooltip="Maximum number of frames to output. 0: all."),
                io.Int.Input("every_nth", default=1, min=1, max=1000, tooltip="2 keeps every second frame, 3 every third, and so on."),
                io.Int.Input("width", default=0, min=0, max=16384,
                             tooltip="Width in pixels of the video that the poses come from. 0: read it from the file. "
                                     "OpenPose's own files do not contain it."),
                io.Int.Input("height", default=0, min=0, max=16384,
                             tooltip="Height in pixels of the video that the poses come from. 0: read it from the file."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT", tooltip="The keypoints of every frame, in pixels."),
                io.Int.Output("frame_count", display_name="frames", tooltip="Number of frames."),
                io.Int.Output("canvas_width", display_name="width", tooltip="Width of the canvas in pixels."),
                io.Int.Output("canvas_height", display_name="height", tooltip="Height of the canvas in pixels."),
                io.Float.Output("fps", display_name="fps",
                                tooltip=f"Frames per second after every_nth. {DEFAULT_FPS:g} is assumed if the file does not contain it."),
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
            raise PoseError(f"width, height: {width}x{height} is not a valid size; set both, or both to 0 if the file contains the size")
        clip, fps = load_pose(pose_path(file), (width, height) if width else None)
        if first_frame >= len(clip):
            raise PoseError(f"first_frame must be less than {len(clip)}, the number of frames in the file; got {first_frame}")
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
                keypoints_input("pose", "Keypoints from any node: POSE_KEYPOINT, or WanAnimate's POSEDATA."),
                io.String.Input("filename_prefix", default="poses/pose",
                                tooltip="Folder and start of the file name; a counter is added. "
                                        "Placeholders such as %width%, %height% and %year% work as in Save Image."),
                io.Combo.Input("format", options=[ONE_FILE, SEQUENCE], default=ONE_FILE,
                               tooltip=f"{ONE_FILE}: one JSON file with all frames. "
                                       f"{SEQUENCE}: a folder with one BODY_25 file per frame, as OpenPose writes them."),
                io.Combo.Input("scores", options=[GRADED, BINARY], default=GRADED,
                               tooltip=f"Scores in the file. {GRADED}: the detector's confidence in each point. "
                                       f"{BINARY}: points with a score above 0.3 get 1, the others are left out."),
                io.Float.Input("fps", default=0.0, min=0.0, max=1000.0, step=0.01, advanced=True,
                               tooltip=f"Frames per second, stored with format '{ONE_FILE}' for Load Pose. 0: not stored."),
            ],
            outputs=[
                PoseKeypointSocket.Output("keypoints", display_name="POSE_KEYPOINT",
                                          tooltip="The saved keypoints in pixels, with scores of 0 and 1. "
                                                  "Also converts keypoints between the formats of different node packs."),
                PoseDataSocket.Output("posedata", display_name="POSEDATA",
                                      tooltip="The clip for WanAnimate's nodes. "
                                              "With several people: the largest one at the start, tracked through the whole clip."),
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
