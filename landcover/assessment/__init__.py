"""The accuracy of a map, and the areas of its classes, from a sample that people label."""
