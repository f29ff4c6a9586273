"""Execution of runs: each job computes one run in a process of its own."""

from ntkode.execution.jobs import run_job, settle

__all__ = ["run_job", "settle"]
