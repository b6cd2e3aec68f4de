"""All planted faults."""

from . import (  # noqa: F401 - the families enter their faults into other tables
    aggregation,
    data,
    descriptors,
    devices,
    files,
    hub,
    layers,
    library,
    low_rank,
    matrices,
    models,
    operators,
    pooling,
    replicas,
    retrieval,
    root_and_norm,
    shared,
    sketches,
)

FAULTS = [fault for family in (operators, layers, models, library) for fault in family.faults()]
