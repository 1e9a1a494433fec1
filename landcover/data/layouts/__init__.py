"""The layouts of datasets, one module each; see landcover/data/layout.py."""
