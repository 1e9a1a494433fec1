"""Maps of scenes."""
