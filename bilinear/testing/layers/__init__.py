"""One file per layer: its test calls, and its specification in terms of reference operators.

- ``calls(dtype)``: label -> (channels-last feature maps, arguments of `check_layer`);
- ``specify(maps, parameters, mask)``: an object with the methods of `operators.Operator`. Its
  gradients are those of the features of all locations, then of the learned weights in the order
  of their names.
"""
