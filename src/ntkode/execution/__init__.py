"""Execution of runs: each job computes one run in a separate process."""

from ntkode.execution.jobs import run_job, settle, wants_running

__all__ = ["run_job", "settle", "wants_running"]
