"""What people run by hand: `python -m landcover <verb>`, one module per verb."""
