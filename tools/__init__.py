"""Tools to run by hand, one module per tool."""
