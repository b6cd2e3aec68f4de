"""torchvision's ``inception_v3()`` as data, up to and with Mixed_7c."""

from .plan_layers import AveragePool, Layer, MaxPool, Mixed, Pair, Path, Unit, pair

_AVERAGE, _MAXIMUM = AveragePool("", 3, 1), MaxPool("", 3, 2)
_Row = tuple[str, int, Pair] | tuple[str, int, Pair, int]
"""Last part of the name, channels, kernel, and the stride; stride 1 is padded to the same size."""


def _units(mixed: str, inputs: int, *rows: _Row) -> Path:
    units: list[Unit] = []
    for name, outputs, kernel, *stride in rows:
        step = stride[0] if stride else 1
        height, width = pair(kernel)
        padding = (height // 2, width // 2) if step == 1 else 0
        units.append(Unit(f"{mixed}.{name}", inputs, outputs, kernel, step, padding))
        inputs = outputs
    return tuple(units)


def _a(name: str, inputs: int, pooled: int) -> Mixed:
    twice = ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)
    paths = (
        _units(name, inputs, ("branch1x1", 64, 1)),
        _units(name, inputs, ("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        _units(name, inputs, ("branch3x3dbl_1", 64, 1), *twice),
        (_AVERAGE, *_units(name, inputs, ("branch_pool", pooled, 1))),
    )
    return Mixed(name, inputs, paths)


def _b(name: str, inputs: int) -> Mixed:
    twice = ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)
    paths = (
        _units(name, inputs, ("branch3x3", 384, 3, 2)),
        _units(name, inputs, ("branch3x3dbl_1", 64, 1), *twice),
        (_MAXIMUM,),
    )
    return Mixed(name, inputs, paths)


def _c(name: str, inputs: int, width: int) -> Mixed:
    once = ("branch7x7_2", width, (1, 7)), ("branch7x7_3", 192, (7, 1))
    first = ("branch7x7dbl_2", width, (7, 1)), ("branch7x7dbl_3", width, (1, 7))
    second = ("branch7x7dbl_4", width, (7, 1)), ("branch7x7dbl_5", 192, (1, 7))
    paths = (
        _units(name, inputs, ("branch1x1", 192, 1)),
        _units(name, inputs, ("branch7x7_1", width, 1), *once),
        _units(name, inputs, ("branch7x7dbl_1", width, 1), *first, *second),
        (_AVERAGE, *_units(name, inputs, ("branch_pool", 192, 1))),
    )
    return Mixed(name, inputs, paths)


def _d(name: str, inputs: int) -> Mixed:
    wide = ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1))
    paths = (
        _units(name, inputs, ("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)),
        _units(name, inputs, ("branch7x7x3_1", 192, 1), *wide, ("branch7x7x3_4", 192, 3, 2)),
        (_MAXIMUM,),
    )
    return Mixed(name, inputs, paths)


def _e(name: str, inputs: int) -> Mixed:
    def fork(*names: str) -> Mixed:
        kernels = (1, 3), (3, 1)
        rows = zip(names, kernels, strict=True)
        return Mixed("", 384, tuple(_units(name, 384, (part, 384, k)) for part, k in rows))

    once = _units(name, inputs, ("branch3x3_1", 384, 1))
    twice = _units(name, inputs, ("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3))
    paths = (
        _units(name, inputs, ("branch1x1", 320, 1)),
        (*once, fork("branch3x3_2a", "branch3x3_2b")),
        (*twice, fork("branch3x3dbl_3a", "branch3x3dbl_3b")),
        (_AVERAGE, *_units(name, inputs, ("branch_pool", 192, 1))),
    )
    return Mixed(name, inputs, paths)


INCEPTION_V3: tuple[Layer, ...] = (
    Unit("Conv2d_1a_3x3", 3, 32, 3, 2),
    Unit("Conv2d_2a_3x3", 32, 32, 3),
    Unit("Conv2d_2b_3x3", 32, 64, 3, 1, 1),
    MaxPool("maxpool1", 3, 2),
    Unit("Conv2d_3b_1x1", 64, 80, 1),
    Unit("Conv2d_4a_3x3", 80, 192, 3),
    MaxPool("maxpool2", 3, 2),
    _a("Mixed_5b", 192, 32),
    _a("Mixed_5c", 256, 64),
    _a("Mixed_5d", 288, 64),
    _b("Mixed_6a", 288),
    _c("Mixed_6b", 768, 128),
    _c("Mixed_6c", 768, 160),
    _c("Mixed_6d", 768, 160),
    _c("Mixed_6e", 768, 192),
    _d("Mixed_7a", 768),
    _e("Mixed_7b", 1280),
    _e("Mixed_7c", 2048),
)
