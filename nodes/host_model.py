"""The motion UNet as a host MODEL: every sampler, scheduler, LoRA, preview and memory mode of the host's works on it.

Frames are the batch. Each row group of a batch is one clip (the conditional or the unconditional half), and brings its
own conditioning, so nothing is inferred from the batch's size or order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

from ..animate_core.blocks import ClipConditioning
from ..animate_core.checkpoints import prepare_denoiser
from ..animate_core.families import BETA_END, BETA_START, FamilyPreset, family_preset
from ..animate_core.unet import UNet, UNetConfig
from ..animate_core.windows import Windows, predict_in_windows
from . import host
from .sockets import Pose, Reference

COND_KEY = "marionette"
# the host calls diffusers' "linear" by the name of another schedule
HOST_BETA_SCHEDULES = {"linear": "sqrt_linear", "scaled_linear": "linear"}


@dataclass(frozen=True)
class ClipSource:
    """What Animate Conditioning puts into a CONDITIONING: not yet on the device. reference None: the unconditional half."""

    reference: Reference | None
    pose: Pose
    windows: Windows


@dataclass(frozen=True)
class ClipState:
    """One clip's conditioning during sampling. frames: which poses the rows stand for (None: 0, 1, 2 ...)."""

    conditioning: ClipConditioning
    pose: Tensor
    windows: Windows
    frames: Sequence[int] | None = None


class ClipCond(comfy.conds.CONDRegular):
    """Carries ClipStates through the host's batching: a batch of clips has their list, in the batch's order."""

    cond: list[ClipState]

    def process_cond(self, batch_size: int, **kwargs: Any) -> ClipCond:
        return self

    def can_concat(self, other: ClipCond) -> bool:
        return self.cond[0].windows == other.cond[0].windows and self.cond[0].frames == other.cond[0].frames

    def concat(self, others: Sequence[ClipCond]) -> list[ClipState]:
        return [state for cond in (self, *others) for state in cond.cond]

    def size(self) -> list[int]:
        # read back by memory_required: how many frames of a clip run at once
        return [self.cond[0].windows.length]


class HostUNet(UNet):
    """The library's UNet with the host's calling conventions."""

    def __init__(self, *, config: UNetConfig, dtype: torch.dtype, device: Any, operations: Any) -> None:
        super().__init__(config, operations=operations, dtype=dtype, device=device)

    def forward(self, x: Tensor, time: dict[str, Tensor], clips: Sequence[ClipConditioning], pose: Tensor,  # type: ignore[override]
                transformer_options: dict[str, Any]) -> Tensor:
        wrappers = comfy.patcher_extension.get_all_wrappers(WrappersMP.DIFFUSION_MODEL, transformer_options)
        return WrapperExecutor.new_class_executor(self.run, self, wrappers).execute(x, time, clips, pose, transformer_options)

    def run(self, x: Tensor, time: dict[str, Tensor], clips: Sequence[ClipConditioning], pose: Tensor,
            transformer_options: dict[str, Any]) -> Tensor:
        return super().forward(x, time, clips, pose, host.attention(transformer_options))


class ClipLatentFormat(comfy.latent_formats.SD15):
    """Stable Diffusion 1.5's latents; the host's previews show several frames of the clip and not only the first."""

    latent_rgb_factors_reshape = staticmethod(host.frame_strip)


class AnimateModelConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    latent_format = ClipLatentFormat

    def __init__(self, config: UNetConfig, preset: FamilyPreset) -> None:
        super().__init__({"config": config})
        self.sampling_settings = {
            "beta_schedule": HOST_BETA_SCHEDULES[preset.beta_schedule],
            "linear_start": BETA_START,
            "linear_end": BETA_END,
            "zsnr": preset.zero_snr,
        }
        # the host's unit is an SD 1.5 UNet, 320 channels at the latent's size
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
            raise ValueError(f"{kwargs.get('prompt_type', 'conditioning')}: this CONDITIONING has no reference and pose. An Animate "
                             "Anyone MODEL "
                             "is sampled with the positive and negative of Animate Conditioning")
        noise = kwargs["noise"]
        if noise.shape[0] > source.pose.features.shape[0]:
            raise ValueError(f"latent_image: {noise.shape[0]} frames, but the pose has {source.pose.features.shape[0]}; use the LATENT "
                             "of Animate Conditioning")
        if noise.shape[-2:] != source.pose.features.shape[-2:]:
            raise ValueError(f"latent_image: {noise.shape[-1] * 8}x{noise.shape[-2] * 8} pixels, but the pose was encoded at "
                             f"{source.pose.width}x{source.pose.height}; use the LATENT of Animate Conditioning")
        tokens = kwargs["cross_attn"].to(kwargs["device"], self.get_dtype_inference())
        conditioning = self.diffusion_model.condition(tokens, source.reference.features if source.reference else None)
        return {COND_KEY: ClipCond([ClipState(conditioning, source.pose.features, source.windows)])}

    def extra_conds_shapes(self, **kwargs: Any) -> dict[str, list[int]]:
        source: ClipSource | None = kwargs.get(COND_KEY)
        return {COND_KEY: [source.windows.length]} if source else {}

    def memory_required(self, input_shape: Sequence[int], cond_shapes: dict[str, list[list[int]]] | None = None) -> float:
        """By window, not by clip: a longer clip runs more windows, not larger ones."""
        lengths = [shape[0] for shape in (cond_shapes or {}).get(COND_KEY, [])]
        rows = input_shape[0]
        if lengths:
            rows = min(rows, len(lengths) * max(lengths))
        return super().memory_required([rows, *input_shape[1:]])

    def resize_cond_for_context_window(self, cond_key: str, cond_value: Any, window: Any, x_in: Tensor, device: Any,
                                       retain_index_list: Sequence[int] = ()) -> ClipCond | None:
        """The host's own Context Windows node: tells the clip which of its poses this window shows."""
        if cond_key != COND_KEY:
            return None
        anchor = getattr(window, "causal_anchor_index", None)
        frames = ([anchor] if anchor is not None and anchor >= 0 else []) + list(window.index_list)
        return ClipCond([replace(state, frames=tuple(frames)) for state in cond_value.cond])

    def _apply_model(self, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None, control: Any = None,
                     transformer_options: dict[str, Any] | None = None, **kwargs: Any) -> Tensor:
        if control is not None:
            raise ValueError("positive: ControlNet does not work on an Animate Anyone MODEL, whose pose guider does its work; remove "
                             "Apply ControlNet")
        options = transformer_options or {}
        step = 0
        if "sample_sigmas" in options:
            step = int((options["sample_sigmas"].to(t) - t[0]).abs().argmin())
        timestep = self.model_sampling.timestep(t).float()
        output = self.predict(self.model_sampling.calculate_input(t, x), timestep, kwargs[COND_KEY], options, step)
        return self.model_sampling.calculate_denoised(t, output.float(), x)

    def predict(self, x: Tensor, timestep: Tensor, clips: list[ClipState], transformer_options: dict[str, Any], step: int,
                on_window: Callable[[], None] = host.check_cancel) -> Tensor:
        """The network's own output for x `[clips * F, 4, h, w]` (as the network takes it) and timesteps in 0..999."""
        dtype = self.get_dtype_inference()
        count = x.shape[0] // len(clips)
        frames = clips[0].frames or range(count)
        if len(frames) != count or x.shape[-2:] != clips[0].pose.shape[-2:]:
            raise ValueError(f"latent: {count} frames of {x.shape[-1]}x{x.shape[-2]} do not fit the pose "
                             f"({len(frames)} frames of {clips[0].pose.shape[-1]}x{clips[0].pose.shape[-2]}); area conditioning is not "
                             "supported")
        time = self.diffusion_model.time_projections(timestep[::count], dtype)
        conditioning = [clip.conditioning for clip in clips]
        shared = all(clip.pose is clips[0].pose for clip in clips)

        def window(xw: Tensor, span: list[int]) -> Tensor:
            on_window()
            chosen = [frames[i] for i in span]
            poses = [mm.cast_to_device(clip.pose[chosen], xw.device, dtype) for clip in (clips[:1] if shared else clips)]
            return self.diffusion_model(xw, time, conditioning, poses[0] if shared else torch.cat(poses), transformer_options)

        return predict_in_windows(window, x.to(dtype), len(clips), clips[0].windows, step)

    def predict_with_wrappers(self, x: Tensor, timestep: Tensor, clips: list[ClipState], transformer_options: dict[str, Any], step: int,
                              on_window: Callable[[], None]) -> Tensor:
        """`predict` inside the APPLY_MODEL wrappers (torch.compile among them), for a loop that works with v and not with x0."""

        def inner(x: Tensor, t: Tensor, c_concat: Any, c_crossattn: Any, control: Any, options: dict[str, Any], **kwargs: Any) -> Tensor:
            return self.predict(x, t, kwargs[COND_KEY], options, step, on_window)

        wrappers = comfy.patcher_extension.get_all_wrappers(WrappersMP.APPLY_MODEL, transformer_options)
        executor = WrapperExecutor.new_class_executor(inner, self, wrappers)
        return executor.execute(x, timestep, None, None, None, transformer_options, **{COND_KEY: clips})


def load_motion_unet(denoiser: str, motion: str | None, family: str, weight_dtype: str, num_heads: int = 8, norm_num_groups: int = 32,
                     disable_dynamic: bool = False) -> Any:
    """The host MODEL of a denoiser file and a motion file (None: in the denoiser file). Raises CheckpointError."""
    config, state_dict, info = prepare_denoiser(host.load_state_dict(denoiser), host.load_state_dict(motion) if motion else None,
                                                denoiser, motion or "", family, num_heads=num_heads, norm_num_groups=norm_num_groups)
    preset = family_preset(info.family or "Moore")
    model_config = AnimateModelConfig(config, preset)
    model_config.set_inference_dtype(*host.choose_dtypes(weight_dtype, state_dict))
    load_device, offload_device = mm.get_torch_device(), mm.unet_offload_device()
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    model = AnimateModel(model_config, preset, device=offload_device)
    patcher = patcher_class(model, load_device=load_device, offload_device=offload_device)
    model.load_model_weights(state_dict, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_motion_unet, (denoiser, motion, family, weight_dtype, num_heads, norm_num_groups))
    return patcher
