"""Champ, AniPortrait and face reenactment on a pretended card, in fp32."""

from __future__ import annotations

import pytest

from tests.device.conftest import Run
from tests.device.scenarios_families import FAMILIES, FRAMES, PATHS
from tests.host.core_run import relative_l2

EXACT, CHANGES = 1e-3, 5e-3


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("family", "accelerated"), [*((family, "") for family in FAMILIES), ("AniPortrait", "/accelerated")])
def test_a_family_gives_on_the_card_what_it_gives_without(run: Run, family: str, accelerated: str, path: str) -> None:
    scenario = f"family/{family}/{path}{accelerated}"
    result = run("cuda").of(scenario)
    assert result["finite"] and result["device"] == "cpu" and result["left"] == 0
    assert len(run("cuda").samples(scenario)) == (FRAMES if family == "AniPortrait" else 3)
    assert relative_l2(run("cuda").samples(scenario), run("cpu").samples(scenario)) < EXACT


@pytest.mark.parametrize("path", PATHS)
def test_accelerate_is_at_work(run: Run, path: str) -> None:
    accelerated, plain = (run("cpu").samples(f"family/AniPortrait/{path}/{name}") for name in ("accelerated", "plain"))
    assert CHANGES < relative_l2(accelerated, plain) < 1
