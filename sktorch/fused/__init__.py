"""Many trainings as one program: models of the same structure are stacked and step in lockstep."""
