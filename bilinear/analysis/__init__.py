"""Metrics, descriptors on disk, heat maps and classifier conversion, with NumPy alone."""
