"""Feature maps of frozen backbones on disk, computed once and read in every later epoch."""

from .cache import Cache, PipelineCache

__all__ = ["Cache", "PipelineCache"]
