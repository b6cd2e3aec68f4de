"""Faults of the networks and of their files."""

from . import Edits, Fault, Mutant

SAME = {
    "tensorflow": [
        ("same = stride == 1 and 2 * padding == side - 1", "same = 2 * padding == side - 1")
    ],
    "jax": [("[(padding, padding)] * 2,", '"SAME",')],
}

FAULTS: list[Fault] = [
    Fault(
        "the running variance is biased",
        "backbone",
        {
            "torch": [
                (
                    "        return super().forward(input)",
                    "        before = self.running_var.clone()\n"
                    "        result = super().forward(input)\n"
                    "        count = input.numel() // input.shape[1]\n"
                    "        if self.training:\n"
                    "            new = (self.running_var - 0.9 * before) * (count - 1) / count\n"
                    "            self.running_var.copy_(0.9 * before + new)\n"
                    "        return result",
                )
            ],
            "tensorflow": [("unbiased = variance * (count / (count - 1))", "unbiased = variance")],
            "jax": [("var * (count / (count - 1))", "var")],
        },
    ),
    Fault(
        "the statistics are stale",
        "backbone",
        {
            "torch": [
                (
                    "        return super().forward(input)",
                    "        old = [self.running_mean.clone(), self.running_var.clone()]\n"
                    "        weights = [self.weight, self.bias, self.training, 0.1, self.eps]\n"
                    "        return nn.functional.batch_norm(input, *old, *weights)",
                )
            ],
            "tensorflow": [("statistic.assign(", "tf.identity(")],
            "jax": [("            self._learn(", "            0 and self._learn(")],
        },
    ),
    Fault(
        "the batch's variance normalises unbiased",
        "backbone",
        {
            "tensorflow": [
                (
                    "unbiased = variance * (count / (count - 1))",
                    "unbiased = variance = variance * (count / (count - 1))",
                )
            ],
            "jax": [
                (
                    "            self._learn(mean, var,",
                    "            count = x[..., 0].size\n"
                    "            var = var * count / (count - 1)\n"
                    "            self._learn(mean, var,",
                )
            ],
        },
    ),
    Fault("a convolution of stride 2 is padded as SAME", "backbone", SAME),
    Fault(
        "the shortcut is left out",
        "backbone",
        {
            "torch": [("self.bn2(self.conv2(x)) + shortcut", "self.bn2(self.conv2(x))")],
            "tensorflow": [("tf.nn.relu(x + shortcut)", "tf.nn.relu(x)")],
            "jax": [("self.bn2(self.conv2(x)) + shortcut", "self.bn2(self.conv2(x))")],
        },
    ),
]

RESAMPLING: dict[str, Edits] = {
    "torch": [
        (
            'mode="bilinear", align_corners=False',
            'mode="bilinear", align_corners=False, antialias=True',
        )
    ],
    "tensorflow": [
        ("doubled = (2 * tf.range(new) + 1) * old - new", "doubled = 2 * tf.range(new) * old")
    ],
    "jax": [("antialias=False", "antialias=True")],
}

FILES: list[tuple[str, str, Edits, str]] = [
    (
        "momentum is dropped from the file",
        "bilinear/models/portable.py",
        [
            (
                "write(path, description, tensors, momentum)",
                "write(path, description, tensors, None)",
            )
        ],
        "momentum_travels",
    ),
    (
        "class names are dropped",
        "bilinear/models/portable.py",
        [("classes=None if classes is None else tuple(classes)", "classes=None")],
        "every_door_opens",
    ),
    (
        "the parameters of the pool are dropped",
        "bilinear/models/portable.py",
        [
            (
                "value = getattr(pool, argument)",
                "value = getattr(type(pool)(), argument)",
            )
        ],
        "parameters_travel",
    ),
]

POOLS: list[tuple[str, str, Edits, str]] = [
    (
        "integers of tables are not looked at",
        "bilinear/models/checkpoint.py",
        [("if values is None", "if True")],
        "bad_pools",
    ),
    (
        "tables may have momentum",
        "bilinear/models/checkpoint.py",
        [("if is_parameter(name) and spec.dtype in DTYPES", "if is_parameter(name)")],
        "bad_pools",
    ),
    (
        "the header is looked at when the network is built",
        "bilinear/models/checkpoint.py",
        [("_check(op, found, kept, _wanted(description, {}), DAMAGED)", "del found, kept")],
        "bad_pools",
    ),
    (
        "arguments of the pool within are not looked at",
        "bilinear/models/pools.py",
        [
            (
                '        check_pooling(op, pooling["pool"]',
                '        0 and check_pooling(op, pooling["pool"]',
            )
        ],
        "bad_pools",
    ),
    (
        "every file has the first version",
        "bilinear/models/description.py",
        [("return 1 if first and not added else VERSION", "return 1")],
        "pools",
    ),
    (
        "projections are drawn as small as the classifier",
        "bilinear/models/plans.py",
        [('1 / math.sqrt(shape[1]) if name.startswith("projection") else 0.01', "0.01")],
        "pools",
    ),
    (
        "taps do not cut the network",
        "bilinear/models/plans.py",
        [("    return layers[: 1 + max(", "    return layers[: 999 + max(")],
        "pools",
    ),
]
"""Found without a framework, in the test file of that name."""

TAPS: dict[str, Edits] = {
    "torch": [("for name in self.taps)", "for name in self.names if name in self.taps)")],
    "tensorflow": [
        (
            "for name in plans.tapped(self.architecture, self.taps))",
            "for name in sorted(plans.tapped(self.architecture, self.taps)))",
        )
    ],
    "jax": [
        (
            "for name in plans.tapped(self.name, self.taps))",
            "for name in sorted(plans.tapped(self.name, self.taps)))",
        )
    ],
}


def mutants() -> list[Mutant]:
    """Networks are compared with another framework's, so two doors are open."""
    found = []
    for fault in FAULTS:
        for framework, edits in fault.edits.items():
            doors = (framework, "torch" if framework != "torch" else "jax")
            path = f"bilinear/models/{framework}/{fault.file}.py"
            tests = (
                "tests/models/test_models.py",
                "-k",
                "resnet18 and not vgg16 and not full_size or unbiased",
            )
            found.append(Mutant(fault.name, framework, path, edits, doors, tests))
    for framework, edits in RESAMPLING.items():
        file = "resampling" if framework == "tensorflow" else "bcnn"
        path = f"bilinear/models/{framework}/{file}.py"
        tests = ("tests/models/test_models.py", "-k", "feature_maps and resnet18")
        name = "streams are resampled another way"
        found.append(Mutant(name, framework, path, edits, (framework,), tests))
    for framework, edits in TAPS.items():
        path = f"bilinear/models/{framework}/backbone.py"
        tests = ("tests/models/test_pooled_models.py", "-k", "feature_maps")
        name = "maps come in the order of the network"
        found.append(Mutant(name, framework, path, edits, (framework,), tests))
    for name, path, edits, test in POOLS:
        found.append(Mutant(name, "torch", path, edits, ("none",), (f"tests/test_{test}.py",)))
    for name, path, edits, test in FILES:
        found.append(
            Mutant(
                name, "torch", path, edits, ("torch",), ("tests/models/test_files.py", "-k", test)
            )
        )
    return found
