"""The signature of classes whose framework hides it from `inspect`."""

import inspect
from typing import Any


class ClassSignature:
    """The arguments of ``__init__``, where a metaclass or ``__new__`` takes any arguments."""

    def __get__(self, instance: Any, owner: Any) -> inspect.Signature:
        if instance is not None:
            raise AttributeError
        parameters = inspect.signature(owner.__init__).parameters.values()
        return inspect.Signature(list(parameters)[1:])
