"""Studies: each computes one cell, and declares how cells become claims."""

from ntkode.studies.base import Config, Study, build
from ntkode.studies.isolation import run_job, settle

__all__ = ["Config", "Study", "build", "run_job", "settle"]
