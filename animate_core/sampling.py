"""Sampling a whole clip: the published DDIM loop, and other solvers, over diffusers' public schedulers.

Latents are `[F, 4, h, w]`, frames as the batch, float32 between steps whatever the network's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .accelerate import Kept, StepPlan, run_deep
from .blocks import Attention, ClipConditioning, DeepFeatures, sdpa
from .families import NUM_TRAIN_TIMESTEPS, FamilyPreset, ddim_config, scheduler_config
from .pose_guider import PoseFrames
from .resume import Checkpoint
from .strengths import StepStrengths
from .windows import Windows, predict_in_windows

if TYPE_CHECKING:
    from .unet import UNet

DDIM = "DDIM (published)"
SCHEDULERS = (DDIM, "DPM++ 2M", "DPM++ 2M SDE", "Euler", "Euler a", "UniPC", "LCM")
LCM_STEPS = 50  # the grid that latent consistency models were distilled on
NOISE_ORDERS = ("published", "ComfyUI")
NEARLY_PARALLEL = 0.9995  # cosine from which on an arc between two latents is drawn straight

# (model input [F, 4, h, w], timestep [1] on the CPU, step) -> (unconditional or None, conditional), each [F, 4, h, w]
Predict = Callable[[Tensor, Tensor, int], tuple[Tensor | None, Tensor]]
# frames of a window -> its pose features, one tensor or one for each place where they enter
WindowPose = Callable[[Sequence[int]], Tensor | Sequence[Tensor]]
# (step, steps, latents, predicted clean latents)
Callback = Callable[[int, int, Tensor, Tensor], None]


class SamplingError(ValueError):
    """An argument out of range, or a network that gave no finite numbers."""


def draw_noise(seed: int, frames: int, height: int, width: int, channels: int = 4, order: str = "published") -> Tensor:
    """Standard normal latents `[F, C, h, w]`, float32, drawn on the CPU: a seed means the same on every device.

    height and width in latents (pixels / 8). order: "published" draws as the reference does, channels before
    frames; "ComfyUI" draws frame by frame, as the host's samplers do for a batch.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    if order == "ComfyUI":
        return torch.randn(frames, channels, height, width, generator=generator)
    if order != "published":
        raise SamplingError(f"noise: {order!r} is unknown; choose from: {', '.join(NOISE_ORDERS)}")
    return torch.randn(channels, frames, height, width, generator=generator).transpose(0, 1).contiguous()


def make_scheduler(name: str, preset: FamilyPreset) -> Any:
    """The diffusers scheduler called `name` with the family's betas, prediction type, terminal SNR and spacing.

    Raises SamplingError for a name not in SCHEDULERS, ImportError where diffusers is not installed.
    """
    from diffusers import schedulers as d

    common = scheduler_config(preset)
    makers: dict[str, Callable[[], Any]] = {
        DDIM: lambda: d.DDIMScheduler(**ddim_config(preset)),
        "DPM++ 2M": lambda: d.DPMSolverMultistepScheduler(**common, algorithm_type="dpmsolver++"),
        "DPM++ 2M SDE": lambda: d.DPMSolverMultistepScheduler(**common, algorithm_type="sde-dpmsolver++"),
        "Euler": lambda: d.EulerDiscreteScheduler(**common),
        "Euler a": lambda: d.EulerAncestralDiscreteScheduler(**common),
        "UniPC": lambda: d.UniPCMultistepScheduler(**common),
        "LCM": lambda: d.LCMScheduler(**common, clip_sample=False, original_inference_steps=LCM_STEPS),
    }
    if name not in makers:
        raise SamplingError(f"scheduler: {name!r} is unknown; choose from: {', '.join(SCHEDULERS)}")
    return makers[name]()


def total_steps(steps: int, denoise: float, limit: int = NUM_TRAIN_TIMESTEPS) -> int:
    """Steps of the full schedule, of which the last `steps` are run. Raises SamplingError for numbers out of range."""
    if not 1 <= steps <= limit:
        raise SamplingError(f"steps must be between 1 and {limit}; got {steps}")
    if not 0.0 < denoise <= 1.0:
        raise SamplingError(f"denoise must be above 0 and at most 1; got {denoise}")
    total = int(steps / denoise)
    if total > limit:
        raise SamplingError(f"steps: {steps} at denoise {denoise:g} would need {total} timesteps of {limit}; lower steps or raise denoise")
    return total


def ddim_timesteps(steps: int, denoise: float = 1.0) -> Tensor:
    """The published timesteps (trailing spacing, docs/method.md G.2), largest first; those of `set_timesteps` without diffusers."""
    total = total_steps(steps, denoise)
    spread = np.arange(NUM_TRAIN_TIMESTEPS, 0, -NUM_TRAIN_TIMESTEPS / total).round().astype(np.int64) - 1
    return torch.from_numpy(spread)[total - steps:]


def set_timesteps(scheduler: Any, steps: int, denoise: float) -> Tensor:
    """Prepares the scheduler and returns the timesteps to run, largest first.

    denoise below 1 keeps the last `steps` of `int(steps / denoise)`, as the host's samplers do.
    """
    limit = getattr(scheduler.config, "original_inference_steps", None) or scheduler.config.num_train_timesteps
    total = total_steps(steps, denoise, limit)
    scheduler.set_timesteps(total, device="cpu")
    begin = total - steps
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    return scheduler.timesteps[begin:]


def clean_estimate(scheduler: Any, x: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor:
    """The clean latents that a prediction implies for a (variance-preserving) model input x."""
    alpha = scheduler.alphas_cumprod[int(timestep)].to(x.device)
    if scheduler.config.prediction_type == "v_prediction":
        return alpha.sqrt() * x - (1 - alpha).sqrt() * prediction
    return (x - (1 - alpha).sqrt() * prediction) / alpha.sqrt().clamp(min=1e-4)


def prediction_of(scheduler: Any, x: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
    """What a network would have to predict for a (variance-preserving) model input x to mean these clean latents."""
    alpha = scheduler.alphas_cumprod[int(timestep)].to(x.device)
    if scheduler.config.prediction_type == "v_prediction":
        return (alpha.sqrt() * x - clean) / (1 - alpha).sqrt()
    return (x - alpha.sqrt() * clean) / (1 - alpha).sqrt()


@dataclass(frozen=True)
class Known:
    """What is given of a clip: at every step it is there at that step's noise level, and it comes out as it was given.

    latents: scaled `[F, 4, h, w]`. mask: 0 where they are given, 1 where new ones are made, mixed between; of a shape that broadcasts to
    theirs. mask_at: the mask of a step, where it changes from step to step. Tensors on the noise's device.
    """

    latents: Tensor
    mask: Tensor
    mask_at: Callable[[int], Tensor] | None = None

    def mixed(self, step: int, given: Tensor, made: Tensor) -> Tensor:
        mask = self.mask if self.mask_at is None else self.mask_at(step)
        return mask * made + (1 - mask) * given

    def noised(self, step: int, solver: Any, x: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """The latents x at a step with the given ones, noised, in their place."""
        return self.mixed(step, solver.add_noise(self.latents, noise, timestep.reshape(1)), x)

    def predicted(self, step: int, solver: Any, x: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor:
        """A prediction for the model input x that leads to the given latents where there are any."""
        return self.mixed(step, prediction_of(solver, x, self.latents, timestep), prediction)

    def result(self, x: Tensor) -> Tensor:
        return torch.where(self.mask > 0, x, self.latents)


def rescale_guidance(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Brings the deviation of a guided prediction of a whole clip towards that of its conditional half (arXiv 2305.08891, 3.4).

    share: 0 changes nothing, 1 takes the conditional half's deviation.
    """
    if share == 0.0:
        return guided
    return share * guided * (conditional.std() / guided.std()) + (1 - share) * guided


def sample_clip(predict: Predict, noise: Tensor, preset: FamilyPreset, *, scheduler: str = DDIM, steps: int = 30,
                guidance: float = 3.5, rescale: float = 0.0, latent: Tensor | None = None, denoise: float = 1.0, seed: int = 0,
                known: Known | None = None, checkpoint: Checkpoint | None = None, callback: Callback | None = None) -> Tensor:
    """Runs the denoising loop and returns the clean latents `[F, 4, h, w]`, float32, on the noise's device.

    noise: of `draw_noise`. latent: scaled latents to start from where denoise is below 1. guidance: scale s of
    u + s (c - u); at 1 or below `predict` may leave the unconditional half out. rescale: of
    `rescale_guidance`. seed: for schedulers that add noise of their own (drawn on the CPU). known: latents that are given. checkpoint:
    where the run's state is kept, and from where a run that was stopped goes on.
    Raises SamplingError for arguments out of range, and as soon as a prediction is not finite.
    """
    solver = make_scheduler(scheduler, preset)
    timesteps = set_timesteps(solver, steps, denoise)
    if denoise < 1.0 and latent is None:
        raise SamplingError(f"denoise: {denoise:g} needs a latent to start from")
    if latent is not None and latent.shape != noise.shape:
        raise SamplingError(f"latent: its shape must be {tuple(noise.shape)}; got {tuple(latent.shape)}")
    x = noise.float() * solver.init_noise_sigma
    if latent is not None and denoise < 1.0:
        x = solver.add_noise(latent.to(x), noise.float(), timesteps[:1])
    # a stream of its own: with the noise's seed the first draw would be the noise again
    extra = {} if scheduler in (DDIM, "UniPC") else {"generator": torch.Generator("cpu").manual_seed(seed + 1)}
    done = 0
    if checkpoint and (stopped := checkpoint.restore(solver, extra.get("generator"), x.device)):
        done, x = stopped
    for step, t in list(enumerate(timesteps))[done:]:
        if known:
            x = known.noised(step, solver, x, noise.float(), t)
        model_input = solver.scale_model_input(x, t)
        unconditional, prediction = predict(model_input, t.reshape(1), step)
        prediction = prediction.float()
        if unconditional is not None:
            unconditional = unconditional.float()
            guided = unconditional + guidance * (prediction - unconditional)
            prediction = rescale_guidance(guided, prediction, rescale)
        if not torch.isfinite(prediction).all():
            raise SamplingError(f"the network returned NaN or infinite values at step {step + 1} (timestep {int(t)}): "
                                "load its weights as bf16 or fp32, and check that the files are complete")
        if known:
            prediction = known.predicted(step, solver, model_input, prediction, t)
        clean = clean_estimate(solver, model_input, prediction, t) if callback else x
        x = solver.step(prediction, t, x, **extra).prev_sample
        if checkpoint:
            checkpoint.after(step + 1, x, solver, extra.get("generator"))
        if callback:
            callback(step, len(timesteps), x, clean)
    return known.result(x) if known else x


def unet_predictor(unet: UNet, conditional: ClipConditioning, unconditional: ClipConditioning | None,
                   pose: Tensor | PoseFrames | WindowPose, windows: Windows, *, attention: Attention = sdpa, together: bool = True,
                   on_window: Callable[[], None] | None = None, plans: Sequence[StepPlan] = (),
                   strengths: Sequence[StepStrengths] = ()) -> Predict:
    """A `predict` for `sample_clip` that runs a UNet in windows.

    pose: features `[F, C, h, w]` on any device, or what they are made of, streamed to the UNet's window by window; or a function of a
    window's frames that gives one or several of them.
    together: both halves of the guidance in one batch; otherwise one after the other, for half the memory.
    on_window: called before each window, may raise to cancel. plans: of each step (`Acceleration.at`), for an accelerated
    run; the `predict` serves one run then. strengths: of each step (`Strengths.at`); none: 1 throughout.
    """
    poses = PoseFrames(pose) if isinstance(pose, Tensor) else pose
    kept = {"conditional": Kept(), "unconditional": Kept()}
    difference: list[Tensor] = []  # the unconditional half less the conditional one, where they were computed last

    def run(x: Tensor, timestep: Tensor, step: int, halves: Mapping[str, ClipConditioning]) -> Tensor:
        time = unet.time_projections(timestep.to(x.device), unet.dtype)
        plan = plans[step] if plans else None
        level = strengths[step] if strengths else StepStrengths()
        clips = [replace(clip, reference=clip.reference if plan is None or plan.reference else None) for clip in halves.values()]

        def window(xw: Tensor, frames: list[int]) -> Tensor:
            if on_window:
                on_window()
            read = [level.read(clip, frames) for clip in clips]

            def network(deep: DeepFeatures | None) -> Tensor:
                features = poses.at(frames, xw.device, xw.dtype) if isinstance(poses, PoseFrames) else poses(frames)
                moved = features.to(xw) if isinstance(features, Tensor) else [x.to(xw) for x in features]
                return unet(xw, time, read, level.posed(moved, frames), attention, deep=deep)

            if plan is None:
                return network(None)
            return run_deep(network, plan, [kept[name] for name in halves], tuple(frames), xw.device, lambda value: value)

        return predict_in_windows(window, x.to(unet.dtype).repeat(len(clips), 1, 1, 1), len(clips), windows, plan.whole if plan else step)

    def predict(x: Tensor, timestep: Tensor, step: int) -> tuple[Tensor | None, Tensor]:
        guidance = plans[step].guidance if plans else "computed"
        level = strengths[step] if strengths else StepStrengths()
        if unconditional is None or guidance == "off" or not level.guided:
            return None, run(x, timestep, step, {"conditional": conditional})
        if guidance == "reused" and difference:
            c = run(x, timestep, step, {"conditional": conditional})
            return level.guide(c + difference[0], c), c
        if together:
            u, c = run(x, timestep, step, {"unconditional": unconditional, "conditional": conditional}).chunk(2)
        else:
            u, c = (run(x, timestep, step, {name: clip}) for name, clip in (("unconditional", unconditional), ("conditional", conditional)))
        if plans:
            difference[:] = [u - c]
        return level.guide(u, c), c

    return predict


def interpolate_latents(latents: Tensor, factor: int, spherical: bool = True, closed_loop: bool = False) -> Tensor:
    """Puts `factor - 1` latents between neighbouring frames: `[F, C, h, w]` -> `[(F - 1) factor + 1, C, h, w]` (MusePose).

    spherical: along the arc between two frames, each taken as one vector; straight where they are nearly parallel. closed_loop: also
    between the last frame and the first: F factor frames.
    """
    if factor < 1:
        raise SamplingError(f"factor must be at least 1; got {factor}")
    if closed_loop:
        return interpolate_latents(torch.cat([latents, latents[:1]]), factor, spherical)[:-1]
    out = []
    for a, b in zip(latents[:-1], latents[1:], strict=True):
        cosine = float((a.double() * b.double()).sum() / (a.double().norm() * b.double().norm())) if spherical else 1.0
        for k in range(factor):
            t = k / factor
            if abs(cosine) > NEARLY_PARALLEL or not math.isfinite(cosine):
                out.append((1 - t) * a + t * b)
            else:
                angle = math.acos(cosine)
                out.append((math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle))
    return torch.stack([*out, latents[-1]])
