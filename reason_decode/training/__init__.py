"""Training what scores and what guides: labelled solutions, losses, trainers."""
