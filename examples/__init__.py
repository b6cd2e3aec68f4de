"""Examples on photographs; start with ``python -m examples.demo``."""
