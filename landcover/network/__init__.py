"""The network, its training and its predictions."""
