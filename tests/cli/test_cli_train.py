"""``bilinear train``: from a folder of images to a model for the other commands."""

import json
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.cli import _console, run
from bilinear.cli._report import Reporter
from bilinear.data import Index, Item
from bilinear.data.composition import composition_warnings
from bilinear.train import (
    NAMED_RECIPES,
    Group,
    Images,
    Phase,
    Recipe,
    Schedule,
    default_recipe,
    named_recipe,
)
from bilinear.train.events import EpochDone, ImagesValidated, PhaseStarted, StepDone
from bilinear.train.trackers import TRACKERS

from ..datasets import color_images, photographs
from ..subjects import PRESENT, needs_a_framework
from ..train.test_trackers import Memory
from ..training import contents, recipe

PHASES = Phase("head", (Group("head", 0.125),), 2), Phase("all", (Group("all", 0.01),), 1)
over_backends = pytest.mark.parametrize("backend", PRESENT)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return color_images(tmp_path / "pictures")


@over_backends
def test_a_trained_model_is_evaluated(backend, pictures, tmp_path, command, capsys) -> None:
    """With a recipe file. Resuming a finished run changes nothing."""
    file, folder = tmp_path / "mine.json", tmp_path / "run"
    file.write_text(recipe(images=Images(32, 36), phases=PHASES).to_json())
    words = ["train", str(file), str(pictures), str(folder), "--framework", backend]
    words += ["--fraction", "0.34", "--workers", "0"]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{folder / 'best.safetensors'}\n"
    assert "images: 12 training, 6 validation" in captured.err
    assert "12 of 12 images in " in captured.err
    line = r"\nphase head 1/2, epoch 2/2: loss [\d.]+, validation loss [\d.]+, accuracy "
    line += r"[\d.]+%, validation accuracy [\d.]+%( \(best so far\))?, learning rate 0\.125, about "
    assert re.search(line, captured.err)
    assert " trainable tensors, epochs: 1, learning rate 0.01\n" in captured.err
    assert "\nphase all 2/2, epoch 1/1: loss " in captured.err
    for warning in (
        "3 of 3 classes have fewer than 10 training images: blue 4, green 4, red 4; their",
        "the validation split has 6 images: the standard error of its accuracy is up to 20%",
    ):
        assert f"\nbilinear: warning: {warning}" in captured.err
    lines = captured.err.splitlines()
    begun = lines.index("validating on 6 images")
    assert lines[begun - 1].startswith("12 of 12 images in ")
    assert lines[begun + 1].startswith("6 of 6 images in ")
    assert lines[begun + 2].startswith("phase head 1/2, epoch 1/2: loss ")
    before = contents(folder)
    command(*words, "--resume")
    assert contents(folder) == before
    command(*words, code=2)
    given = folder / "best.safetensors", pictures, "--split", "train", "--framework", backend
    report = json.loads(command("evaluate", *given, "--json"))
    assert report["top1"] > 0.5  # chance level is one third


@needs_a_framework
def test_a_recipe_is_chosen_and_a_run_resumes_by_its_folder_alone(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command, capsys
) -> None:
    """Without a connection; the printed options make the same recipe."""
    monkeypatch.setattr(default_recipe, "RANDOM_VIEWS", 1)
    folder, options = tmp_path / "run", ["--workers", "0", "--framework", PRESENT[0]]
    options += ["--fraction", "0.3", "--tracker", "json"]
    monkeypatch.setattr(Memory, "runs", [], raising=False)
    monkeypatch.setitem(TRACKERS, "json", Memory)  # of the package json
    assert run(["train", str(pictures), str(folder), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{folder / 'best.safetensors'}\n"
    fallback, chosen = captured.err.splitlines()[:2]
    assert fallback.startswith("bilinear: no pretrained weights (")
    assert chosen.startswith(
        "recipe for 12 training images on cpu: bcnn-two-phase --set model.backbone=resnet18 "
    )
    assert re.search(r"\nestimated time: 0:\d\d:\d\d\n", captured.err)
    words = shlex.split(chosen.partition(": ")[2])
    assert command("train", *words, "--print") == (folder / "recipe.json").read_text()
    before = contents(folder)
    monkeypatch.chdir(tmp_path)
    command("train", "--resume", "run")
    command("train", pictures, folder, "--resume", *options)
    assert contents(folder) == before
    first, *resumed = Memory.runs
    assert [step for step, values in first.rows if "loss/step" in values][-1] == first.rows[-1][0]
    assert [made.failed for made in Memory.runs] == [False] * 3
    assert not any(made.rows for made in resumed)
    other = color_images(tmp_path / "other")
    (other / "red" / "0.jpg").unlink()
    for words, message in (
        ("run --set seed=1", "must be that of the run, of checksum '"),
        ("run --set seed=1", "'; got seed: 0, now 1. Resume with the same recipe"),
        ("run --fraction 0.2", "options must be those of the run; got fraction: 0.3, now 0.2."),
        ("other run", "the data must be that of the run, of checksum '"),
        ("other run", "'; got 1 missing: red/0.jpg. Resume with the same data"),
        ("other", "other must contain a training run; got none. Name the folder of a run"),
    ):
        assert message in command("train", "--resume", *words.split(), code=2)
    (folder / "command.json").unlink()
    assert "Name DATA too" in command("train", "--resume", "run", code=2)


def test_progress_has_phase_epoch_loss_learning_rates_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """A step takes ten seconds. Training the backbone counts three times."""
    monkeypatch.setattr(_console, "INTERVAL", -1)  # a line for every step
    groups = Group("head", 0.5), Group("all", 0.05)
    phases = Phase("head", groups[:1], 3, schedule=Schedule("step", (2,))), Phase("all", groups, 2)
    seconds, step = [0], 0
    whole = recipe(phases=phases, drop_last=True)  # two steps of 4 images in an epoch of 11
    report = Reporter(whole, (11, 4), lambda: None, lambda: seconds[0])
    for phase in phases:
        report(PhaseStarted(phase.name, 5), 0)
        for epoch in range(phase.epochs):
            rates = [group.learning_rate / 10 ** (epoch // 2) for group in phase.groups]
            for images in (4, 8):
                step, seconds[0] = step + 1, seconds[0] + 10
                report(StepDone(phase.name, epoch, step, 0.5, 0.125, rates), images)
            report(ImagesValidated(4), 8)
            measures = 0.5, 0.625, 0.25, 0.75, 0.875
            report(EpochDone(phase.name, epoch, step, *measures, epoch == 0), 8)
    lines = capsys.readouterr().err.splitlines()
    losses = "loss 0.5000, validation loss 0.2500"
    measures = f"{losses}, accuracy 62.5%, validation accuracy 75.0%"
    expected = (  # the time left: that of a step, by the passes that are left and those of a step
        f"phase head 1/2, epoch 1/3: {measures} (best so far), learning rate 0.5, "
        f"about {timedelta(seconds=10 * (2 * 12 + 2 * 28) / (4 + 4))} left",
        "phase head 1/2, epoch 3/3: learning rate 0.05 instead of learning rate 0.5",
        "phase all 2/2: 5 trainable tensors, epochs: 2, learning rate head 0.5, all 0.05",
        f"phase all 2/2, epoch 2/2: {measures}, learning rate head 0.5, all 0.05",
    )
    assert [lines.count(line) for line in expected] == [1] * len(expected)
    text = "phase head 1/2, epoch 3/3, step 5, loss 0.5000, accuracy 12.5%, learning rate 0.05: "
    text += "4 of 8 images, "
    assert sum(line.startswith(text) for line in lines) == 1
    assert lines.count("validating on 4 images") == 5


@pytest.mark.parametrize(
    ("training", "validation", "warned"),
    [
        ((40, 40, 40), 100, ()),
        ((9, 40, 10), 100, ("1 of 3 classes have fewer than 10 training images: a 9; their",)),
        ((40, 40, 40), 25, ("has 25 images: the standard error of its accuracy is up to 10%, ",)),
        ((40, 20, 201), 100, ("the class c has 201 training images, and the median class 40; ",)),
        ((40, 20, 200), 100, ()),
    ],
)
def test_warnings_about_the_data_have_numbers(
    training: tuple[int, ...], validation: int, warned: tuple[str, ...]
) -> None:
    counts = [*((label, "train", count) for label, count in enumerate(training))]
    items = [
        Item(f"{split}/{label}/{k}.jpg", label, split)  # type: ignore[arg-type]
        for label, split, count in [*counts, (0, "validation", validation)]
        for k in range(count)
    ]
    found = composition_warnings(Index(Path(), ("a", "b", "c"), tuple(items), "mine"))
    assert len(found) == len(warned)
    assert all(text in warning for text, warning in zip(warned, found, strict=True))


@pytest.mark.parametrize("images", [2, 320, 100_000])
@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("pretrained", [False, True])
def test_chosen_recipes_fit_the_data(images: int, gpu: bool, pretrained: bool) -> None:
    made = default_recipe.choose_recipe(images, gpu=gpu, pretrained=pretrained).recipe()
    classifier, backbone = made.learning_rates(made.phases[1])
    assert (made.model.weights is None) != pretrained
    assert classifier >= 20 * backbone
    assert made.drop_last == (images >= made.batch_size)
    assert all(1 <= phase.epochs <= default_recipe.MAX_EPOCHS for phase in made.phases)


@over_backends
def test_the_cache_is_reported_and_reused(
    backend: str, pictures: Path, tmp_path: Path, capsys
) -> None:
    """Its size is printed first, then progress while it is filled. Nothing is computed twice."""
    file, cache = tmp_path / "mine.json", tmp_path / "maps"
    file.write_text(recipe(images=Images(32, 36), phases=PHASES[:1]).to_json())
    words = ["--framework", backend, "--fraction", "0.34", "--workers", "0"]
    words += ["--cache", str(cache), "--views", "1", "--cache-limit", "0.5"]
    for name in "one", "two":
        assert run(["train", str(file), str(pictures), str(tmp_path / name), *words]) == 0
        captured = capsys.readouterr().err
        filled = "computing feature maps, train images, epoch 1\n12 of 12 images in " in captured
        assert filled == (name == "one")
        assert f"0.6 MiB of it stored, 0.5 GiB allowed in {cache}" in captured or filled
        assert "augmentation: 1 cached view of each image, repeated every epoch\n" in captured
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("name", NAMED_RECIPES)
def test_printed_recipes_can_be_read(name: str, tmp_path: Path, command) -> None:
    text = command("train", name, "--print")
    assert Recipe.from_json(text) == named_recipe(name)
    (tmp_path / "mine.json").write_text(text)
    assert command("train", tmp_path / "mine.json", "--print") == text


def test_set_changes_a_recipe(command) -> None:
    changes = "--set", "model.backbone=resnet18", "--set", "phases.0.epochs=2"
    text = command("train", "bcnn-two-phase", "--print", *changes)
    made = Recipe.from_json(text)
    assert (made.model.backbone, made.phases[0].epochs) == ("resnet18", 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("multi", "its name must be one of 'bcnn-two-phase', "),
        ("multi-phase", "DATA and RUN are required; got only multi-phase"),
        ("multi-phase DATA", "DATA and RUN are required; got only multi-phase pictures"),
        ("DATA", "DATA and RUN are required; got only pictures"),
        ("multi-phase DATA run more", "[RECIPE] DATA RUN; got 4 arguments"),
        ("empty.json", "Recipe: format must be "),
        ("none.json", "none.json: No such file"),
        ("multi-phase DATA run --framework jax --compile", "jax supports only --devices, --shard"),
        ("multi-phase DATA run --framework torch --devices 2", "got --devices. torchrun starts"),
        pytest.param(
            "multi-phase DATA run --shard-classifier",
            "needs several processes; got one process. Start them with torchrun, or leave it out.",
            marks=pytest.mark.skipif("torch" not in PRESENT, reason="the first framework"),
        ),
        ("multi-phase DATA run --views 2", "--views and --cache-limit require --cache"),
        ("multi-phase DATA run --cache maps --views all", "--views must be an integer or none"),
        ("multi-phase DATA run --cache maps --views 0", "views must be greater than or equal"),
        ("multi-phase DATA run --cache maps --cache-limit 0", "--cache-limit must be pos"),
        ("multi-phase DATA run --cache maps --cache-limit inf", "--cache-limit must be pos"),
        ("multi-phase DATA run --cache maps --cache-limit nan", "--cache-limit must be pos"),
        ("multi-phase DATA run --cache maps --cache-limit 1e308", "--cache-limit must be pos"),
        pytest.param(
            "multi-phase DATA run --tracker x",
            "a tracker must be one of wandb, mlflow; got 'x'.",
            marks=needs_a_framework,
        ),
        # for example the folder of a class, or the parent of the data set
        pytest.param(
            "multi-phase one run",
            "train: a data set must have two classes or more; got 1. Pass the",
            marks=needs_a_framework,
        ),
    ],
)
def test_invalid_arguments_are_refused(
    line: str, message: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, command
) -> None:
    monkeypatch.chdir(pictures.parent)
    Path("empty.json").write_text("{}", encoding="utf-8")
    photographs(Path("one"), wren=4)
    assert message in command("train", *line.replace("DATA", pictures.name).split(), code=2)
    assert not Path("run").exists()
