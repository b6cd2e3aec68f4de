"""Faults of what is taken from other code: classifiers, Keras' weights, checkpoints."""

from . import Edits, Mutant

CLASSIFIERS = "bilinear/analysis/classifiers.py"
KERAS = "bilinear/models/keras_weights.py"
IMPORTS = "bilinear/models/imports.py"
LAYOUTS = "bilinear/models/layouts.py"

FAULTS: list[tuple[str, str, Edits]] = [
    ("a half classifier has half the weights", CLASSIFIERS, [("T) / math.sqrt(2)", "T) / 2")]),
    (
        "a half classifier's diagonal is folded too",
        CLASSIFIERS,
        [("        np.fill_diagonal(folded, square.diagonal())\n", "")],
    ),
    (
        "a full classifier has only the upper half",
        CLASSIFIERS,
        [("square[rows, columns] = square[columns, rows] =", "square[rows, columns] =")],
    ),
    (
        "column-major is read with C and D exchanged",
        CLASSIFIERS,
        [("reshape(len(given), second, first)", "reshape(len(given), first, second)")],
    ),
    ("Keras' channels stay BGR", KERAS, [("kernel[:, ::-1]", "kernel")]),
    ("Keras' kernels are mirrored", KERAS, [("kernel[:, ::-1]", "kernel[:, ::-1, ::-1]")]),
    (
        "Caffe's means are in BGR order",
        KERAS,
        [("(123.68, 116.779, 103.939)", "(103.939, 116.779, 123.68)")],
    ),
    (
        "Keras' weights get torchvision's preprocessing",
        "bilinear/models/weights.py",
        [("keras_weights.PREPROCESSING if", "Preprocessing() if")],
    ),
    ("DataParallel's prefix stays", IMPORTS, [('if part != "module"', "if part")]),
    (
        "BatchNorm's counters are imported",
        IMPORTS,
        [('if not plain.endswith(".num_batches_tracked")', "if plain")],
    ),
    (
        "the order of the features is forgotten",
        IMPORTS,
        [('if known.order != "row-major"', "if not known.order")],
    ),
    (
        "one tensor overwrites another of its name",
        IMPORTS,
        [("or plain in seen:", "or not seen.isdisjoint(()):")],
    ),
    (
        "the stages of ResNet18 are counted without its pooling",
        LAYOUTS,
        [('f"layer{i}": f"{i + 3}"', 'f"layer{i}": f"{i + 2}"')],
    ),
    (
        "two streams are exchanged",
        LAYOUTS,
        [
            (
                '(f"{_EXTRACTORS}0.model.", f"{_EXTRACTORS}1',
                '(f"{_EXTRACTORS}1.model.", f"{_EXTRACTORS}0',
            )
        ],
    ),
]

TESTS = {
    CLASSIFIERS: ("tests/analysis/test_classifiers.py",),
    LAYOUTS: ("tests/models/test_imports.py", "-k", "logits and (fast-mpn or twice)"),
    IMPORTS: ("tests/models/test_imports.py", "-k", "wrapping or ones_own or refused"),
}
KERAS_TESTS = ("tests/models/test_keras_weights.py", "-k", "published or preprocessing")


def mutants() -> list[Mutant]:
    """No framework's code is among them; the networks of layouts are computed in PyTorch."""
    return [
        Mutant(
            name,
            "NumPy",
            path,
            edits,
            ("torch" if path == LAYOUTS else "none",),
            TESTS.get(path, KERAS_TESTS),
        )
        for name, path, edits in FAULTS
    ]
