"""A check of this library on a GPU within some minutes: `python -m benchmarks.accelerator`."""
