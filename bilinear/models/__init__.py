"""B-CNN models: what all frameworks share, and one folder for each framework."""
