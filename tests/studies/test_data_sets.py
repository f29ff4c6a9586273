"""A training run with all metrics on the data sets that are images in colour, texts and a time series."""

import pytest
from tests.data.samples import write_hub_folders

from ntkode.execution import run_job
from ntkode.results import RunRecord, Status, run_id

SMALL = (
    "size=smoke",
    "steps=8",
    "model.width=24",
    "dataset.n_train=40",
    "dataset.n_test=40",
    "logger=none",
    "metrics=standard",
    "study.require_metrics=true",
    *(f"metrics.{metric}.probe_size=12" for metric in ("ntk", "gradient", "limit_distance")),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_hub_folders(tmp_path_factory.mktemp("hub"))


@pytest.mark.parametrize("name", ["cifar10", "ag_news", "daily_climate"])
def test_training_with_all_standard_metrics(composed, tmp_path, monkeypatch, folders, name):
    monkeypatch.setenv("NTKODE_CACHE", str(tmp_path / "cache"))
    keys = [f"dataset.data_dir={folders[name]}"] if name in folders else []
    keys += ["dataset.resize=8"] if name == "cifar10" else []
    config = composed(*SMALL, f"dataset={name}", f"results_dir={tmp_path}", *keys)
    run_job(config, name)
    record = RunRecord.open(tmp_path, run_id(config))
    assert record.status["status"] == Status.DONE, record.status  # fails where a metric is not finite
    summary, description = record.summary(), record.provenance()["dataset"]
    assert summary["loss/ratio"] < 0.9
    # Enough features, or a random draw, for a kernel of full rank.
    assert summary["ntk/lambda_min"] > summary["ntk/resolution"]
    assert ("accuracy/test" in summary) == (name != "daily_climate")
    assert description["name"] == name
    assert description["duplicates"]["pairs"] == 0
    if name == "daily_climate":
        rmse = description["target_scale"][0] * (2 * summary["loss/test"]) ** 0.5
        assert 0 < rmse < 7.4  # °C: the standard deviation of all days
