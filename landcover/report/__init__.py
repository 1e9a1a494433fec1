"""How results look: pages, tables, plots and pictures."""
