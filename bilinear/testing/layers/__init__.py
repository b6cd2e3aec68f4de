"""One file per layer: its test calls, and its specification in terms of reference operators.

A layer specification has

- ``calls(dtype)``: label -> (channels-last feature maps, arguments of `check_layer`);
- ``case(maps, parameters, mask)``: a `Case` whose arrays are those with gradients (features of the
  locations, then the learned weights in the order of their names);
- ``value(case)`` and ``gradients(case, cotangent)``, computed with the reference;
- ``forward(case, acc)`` and ``vjp(case, cotangent, acc)``: the same with error bounds.
"""
