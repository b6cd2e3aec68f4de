"""The table of planted faults fits the code: each can be planted, and none is there twice."""

from pathlib import Path

import pytest

from ..mutants import Mutant
from ..mutants.__main__ import MUTANTS, SAMPLE

ROOT = Path(__file__).parents[2]
if not (ROOT / "bilinear").is_dir():
    pytest.skip("the source is elsewhere", allow_module_level=True)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_every_fault_can_be_planted(mutant: Mutant) -> None:
    text = (ROOT / mutant.path).read_text()
    faulty = mutant.planted(text)
    assert faulty != text
    compile(faulty, mutant.path, "exec")


def test_the_sample_is_whole() -> None:
    assert set(SAMPLE) <= set(map(str, MUTANTS))


def test_faults_differ() -> None:
    assert len({(m.path, tuple(m.edits)) for m in MUTANTS}) == len(MUTANTS)
