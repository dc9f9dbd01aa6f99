"""A folder of numbers that the reference implementation gave: its configuration, its networks and its cases."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from recipe import recipe_state_dict
from safetensors.torch import load_file
from torch import Tensor

from animate_core.blocks import ClipConditioning
from animate_core.families import FAMILIES, FamilyPreset
from animate_core.guiders import GuidanceEncoder, MultiScaleGuider, sum_of_features
from animate_core.pose_guider import PoseGuider
from animate_core.preprocess import pose_input
from animate_core.sampling import WindowPose
from animate_core.unet import UNet, UNetConfig

FORWARD, LOOP = 1e-4, 5e-4

# (name, largest absolute error, tolerance)
Line = tuple[str, float, float]


class UnsupportedError(ValueError):
    """The folder asks for something that the library does not do."""


def difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return math.inf
    error = (ours.double() - theirs.double()).abs().max().item() if ours.numel() else 0.0
    return error if math.isfinite(error) else math.inf


def difference_of_alphas(ours: Any, theirs: Any) -> float:
    """Largest absolute difference of cumulative alphas, which lie in [0, 1].

    Absolute, since rescaling to zero terminal SNR subtracts nearly equal float32 numbers: doing it in float64 moves
    the smallest alphas by 2e-5 of their value.
    """
    return difference(*(torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in (ours, theirs)))


def rows(clip: Tensor) -> Tensor:
    """`[b, c, f, h, w]`, the reference's layout, -> `[b * f, c, h, w]`, ours."""
    return clip.transpose(1, 2).flatten(0, 1)


def clips(x: Tensor, batch: int) -> Tensor:
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix/`, without it."""
    return {k[len(prefix) + 1:]: v for k, v in tensors.items() if k.startswith(prefix + "/")}


def resized(images_u8: Tensor, width: int, height: int) -> Tensor:
    """Pictures `[1, 3, F, H, W]` uint8, resized by Pillow's bicubic filter."""
    pictures = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in images_u8[0].transpose(0, 1)]
    fitted = [pose_input(picture, width, height, resample=Image.Resampling.BICUBIC) for picture in pictures]
    return (torch.cat(fitted) * 255).round().to(torch.uint8).transpose(0, 1).unsqueeze(0)


def limit(least: float, case: dict[str, Any]) -> float:
    """A tolerance: the usual one, or five times the case's inherent spread where that is above a fifth of it."""
    return max(least, 5 * max(case.get("inherent_spread", 0.0), case.get("inherent_spread_of_final_latents", 0.0)))


def pose_features(t: dict[str, Tensor]) -> Tensor | list[Tensor]:
    """A denoising case's features: one tensor, or one for each place where they enter."""
    if "pose_features" in t:
        return rows(t["pose_features"])
    return [rows(x) for _, x in sorted(under(t, "pose_features").items())]


class Golden:
    """One folder: its configuration, its networks (built when first wanted) and its cases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        manifest = json.loads((folder / "manifest.json").read_text())
        self.files = {Path(entry["file"]).as_posix(): entry for entry in manifest if "file" in entry}
        self.networks: dict[tuple, Any] = {}
        self.check_supported()

    def check_supported(self) -> None:
        defaults, extra = self.config["defaults"], self.config["denoising_unet_extra"]
        motion = extra["motion_module_kwargs"]
        wanted = {
            "norm_eps": 1e-5, "transformer_norm_eps": 1e-6, "temporal_norm_eps": 1e-6, "layer_norm_eps": 1e-5, "act_fn": "silu",
            "flip_sin_to_cos": True, "freq_shift": 0, "downsample_padding": 1, "mid_block_scale_factor": 1, "use_linear_projection": False,
            "transformer_layers_per_block": 1, "attention_bias": False, "center_input_sample": False,
        }
        odd = {k: defaults[k] for k, v in wanted.items() if k in defaults and defaults[k] != v}
        refused = ("unet_use_cross_frame_attention", "unet_use_temporal_attention", "motion_module_decoder_only")
        odd |= {k: extra[k] for k in refused if extra.get(k)}
        if extra.get("motion_module_resolutions", [1, 2, 4, 8]) != [1, 2, 4, 8]:
            odd["motion_module_resolutions"] = extra["motion_module_resolutions"]
        if (motion.get("attention_block_types"), motion.get("num_transformer_block")) != (["Temporal_Self"] * 2, 1):
            odd["motion_module_kwargs"] = motion
        if motion["num_attention_heads"] != self.config["unet"]["attention_head_dim"]:
            odd["num_attention_heads"] = motion["num_attention_heads"]
        if odd:
            raise UnsupportedError(f"{self.folder}: settings that the library has no use for: {odd}")

    def unet_config(self, **overrides: Any) -> UNetConfig:
        unet, extra = self.config["unet"], {**self.config["denoising_unet_extra"], **overrides}
        return UNetConfig(
            in_channels=self.config["defaults"]["in_channels"], out_channels=self.config["defaults"]["denoising_out_channels"],
            block_out_channels=tuple(unet["block_out_channels"]), layers_per_block=unet["layers_per_block"],
            cross_attention_dim=unet["cross_attention_dim"], num_heads=unet["attention_head_dim"], norm_num_groups=unet["norm_num_groups"],
            motion=extra["use_motion_module"], motion_mid_block=extra["motion_module_mid_block"],
            motion_max_frames=extra["motion_module_kwargs"]["temporal_position_encoding_max_len"],
            norm_over_frames=not extra["use_inflated_groupnorm"],
        )

    @property
    def family(self) -> FamilyPreset:
        """The preset of the family that the folder is of."""
        name = self.config.get("family", "Moore")
        return FAMILIES["Moore face" if name == "Moore face reenactment" else name]

    def preset(self, **changes: Any) -> FamilyPreset:
        s = self.config["scheduler"]
        if (s["beta_start"], s["beta_end"]) != (0.00085, 0.012):
            raise UnsupportedError(f"betas from {s['beta_start']} to {s['beta_end']}")
        changes = {"beta_schedule": s["beta_schedule"], "prediction_type": s["prediction_type"], "zero_snr": s["rescale_betas_zero_snr"],
                   "spacing": s["timestep_spacing"], **changes}
        return dataclasses.replace(self.family, **changes)

    def weights(self, module: str, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
        stored = self.config["weights"]
        if stored:
            state = load_file(self.folder / stored / f"{module}.safetensors")
            return {k: state[k].float() for k in shapes}
        return {k: v.float() for k, v in recipe_state_dict(self.config["weight_seed"], module, shapes).items()}

    def build(self, network: Callable[..., torch.nn.Module], *args: Any, modules: Callable[[str], str]) -> Any:
        net = network(*args)
        shapes = {k: v.shape for k, v in net.state_dict().items()}
        state: dict[str, Tensor] = {}
        for module in {modules(k) for k in shapes}:
            state |= self.weights(module, {k: v for k, v in shapes.items() if modules(k) == module})
        net.load_state_dict(state)
        return net.eval()

    def cached(self, key: tuple, make: Callable[[], Any]) -> Any:
        if key not in self.networks:
            self.networks[key] = make()
        return self.networks[key]

    def denoiser(self, **overrides: Any) -> UNet:
        config = self.unet_config(**overrides)
        return self.cached(("denoiser", config), lambda: self.build(
            UNet, config, modules=lambda k: "motion_module" if "motion_modules" in k else "denoising_unet"))

    @property
    def reference_net(self) -> UNet:
        config = dataclasses.replace(self.unet_config(), out_channels=None, motion=False)
        return self.cached(("reference",), lambda: self.build(UNet, config, modules=lambda _: "reference_unet"))

    def guider(self, name: str) -> Any:
        """One of the family's guiders."""
        width = self.config["unet"]["block_out_channels"][0]
        if self.family.guider_class == "multi-scale":
            c = self.config["pose_guider"]
            args: tuple = (MultiScaleGuider, c["trunk_channels"], c["output_channels"], c["attention_inner_width"])
        elif self.family.guider_class == "guidance":
            args = GuidanceEncoder, self.config["guidance_encoder"]["block_out_channels"], width
        else:
            args = PoseGuider, self.config.get("pose_channels") or self.config["pose_guider"]["block_out_channels"], width
        return self.cached((name,), lambda: self.build(*args, modules=lambda _: name))

    def guided(self, name: str, images_u8: Tensor) -> Any:
        """A guider's features of pictures `[b, 3, f, H, W]` uint8."""
        low, high = self.family.picture_range
        return self.guider(name)(rows(images_u8).double().mul((high - low) / 255).add(low).float())

    def pose(self, t: dict[str, Tensor], frames: int) -> Tensor | WindowPose:
        """The features of a pipeline's pictures, as the library's sampler takes them."""
        order = [i % n for i in range(frames) for n in [next((x.shape[2] for k, x in t.items() if k.endswith("_cycle")), frames)]]
        pictures = {"pose_guider": "pose_images_u8", "pose_guider1": "pose_up_u8", "pose_guider2": "pose_down_u8"}
        if self.family.content == "guidance":
            h, w = (8 * n for n in t["initial_latents"].shape[-2:])
            return sum_of_features({f"guidance_encoder_{kind}": self.guided(f"guidance_encoder_{kind}", resized(x, w, h))
                                    for kind, x in under(t, "guidance_u8").items()})
        clips = {name: t[key if key in t else f"{key}_cycle"] for name, key in pictures.items() if name in self.family.guiders}
        if not self.family.guided_by_window:
            return sum_of_features({name: self.guided(name, x) for name, x in clips.items()})[order]
        images, kept = clips["pose_guider"], {}

        def window(frames: Sequence[int]) -> Sequence[Tensor]:
            if tuple(frames) not in kept:
                kept[tuple(frames)] = self.guided("pose_guider", images[:, :, list(frames)])
            return kept[tuple(frames)]

        return window

    def cases(self, file: str) -> tuple[dict[str, Any], Callable[[str], dict[str, Tensor]]]:
        """The file's case parameters and a function that gives a case's tensors."""
        tensors = load_file(self.folder / file)
        return self.files[file].get("cases", {}), partial(under, tensors)

    def conditioning(self, t: dict[str, Tensor], unet: UNet, cfg: bool, rounded: bool = False) -> list[ClipConditioning]:
        """[unconditional, conditional], or the latter alone. rounded: features through float16, as the reference hands them over."""
        token = t["image_embeds"].unsqueeze(1)
        features = self.reference_net.reference_features(t["reference_latent"], token)
        if rounded:
            features = {k: v.half().float() for k, v in features.items()}
        conditional = unet.condition(token, features)
        return [unet.condition(torch.zeros_like(token), self.unconditional_features(t)), conditional] if cfg else [conditional]

    def unconditional_features(self, t: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """What the unconditional half reads, where it reads a reference."""
        if not self.family.unconditional_reference:
            return None
        return self.reference_net.reference_features(torch.zeros_like(t["reference_latent"]), torch.zeros_like(t["image_embeds"])[None])
