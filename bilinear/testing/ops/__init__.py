"""One file per operator: random cases, singular points, smooth cases, error bounds."""
