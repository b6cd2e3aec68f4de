"""The layers, one file each: how they are called, and what they compute of reference operators.

A specification has ``calls(dtype)``, label -> (channels-last maps, arguments of `check_layer`);
``case(maps, parameters, mask)``, whose arrays are what the driver gives gradients of (location
features, then the learned weights in order of their names); the reference's ``value(case)`` and
``gradients(case, cotangent)``; and ``forward`` and ``vjp``, the same with error bounds.
"""
