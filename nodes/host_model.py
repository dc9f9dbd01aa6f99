"""The motion UNet as a host MODEL: every sampler, scheduler, LoRA, preview and memory mode of the host's works on it.

Frames are the batch. Each row group of a batch is one clip (the conditional or the unconditional half), and brings its
own conditioning, so nothing is inferred from the batch's size or order.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import comfy.patcher_extension
import comfy.supported_models_base
import comfy.utils
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ..animate_core.accelerate import Acceleration, Kept, StepPlan, run_deep
from ..animate_core.blocks import ClipConditioning, DeepFeatures
from ..animate_core.checkpoints import prepare_denoiser
from ..animate_core.families import BETA_END, BETA_START, FamilyPreset, family_preset
from ..animate_core.guiders import WindowPictures
from ..animate_core.memory import step_bytes
from ..animate_core.pose_guider import PoseFrames
from ..animate_core.strengths import StepStrengths, Strengths
from ..animate_core.unet import UNet, UNetConfig
from ..animate_core.windows import Windows, predict_in_windows
from . import host
from .host_patches import HostPatches, check_windows, patches_key, unserved
from .sockets import Pose, Reference

log = logging.getLogger(__name__)

COND_KEY = "marionette"
# in transformer_options: the step where a sampler of ours knows it, all timesteps of its run, what to call before each window,
# what Accelerate leaves out, whether the MODEL knows its guidance's strengths, and whether motion modules run
STEP, TIMESTEPS, ON_WINDOW, ACCELERATION, GUIDED, MOTION = ("marionette_step", "marionette_timesteps", "marionette_on_window",
                                                            "marionette_acceleration", "marionette_guided", "marionette_motion")
# the host calls diffusers' "linear" by the name of another schedule
HOST_BETA_SCHEDULES = {"linear": "sqrt_linear", "scaled_linear": "linear"}


@dataclass(frozen=True)
class ClipSource:
    """What Animate Conditioning puts into a CONDITIONING: not yet on the device. reference None: the unconditional half."""

    reference: Reference | None
    pose: Pose
    windows: Windows
    strengths: Strengths = Strengths()

    def shape(self, channels: int) -> list[int]:
        """What `memory_required` is told: frames that run at once, bytes that making their pose features takes, and the reference's
        pictures."""
        length = min(self.windows.length, self.pose.frames)
        return [length, self.pose.window_bytes(length, channels), 0 if self.reference is None else len(self.reference.weights)]


@dataclass
class RunMemo:
    """What one sampling run works out once for a clip; it lives as long as the run's conditioning.

    times: time projections by step. sigmas, step: the last call's step, found from its sigmas at the price of a synchronisation.
    kept, difference: for later steps of an accelerated run: features, and the unconditional half's velocity less the conditional one's.
    """

    times: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    sigmas: Tensor | None = None
    step: int = 0
    told: bool = False
    kept: Kept = field(default_factory=Kept)
    difference: Tensor | None = None
    elsewhere: dict[torch.device, ClipState] = field(default_factory=dict)


def plan_of(step: int | None, options: dict[str, Any]) -> StepPlan | None:
    """What an accelerated run does in a step; None where nothing accelerates it."""
    acceleration: Acceleration | None = options.get(ACCELERATION)
    if acceleration is None or step is None:
        return None
    return acceleration.at(step, run_steps(options))


def run_steps(options: dict[str, Any]) -> int:
    """Steps of the run, 1 where they are not known."""
    return len(options[TIMESTEPS]) if TIMESTEPS in options else max(1, len(options.get("sample_sigmas", ())) - 1)


def strengths_at(strengths: Strengths, step: int | None, options: dict[str, Any]) -> StepStrengths:
    """Those of a step; one that is nearest to the run's end is its last."""
    steps = run_steps(options)
    return strengths.at(min(step or 0, steps - 1), steps)


@dataclass(frozen=True)
class ClipState:
    """One clip's conditioning during sampling.

    conditioning: ready, or None where hooks change the weights from call to call: then it is made of `raw` inside each call.
    raw: image token, features of the reference or None, and the weights of its pictures. shape: of `ClipSource.shape`. frames: which poses
    the rows stand for (None: 0, 1, 2 ...).
    """

    conditioning: ClipConditioning | None
    raw: tuple[Tensor, dict[str, Tensor] | None, tuple[float, ...]]
    pose: PoseFrames | WindowPictures
    windows: Windows
    shape: list[int]
    strengths: Strengths = Strengths()
    frames: Sequence[int] | None = None
    memo: RunMemo = field(default_factory=RunMemo)

    def to(self, device: torch.device) -> ClipState:
        """The same on another card; poses stay where they are, each window takes its own."""
        if self.raw[0].device == device:
            return self
        if device not in self.memo.elsewhere:
            token, features, weights = self.raw
            moved = None if features is None else {path: x.to(device) for path, x in features.items()}
            self.memo.elsewhere[device] = replace(self, conditioning=self.conditioning and self.conditioning.to(device),
                                                  raw=(token.to(device), moved, weights), pose=self.pose.to(device), memo=RunMemo())
        return replace(self.memo.elsewhere[device], frames=self.frames)


class ClipBatch(tuple[ClipState, ...]):
    """The clips of one batch, in its order."""

    def to(self, device: torch.device) -> ClipBatch:
        return ClipBatch(clip.to(device) for clip in self)


class ClipCond(comfy.conds.CONDRegular):
    """Carries ClipStates through the host's batching: a batch of clips has their ClipBatch."""

    cond: ClipBatch

    def process_cond(self, batch_size: int, **kwargs: Any) -> ClipCond:
        return self

    def can_concat(self, other: ClipCond) -> bool:
        return self.cond[0].windows == other.cond[0].windows and self.cond[0].frames == other.cond[0].frames

    def concat(self, others: Sequence[ClipCond]) -> ClipBatch:
        return ClipBatch(state for cond in (self, *others) for state in cond.cond)

    def size(self) -> list[int]:
        # read back by memory_required
        return self.cond[0].shape


def joined(poses: Sequence[Tensor | Sequence[Tensor]]) -> Tensor | Sequence[Tensor]:
    """Pose features of several clips as those of their batch, for one place in the network or for each of several."""
    if isinstance(poses[0], Tensor):
        return torch.cat([x for x in poses if isinstance(x, Tensor)])
    return [torch.cat(place) for place in zip(*poses, strict=True)]


class HostUNet(UNet):
    """The library's UNet with the host's calling conventions. model_channels: for host nodes that look it up in the configuration."""

    def __init__(self, *, config: UNetConfig, dtype: torch.dtype, device: Any, operations: Any, model_channels: int) -> None:
        super().__init__(config, operations=operations, dtype=dtype, device=device)

    def forward(self, x: Tensor, time: dict[str, Tensor], clips: Sequence[ClipConditioning],  # type: ignore[override]
                pose: Tensor | Sequence[Tensor], transformer_options: dict[str, Any], deep: DeepFeatures | None = None) -> Tensor:
        patches = HostPatches(transformer_options, self.config, x.shape) if HostPatches.needed(transformer_options) else None
        return super().forward(x, time, clips, pose, host.attention(transformer_options), transformer_options.get(MOTION, True), patches,
                               deep)


class ClipLatentFormat(comfy.latent_formats.SD15):
    """Stable Diffusion 1.5's latents; the host's previews show several frames of the clip and not only the first."""

    latent_rgb_factors_reshape = staticmethod(host.frame_strip)


class AnimateModelConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    latent_format = ClipLatentFormat

    def __init__(self, config: UNetConfig, preset: FamilyPreset) -> None:
        super().__init__({"config": config, "model_channels": config.block_out_channels[0]})
        self.sampling_settings = {
            "beta_schedule": HOST_BETA_SCHEDULES[preset.beta_schedule],
            "linear_start": BETA_START,
            "linear_end": BETA_END,
            "zsnr": preset.zero_snr,
        }
        if preset.latent_rgb:
            *factors, bias = preset.latent_rgb
            self.latent_format.latent_rgb_factors, self.latent_format.latent_rgb_factors_bias = list(map(list, factors)), list(bias)
        # for attention without flash or memory-efficient kernels; the host's unit is an SD 1.5 UNet, 320 channels at the latent's size
        self.memory_usage_factor = config.block_out_channels[0] / 320


class AnimateModel(comfy.model_base.BaseModel):
    """The host's view of the denoiser: v-prediction over frames, in context windows inside each model call."""

    def __init__(self, model_config: AnimateModelConfig, preset: FamilyPreset, device: Any = None) -> None:
        kind = comfy.model_base.ModelType.V_PREDICTION if preset.prediction_type == "v_prediction" else comfy.model_base.ModelType.EPS
        super().__init__(model_config, kind, device=device, unet_model=HostUNet)
        self.preset = preset

    @property
    def config(self) -> UNetConfig:
        return self.model_config.unet_config["config"]

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        source: ClipSource | None = kwargs.get(COND_KEY)
        if source is None:
            raise ValueError(f"{kwargs.get('prompt_type', 'conditioning')}: this CONDITIONING contains no reference and pose. An "
                             "Animate Anyone MODEL needs the positive and negative outputs of Animate Conditioning")
        noise = kwargs["noise"]
        if noise.shape[0] > source.pose.frames:
            raise ValueError(f"latent_image: {noise.shape[0]} frames, but the pose has {source.pose.frames}; use the LATENT "
                             "of Animate Conditioning")
        if noise.shape[-2:] != (source.pose.height // 8, source.pose.width // 8):
            raise ValueError(f"latent_image: {noise.shape[-1] * 8}x{noise.shape[-2] * 8} pixels, but the pose was encoded at "
                             f"{source.pose.width}x{source.pose.height}; use the LATENT of Animate Conditioning")
        dtype, device = self.get_dtype_inference(), kwargs["device"]
        tokens = kwargs["cross_attn"].to(device, dtype)
        features: dict[str, Tensor] | None = None
        weights: tuple[float, ...] = (1.0,)
        if source.reference is not None:
            weights = source.reference.weights
            features = {path: x.to(device, dtype) for path, x in source.reference.features.items()}
        # weights that hooks change are there inside a model call only
        conditioning = None if kwargs.get("hooks") is not None else self.diffusion_model.condition(tokens, features, weights)
        # the features themselves are needed no more once their keys and values are there
        raw = (tokens, features if conditioning is None else None, weights)
        keep = not source.windows.differ_by_step(noise.shape[0])
        pose, shape = source.pose.ready(device, keep, host.attention({})), source.shape(self.config.block_out_channels[0])
        return {COND_KEY: ClipCond(ClipBatch([ClipState(conditioning, raw, pose, source.windows, shape, source.strengths)]))}

    def extra_conds_shapes(self, **kwargs: Any) -> dict[str, list[int]]:
        source: ClipSource | None = kwargs.get(COND_KEY)
        return {COND_KEY: source.shape(self.config.block_out_channels[0])} if source else {}

    def memory_required(self, input_shape: Sequence[int], cond_shapes: dict[str, list[list[int]]] | None = None) -> float:
        """By window, not by clip: a longer clip runs more windows, not larger ones."""
        shapes = (cond_shapes or {}).get(COND_KEY, [])
        rows, clips = input_shape[0], max(1, len(shapes))
        if shapes:
            rows = min(rows, clips * max(length for length, *_ in shapes))
        if not (mm.xformers_enabled() or mm.pytorch_attention_flash_attention()):
            return super().memory_required([rows, *input_shape[1:]])
        step = step_bytes(input_shape[-1], input_shape[-2], math.ceil(rows / clips), clips, mm.dtype_size(self.get_dtype_inference()),
                          self.config.block_out_channels[0], max(1, sum(pictures for *_, pictures in shapes)))
        return max([step, *(poses for _, poses, _ in shapes)])

    def resize_cond_for_context_window(self, cond_key: str, cond_value: Any, window: Any, x_in: Tensor, device: Any,
                                       retain_index_list: Sequence[int] = ()) -> ClipCond | None:
        """The host's own Context Windows node: tells the clip which of its poses this window shows."""
        if cond_key != COND_KEY:
            return None
        anchor = getattr(window, "causal_anchor_index", None)
        frames = ([anchor] if anchor is not None and anchor >= 0 else []) + list(window.index_list)
        return ClipCond(ClipBatch(replace(state, frames=tuple(frames)) for state in cond_value.cond))

    def _apply_model(self, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None, control: Any = None,
                     transformer_options: dict[str, Any] | None = None, **kwargs: Any) -> Tensor:
        if control is not None:
            raise ValueError("positive: ControlNet does not work with an Animate Anyone MODEL, which is guided by its pose guider; remove "
                             "Apply ControlNet")
        options = transformer_options or {}
        clips: ClipBatch = kwargs[COND_KEY]
        x_in = self.model_sampling.calculate_input(t, x)
        step = self.step_of(t, clips, x.shape[0] // len(clips), options)
        self.tell_of_unserved(clips[0], options)
        # around all windows of a call, so that what a wrapper keeps is of the whole clip; it may work in place
        wrappers = comfy.patcher_extension.get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        executor = WrapperExecutor.new_class_executor(self.predict, self.diffusion_model, wrappers)
        timestep = self.model_sampling.timestep(t).float()
        output = executor.execute(x_in.to(self.get_dtype_inference()), timestep, clips, step, options)
        return self.model_sampling.calculate_denoised(t, output.float(), x)

    @staticmethod
    def step_of(t: Tensor, clips: ClipBatch, frames: int, options: dict[str, Any]) -> int | None:
        """The step of the run, where it is known or something depends on it; telling it from sigmas costs a synchronisation."""
        if STEP in options:
            return options[STEP]
        if "sample_sigmas" not in options or not (
                ACCELERATION in options or clips[0].windows.differ_by_step(frames) or any(clip.strengths.timed for clip in clips)):
            return None
        memo, sigmas = clips[0].memo, options.get("sigmas")
        if sigmas is None or memo.sigmas is not sigmas:
            memo.sigmas, memo.step = sigmas, int((options["sample_sigmas"].to(t) - t[0]).abs().argmin())
        for clip in clips:
            clip.memo.sigmas, clip.memo.step = memo.sigmas, memo.step
        return memo.step

    def predict(self, x: Tensor, timestep: Tensor, clips: ClipBatch, step: int | None, options: dict[str, Any]) -> Tensor:
        """The network's own output for x `[clips * F, 4, h, w]` (as the network takes it) and timesteps in 0..999."""
        dtype = self.get_dtype_inference()
        count = x.shape[0] // len(clips)
        frames = clips[0].frames or range(count)
        if len(frames) != count or x.shape[-2:] != clips[0].pose.size:
            raise ValueError(f"latent: {count} frames of {x.shape[-1]}x{x.shape[-2]} do not fit the pose "
                             f"({len(frames)} frames of {clips[0].pose.size[1]}x{clips[0].pose.size[0]}); area conditioning is not "
                             "supported")
        if count > clips[0].windows.length:
            check_windows(options)
        plan = plan_of(step, options)
        time = self.times(timestep[::count], clips, step, options)
        conditioning = [clip.conditioning or self.diffusion_model.condition(*clip.raw) for clip in clips]
        if plan is not None and not plan.reference:
            conditioning = [replace(c, reference=None) for c in conditioning]
        levels = [strengths_at(clip.strengths, step, options) for clip in clips]
        shared = all(clip.pose.kept is clips[0].pose.kept and level.pose == levels[0].pose
                     for clip, level in zip(clips, levels, strict=True))
        on_window: Callable[[int], None] = options.get(ON_WINDOW, lambda _: host.check_cancel())

        def window(xw: Tensor, span: Sequence[int]) -> Tensor:
            on_window(len(clips))
            chosen = [frames[i] for i in span]
            soon = mm.device_supports_non_blocking(xw.device)
            poses = [level.posed(clip.pose.at(chosen, xw.device, dtype, soon), chosen)
                     for clip, level in list(zip(clips, levels, strict=True))[:1 if shared else None]]
            read = [level.read(each, chosen) for level, each in zip(levels, conditioning, strict=True)]

            def network(deep: DeepFeatures | None) -> Tensor:
                # the module and not `predict` is what torch.compile replaces: nothing but tensors' work is inside
                return self.diffusion_model(xw, time, read, poses[0] if shared else joined(poses), options, deep)

            if plan is None:
                return network(None)
            room = self.memory_required(xw.shape, {COND_KEY: [clip.shape for clip in clips]})
            return run_deep(network, plan, [clip.memo.kept for clip in clips], (tuple(chosen), patches_key(options)), xw.device,
                            partial(host.keep, room=room))

        return predict_in_windows(window, x, len(clips), clips[0].windows, (plan.whole if plan else step) or 0)

    def times(self, timestep: Tensor, clips: ClipBatch, step: int | None, options: dict[str, Any]) -> dict[str, Tensor]:
        """Time projections, all steps of a run at once where its timesteps are known and no hook changes weights."""
        dtype, memo = self.get_dtype_inference(), clips[0].memo
        if step is None or TIMESTEPS not in options or any(clip.conditioning is None for clip in clips):
            return self.diffusion_model.time_projections(timestep[:1], dtype)
        if not memo.times:
            steps = self.diffusion_model.time_projections(options[TIMESTEPS].to(timestep.device), dtype)
            rows = {path: t.split(1) for path, t in steps.items()}
            memo.times.update({i: {path: t[i] for path, t in rows.items()} for i in range(len(options[TIMESTEPS]))})
        return memo.times[step]

    @staticmethod
    def tell_of_unserved(clip: ClipState, options: dict[str, Any]) -> None:
        """Warns, once a run, of patches and strengths that have no effect."""
        if not clip.memo.told and (names := unserved(options)):
            log.warning("model: these patches have no effect on an Animate Anyone MODEL: %s", "; ".join(names))
        if not clip.memo.told and clip.strengths.guidance != Strengths().guidance and GUIDED not in options:
            log.warning("model: the strength of the guidance has no effect; connect the MODEL of Animate Conditioning to the sampler")
        clip.memo.told = True


def without_motion(model: Any) -> Any:
    """A clone of the MODEL whose motion modules are passed by: each frame is made by itself."""
    model = model.clone()
    model.model_options.setdefault("transformer_options", {})[MOTION] = False
    return model


def loaded_from(model: Any) -> list[Any]:
    """What `load_motion_unet` was called with, and the files' stamps: the same where the weights are."""
    arguments = model.cached_patcher_init[1]
    return [list(arguments), list(host.file_stamp(*(path for path in arguments[:2] if path)))]


def load_motion_unet(denoiser: str, motion: str | None, family: str, weight_dtype: str, num_heads: int = 8, norm_num_groups: int = 32,
                     disable_dynamic: bool = False) -> Any:
    """The host MODEL of a denoiser file and a motion file (None: in the denoiser file). Raises CheckpointError."""
    config, state_dict, info = prepare_denoiser(host.load_state_dict(denoiser), host.load_state_dict(motion) if motion else None,
                                                denoiser, motion or "", family, num_heads=num_heads, norm_num_groups=norm_num_groups)
    preset = family_preset(info.family or "Moore")
    model_config = AnimateModelConfig(config, preset)
    dtype, cast = host.choose_dtypes(weight_dtype, state_dict)
    model_config.set_inference_dtype(dtype, cast)
    load_device, offload_device = mm.get_torch_device(), mm.unet_offload_device()
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    model = AnimateModel(model_config, preset, device=offload_device)
    patcher = patcher_class(model, load_device=load_device, offload_device=offload_device)
    host.assign_weights(patcher, model.diffusion_model, state_dict, dtype)
    patcher.cached_patcher_init = (load_motion_unet, (denoiser, motion, family, weight_dtype, num_heads, norm_num_groups))
    return patcher
