"""All planted faults."""

from . import layers, library, models, operators

FAULTS = [fault for family in (operators, layers, models, library) for fault in family.faults()]
