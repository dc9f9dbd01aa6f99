"""The two published stages (paper section 4.1; docs/method.md J): pictures with a reference, then motion modules on clips."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from animate_core.checkpoints import prepare_denoiser, prepare_pose_guider, prepare_reference_net, read_state_dict
from animate_core.clip_vision import load_clip_vision
from animate_core.families import FAMILIES
from animate_core.pose_guider import PoseGuider
from animate_core.preprocess import LATENT_SCALE
from animate_core.unet import UNet

from .animate import animate
from .autoencoder import load_autoencoder
from .config import Config, Networks, Stage
from .demo_data import PART, DemoSet, EncodedSet, prepare
from .diffusion import Noising, make_noising
from .figures import to_bytes, to_unit
from .loop import Plan, TrainingError, train
from .networks import FILES, AnimateNetworks, Batch, matmul_attention, save_networks, silence, small_networks
from .optim import MuonWithAdamW
from .videos import Pair, VideoClips, find_pairs

log = logging.getLogger(__name__)

SHEET_STEPS = 20
EXPORT = "weights"  # sub-folder of a training's folder: the averaged weights as files for the nodes


def load_networks(n: Networks, device: torch.device, seed: int = 0) -> AnimateNetworks:
    """Networks from files, or from nothing. Raises CheckpointError or TrainingError."""
    attention: Any = matmul_attention if device.type == "cpu" else None
    extra = {"attention": attention} if attention else {}
    if not n.denoiser:
        torch.manual_seed(seed)
        return small_networks(n.widths, n.guider_widths, n.token, n.heads, n.groups, **extra)
    shape: dict[str, Any] = {"num_heads": n.heads, "norm_num_groups": n.groups}
    motion = read_state_dict(Path(n.motion)) if n.motion else None
    raw = read_state_dict(Path(n.denoiser))
    has_motion = motion is not None or any(".motion_modules." in k for k in raw)
    if has_motion:
        config_d, weights, _ = prepare_denoiser(raw, motion, n.denoiser, n.motion, **shape)
        denoiser = UNet(config_d)
        denoiser.load_state_dict(weights, strict=True)
    else:
        headless = {k: v for k, v in raw.items() if not k.startswith(("conv_out", "conv_norm_out"))}
        config_r, _, _ = prepare_reference_net(headless, n.denoiser, **shape)
        denoiser = UNet(dataclasses.replace(config_r, motion=True, out_channels=4))
        missing, unexpected = denoiser.load_state_dict(raw, strict=False)
        if unexpected or any(".motion_modules." not in k for k in missing):
            raise TrainingError(f"{n.denoiser} is not a denoising UNet: {len(missing)} tensors missing, {len(unexpected)} unexpected")
    config_r, weights, _ = prepare_reference_net(read_state_dict(Path(n.reference)), n.reference, **shape)
    reference = UNet(config_r)
    reference.load_state_dict(weights, strict=True)
    if n.guider:
        (channels, out_channels), weights, _ = prepare_pose_guider(read_state_dict(Path(n.guider)), n.guider)
        guider = PoseGuider(channels, out_channels)
        guider.load_state_dict(weights, strict=True)
    else:
        guider = PoseGuider(n.guider_widths, denoiser.config.block_out_channels[0])
        nn.init.zeros_(guider.conv_out.weight)
        nn.init.zeros_(guider.conv_out.bias)
    networks = AnimateNetworks(denoiser, reference, guider, **extra)
    if not has_motion:
        silence(networks, motion=True)
    return networks


class Frozen:
    """The two networks that are never trained: pictures to latents of unit spread, pictures to tokens."""

    def __init__(self, vae: str, clip: str, device: torch.device) -> None:
        self.device = device
        self.clip = load_clip_vision(clip, device=device)
        path = Path(vae)
        if path.is_dir():
            from diffusers import AutoencoderKL

            network = AutoencoderKL.from_pretrained(path, local_files_only=True).to(device).eval().requires_grad_(False)
            self.encode: Callable[[Tensor], Tensor] = lambda x: network.encode(x.to(device)).latent_dist.sample() * LATENT_SCALE
            self.decode: Callable[[Tensor], Tensor] = lambda z: network.decode(z / LATENT_SCALE).sample
            return
        weights = read_state_dict(path)
        if "taesd_encoder.0.weight" not in weights:
            raise TrainingError(f"networks.vae: {path} is not an autoencoder of TAESD's shape; for Stable Diffusion's VAE set the folder "
                                "in diffusers format (config.json and weights)")
        small = load_autoencoder(weights).to(device).to(memory_format=torch.channels_last)
        self.encode = lambda x: small.encode(x.to(device, memory_format=torch.channels_last))
        self.decode = lambda z: small.decode(z.to(device))

    @property
    def clip_size(self) -> int:
        return int(self.clip.config.image_size)

    @torch.no_grad()
    def latents(self, pictures: Tensor, at_once: int = 8) -> Tensor:
        """`[B, 3, H, W]` in [-1, 1] -> `[B, 4, H/8, W/8]`."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return torch.cat([self.encode(part).float() for part in pictures.split(at_once)])

    @torch.no_grad()
    def pictures(self, latents: Tensor, at_once: int = 8) -> Tensor:
        """`[B, 4, h, w]` -> `[B, 3, 8h, 8w]` in [0, 1]."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return torch.cat([to_unit(self.decode(part).float()) for part in latents.split(at_once)])

    @torch.no_grad()
    def tokens(self, pixels: Tensor) -> Tensor:
        """CLIP's pixel values `[B, 3, S, S]` -> `[B, 1, D]`."""
        return self.clip(pixel_values=pixels.to(self.device)).image_embeds.unsqueeze(1)


def demo_batches(config: Config, number: int, data: Path, seed: int) -> Callable[[int], Batch]:
    """Batches of one size each, drawn by the shares of the sizes."""
    stage = config.stage(number)
    sets = [EncodedSet(plan, data) for plan in demo_sets(config, number)]
    share = torch.tensor([float(encoded.plan.characters) for encoded in sets])

    def batch(n: int) -> Batch:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + n)
        chosen = sets[int(torch.multinomial(share, 1, generator=generator))]
        return chosen.batch(stage.clips, stage.frames, generator)

    return batch


def demo_sets(config: Config, number: int) -> list[DemoSet]:
    """A set for each size, its characters by the size's share, in whole parts of PART; no character is in two."""
    d = config.data
    characters, frames, first = (d.pose_characters, d.pose_frames, 0) if number == 1 else (d.clip_characters, d.clip_frames, 1_000_000)
    sizes = d.demo_sizes(number)
    out = []
    for (width, height), times in sizes.items():
        count = max(1, round(characters * times / sum(sizes.values()) / PART)) * PART
        out.append(DemoSet(count, frames, moving=number == 2, first_seed=first, width=width, height=height))
        first += 100_000
    return out


def prepare_demo(config: Config, stages: Sequence[int], data: Path, vae: str, clip: str) -> None:
    """Renders and encodes the stages' characters into the folder `data`, once."""
    frozen = Frozen(vae, clip, torch.device("cpu"))
    for number in stages:
        for plan in demo_sets(config, number):
            prepare(plan, data, frozen.latents, frozen.tokens, frozen.clip_size)


def video_batches(config: Config, number: int, pairs: Sequence[Pair], frozen: Frozen, seed: int) -> Callable[[int], Batch]:
    d, stage = config.data, config.stage(number)
    clips = VideoClips(pairs, width=d.width, height=d.height, frames=stage.frames, stride=d.stride, clip_size=frozen.clip_size,
                       reference_margin=d.reference_margin, crop_scale=(stage.crop_scale[0], stage.crop_scale[1]),
                       crop_ratio=(stage.crop_ratio[0], stage.crop_ratio[1]), seed=seed)
    if len(clips) < stage.clips:
        raise TrainingError(f"data.source: {d.source} contains {len(clips)} clips, but stage{number}.clips needs {stage.clips} per batch")

    def endless(epoch: int) -> Iterator[dict[str, Tensor]]:
        while True:
            clips.set_epoch(epoch)
            order = torch.Generator().manual_seed(seed + epoch)
            yield from DataLoader(clips, stage.clips, shuffle=True, drop_last=True, num_workers=d.workers, generator=order)
            epoch += 1

    source: Iterator[dict[str, Tensor]] | None = None

    def batch(n: int) -> Batch:
        nonlocal source
        if source is None:
            # a resumed training restarts its epoch
            source = endless(n // (len(clips) // stage.clips))
        item = next(source)
        target = frozen.latents(item["target"].flatten(0, 1)).unflatten(0, item["target"].shape[:2])
        return Batch(target, frozen.latents(item["reference"]), frozen.tokens(item["clip"]), item["pose"].to(frozen.device))

    return batch


def video_sheet(networks: AnimateNetworks, frozen: Frozen, batch: Batch, path: Path, *, motion: bool) -> None:
    """The first clip of a batch: reference, poses, truth and what the networks make of it."""
    preset = FAMILIES["MusePose"]  # whose schedule at inference is the one of training
    made = animate(networks, batch.reference[:1], batch.token[:1], batch.pose[0], preset, steps=SHEET_STEPS, guidance=preset.guidance,
                   seed=0, motion=motion)
    shown = [frozen.pictures(batch.reference[:1]), batch.pose[0], frozen.pictures(batch.target[0]), frozen.pictures(made)]
    rows = [torch.cat(list(pictures), dim=-1) for pictures in (torch.cat(shown[:1] * len(made)), *shown[1:])]
    Image.fromarray(to_bytes(torch.cat(rows, dim=-2).unsqueeze(0).cpu())[0].numpy()).save(path)
    log.info("sheet: %s", path)


def make_optimizer(networks: AnimateNetworks, stage: Stage) -> torch.optim.Optimizer:
    parameters = [p for p in networks.parameters() if p.requires_grad]
    if stage.optimizer == "muon":
        edges = (networks.denoiser.conv_in, networks.denoiser.conv_out, networks.reference.conv_in, networks.guider.conv_in)
        return MuonWithAdamW(parameters, stage.lr, stage.weight_decay, [p for m in edges for p in m.parameters()])
    if stage.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise TrainingError("optimizer adamw8bit needs the package bitsandbytes: pip install bitsandbytes, or choose adamw") from error
        return AdamW8bit(parameters, lr=stage.lr, weight_decay=stage.weight_decay)
    return torch.optim.AdamW(parameters, lr=stage.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=stage.weight_decay)


def make_accelerator(stage: Stage) -> Any:
    """What knows of devices, precision and other processes. Raises TrainingError."""
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise TrainingError("training needs the Python package accelerate: pip install -r training/requirements.txt") from error
    # batches without a reference leave the ReferenceNet without gradients
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=stage.precision, kwargs_handlers=[unused])


def run_stage(config: Config, number: int, accelerator: Any, folder: Path, data: Path, *,
              sample: Callable[[AnimateNetworks, int], None] | None = None,
              begin: Path | None = None, until: float = float("inf")) -> Path:
    """Trains a stage and writes its averaged weights. Returns their folder.

    data: where the procedural characters lie encoded. begin: weights of an earlier training to begin with (stage 2: those of stage 1).
    sample(networks, step): draws a sheet now and then; on videos the stage draws its own.
    Raises TrainingError, CheckpointError or DataError before any long work.
    """
    stage = config.stage(number)
    device = accelerator.device
    networks = load_networks(config.networks, device, config.stage1.seed)
    if begin is not None:
        load_export(networks, begin)
    networks.select(number)
    # each process draws its own data and noise
    seed = stage.seed + 7919 * accelerator.process_index
    if config.data.kind == "demo":
        batches = demo_batches(config, number, data, seed)
    else:
        pairs = find_pairs(Path(config.data.source), config.data.unreadable)
        frozen = Frozen(config.networks.vae, config.networks.clip, device)
        first = video_batches(config, number, pairs, frozen, stage.seed)(0)
        batches = video_batches(config, number, pairs, frozen, seed)

        def sample(networks: AnimateNetworks, step: int) -> None:
            video_sheet(networks, frozen, first, folder / f"sheet-{step:06d}.png", motion=number == 2)

    noising = make_noising(stage.late, stage.noise_offset)
    networks.to(device)
    optimizer = make_optimizer(networks, stage)
    wrapped, optimizer = accelerator.prepare(networks, optimizer)

    def loss(n: int) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(seed * 999_983 + n)
        return clip_loss(wrapped, batches(n), number, stage, noising, generator, device), {}

    plan = Plan(stage.steps, stage.lr, stage.warmup, stage.decay, average=stage.average, accumulate=stage.accumulate,
                save_every=stage.save_every, sample_every=stage.sample_every)
    settings = {f"stage{number}.{k}": list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(stage).items()
                if k not in ("steps", "save_every", "sample_every", "decay")}
    settings |= {f"networks.{k}": list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config.networks).items()}
    average = train(networks, optimizer, loss, plan, folder, settings, main=accelerator.is_main_process, backward=accelerator.backward,
                    clip=accelerator.clip_grad_norm_, sample=None if sample is None else lambda step: sample(networks, step), until=until)
    average.swap()
    if accelerator.is_main_process:
        save_networks(networks, folder / EXPORT)
        log.info("weights written to %s", folder / EXPORT)
    return folder / EXPORT


def clip_loss(networks: nn.Module, batch: Batch, number: int, stage: Stage, noising: Noising, generator: torch.Generator,
              device: torch.device) -> Tensor:
    """The weighted error of the predicted velocity; stage 1 gives each frame its own timestep, stage 2 a clip's frames the same."""
    clips, frames = batch.target.shape[:2]
    target = batch.target.to(device)
    motion = number == 2
    timesteps = noising.timesteps(clips if motion else clips * frames, generator).to(device)
    noise = noising.noise(tuple(target.shape if motion else (clips * frames, 1, *target.shape[2:])), generator).to(device)
    flat = target if motion else target.flatten(0, 1).unsqueeze(1)
    noisy = noising.add(flat, noise, timesteps).view_as(target)
    unconditional = bool(torch.rand((), generator=generator) < stage.unconditional)
    moved = Batch(target, batch.reference.to(device), batch.token.to(device), batch.pose.to(device))
    prediction = networks(moved, noisy, timesteps, motion=motion, unconditional=unconditional, checkpointing=stage.checkpointing)
    return noising.loss(prediction.float().view_as(flat), noising.velocity(flat, noise, timesteps), timesteps, stage.temporal)


def load_export(networks: AnimateNetworks, folder: Path) -> None:
    """Puts in the weights that a training has written. Raises TrainingError for what is missing or of another shape."""
    for part, name in FILES.items():
        path = folder / name
        if not path.is_file():
            raise TrainingError(f"{folder} contains no {name}; stage 2 starts from the weights of stage 1 (--begin FOLDER)")
        try:
            getattr(networks, part).load_state_dict({k: v.float() for k, v in read_state_dict(path).items()}, strict=True)
        except RuntimeError as error:
            raise TrainingError(f"{path} does not fit the networks of this configuration: {str(error).splitlines()[1].strip()}") from error

