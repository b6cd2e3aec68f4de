"""B-CNN networks: the plans and files every framework shares, and one builder a framework."""
