"""Nodes that make the clip: the published sampling loop, and the way to the host's own samplers."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.families import FAMILIES
from ..animate_core.pieces import of_length
from ..animate_core.pose.style import complaints
from ..animate_core.sampling import DDIM, NOISE_ORDERS, SCHEDULERS, draw_noise, make_scheduler
from ..animate_core.strengths import Strengths
from ..animate_core.windows import SCHEDULES, Windows
from .checkpoint import checkpoint_of
from .host_guidance import guided
from .host_model import COND_KEY, AnimateModel, ClipSource, without_motion
from .host_sampler import ClipSampler, check_schedule, ddim_sigmas, sample
from .sockets import Pose, PoseSocket, Reference, ReferenceSocket, StrengthsSocket, WindowsSocket, expect

log = logging.getLogger(__name__)

CATEGORY = "Marionette/sampling"


def animate_model(model: Any) -> AnimateModel:
    return expect(model.model, AnimateModel, "model", "Use Load Motion UNet: a normal Stable Diffusion MODEL has no motion modules and "
                                                      "cannot read a reference.")


def refuse_block_merges(hidden: Any) -> None:
    """Raises ValueError if the MODEL comes through ModelMergeBlocks, which finds none of its block names and merges all by one ratio.

    A merged MODEL does not say which node merged it, but the graph does.
    """
    prompt = getattr(hidden, "prompt", None) or {}
    links, seen = [prompt.get(getattr(hidden, "unique_id", None), {}).get("inputs", {}).get("model")], set()
    while links:
        link = links.pop()
        if not isinstance(link, list) or not link or link[0] in seen:
            continue
        seen.add(link[0])
        node = prompt.get(link[0], {})
        if node.get("class_type") == "ModelMergeBlocks":
            raise ValueError("model: ModelMergeBlocks does not know the blocks of an Animate Anyone MODEL and would merge all of them with "
                             "its first ratio; use ModelMergeSimple")
        links.extend(node.get("inputs", {}).values())


def default_windows(model: AnimateModel) -> Windows:
    return Windows(model.preset.window_length, model.preset.window_overlap)


def check_fit(model: AnimateModel, reference: Any, pose: Any, frames: int, windows: Any) -> tuple[Reference, Pose, int, Windows]:
    """Checks that the inputs fit together, before any long work. Returns them, with the frame count. Raises ValueError."""
    reference = expect(reference, Reference, "reference", "Use Encode Reference.")
    pose = expect(pose, Pose, "pose", "Use Encode Pose.")
    windows = default_windows(model) if windows is None else expect(windows, Windows, "windows", "Use Windows.")
    config, net = model.config, model.diffusion_model
    widths = {block.path: block.norm1.normalized_shape[0] for block in net.spatial_blocks()}
    wrong = [path for path, width in widths.items() if path not in reference.features or reference.features[path].shape[-1] != width]
    if wrong or len(widths) != len(reference.features):
        first = wrong[0] if wrong else next(path for path in reference.features if path not in widths)
        theirs = reference.features[first].shape[-1] if first in reference.features else "no"
        raise ValueError(f"reference: the features of {reference.source} do not fit the MODEL ({first}: {theirs} channels, the MODEL has "
                         f"{widths.get(first, 'no such block')}); load the ReferenceNet and the motion UNet of the same model")
    if (reference.unconditional is not None) != model.preset.unconditional_reference:
        how = "both the conditional and the unconditional pass" if model.preset.unconditional_reference else "the conditional pass only"
        raise ValueError(f"reference: {reference.source} was encoded for a different family than the MODEL's. {model.preset.name} reads "
                         f"the reference in {how}; load both with the same family")
    theirs = FAMILIES[pose.family].content if pose.family else "skeleton"
    if theirs != model.preset.content:
        raise ValueError(f"pose: it contains {theirs} images for {pose.family or 'a body model'}, but the MODEL is loaded as "
                         f"{model.preset.name}, which needs {model.preset.content} images; load both with Load Animate Anyone, or choose "
                         "the family in Load Motion UNet")
    if reference.token.shape[-1] != config.cross_attention_dim:
        raise ValueError(f"reference: its image token has {reference.token.shape[-1]} values, the MODEL needs "
                         f"{config.cross_attention_dim}; load the ReferenceNet and the motion UNet of the same model")
    if pose.channels != config.block_out_channels[0]:
        raise ValueError(f"pose: the features of {pose.source} have {pose.channels} channels, the MODEL needs "
                         f"{config.block_out_channels[0]}; load the pose guider of the same model")
    if (reference.width, reference.height) != (pose.width, pose.height):
        raise ValueError(f"pose: it was encoded at {pose.width}x{pose.height}, the reference at {reference.width}x{reference.height}; set "
                         "the same width and height in Encode Reference and Encode Pose")
    have = pose.frames
    if frames > have:
        raise ValueError(f"frames: {frames} requested, but the pose has only {have}; lower frames (0 uses all), or encode more poses")
    frames = frames or have
    for complaint in complaints(pose.look, model.preset) if pose.look else []:
        log.warning("pose: %s; the result may be poor", complaint)
    length, most = min(frames, windows.length), config.motion_max_frames
    if length > most:
        log.warning("windows: length %d is longer than the %d frame positions that this motion module was trained with; motion may get "
                    "worse. Set the length of Windows to %d or less.", length, most, most)
    return reference, pose, frames, windows


def conditioning(reference: Reference, pose: Pose, windows: Windows, strengths: Strengths) -> tuple[list, list]:
    """CONDITIONING for both passes; the unconditional one has a zero token and the same poses, but no reference or one of its own."""
    positive = [[reference.token, {COND_KEY: ClipSource(reference, pose, windows, strengths)}]]
    other = None
    if reference.unconditional is not None:
        other = replace(reference, features=reference.unconditional, unconditional=None, weights=(1.0,))
    negative = [[torch.zeros_like(reference.token), {COND_KEY: ClipSource(other, pose, windows, strengths)}]]
    return positive, negative


def strengths_of(strengths: Any, frames: int) -> Strengths:
    """What the Strengths node gives, for a clip of so many frames; without one all are 1. Raises ValueError."""
    return Strengths() if strengths is None else expect(strengths, Strengths, "strengths", "Use Strengths.").on(frames)


def empty_latent(pose: Pose, frames: int) -> Tensor:
    return torch.zeros(frames, 4, pose.height // 8, pose.width // 8)


def noise_mask(latent: dict[str, Any] | None, frames: int) -> Tensor | None:
    """The noise mask of a LATENT as `[F, 1, H, W]`, in the host's forms of it. Raises ValueError where it has another number of frames."""
    if latent is None or latent.get("noise_mask") is None:
        return None
    mask = latent["noise_mask"]
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    if len(mask) not in (1, frames):
        raise ValueError(f"latent: its noise mask has {len(mask)} frames, but the clip {frames}; use one mask for all frames, or one for "
                         "each")
    return mask.expand(frames, -1, -1, -1)


def model_input() -> io.Model.Input:
    return io.Model.Input("model", tooltip="From Load Motion UNet or another loader of this pack. LoRA loaders can be in between.")


def clip_inputs() -> list[Any]:
    return [
        ReferenceSocket.Input("reference", tooltip="From Encode Reference."),
        PoseSocket.Input("pose", tooltip="From Encode Pose or Encode Guidance, with the same width and height as the reference."),
    ]


def frames_input() -> io.Int.Input:
    return io.Int.Input("frames", default=0, min=0, max=100000,
                        tooltip="Number of frames to generate, starting at the first pose. 0: one frame per pose.")


def motion_input() -> io.Boolean.Input:
    return io.Boolean.Input("motion", default=True, optional=True, advanced=True,
                            tooltip="Off: the motion modules are bypassed and each frame is generated by itself. "
                                    "For a single picture in a new pose.")


def windows_input() -> Any:
    return WindowsSocket.Input("windows", optional=True,
                               tooltip="From Windows: how a long clip is split. If not connected: the model's training length, "
                                       "windows shifted at every step, pyramid weights.")


def strengths_input() -> Any:
    return StrengthsSocket.Input("strengths", optional=True,
                                 tooltip="From Strengths: how strongly reference, pose and guidance act over the steps and the frames. "
                                         "If not connected: 1 throughout.")


class ContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteWindows", display_name="Windows", category=CATEGORY,
            description="Sets how a long clip is split into overlapping windows and joined again. "
                        "Memory use depends on the length of a window, not on the length of the clip.",
            search_aliases=["context windows", "context options", "long video", "sliding window", "context length"],
            inputs=[
                io.Int.Input("length", default=24, min=1, max=128,
                             tooltip="Frames per window, denoised together. Moore: 24. MusePose: 48. More frames need more memory. "
                                     "Beyond the trained positions (32 for Moore, 128 for MusePose) motion gets worse."),
                io.Int.Input("overlap", default=4, min=0, max=127,
                             tooltip="Frames shared by neighbouring windows. Must be less than the length."),
                io.Int.Input("stride", default=1, min=1, max=8, advanced=True,
                             tooltip="For schedule published only: adds windows over every 2nd, 4th, ... frame, "
                                     "up to this number of rounds. 1: no extra windows."),
                io.Combo.Input("schedule", options=list(SCHEDULES), default=SCHEDULES[0],
                               tooltip="shifted: window borders move at every step, so no seam stays visible. "
                                       "published: as in the reference implementation, the same borders at every step."),
                io.Combo.Input("weights", options=["pyramid", "flat"], default="pyramid",
                               tooltip="How overlapping predictions are averaged. pyramid: frames in the middle of a window count most. "
                                       "flat: all frames count the same, as in the reference implementation."),
                io.Boolean.Input("closed_loop", default=False,
                                 tooltip="Windows continue from the end of the clip to its start. Turn on for clips that loop. "
                                         "The reference implementation always does this, which blends the last frames into the first."),
                io.Boolean.Input("pad", default=False, optional=True, advanced=True,
                                 tooltip="MusePose's method, for schedule published without closed_loop: the last pose is repeated until "
                                         "no window wraps around, and the extra frames are removed. "
                                         "After KSampler, remove them with Latent From Batch."),
            ],
            outputs=[WindowsSocket.Output("windows", display_name="WINDOWS",
                                          tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, length: int, overlap: int, stride: int = 1, schedule: str = SCHEDULES[0], weights: str = "pyramid",
                closed_loop: bool = False, pad: bool = False) -> io.NodeOutput:
        return io.NodeOutput(Windows(length, overlap, stride, schedule, weights, closed_loop, pad))


class MultiFrameSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteMultiFrameSampler", display_name="Multi-Frame Sampler", category=CATEGORY,
            description="Generates the clip with the published sampling loop. Decode its LATENT with VAE Decode. "
                        "Needs the Python package diffusers.",
            search_aliases=["animate anyone sampler", "ksampler", "video sampler", "animate"],
            inputs=[
                model_input(),
                *clip_inputs(),
                io.Int.Input("seed", default=42, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                             tooltip="Seed of the noise. The noise is drawn on the CPU, so a seed gives the same clip on every device."),
                io.Int.Input("steps", default=25, min=1, max=1000, tooltip="Denoising steps. The published settings use 20 to 30."),
                io.Float.Input("cfg", default=3.5, min=0.0, max=30.0, step=0.1, round=0.01,
                               tooltip="Guidance scale (cfg): how closely to follow the reference image. The published value is 3.5. "
                                       "At 1 or below the unconditional pass is skipped: twice as fast, less faithful."),
                io.Combo.Input("scheduler", options=list(SCHEDULERS), default=DDIM,
                               tooltip="The sampling method. DDIM is the published one. LCM is for models distilled for few steps."),
                frames_input(),
                io.Float.Input("denoise", default=1.0, min=0.01, max=1.0, step=0.01,
                               tooltip="1 starts from noise. Lower values start from the connected latent and keep more of it."),
                io.Combo.Input("noise", options=list(NOISE_ORDERS), default=NOISE_ORDERS[0], advanced=True,
                               tooltip="published: a seed gives the same noise as in the reference implementation. "
                                       "ComfyUI: the same noise as in KSampler."),
                windows_input(),
                io.Latent.Input("latent", optional=True,
                                tooltip="The clip to start from when denoise is below 1: one latent per frame. "
                                        "Where it has a noise mask of 0 (Known Frames, Continue Clip, Set Latent Noise Mask), "
                                        "its content is kept, at any denoise."),
                io.Float.Input("rescale", default=0.0, min=0.0, max=1.0, step=0.05, optional=True, advanced=True,
                               tooltip="Guidance rescale over the whole clip: reduces the excess contrast of a high cfg. "
                                       "0: off, as published. 0.7 is a common value."),
                motion_input(),
                io.Int.Input("checkpoint_every", default=0, min=0, max=1000, optional=True, advanced=True,
                             tooltip="Above 0: after every so many steps the state is saved to a file in the output folder. If the run is "
                                     "stopped, the next run with the same settings continues from there. 0: off."),
                strengths_input(),
            ],
            outputs=[io.Latent.Output("latent", display_name="LATENT",
                                      tooltip="One latent per frame [frames, 4, h, w]. Connect to VAE Decode.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, reference: Any, pose: Any, seed: int, steps: int, cfg: float, scheduler: str = DDIM, frames: int = 0,
                denoise: float = 1.0, noise: str = NOISE_ORDERS[0], windows: Any = None, latent: Any = None,
                rescale: float = 0.0, motion: bool = True, checkpoint_every: int = 0, strengths: Any = None) -> io.NodeOutput:
        animate = animate_model(model)
        try:
            make_scheduler(scheduler, animate.preset)
        except ImportError as error:
            raise ImportError("Multi-Frame Sampler needs the Python package diffusers, which cannot be imported. Run 'pip install "
                              "diffusers' in ComfyUI's Python environment, or use Animate Conditioning with KSampler") from error
        if "context_handler" in model.model_options:
            raise ValueError("model: ComfyUI's Context Windows node is applied to it, which Multi-Frame Sampler does not support; remove "
                             "that node and connect Marionette's Windows, or sample with Animate Conditioning and KSampler")
        check_schedule(model)
        refuse_block_merges(cls.hidden)
        reference, pose, frames, windows = check_fit(animate, reference, pose, frames, windows)
        start, mask = cls.start_latent(latent, pose, frames, denoise), noise_mask(latent, frames)
        total = windows.padded(frames)
        strengths = strengths_of(strengths, frames).padded(total)
        pose, start, mask = pose.padded(frames, total), of_length(start, total), None if mask is None else of_length(mask, total)
        sigmas = ddim_sigmas(model, steps, denoise)
        checkpoint = None
        if checkpoint_every:
            values = {"seed": seed, "steps": steps, "cfg": cfg, "scheduler": scheduler, "frames": frames, "denoise": denoise,
                      "noise": noise, "windows": windows, "latent": [start, mask], "rescale": rescale, "motion": motion,
                      "strengths": strengths}
            checkpoint = checkpoint_of(cls.hidden, model, reference, pose, values, checkpoint_every)
        initial = draw_noise(seed, total, pose.height // 8, pose.width // 8, order=noise)
        positive, negative = conditioning(reference, pose, windows, strengths)
        sampler = ClipSampler(scheduler, steps, denoise, windows, rescale, checkpoint)
        model = guided(model if motion else without_motion(model), strengths)
        samples = sample(model, positive, negative, initial, start, sigmas, cfg, seed, sampler, mask)
        if checkpoint:
            checkpoint.remove()
        return io.NodeOutput({"samples": samples[:frames]})

    @staticmethod
    def start_latent(latent: dict[str, Any] | None, pose: Pose, frames: int, denoise: float) -> Tensor:
        if latent is None:
            if denoise < 1.0:
                raise ValueError(f"denoise: {denoise:g} needs a latent to start from; connect latent, or set denoise to 1")
            return empty_latent(pose, frames)
        samples, wanted = latent["samples"], (frames, 4, pose.height // 8, pose.width // 8)
        if tuple(samples.shape) != wanted:
            raise ValueError(f"latent: its shape must be {wanted} (frames, channels, height / 8, width / 8); got {tuple(samples.shape)}. "
                             "Encode as many frames as the pose has, at the same size")
        return samples


class AnimateConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteAnimateConditioning", display_name="Animate Conditioning", category=CATEGORY,
            description="Prepares the clip for ComfyUI's own samplers. Connect all four outputs to KSampler or SamplerCustomAdvanced. "
                        "To match the published method, use sampler euler or ddim, cfg 3.5, "
                        "and scheduler sgm_uniform or the sigmas of Animate Sigmas.",
            search_aliases=["animate anyone ksampler", "apply reference", "apply pose", "animate anyone conditioning"],
            inputs=[model_input(), *clip_inputs(), frames_input(), windows_input(), motion_input(), strengths_input()],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            outputs=[
                io.Model.Output("model", display_name="MODEL",
                                tooltip="The MODEL, checked against the reference and the pose, with the strength of the guidance."),
                io.Conditioning.Output("positive", display_name="positive", tooltip="Conditioning with the reference and the poses."),
                io.Conditioning.Output("negative", display_name="negative",
                                       tooltip="Unconditional: the same poses, without the reference."),
                io.Latent.Output("latent", display_name="LATENT", tooltip="An empty latent of the right size, one per frame."),
            ],
        )

    @classmethod
    def execute(cls, model: Any, reference: Any, pose: Any, frames: int = 0, windows: Any = None, motion: bool = True,
                strengths: Any = None) -> io.NodeOutput:
        refuse_block_merges(cls.hidden)
        reference, pose, frames, windows = check_fit(animate_model(model), reference, pose, frames, windows)
        total = windows.padded(frames)
        strengths = strengths_of(strengths, frames).padded(total)
        pose, frames = pose.padded(frames, total), total
        positive, negative = conditioning(reference, pose, windows, strengths)
        model = guided(model if motion else without_motion(model), strengths)
        return io.NodeOutput(model, positive, negative, {"samples": empty_latent(pose, frames)})


class AnimateSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteAnimateSigmas", display_name="Animate Sigmas", category=CATEGORY,
            description="Gives the sigmas of the published DDIM timesteps, for SamplerCustomAdvanced with sampler euler or ddim.",
            search_aliases=["sigmas", "ddim", "trailing", "animate anyone scheduler"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Motion UNet or Animate Conditioning. Its family sets the noise schedule."),
                io.Int.Input("steps", default=25, min=1, max=1000,
                             tooltip="Denoising steps. With a divisor of 1000 (20, 25, 40, 50), euler equals the published DDIM."),
                io.Float.Input("denoise", default=1.0, min=0.01, max=1.0, step=0.01,
                               tooltip="Below 1, only the last part of the steps is used, to start from an existing clip."),
            ],
            outputs=[io.Sigmas.Output("sigmas", display_name="SIGMAS", tooltip="Connect to SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, model: Any, steps: int, denoise: float = 1.0) -> io.NodeOutput:
        animate_model(model)
        return io.NodeOutput(ddim_sigmas(model, steps, denoise))
