"""Custom backbones by import path, ``package.module:function``.

The function is called without arguments and returns a module of the framework. Importing a module
runs its code, so each caller must allow it. The module is found as by ``import``: among installed
packages and in the folders of PYTHONPATH. The current folder is not added.
"""

import importlib
import re
from typing import Any

from ..contract import refuse
from ..contract.errors import type_name
from .framework import Framework

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_import_path(name: object) -> bool:
    """Whether this is text of the form ``package.module:function``."""
    return isinstance(name, str) and _PATH.fullmatch(name) is not None


def check_import_allowed(op: str, allowed: bool, *names: object) -> None:
    """Raise ValueError for an import path among `names` unless imports are allowed."""
    paths = [name for name in names if is_import_path(name)]
    if paths and not allowed:
        invariant = f"importing {paths[0]} must be allowed, because it runs the code of that module"
        remedy = "If you trust the code, pass allow_import=True (--allow-import)."
        refuse(ValueError, op, invariant, "allow_import=False", remedy)


def import_backbone(op: str, path: str, framework: Framework) -> Any:
    """Import a module and return what its function makes.

    Raises: ImportError if the module cannot be imported; ValueError if it has no such function;
        TypeError if the function does not return a module of the framework.
    """
    name, _, function = path.partition(":")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        remedy = "Install its package, or add the folder that contains it to PYTHONPATH."
        refuse(ImportError, op, f"{name} must be importable", f"{error}", remedy)
    make = getattr(module, function, None)
    if not callable(make):
        remedy = "Name a function without arguments that returns the backbone."
        refuse(ValueError, op, f"{name} must have the function {function}", f"{make!r}", remedy)
    backbone = make()
    if not isinstance(backbone, framework.module):
        invariant = f"{path} must return a {framework.module_name} for framework {framework.name}"
        refuse(TypeError, op, invariant, type_name(backbone), "Choose its framework (--framework).")
    return backbone
