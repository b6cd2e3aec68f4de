"""Schedules of learning rates, and when a phase is over."""

from typing import Any

import numpy as np
import pytest

from bilinear.train import Group, Phase, Schedule


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_plateau_schedule_equals_pytorch(patience: int) -> None:
    torch = pytest.importorskip("torch")
    history = np.random.default_rng(0).integers(5, size=40).astype(float).tolist()
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0, eps=0
    )
    for epoch, value in enumerate(history, 1):
        theirs.step(value)
        place: Any = {"epoch": epoch, "step": 0, "steps": 1, "history": history[:epoch]}
        ours = Schedule("plateau", factor=0.5, patience=patience).scale(**place)
        assert ours == optimizer.param_groups[0]["lr"], epoch


def test_a_phase_is_over_after_epochs_without_improvement() -> None:
    groups = (Group("all", 0.1),)
    for history, epochs, patience, expected in (
        ([3, 2, 2, 2], 9, 3, False),
        ([3, 2, 2, 2, 2], 9, 3, True),
        ([3, 2, 2, 2, 1], 9, 3, False),
        ([], 9, 1, False),
        ([1, 2, 3, 4], 9, None, False),
        ([4, 3, 2], 3, 9, True),
    ):
        assert Phase("a", groups, epochs, patience=patience).is_over(history) == expected


def test_the_factor_of_each_kind_of_schedule() -> None:
    place: dict[str, Any] = {"epoch": 2, "step": 8, "steps": 16, "history": [1.0, 1.0, 1.0]}
    assert Schedule().scale(**place) == 1
    assert Schedule("step", (1, 2)).scale(**place) == pytest.approx(0.01)
    assert Schedule("cosine", warmup=18).scale(**place) == pytest.approx(0.25)
    cosine, warmup = Schedule("cosine"), Schedule(warmup=4)
    places = [place | {"step": step, "steps": 4} for step in range(5)]
    assert [cosine.scale(**places[i]) for i in (0, 1)] == [1, pytest.approx((1 + 0.5**0.5) / 2)]
    assert [warmup.scale(**place) for place in places] == [0.25, 0.5, 0.75, 1, 1]
    assert Schedule("plateau", patience=1).scale(**place) == pytest.approx(0.1)
