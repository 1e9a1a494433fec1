"""The synthetic datasets, and a scene of the same kind, which the project writes itself."""
