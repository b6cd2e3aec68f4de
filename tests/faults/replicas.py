"""Faults of training on several devices with TensorFlow."""

import importlib

from .library import fault

STEPS = ("tests/train/test_replicas.py", "-k", "steps_of_one")
BATCH_NORM = ("tests/train/test_replicas.py", "-k", "batch_norm")
ENGINE, PROCESSES = "train.engines.tensorflow", "train.processes.tensorflow"


@fault(
    "tensorflow: each device takes the mean over its own images",
    f"{ENGINE}.steps:loss",
    STEPS,
    "tensorflow",
)
def _(f, plan, logits, labels, weight=None):
    return f(plan, logits, labels)


@fault(
    "tensorflow: each device updates by its own gradients",
    f"{PROCESSES}:add_over_replicas",
    STEPS,
    "tensorflow",
)
def _(f, tensors):
    return tensors


@fault(
    "tensorflow: gradients are clipped before they are added",
    f"{ENGINE}.steps:differentiate",
    STEPS,
    "tensorflow",
)
def _(f, plan, *arguments):
    values, gradients = f(plan, *arguments)
    clip = importlib.import_module("bilinear.train.engines.tensorflow.steps").clip
    return values, clip(plan, gradients)


@fault(
    "tensorflow: every device computes the whole batch",
    f"{PROCESSES}:Replicas.divide",
    STEPS,
    "tensorflow",
)
def _(f, self, batch, parts=None):
    return f(self, batch, parts and [slice(None)] * len(parts))


@fault(
    "tensorflow: only the first part of each process is added",
    "train.engines.tensorflow:split_batch_of_all",
    STEPS,
    "tensorflow",
)
def _(f, *arguments):
    parts, weight = f(*arguments)
    return parts[:1], weight


@fault(
    "tensorflow: BatchNorm normalizes by the images of each device",
    "models.tensorflow._keras:_replicas",
    BATCH_NORM,
    "tensorflow",
)
def _(f):
    return None
