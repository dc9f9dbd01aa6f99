"""Optimisers: AdamW as published, and Muon for training from nothing; the averaged weights that are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class MuonWithAdamW(torch.optim.Optimizer):
    """torch's Muon for matrices and convolutions, AdamW for the rest (norms, biases, and the first and last layers).

    Muon takes two-dimensional parameters only: a convolution `[O, I, k, k]` is given to it as a view `[O, I k k]` of the same memory.
    first_and_last: ids of parameters that AdamW trains although they are matrices.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0,
                 first_and_last: Iterable[nn.Parameter] = ()) -> None:
        plain = {id(p) for p in first_and_last}
        parameters = list(parameters)
        matrices = [p for p in parameters if p.ndim >= 2 and id(p) not in plain]
        rest = [p for p in parameters if p.ndim < 2 or id(p) in plain]
        super().__init__(parameters, {"lr": lr})
        self.matrices = matrices
        self.views = [nn.Parameter(self.flat(p.data)) for p in matrices]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(self.views, lr=lr, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.0)]

    @staticmethod
    def flat(x: Tensor) -> Tensor:
        # channels-last weights are contiguous in this order
        return x.view(x.shape[0], -1) if x.is_contiguous() else x.permute(0, 2, 3, 1).view(x.shape[0], -1)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter, view in zip(self.matrices, self.views, strict=True):
            view.data = self.flat(parameter.data)  # the network may have been moved since
            grad = parameter.grad
            if grad is not None and grad.stride() != parameter.stride():
                grad = torch.empty_like(parameter).copy_(grad)
            view.grad = None if grad is None else self.flat(grad)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.param_groups[0]["lr"], "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.param_groups[0]["lr"] = state_dict["lr"]
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


class Average:
    """Exponential moving average of the trained parameters; early on a shorter one, so that the first random weights fade."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.weights = {k: p.detach().float().clone() for k, p in module.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(self.module.named_parameters())
        names = list(self.weights)
        torch._foreach_lerp_([self.weights[n] for n in names], [parameters[n].detach().float() for n in names], 1 - keep)

    def swap(self) -> None:
        """Exchanges the averaged with the trained weights, in place."""
        parameters = dict(self.module.named_parameters())
        for name, average in self.weights.items():
            trained = parameters[name].detach().float().clone()
            parameters[name].data.copy_(average)
            average.copy_(trained)
