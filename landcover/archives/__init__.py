"""The archive of a dataset: where it comes from, what dvc.lock records of it, and how it is read safely."""
