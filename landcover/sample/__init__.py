"""The synthetic datasets, which the project writes itself."""
