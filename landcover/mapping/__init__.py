"""From a scene to a map."""
