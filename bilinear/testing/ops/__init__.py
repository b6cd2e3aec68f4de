"""What is particular to each operator: its draws, its hard points, its bound."""
