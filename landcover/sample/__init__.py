"""The synthetic dataset, which the project writes itself."""
