"""Land cover of Sentinel-2 patches: the library behind the pipeline's stages and tools.

For a notebook, `from landcover import api` has all that is needed without the command line.
"""
