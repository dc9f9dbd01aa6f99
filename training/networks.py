"""The networks in training: made from nothing or from published files, run on batches of clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from animate_core.blocks import Attention, ClipConditioning, sdpa
from animate_core.pose_guider import PoseGuider
from animate_core.unet import UNet, UNetConfig

from .loop import write_tensors


@dataclass(frozen=True)
class Batch:
    """B clips of F frames (stage 1: F pictures of one character, which need not follow one another).

    target `[B, F, 4, h, w]`, reference `[B, 4, h, w]`: latents of unit spread; token `[B, 1, D]`; pose `[B, F, 3, H, W]` in [0, 1].
    """

    target: Tensor
    reference: Tensor
    token: Tensor
    pose: Tensor


def matmul_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention written out: on CPUs its backward is faster than the fused one at narrow heads."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


class AnimateNetworks(nn.Module):
    """Denoiser, ReferenceNet and pose guider as one module, so that one optimiser, one average and one checkpoint hold them."""

    def __init__(self, denoiser: UNet, reference: UNet, guider: PoseGuider, attention: Attention = sdpa) -> None:
        super().__init__()
        self.denoiser, self.reference, self.guider = denoiser, reference, guider
        self.attention = attention

    def select(self, stage: int) -> None:
        """Which parameters a stage trains: all but the motion modules, then the motion modules alone."""
        unread = self.unread()
        for name, parameter in self.named_parameters():
            motion = ".motion_modules." in name
            parameter.requires_grad_(motion if stage == 2 else not motion and name not in unread)

    def unread(self) -> set[str]:
        """Parameters without influence: the ReferenceNet's end, and queries and keys of attention over a single token."""
        config = self.reference.config
        last = f"reference.up_blocks.{len(config.block_out_channels) - 1}.attentions.{config.layers_per_block}."
        kept = (f"{last}norm.", f"{last}proj_in.", f"{last}transformer_blocks.0.norm1.")
        single = (".transformer_blocks.0.attn2.to_q.", ".transformer_blocks.0.attn2.to_k.", ".transformer_blocks.0.norm2.")
        names = [name for name, _ in self.named_parameters()]
        return {n for n in names if n.startswith(last) and not n.startswith(kept)} | {n for n in names if any(s in n for s in single)}

    def forward(self, batch: Batch, noisy: Tensor, timesteps: Tensor, *, motion: bool, unconditional: bool = False,
                checkpointing: bool = False) -> Tensor:
        """Predicted velocity `[B, F, 4, h, w]` of noisy latents `[B, F, 4, h, w]`.

        timesteps `[B]`, or `[B * F]` without motion. unconditional: no token, and no reference attention at all.
        """
        clips, frames = noisy.shape[:2]
        token = torch.zeros_like(batch.token) if unconditional else batch.token
        features = None
        if not unconditional:
            features = self.reference.reference_features(batch.reference, token, self.attention)
        conditioning = self.denoiser.condition(token, features)
        pose = self.guider(batch.pose.flatten(0, 1))
        time = self.denoiser.time_projections(timesteps, noisy.dtype)
        if motion:
            conditions = [one_clip(conditioning, i) for i in range(clips)]
        else:
            conditions = [every_row(conditioning, frames)]

        def run(x: Tensor, pose: Tensor) -> Tensor:
            return self.denoiser(x, time, conditions, pose, self.attention, motion)

        x = noisy.flatten(0, 1)
        y = checkpoint(run, x, pose, use_reentrant=False) if checkpointing else run(x, pose)
        return y.unflatten(0, (clips, frames))


def one_clip(c: ClipConditioning, i: int) -> ClipConditioning:
    reference = None if c.reference is None else {path: (k[i:i + 1], v[i:i + 1]) for path, (k, v) in c.reference.items()}
    return ClipConditioning({path: t[i:i + 1] for path, t in c.cross.items()}, None, reference)


def every_row(c: ClipConditioning, frames: int) -> ClipConditioning:
    """Conditioning of B clips as one of B * frames rows."""
    def rows(t: Tensor) -> Tensor:
        return t.repeat_interleave(frames, dim=0)

    reference = None if c.reference is None else {path: (rows(k), rows(v)) for path, (k, v) in c.reference.items()}
    return ClipConditioning({path: rows(t) for path, t in c.cross.items()}, None, reference)


def silence(networks: AnimateNetworks, motion: bool) -> None:
    """Lets layers begin as nothing: the motion modules' outputs (AnimateDiff), or each other block's way out, for a quiet beginning."""
    for name, module in networks.named_modules():
        last = name.endswith((".conv2", ".proj_out", "denoiser.conv_out")) and isinstance(module, (nn.Conv2d, nn.Linear))
        if last and (".motion_modules." in name) == motion:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def small_networks(widths: tuple[int, ...], guider: tuple[int, ...], token: int, heads: int, groups: int,
                   attention: Attention = matmul_attention) -> AnimateNetworks:
    """Untrained networks of the built-in model's kind: one layer a level."""
    def config(motion: bool, out_channels: int | None) -> UNetConfig:
        return UNetConfig(block_out_channels=widths, layers_per_block=1, cross_attention_dim=token, num_heads=heads, norm_num_groups=groups,
                          motion=motion, out_channels=out_channels)

    networks = AnimateNetworks(UNet(config(True, 4)), UNet(config(False, None)), PoseGuider(guider, widths[0]), attention)
    silence(networks, motion=True)
    silence(networks, motion=False)
    return networks


FILES = {"denoiser": "denoising_unet.safetensors", "reference": "reference_unet.safetensors", "guider": "pose_guider.safetensors"}


def save_networks(networks: AnimateNetworks, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """The three files under the published tensor names. Raises TrainingError if one cannot be written; those before it are whole."""
    for part, name in FILES.items():
        module: nn.Module = getattr(networks, part)
        write_tensors(folder / name, {k: v.detach().to(dtype).contiguous() for k, v in module.state_dict().items()})
