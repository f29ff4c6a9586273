"""Studies: each computes one run, and its report turns runs into claims."""

from ntkode.studies.base import Config, Study, build

__all__ = ["Config", "Study", "build"]
