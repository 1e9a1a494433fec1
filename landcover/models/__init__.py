"""The networks and the baselines: what turns a patch into the probabilities of its classes."""
