"""The network, and how it learns and predicts."""
