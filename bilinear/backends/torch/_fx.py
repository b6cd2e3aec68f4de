"""Operators and layers as leaves of `torch.fx`: nodes that it records without tracing into them.

They check the shapes of their arguments, which the proxies of `torch.fx` do not have.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.fx import Proxy
from torch.fx.node import map_aggregate

_Function = TypeVar("_Function", bound=Callable[..., Any])


def leaf(function: _Function) -> _Function:
    """Decorate an operator, or the `forward` of a layer, as a leaf of `torch.fx`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Proxy):
                return _record(call, value.tracer, args, kwargs)
        return function(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


def _record(function: Callable[..., Any], tracer: Any, args: Any, kwargs: Any) -> Proxy:
    """Record a call as one node; tables that are NumPy arrays become constants of the graph."""
    if args and isinstance(args[0], nn.Module):
        path = tracer.path_of_module(args[0])
        return tracer.create_proxy("call_module", path, tuple(args[1:]), kwargs)
    args, kwargs = map_aggregate((args, kwargs), _to_tensor)  # pyright: ignore
    return tracer.create_proxy("call_function", function, args, kwargs)


def _to_tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
