"""Land cover of Sentinel-2 patches: the library behind the pipeline's stages and tools."""
