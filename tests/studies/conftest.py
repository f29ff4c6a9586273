"""Shared by the tests of studies."""

import pytest

from ntkode.execution import run_job
from ntkode.results import RunRecord, run_id


@pytest.fixture(scope="module")
def run(request, composed, tmp_path_factory):
    """Compute a run by the test module's `SMALL` and these overrides; returns its config and record."""
    results = tmp_path_factory.mktemp("results")

    def call(*overrides):
        config = composed(*request.module.SMALL, f"results_dir={results}", *overrides)
        run_job(config, " ".join(overrides))
        return config, RunRecord.open(results, run_id(config))

    return call
