"""What is known of the nodes of older Animate Anyone packs, and of the nodes that take their place. Data alone.

The packs: MrForExample's ComfyUI-AnimateAnyone-Evolved (its ids began with [ComfyUI-3D] at first), chaojie's ComfyUI-Moore-AnimateAnyone,
TMElyralab's Comfyui-MusePose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONTROL = "control_after_generate"  # the page stores it after a seed, as if it were a widget of its own
EVOLVED_IDS = ("[AnimateAnyone] ", "[ComfyUI-3D] ")
EVOLVED_SIZE = (512, 768)  # to which Evolved stretches every pose picture


@dataclass(frozen=True)
class FileName:
    """A widget that names a model file. name: as published. family: whose, which is also the folder that the README puts it in."""

    name: str
    family: str = "Moore"
    category: str = "animate_anyone"


@dataclass(frozen=True)
class OldNode:
    """widgets: names in the order in which the page stores their values.

    new: the one node that takes its place, '' where several do. inputs: new input -> old input. fixed: new widget -> value. files: new
    widget, old widget, and the file that was usual in it; its path, in the old pack's folder, cannot be kept.
    """

    widgets: tuple[str, ...] = ()
    new: str = ""
    inputs: tuple[tuple[str, str], ...] = ()
    fixed: tuple[tuple[str, Any], ...] = ()
    files: tuple[tuple[str, str, FileName], ...] = ()


REFERENCE_FILE, DENOISER_FILE = FileName("reference_unet.pth"), FileName("denoising_unet.pth")
MOTION_FILE, GUIDER_FILE = FileName("motion_module.pth"), FileName("pose_guider.pth")
CLIP_FILE = FileName("pytorch_model.bin", "sd-image-variations", "clip_vision")
VAE_FILE = FileName("vae-ft-mse-840000-ema-pruned.safetensors", "", "vae")

# Evolved's sampler, by release: widgets came in between. The last ones, of LoRAs, were stored otherwise at first.
_HEAD, _WINDOWS = ("seed", CONTROL, "steps", "cfg"), ("context_frames", "context_stride", "context_overlap", "context_batch_size",
                                                      "interpolation_factor", "sampler_scheduler_pairs")
_SCHEDULE = ("beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing", "steps_offset")
_LAST = ("clip_sample", "rescale_betas_zero_snr", "use_lora", "lora_name")
SAMPLER_WIDGETS: tuple[tuple[str, ...], ...] = (
    (*_HEAD, "delta", *_WINDOWS, *_SCHEDULE, *_LAST),
    (*_HEAD, "delta", "cfg_type", "steps_rcfg", *_WINDOWS, *_SCHEDULE, *_LAST),
    (*_HEAD, *_WINDOWS, *_SCHEDULE),
)

_EVOLVED = {
    "Load UNet2D ConditionModel": OldNode(("pretrained_base_unet_folder_path", "unet2d_model_path"), "MarionetteLoadReferenceNet",
                                          files=(("file", "unet2d_model_path", REFERENCE_FILE),)),
    "Load UNet3D ConditionModel": OldNode(("pretrained_base_unet_folder_path", "unet3d_model_path", "motion_module_path"),
                                          "MarionetteLoadMotionUNet",
                                          files=(("denoiser", "unet3d_model_path", DENOISER_FILE),
                                                 ("motion", "motion_module_path", MOTION_FILE))),
    "Load Pose Guider": OldNode(("pose_guider_model_path",), "MarionetteLoadPoseGuider",
                                files=(("file", "pose_guider_model_path", GUIDER_FILE),)),
    "Pose Guider Encode": OldNode((), "MarionetteEncodePose", (("pose_guider", "pose_guider"), ("images", "pose_images")),
                                  (("width", EVOLVED_SIZE[0]), ("height", EVOLVED_SIZE[1]), ("fit", "stretch"))),
    "Animate Anyone Sampler": OldNode(SAMPLER_WIDGETS[0]),
}
_MOORE = {
    "VAE": OldNode(("path",), "VAELoader", files=(("vae_name", "path", VAE_FILE),)),
    "Image Encoder": OldNode(("path",), "MarionetteLoadClipVision", files=(("file", "path", CLIP_FILE),)),
    "Reference Unet": OldNode(("pretrained_base_model_path", "reference_unet_path"), "MarionetteLoadReferenceNet",
                              files=(("file", "reference_unet_path", REFERENCE_FILE),)),
    "Denoising Unet": OldNode(("pretrained_base_model_path", "motion_module_path", "denoising_unet_path"), "MarionetteLoadMotionUNet",
                              files=(("denoiser", "denoising_unet_path", DENOISER_FILE), ("motion", "motion_module_path", MOTION_FILE))),
    "Pose Guider": OldNode(("pose_guider_path",), "MarionetteLoadPoseGuider", files=(("file", "pose_guider_path", GUIDER_FILE),)),
    "Pipeline Loader": OldNode(),
    "Simple": OldNode(("width", "height", "length", "steps", "cfg", "seed", CONTROL)),
}
OLD_NODES: dict[str, OldNode] = {
    **{f"{start}{name}": node for start in EVOLVED_IDS for name, node in _EVOLVED.items()},
    **{f"Moore-AnimateAnyone {name}": node for name, node in _MOORE.items()},
    "museposealign": OldNode(("video", "detect_resolution", "image_resolution", "max_frame", "align_frame")),
    "musepose": OldNode(("video", "Width", "Height", "frame_length", "slice_frame_number", "slice_overlap_frame_number", "cfg",
                         "sampling_steps", "fps")),
    "filenamestring": OldNode(),
}

SCHEDULER_WIDGET = "sampler_scheduler_pairs"
# Evolved's scheduler -> ours, and what differs
SCHEDULERS: dict[str, tuple[str, str]] = {
    "DDIM": ("DDIM (published)", ""),
    "DPM++ 2M Karras": ("DPM++ 2M", ""),  # the old pack never asked for Karras's spacing
    "LCM": ("LCM", ""),
    "Euler": ("Euler", ""),
    "Euler Ancestral": ("Euler a", ""),
    "LMS": ("Euler", "LMS is not among the schedulers, Euler is the nearest"),
    "PNDM": ("DDIM (published)", "PNDM is not among the schedulers, DDIM is the nearest"),
}
# settings of Evolved's sampler that the model's family decides now, or that are gone, with the value that changes nothing
LEFT_OUT: dict[str, Any] = {
    "delta": 1.0, "context_batch_size": 1, "interpolation_factor": 1, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear",
    "prediction_type": "v_prediction", "timestep_spacing": "trailing", "steps_offset": 1, "clip_sample": False,
    "rescale_betas_zero_snr": True, "cfg_type": "full_double_pass",
}


@dataclass(frozen=True)
class Widget:
    """low, high: the range, for numbers."""

    name: str
    default: Any = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class NewNode:
    """A node as the host knows it: sockets (name, type), widgets in the page's order, outputs (name, type)."""

    sockets: tuple[tuple[str, str], ...] = ()
    widgets: tuple[Widget, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()


_SIZE = (Widget("width", 512, 64, 4096), Widget("height", 768, 64, 4096), Widget("fit", "crop"))
_KEYPOINTS = "POSE_KEYPOINT,POSEDATA"
NEW_NODES: dict[str, NewNode] = {
    "MarionetteLoadReferenceNet": NewNode((), (Widget("file"), Widget("weight_dtype", "auto"), Widget("family", "auto")),
                                          (("REFERENCE_NET", "REFERENCE_NET"),)),
    "MarionetteLoadMotionUNet": NewNode((), (Widget("denoiser"), Widget("motion"), Widget("family", "auto"),
                                             Widget("weight_dtype", "auto")), (("MODEL", "MODEL"),)),
    "MarionetteLoadPoseGuider": NewNode((("pose_guider", "POSE_GUIDER"),), (Widget("file"),), (("POSE_GUIDER", "POSE_GUIDER"),)),
    "MarionetteLoadClipVision": NewNode((), (Widget("file"),), (("CLIP_VISION", "CLIP_VISION"),)),
    "MarionetteLoadAnimateAnyone": NewNode((), (Widget("folder"), Widget("family", "auto"), Widget("weight_dtype", "auto")),
                                           (("MODEL", "MODEL"), ("REFERENCE_NET", "REFERENCE_NET"), ("POSE_GUIDER", "POSE_GUIDER"),
                                            ("CLIP_VISION", "CLIP_VISION"))),
    "MarionetteEncodeReference": NewNode((("reference_net", "REFERENCE_NET"), ("vae", "VAE"), ("image", "IMAGE"),
                                          ("clip_vision", "CLIP_VISION"), ("clip_vision_output", "CLIP_VISION_OUTPUT"),
                                          ("weights", "STRING,FLOAT,FLOATS")), (*_SIZE, Widget("all_images", False)),
                                         (("REFERENCE", "REFERENCE"),)),
    "MarionetteEncodePose": NewNode((("pose_guider", "POSE_GUIDER"), ("images", "IMAGE"), ("pose_keypoint", _KEYPOINTS),
                                     ("model", "MODEL"), ("mouth_images", "IMAGE"), ("face_landmarks", "FACE_LANDMARKS")),
                                    (*_SIZE, Widget("family", "auto"), Widget("statistics", "batch (published)"), Widget("keep", "auto")),
                                    (("POSE", "POSE"),)),
    "MarionetteWindows": NewNode((), (Widget("length", 24, 1, 128), Widget("overlap", 4, 0, 127), Widget("stride", 1, 1, 8),
                                      Widget("schedule", "shifted"), Widget("weights", "pyramid"), Widget("closed_loop", False),
                                      Widget("pad", False)), (("WINDOWS", "WINDOWS"),)),
    "MarionetteMultiFrameSampler": NewNode((("model", "MODEL"), ("reference", "REFERENCE"), ("pose", "POSE"), ("windows", "WINDOWS"),
                                            ("latent", "LATENT"), ("strengths", "STRENGTHS")),
                                           (Widget("seed", 42, 0, 2**64 - 1), Widget(CONTROL, "fixed"), Widget("steps", 25, 1, 1000),
                                            Widget("cfg", 3.5, 0, 30), Widget("scheduler", "DDIM (published)"),
                                            Widget("frames", 0, 0, 100000), Widget("denoise", 1.0, 0.01, 1.0),
                                            Widget("noise", "published"), Widget("rescale", 0.0, 0.0, 1.0), Widget("motion", True),
                                            Widget("checkpoint_every", 0, 0, 1000)), (("LATENT", "LATENT"),)),
    "MarionetteExtractPose": NewNode((("images", "IMAGE"), ("pose_detector", "POSE_DETECTOR")),
                                     (Widget("backend", "dwpose"), Widget("detector", "yolox_l.onnx"),
                                      Widget("pose_model", "dw-ll_ucoco_384.onnx"), Widget("person", "followed"),
                                      Widget("score_threshold", 0.3, 0, 1), Widget("device", "auto"), Widget("scores", "0 and 1")),
                                     (("POSE_KEYPOINT", "POSE_KEYPOINT"), ("preview", "IMAGE"), ("report", "STRING"))),
    "MarionetteRetargetPose": NewNode((("pose", _KEYPOINTS), ("reference_pose", _KEYPOINTS), ("reference_image", "IMAGE")),
                                      (Widget("mode", "full"), Widget("strength", 1.0, 0, 1), Widget("keep_feet", True),
                                       Widget("person", "followed"), Widget("overlay_frames", 8, 1, 4096),
                                       Widget("align_frame", 0, 0, 1_000_000), Widget("fps", 24.0, 0.1, 1000),
                                       Widget("scores", "0 and 1")),
                                      (("POSE_KEYPOINT", "POSE_KEYPOINT"), ("overlay", "IMAGE"), ("report", "STRING"))),
    "MarionetteDrawPose": NewNode((("pose", _KEYPOINTS),),
                                  (Widget("style", "Moore"), Widget("width", 0, 0, 4096), Widget("height", 0, 0, 4096),
                                   Widget("fit", "crop"), *(Widget(part, "style") for part in ("body", "hands", "face", "feet")),
                                   Widget("stick_width", 0.0, 0, 64), Widget("score_threshold", 0.3, 0, 1)), (("images", "IMAGE"),)),
    "VAELoader": NewNode((), (Widget("vae_name"),), (("VAE", "VAE"),)),
    "VAEDecode": NewNode((("samples", "LATENT"), ("vae", "VAE")), (), (("IMAGE", "IMAGE"),)),
    "LoraLoaderModelOnly": NewNode((("model", "MODEL"),), (Widget("lora_name"), Widget("strength_model", 1.0, -100, 100)),
                                   (("MODEL", "MODEL"),)),
    "ImageFromBatch": NewNode((("image", "IMAGE"),), (Widget("batch_index", 0, 0, 4095), Widget("length", 1, 1, 4096)),
                              (("IMAGE", "IMAGE"),)),
    "LoadVideo": NewNode((), (Widget("file"),), (("VIDEO", "VIDEO"),)),
    "GetVideoComponents": NewNode((("video", "VIDEO"),), (), (("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT"))),
}
