"""Products on a Dask cluster whose workers are killed, and fits on it whose driver is killed and goes on."""
