"""Faults of the command line and of what is beneath it."""

from . import Edits, Mutant

METRICS = "bilinear/analysis/metrics.py"
FEATURES = "bilinear/analysis/descriptors.py"
EVALUATE = "bilinear/cli/evaluate.py"
MODEL = "bilinear/cli/_model.py"

FAULTS: list[tuple[str, str, Edits]] = [
    (
        "confusion has predictions in its rows",
        METRICS,
        [("(labels, top_k(logits, 1)[:, 0]), 1", "(top_k(logits, 1)[:, 0], labels), 1")],
    ),
    ("bins of confidence begin at their edge", METRICS, [('side="left"', 'side="right"')]),
    ("a gap counts once a bin", METRICS, [("gaps).sum() / len(labels)", "gaps).sum() / bins")]),
    (
        "the header of descriptors says no rows",
        FEATURES,
        [("file.write(header(len(writer.paths), size))", "pass")],
    ),
    ("descriptors are compared as they are", FEATURES, [("_unit(np.asarray(piece))", "piece")]),
    (
        "images are mirrored upside down",
        EVALUATE,
        [("images[:, :, ::-1]", "images[:, ::-1]")],
    ),
    (
        "what fills a batch comes back",
        MODEL,
        [("call(batch)[:count]", "call(batch)")],
    ),
    (
        "images that fail are not counted",
        "bilinear/cli/_images.py",
        [("self.failed += 1", "pass")],
    ),
    (
        "descriptors of another model are searched",
        "bilinear/cli/retrieve.py",
        [("checksum(file) != rows.sha256", "False")],
    ),
    ("Ctrl-C ends as a failure", "bilinear/cli/_errors.py", [("2, 3, 130", "2, 3, 1")]),
    ("a batch is of a size of its own", MODEL, [("images[-1:], self", "images[:0], self")]),
]

TESTS = {  # path -> the door they need, and what selects them
    METRICS: ("none", ("tests/analysis/test_metrics.py",)),
    FEATURES: ("none", ("tests/analysis/test_features.py",)),
    EVALUATE: ("torch", ("tests/cli/test_cli.py", "-k", "evaluate")),
    MODEL: ("jax", ("tests/cli/test_cli.py", "-k", "one_shape")),
}
ERRORS = ("torch", ("tests/cli/test_cli_errors.py",))


def mutants() -> list[Mutant]:
    """No framework's code is among them."""
    rows = [(name, path, edits, *TESTS.get(path, ERRORS)) for name, path, edits in FAULTS]
    return [
        Mutant(name, "NumPy", path, edits, (door,), tests)
        for name, path, edits, door, tests in rows
    ]
