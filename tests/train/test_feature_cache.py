"""The feature cache: it stores what the model would see, and never uses anything else."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.data import Augmentation, Index, Pipeline, open_dataset, validation_split
from bilinear.data.images import Preprocessing
from bilinear.data.index import Split
from bilinear.train import Cache, Engine, Group, Images, Phase, Processes, Recipe, fit, train
from bilinear.train.events import CacheMessage, CacheProgress
from bilinear.train.feature_cache.cache import PhaseCache, PipelineCache
from bilinear.train.parameter_groups import make_plan

from ..agreement import relative_error
from ..datasets import color_images
from ..linear import Linear
from ..subjects import PRESENT, driver, needs_a_framework
from ..tolerances import LOGITS, RUN
from ..training import MODEL, contents, data, engine, events, linear_recipe, recipe

over_backends = pytest.mark.parametrize("backend", PRESENT)
HEAD = Phase("head", (Group("head", 0.125, 1e-3),), 3)
LAST = Phase("last", (Group("head", 0.0625), Group("last:1", 0.015625, 1e-3)), 1)
PREPROCESSING = Preprocessing((32, 28), 36)


def small(**changes: Any) -> Recipe:
    return recipe(**({"images": Images((32, 28), 36), "phases": (HEAD, LAST)} | changes))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Three classes of six pictures, two of each for validation."""
    root = color_images(tmp_path_factory.mktemp("pictures"))
    return validation_split(open_dataset(root), fraction=0.34)


@pytest.fixture(scope="module")
def first() -> Engine:
    """An engine of the first installed framework, for what is equal in all."""
    return engine(PRESENT[0])


# --- runs ---


def losses(folder: Path) -> np.ndarray:
    steps = [event["loss"] for event in events(folder, "step")]
    return np.array(steps + [event["validation_loss"] for event in events(folder, "epoch")])


@over_backends
def test_a_view_for_each_epoch_equals_the_run_without_a_cache(
    backend: str, index: Index, tmp_path: Path
) -> None:
    """Also in a later phase, in which the backbone trains; a second run computes nothing."""
    driver(backend)
    received: list[Any] = []
    phases = (HEAD, LAST)[: 2 if backend == PRESENT[0] else 1]  # each engine compiles again
    one = small(phases=phases)
    fit(one, backend, index, tmp_path / "plain")
    cache = Cache(tmp_path / "maps", views=3)
    for name in "cached", "again":
        fit(one, backend, index, tmp_path / name, cache=cache, watch=lambda *e: received.append(e))
    assert relative_error(losses(tmp_path / "cached"), losses(tmp_path / "plain")) <= RUN
    assert contents(tmp_path / "again") == contents(tmp_path / "cached")
    done = [(e.split, e.epoch, n) for e, n in received if isinstance(e, CacheProgress)]
    of_training = [("train", epoch, n) for epoch in range(3) for n in (4, 8, 12)]
    of_validation = [("validation", 0, n) for n in (4, 6)]
    assert done == [*of_training[:3], *of_validation, *of_training[3:]]
    texts = [event.text for event, _ in received if isinstance(event, CacheMessage)]
    folder, maps = tmp_path / "maps", "8 × 7 × 64 float64"
    assert texts[1::2] == 2 * ["augmentation: as without a cache"]
    for text, there in zip(texts[::2], ("0.0 MiB", "1.2 MiB"), strict=True):
        assert text == (
            f"cache: feature maps of 12 images × 3 views and of 6 for validation, {maps} each: "
            f"1.2 MiB, {there} of it stored, 20.0 GiB allowed in {folder}"
        )
    noted = [(e.get("views"), e.get("augmentation")) for e in events(tmp_path / "cached", "phase")]
    assert noted == [(3, "as without a cache"), (None, None)][: len(phases)]


class Stop(Exception):
    pass


@needs_a_framework
@pytest.mark.parametrize("stop", [1, 4, 12, 20])
def test_a_stopped_run_ends_as_an_undisturbed_one(
    stop: int, index: Index, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """After any event, also while a view is computed, of which nothing remains then."""
    left = iter(range(stop))

    def watch(event: Any, images: int) -> None:
        if next(left, None) is None:
            raise Stop

    cache = Cache(tmp_path / "maps", views=2)
    one = small(phases=(HEAD,))
    with pytest.raises(Stop):
        fit(one, PRESENT[0], index, tmp_path / "run", cache=cache, watch=watch, save_every=1)
    assert not [*Path(cache.folder).glob("*.tmp")]
    fit(one, PRESENT[0], index, tmp_path / "run", cache=cache, resume=True)
    assert contents(tmp_path / "run") == undisturbed


@pytest.fixture(scope="module")
def undisturbed(index: Index, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    driver(PRESENT[0])
    folder = tmp_path_factory.mktemp("undisturbed")
    cache = Cache(folder / "maps", views=2)
    fit(small(phases=(HEAD,)), PRESENT[0], index, folder / "run", cache=cache)
    return contents(folder / "run")


@needs_a_framework
def test_resuming_with_another_number_of_views_is_refused(index: Index, tmp_path: Path) -> None:
    one = small(phases=(replace(HEAD, epochs=1),))
    run, folder = tmp_path / "run", tmp_path / "maps"
    fit(one, PRESENT[0], index, run, cache=Cache(folder, views=2))
    for other in None, Cache(folder, views=None), Cache(folder, views=3):
        with pytest.raises(ValueError, match="the cache must be that of the run, of views '2'"):
            fit(one, PRESENT[0], index, run, cache=other, resume=True)
    fit(one, PRESENT[0], index, run, cache=Cache(tmp_path / "moved", views=2), resume=True)


@needs_a_framework
def test_an_impossible_cache_is_refused_before_the_run_exists(index: Index, tmp_path: Path) -> None:
    folder, run = tmp_path / "maps", tmp_path / "run"
    limited, words = Cache(folder, limit=2**20), "got feature maps of 12 images × 3 v"
    for phase, cache, sentence in (
        (HEAD, limited, rf"must stay within 1\.0 MiB; {words}"),
        (LAST, Cache(folder), "a cache needs a phase in which no backbone trains"),
    ):
        with pytest.raises(ValueError, match=sentence):
            fit(small(phases=(phase,)), PRESENT[0], index, run, cache=cache)
    cached = PipelineCache(Cache(folder), fixed(index), fixed(index))
    with pytest.raises(ValueError, match="cached feature maps need named backbones"):
        train(linear_recipe(), Linear(), *data(), run, cache=cached)
    assert not folder.exists()
    assert not run.exists()
    for wrong in {"views": 0}, {"limit": 0}:
        with pytest.raises(ValueError, match="must be greater than or equal to 1"):
            Cache(folder, **wrong)


# --- batches and keys ---


@pytest.fixture
def cached(first: Engine, index: Index, tmp_path: Path) -> Callable[..., PhaseCache]:
    """A function that returns a cache with two views, for the epochs 5 to 9."""

    def make(
        index: Index = index, engine: Engine = first, views: int | None = 2, **changes: Any
    ) -> PhaseCache:
        options: dict[str, Any] = {"augmentation": Augmentation()} | changes
        validation = fixed(index, "validation", **(options | {"augmentation": None}))
        of = PipelineCache(Cache(tmp_path, views), fixed(index, **options), validation)
        return of.for_phase(engine, replace(HEAD, epochs=5), 5)

    return make


def feed(of: PhaseCache) -> Any:
    return of.feed(lambda *_: None, lambda: None)


@needs_a_framework
def test_batches_equal_those_of_the_pipeline(first: Engine, index: Index, cached: Any) -> None:
    """In its order, from any batch on, with the views in turn."""
    of, pipeline = cached(), fixed(index, augmentation=Augmentation())
    assert of.augmentation == "2 cached views of each image, repeated every 2 epochs"
    for epoch, start, view in (6, 0, 6), (9, 1, 5):
        maps = {
            place: first.maps(image[None])[0][0]
            for batch in pipeline.in_order(view)
            for place, image in zip(batch.indices, batch.images, strict=True)
        }
        batches = [*feed(of).training.epoch(epoch, start)]
        wanted = [*pipeline.epoch(epoch, start)]
        assert len(batches) == len(wanted) == 3 - start
        for batch, plain in zip(batches, wanted, strict=True):
            np.testing.assert_array_equal(batch.indices, plain.indices)
            np.testing.assert_array_equal(batch.labels, plain.labels)
            alone = np.stack([maps[place] for place in plain.indices])
            assert relative_error(batch.maps[0], alone) <= LOGITS["float64"]


@needs_a_framework
def test_images_without_augmentation_have_one_view(cached: Any) -> None:
    of = cached(augmentation=None, views=None)
    assert (len(of.training), of.augmentation) == (1, "none: every epoch sees the same crops")
    both = [[*feed(of).training.epoch(epoch)] for epoch in (5, 8)]
    maps = [{i: m for b in of for i, m in zip(b.indices, b.maps[0], strict=True)} for of in both]
    assert [b.indices[0] for b in both[0]] != [b.indices[0] for b in both[1]]
    for place, one in maps[0].items():
        np.testing.assert_array_equal(one, maps[1][place])


def fixed(index: Index, part: Split = "train", **options: Any) -> Pipeline:
    return Pipeline(index, part, **({"batch_size": 4, "preprocessing": PREPROCESSING} | options))


@needs_a_framework
def test_splits_with_two_image_sizes_have_feature_maps_of_two_sizes(
    first: Engine, index: Index, tmp_path: Path
) -> None:
    larger = fixed(index, "validation", preprocessing=Preprocessing(40, 44))
    of = PipelineCache(Cache(tmp_path), fixed(index), larger).for_phase(first, HEAD, 0)
    assert "× 1 view, 8 × 7 × 64 float64 each, and of 6 for validation, 10 × 10 " in of.check()
    for part, shape in (feed(of).training, (8, 7)), (feed(of).validation, (10, 10)):
        assert next(part.epoch(0)).maps[0].shape == (4, *shape, 64)


@needs_a_framework
def test_skipped_or_missing_images_are_refused(first: Engine, index: Index, tmp_path: Path) -> None:
    whole, skips = fixed(index), fixed(index, on_error="skip")
    for pair in (skips, whole), (whole, skips):
        with pytest.raises(ValueError, match="the train pipeline must give every image; got"):
            PipelineCache(Cache(tmp_path), *pair).for_phase(first, HEAD, 0)
    items = (index.items[0]._replace(path="blue/gone.jpg"), *index.items[1:])
    gone = fixed(replace(index, items=items), items[0].split)
    with pytest.raises(FileNotFoundError, match=r"every image must exist; got .*gone\.jpg"):
        PipelineCache(Cache(tmp_path), gone, whole).for_phase(first, HEAD, 0)


@needs_a_framework
def test_the_limit_holds_for_all_phases_together(
    first: Engine, index: Index, tmp_path: Path
) -> None:
    """Also for a later phase, whose weights are not known yet."""
    names, phases = list(first.tensors()), (HEAD, replace(HEAD, name="more"), LAST, HEAD)
    pairs = [(one, make_plan(one, first.streams, names, first.learned)) for one in phases]
    one = PipelineCache(Cache(tmp_path), fixed(index), fixed(index, "validation"))
    size = sum(view.maps.bytes for view in one.for_phase(first, HEAD, 0).views)
    for chosen, times in (pairs[:2], 1), (pairs[:3], 1), (pairs[1:], 2), (pairs, 2):
        enough = one._replace(cache=Cache(tmp_path, limit=times * size))
        enough.check(first, chosen, new=True)
        short = one._replace(cache=Cache(tmp_path, limit=times * size - 1))
        short.check(first, chosen, new=False)
        with pytest.raises(ValueError, match="must stay within"):
            short.check(first, chosen, new=True)


@needs_a_framework
def test_a_key_depends_on_everything_that_determines_the_feature_maps(
    first: Engine,
    index: Index,
    cached: Callable[..., PhaseCache],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keys(**changes: Any) -> list[str]:
        return [view.maps.folder.name for view in cached(**changes).views]

    own, about = keys(), cached().validation.maps.about
    assert {"numpy", "pillow", "machine"} <= about.keys()
    assert about["engine"]["version"]
    assert own == keys()
    with monkeypatch.context() as patch:
        patch.setattr(first, "processes", Processes(0, 4))  # process 0 computes all of them
        assert own == keys()
    assert len(set(own)) == 3
    taps = engine(PRESENT[0], recipe(model=replace(MODEL, taps=("layer2",), projection=None)))
    for changes in (
        {"batch_size": 3},
        {"preprocessing": Preprocessing((32, 28), 40)},
        {"preprocessing": Preprocessing((32, 28), 36, std=(0.5, 0.5, 0.5))},
        {"index": replace(index, items=index.items[1:])},
        {"engine": taps},
    ):
        assert not {*own} & {*keys(**changes)}
    for changes in {"seed": 1}, {"augmentation": Augmentation(flip=False)}:
        other = keys(**changes)
        assert not {*own[:2]} & {*other[:2]}
        assert own[2] == other[2]  # validation has no augmentation
    tensors = first.tensors()
    for name, same in ("classifier.bias", True), ("backbone.layer1.0.bn1.running_mean", False):
        first.assign({name: tensors[name] + 1})
        assert (own == keys()) == same
        assert same or not {*own} & {*keys()}
        first.assign({name: tensors[name]})
    path = index.root / index.split("train")[0].path
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert not {*own[:2]} & {*keys()}
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
