"""The version of the package, and how to cite it."""

__version__ = "0.2.0"
CITATION = (
    f"The remlblup developers (2026). remlblup: variance components by REML and BLUPs from Henderson's mixed model"
    f" equations, version {__version__} [Python package]."
)
