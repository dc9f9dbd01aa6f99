"""Nodes that read weights. Files are told apart by their tensors' names and shapes, never by the file's name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..animate_core.checkpoints import CheckpointError, CheckpointInfo, Kind, identify, prepare_reference_net, unet_config
from ..animate_core.clip_vision import WEIGHT_FILES, read_clip_vision
from ..animate_core.families import FAMILIES, FAMILY_NAMES, family_preset
from ..animate_core.guider_files import family_of_guiders, guider_part, prepare_guider
from ..animate_core.model_files import CLIP, DENOISER, GUIDER, MOTION, REFERENCE_NET, family_in, what_to_get, where_to_get
from ..animate_core.unet import UNet
from . import host
from .host_model import load_motion_unet
from .sockets import PoseGuider, PoseGuiderSocket, ReferenceNet, ReferenceNetSocket, expect

CATEGORY = "Marionette/loaders"
IN_DENOISER = "none (in the denoiser file)"
ALL_FOLDERS = "(all)"
AUTO = "auto"
NO_FILE = "(no file found)"
GET_FILES = "huggingface.co/patrolli/AnimateAnyone (Moore), TMElyralab/MusePose, fudan-generative-ai/champ or ZJYang/AniPortrait"


def model_files() -> list[str]:
    return host.model_list(host.MODEL_FOLDER)


def model_path(name: str) -> str:
    return folder_paths.get_full_path_or_raise(host.MODEL_FOLDER, name)


def missing_file(widget: str, name: str | None, part: str, category: str = host.MODEL_FOLDER) -> str:
    """What to say of a chosen file that is not there, and where to get it; empty if it is, or comes over a wire (None)."""
    if name is None or folder_paths.get_full_path(category, name) is not None:
        return ""
    return f"{widget}: file {name!r} not found in models/{category}. {where_to_get(name, part)}"


def file_input(name: str, hint: str, tooltip: str) -> io.Combo.Input:
    """A model file; the first whose name holds the hint is the default."""
    files = model_files()
    return io.Combo.Input(name, options=files or [NO_FILE], default=next((f for f in files if hint in f.lower()), None), tooltip=tooltip)


def weight_dtype_input() -> io.Combo.Input:
    return io.Combo.Input(
        "weight_dtype", options=list(host.WEIGHT_DTYPES), default=AUTO, advanced=True,
        tooltip="Data type of the stored weights. auto: ComfyUI's choice for this GPU. "
                "fp32 needs twice the memory of fp16; fp8 needs half, with a small loss of quality. fp8 weights still compute in 16 bits. "
                "Choose bf16 or fp32 if frames come out black.")


def family_input() -> io.Combo.Input:
    return io.Combo.Input(
        "family", options=[AUTO, *FAMILY_NAMES], default=AUTO, advanced=True,
        tooltip="The model family of these weights. It sets the noise schedule, the default windows and how the reference is read. "
                "auto: MusePose is recognised by its 128 frame positions; "
                "Champ, AniPortrait and Moore face by their pose guiders, if loaded together; everything else is Moore.")


def load_reference_net(path: str, weight_dtype: str, num_heads: int = 8, norm_num_groups: int = 32, family: str = AUTO) -> ReferenceNet:
    config, state_dict, _ = prepare_reference_net(host.load_state_dict(path), path, num_heads=num_heads, norm_num_groups=norm_num_groups,
                                                  family=family)
    patcher, dtype = host.build_patcher(partial(UNet, config), state_dict, weight_dtype)
    return ReferenceNet(patcher, dtype, os.path.basename(path), config, "" if family == AUTO else family)


def load_pose_guider(path: str, weight_dtype: str, family: str = "", others: tuple[PoseGuider, ...] = ()) -> PoseGuider:
    """others: guiders of the same model that were loaded before. Raises CheckpointError."""
    name = os.path.basename(path)
    config, state_dict, info = prepare_guider(host.load_state_dict(path), path)
    part = guider_part(name, info)
    if not part:
        raise CheckpointError(f"{name} is {info.description}, but its name does not say which one: the four files have the same tensors. "
                              f"Give it its published name: {', '.join(f'{p}.pth' for p in FAMILIES['Champ'].guiders)}.")
    check_together(name, part, info, others)
    parts = [part, *(guider.part for guider in others)]
    family = family or family_of_guiders(parts, [info]) or ""
    patcher, dtype = host.build_patcher(config.build, state_dict, weight_dtype)
    others = tuple(replace(guider, family=family) for guider in others)
    return PoseGuider(patcher, dtype, name, config.outputs[0], family, part, config.outputs, others)


def check_together(name: str, part: str, info: CheckpointInfo, others: tuple[PoseGuider, ...]) -> None:
    """Raises CheckpointError for guiders that are not of one model, as far as can be told."""
    for other in others:
        sets = [preset.guiders for preset in FAMILIES.values() if len(preset.guiders) > 1]
        if other.part == part:
            raise CheckpointError(f"{name} and {other.source} are both a {part.replace('_', ' ')}; choose a different file for one of "
                                  "them.")
        if not any({part, other.part} <= set(guiders) for guiders in sets):
            raise CheckpointError(f"{name} is {info.description} and cannot be combined with {other.source}. Only Champ's guidance "
                                  "encoders, and pose_guider1 and pose_guider2 of Moore's face reenactment, work together.")


def clip_vision_choices() -> list[str]:
    """Files of the clip_vision category, and Hugging Face folders in it (named with a trailing slash)."""
    folders = set()
    for base in folder_paths.get_folder_paths("clip_vision"):
        for root, _, files in os.walk(base, followlinks=True):
            if root != base and "config.json" in files and set(WEIGHT_FILES) & set(files):
                folders.add(os.path.relpath(root, base).replace(os.sep, "/") + "/")
    return sorted(folders) + host.model_list("clip_vision")


def clip_vision_path(choice: str) -> str:
    if not choice.endswith("/"):
        return folder_paths.get_full_path_or_raise("clip_vision", choice)
    for base in folder_paths.get_folder_paths("clip_vision"):
        path = os.path.join(base, choice)
        if host.stays_inside(choice) and os.path.isdir(path):
            return path
    raise FileNotFoundError(f"folder {choice!r} not found in {', '.join(folder_paths.get_folder_paths('clip_vision'))}")


def clip_vision_stamp(path: str) -> tuple:
    files = [os.path.join(path, f) for f in ("config.json", *WEIGHT_FILES)] if os.path.isdir(path) else [path]
    return host.file_stamp(*files)


def clip_vision_width(choice: str) -> int | None:
    """Length of the image embedding, None for what is no CLIP image encoder."""
    try:
        return read_clip_vision(clip_vision_path(choice))[0]["projection_dim"]
    except CheckpointError:
        return None


class LoadReferenceNet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteLoadReferenceNet", display_name="Load ReferenceNet", category=CATEGORY,
            description="Loads the network that reads the character's appearance from the reference image (reference_unet.pth).",
            search_aliases=["reference unet", "reference_unet", "animate anyone", "appearance"],
            inputs=[
                file_input("file", "reference",
                           tooltip=f"reference_unet.pth or .safetensors in models/{host.MODEL_FOLDER}. Download it from {GET_FILES}."),
                weight_dtype_input(),
                io.Combo.Input("family", options=[AUTO, *FAMILY_NAMES], default=AUTO, optional=True, advanced=True,
                               tooltip="The model family of these weights. Set it only for Moore's face reenactment (Moore face): "
                                       "its ReferenceNet has an output head and also runs for the unconditional pass."),
            ],
            outputs=[ReferenceNetSocket.Output("reference_net", display_name="REFERENCE_NET", tooltip="Connect to Encode Reference.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        return missing_file("file", file, REFERENCE_NET) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **kwargs: Any) -> Any:
        return host.file_stamp(model_path(file))

    @classmethod
    def execute(cls, file: str, weight_dtype: str = AUTO, family: str = AUTO) -> io.NodeOutput:
        return io.NodeOutput(load_reference_net(model_path(file), weight_dtype, family=family))


class LoadMotionUNet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteLoadMotionUNet", display_name="Load Motion UNet", category=CATEGORY,
            description="Loads the denoising UNet with its motion modules as a normal MODEL. "
                        "LoRA loaders, torch.compile and every ComfyUI sampler work with it. "
                        "No Stable Diffusion 1.5 checkpoint is needed.",
            search_aliases=["denoising unet", "denoising_unet", "motion module", "animatediff", "animate anyone", "musepose"],
            inputs=[
                file_input("denoiser", "denois",
                           tooltip=f"denoising_unet.pth or .safetensors in models/{host.MODEL_FOLDER}. Download it from {GET_FILES}."),
                io.Combo.Input("motion", options=[IN_DENOISER, *model_files()], default=IN_DENOISER,
                               tooltip="motion_module.pth of the same model, or an AnimateDiff motion module for SD 1.5. "
                                       "Keep none if the denoiser file contains both."),
                family_input(),
                weight_dtype_input(),
            ],
            outputs=[io.Model.Output("model", display_name="MODEL",
                                     tooltip="Connect to Multi-Frame Sampler, or to Animate Conditioning for any ComfyUI sampler.")],
        )

    @classmethod
    def validate_inputs(cls, denoiser: str | None = None, motion: str | None = None) -> bool | str:
        wrong = [missing_file("denoiser", denoiser, DENOISER), "" if motion == IN_DENOISER else missing_file("motion", motion, MOTION)]
        return "; ".join(filter(None, wrong)) or True

    @classmethod
    def fingerprint_inputs(cls, denoiser: str, motion: str = IN_DENOISER, **kwargs: Any) -> Any:
        return host.file_stamp(*(model_path(f) for f in (denoiser, motion) if f != IN_DENOISER))

    @classmethod
    def execute(cls, denoiser: str, motion: str = IN_DENOISER, family: str = AUTO, weight_dtype: str = AUTO) -> io.NodeOutput:
        motion_path = None if motion == IN_DENOISER else model_path(motion)
        return io.NodeOutput(load_motion_unet(model_path(denoiser), motion_path, family, weight_dtype))


class LoadPoseGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteLoadPoseGuider", display_name="Load Pose Guider", category=CATEGORY,
            description="Loads the network that turns skeleton images into pose features for the motion UNet (pose_guider.pth). "
                        "It reads Moore, MusePose, novita and AniPortrait guiders, "
                        "Champ's four guidance encoders and the two guiders of face reenactment.",
            search_aliases=["pose_guider", "pose encoder", "animate anyone", "guidance encoder", "champ", "aniportrait", "reenactment"],
            inputs=[
                file_input("file", "pose",
                           tooltip=f"pose_guider.pth or .safetensors in models/{host.MODEL_FOLDER}. "
                                   "Its type and size are read from the file. "
                                   "For models with several guiders, the file name tells which one it is "
                                   f"(guidance_encoder_depth, pose_guider1 ...). Download it from {GET_FILES}."),
                PoseGuiderSocket.Input("pose_guider", optional=True,
                                       tooltip="The other guiders of the same model, from another Load Pose Guider. "
                                               "Champ has four guiders, face reenactment two."),
            ],
            outputs=[PoseGuiderSocket.Output("pose_guider", display_name="POSE_GUIDER",
                                             tooltip="Connect to Encode Pose or Encode Guidance.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        return missing_file("file", file, GUIDER) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **kwargs: Any) -> Any:
        return host.file_stamp(model_path(file))

    @classmethod
    def execute(cls, file: str, pose_guider: Any = None) -> io.NodeOutput:
        others: tuple[PoseGuider, ...] = ()
        if pose_guider is not None:
            others = tuple(expect(pose_guider, PoseGuider, "pose_guider", "Use Load Pose Guider.").parts().values())
        return io.NodeOutput(load_pose_guider(model_path(file), AUTO, others=tuple(replace(guider, others=()) for guider in others)))


class LoadClipVision(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteLoadClipVision", display_name="Load CLIP Vision (any size)", category=CATEGORY,
            description="Loads a CLIP image encoder of any size in Hugging Face format, from a file or a folder with config.json, "
                        "as a normal CLIP_VISION. For the published image_encoder, ComfyUI's own Load CLIP Vision also works.",
            search_aliases=["image encoder", "image_encoder", "clip vision", "sd-image-variations"],
            inputs=[io.Combo.Input("file", options=clip_vision_choices() or [NO_FILE],
                                   tooltip="A file or Hugging Face folder in models/clip_vision. For the published models: "
                                           "image_encoder of sd-image-variations-diffusers (ViT-L/14 with projection).")],
            outputs=[io.ClipVision.Output("clip_vision", display_name="CLIP_VISION", tooltip="Connect to Encode Reference.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        if file is None or not file.endswith("/"):
            return missing_file("file", file, CLIP, "clip_vision") or True
        try:
            clip_vision_path(file)
        except FileNotFoundError as error:
            return f"file: {error}. {where_to_get(file, CLIP)}"
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return clip_vision_stamp(clip_vision_path(file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(host.clip_vision_from(*read_clip_vision(clip_vision_path(file))))


WANTED = {
    DENOISER: (Kind.DENOISER, Kind.MERGED),
    MOTION: (Kind.MOTION_MODULE, Kind.MOTION_MODULE_DIFFUSERS),
    REFERENCE_NET: (Kind.REFERENCE_NET,),
    GUIDER: (Kind.POSE_GUIDER,),
    CLIP: (Kind.CLIP_VISION,),
}


def files_in(folder: str) -> list[str]:
    return [f for f in model_files() if folder == ALL_FOLDERS or f.startswith(folder + "/")]


def folder_text(folder: str) -> str:
    return f"models/{host.MODEL_FOLDER}" + ("" if folder == ALL_FOLDERS else f"/{folder}")


@dataclass(frozen=True)
class FoundFiles:
    """A model's files. paths: by what they are, but for guiders, by which they are. family: where the guiders tell it."""

    paths: dict[str, str]
    guiders: dict[str, str]
    family: str | None


def find_guiders(names: list[str], infos: dict[str, CheckpointInfo]) -> tuple[dict[str, str], str | None]:
    """A model's guiders, by which they are, and the family where they tell it; several only where a family has several."""
    parts = {name: guider_part(name, infos[name]) for name in names}
    family = family_of_guiders(list(parts.values()), [infos[name] for name in names])
    chosen = set(parts.values())
    if len(names) > 1 and (family is None or len(chosen) < len(parts) or not chosen <= {*FAMILIES[family].guiders}):
        return {}, None
    return {part: name for name, part in parts.items()}, family


def find_parts(folder: str) -> FoundFiles:
    """What the files in the folder (and, for CLIP, in clip_vision) are. Raises CheckpointError."""
    found: dict[str, list[str]] = {part: [] for part in WANTED}
    infos: dict[str, CheckpointInfo] = {}
    others: list[str] = []
    for name in files_in(folder):
        try:
            info = identify(host.load_state_dict(model_path(name)))
        except CheckpointError as error:
            others.append(str(error))
            continue
        infos[name] = info
        parts = [part for part, kinds in WANTED.items() if info.kind in kinds and info.supported]
        for part in parts:
            found[part].append(name)
        if not parts:
            others.append(f"{name} is {info.description}")
    where = folder_text(folder)
    guiders, family = find_guiders(found[GUIDER], infos)
    if guiders:
        found[GUIDER] = found[GUIDER][:1]
    if family and family_preset(family).reference_head and not found[REFERENCE_NET]:
        # a ReferenceNet with an output head, beside a denoiser that has its motion modules
        heads = [name for name in found[DENOISER] if infos[name].kind is Kind.DENOISER]
        if len(heads) == 1 and len(found[DENOISER]) == 2:
            found[REFERENCE_NET] = heads
            found[DENOISER].remove(heads[0])
    for part, names in found.items():
        if len(names) > 1:
            raise CheckpointError(f"folder: {where} contains several files that can be the {part}: {', '.join(names)}. "
                                  "Keep one model per folder, or use the separate loaders")
    paths = {part: model_path(names[0]) for part, names in found.items() if names}
    merged = False
    if DENOISER in paths:
        denoiser = host.load_state_dict(paths[DENOISER])
        merged = identify(denoiser).kind is Kind.MERGED
        if CLIP not in paths:
            width = unet_config(denoiser, reference_net=False).cross_attention_dim
            choices = clip_vision_choices()
            # a Hugging Face folder stands for the file in it
            choices = [c for c in choices if c.endswith("/") or c.rpartition("/")[0] + "/" not in choices]
            fitting = [choice for choice in choices if clip_vision_width(choice) == width]
            if len(fitting) > 1:
                raise CheckpointError(f"folder: {where} contains no CLIP image encoder, and several in models/clip_vision fit: "
                                      f"{', '.join(fitting[:5])}. Put the model's own encoder into the folder, or use the separate loaders")
            if fitting:
                paths[CLIP] = clip_vision_path(fitting[0])
    missing = [part for part in WANTED if part not in paths and not (part == MOTION and merged)]
    if missing:
        seen = f" Other files found: {'; '.join(others)}." if others else ""
        raise CheckpointError(f"folder: missing in {where}: {', '.join(missing)}.{seen} "
                              f"{what_to_get(family or family_in(folder) or 'Moore', missing)}")
    return FoundFiles(paths, {part: model_path(name) for part, name in guiders.items()}, family)


class LoadAnimateAnyone(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        folders = sorted({os.path.dirname(f) for f in model_files()} - {""})
        return io.Schema(
            node_id="MarionetteLoadAnimateAnyone", display_name="Load Animate Anyone", category=CATEGORY,
            description="Loads a whole model at once. It finds the denoising UNet, motion module, ReferenceNet, pose guider and image "
                        "encoder by the content of the files. File names do not matter, except for Champ's guidance encoders.",
            search_aliases=["animate anyone", "moore", "musepose", "champ", "aniportrait", "reenactment", "load all"],
            inputs=[
                io.Combo.Input("folder", options=[ALL_FOLDERS, *folders], default=ALL_FOLDERS,
                               tooltip=f"A folder in models/{host.MODEL_FOLDER} with the files of one model. "
                                       "The image encoder may instead be in models/clip_vision, if only one there fits."),
                family_input(),
                weight_dtype_input(),
            ],
            outputs=[
                io.Model.Output("model", display_name="MODEL", tooltip="Connect to Multi-Frame Sampler or Animate Conditioning."),
                ReferenceNetSocket.Output("reference_net", display_name="REFERENCE_NET", tooltip="Connect to Encode Reference."),
                PoseGuiderSocket.Output("pose_guider", display_name="POSE_GUIDER", tooltip="Connect to Encode Pose or Encode Guidance."),
                io.ClipVision.Output("clip_vision", display_name="CLIP_VISION", tooltip="Connect to Encode Reference."),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None = None) -> bool | str:
        if folder is None or files_in(folder):
            return True
        return f"folder: no model files are in {folder_text(folder)}. {what_to_get(family_in(folder) or 'Moore')}"

    @classmethod
    def fingerprint_inputs(cls, folder: str, **kwargs: Any) -> Any:
        clip = [stamp for choice in clip_vision_choices() for stamp in clip_vision_stamp(clip_vision_path(choice))]
        return (*host.file_stamp(*map(model_path, files_in(folder))), *clip)

    @classmethod
    def execute(cls, folder: str, family: str = AUTO, weight_dtype: str = AUTO) -> io.NodeOutput:
        files = find_parts(folder)
        paths = files.paths
        if files.family and family not in (AUTO, files.family):
            raise CheckpointError(f"family: the pose guider in this folder belongs to {files.family}, not to {family}; choose auto")
        model = load_motion_unet(paths[DENOISER], paths.get(MOTION), files.family or family, weight_dtype)
        told = model.model.preset.name
        guiders: tuple[PoseGuider, ...] = ()
        for path in files.guiders.values():
            guiders = (load_pose_guider(path, AUTO, told, others=guiders), *guiders)
            guiders = tuple(replace(guider, others=()) for guider in guiders)
        return io.NodeOutput(
            model,
            load_reference_net(paths[REFERENCE_NET], weight_dtype, family=told),
            replace(guiders[0], others=guiders[1:]),
            host.clip_vision_from(*read_clip_vision(paths[CLIP])),
        )
