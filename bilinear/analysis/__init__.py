"""Metrics, descriptors on disk, heat maps and classifier conversion, based on NumPy and Pillow."""
