"""Secrets are recognised and masked in all that is written."""

import json
import time

import pytest
import yaml

from ntkode.results import RunRecord, damage, job_name, load, run_id, sweep_name
from ntkode.results.secrets import is_masked, masked, masked_text

SECRETS = ("hunter2hunter2", "s3cr3t-value", "pa:ss-word")


@pytest.mark.parametrize(
    "name",
    ["api_key", "logger.api_key", "apikey", "WANDB_API_KEY", "hf_token", "password", "db.passwd", "secret"],
)
def test_a_key_with_the_name_of_a_secret_is_masked(name):
    assert masked({name: "abc"}) == {name: "***"}
    assert masked({"outer": [{name: 12345}]}) == {"outer": [{name: "***"}]}
    assert masked_text(f"failed with {name}=abc, {name}: 'a b'.") == f"failed with {name}=***, {name}: ***."


@pytest.mark.parametrize(
    "content",
    [
        {"max_tokens": 64, "text_key": "review", "pad_token": "<pad>", "keys": ["a"], "keyboard": "b"},
        {"solver@gradient.backward": "dopri5", "url": "https://host:80/a@b", "time": "12:30", "token": None},
        {"text": "activation=tanh model.width=256: loss 1e-3", "monkey": "x"},
    ],
)
def test_other_content_stays(content):
    assert masked(content) == content
    assert not is_masked(content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pa:ss@host/x", "https://me:***@host/x"),
        ("cannot reach postgres://me:s3cr3t@[::1]:5432", "cannot reach postgres://me:***@[::1]:5432"),
        ("me:s3cr3t@host", "me:***@host"),
        (r"url=https\://me\:s3cr3t@host", r"url=https\://me\:***@host"),  # as Hydra writes swept values
    ],
)
def test_a_password_in_an_address_is_masked(text, expected):
    assert masked_text(text) == expected
    assert masked_text(expected) == expected


@pytest.mark.parametrize("text", ["a" * 100_000, "a:" * 50_000, "a@b.c:" * 20_000, "key=a:" * 20_000])
def test_long_texts_take_no_time(text):
    began = time.perf_counter()
    masked_text(text)
    assert time.perf_counter() - began < 1.0


def test_names_of_jobs_and_sweeps_hold_no_secret():
    overrides = ["activation=tanh", "+dataset.token=s3cr3t-value", "+dataset.url=https://me:s3cr3t@host"]
    assert job_name(overrides) == "activation=tanh +dataset.token=*** +dataset.url=https://me:***@host"
    assert "s3cr3t" not in sweep_name(overrides)
    assert sweep_name(["seed=1", "solver@gradient.backward=rk4"]) == "seed-1_solver-gradient.backward-rk4"


def test_a_record_holds_no_secret(tmp_path):
    record = RunRecord.open(tmp_path, "a")
    config = {"steps": 1, "dataset": {"token": SECRETS[0], "url": f"https://me:{SECRETS[1]}@host"}}
    record.begin(config)
    record.write_provenance({"dataset": {"source": f"https://me:{SECRETS[2]}@host"}})
    record.finish("error", f"no answer from https://me:{SECRETS[1]}@host with token={SECRETS[0]}", "a=1")
    texts = [path.read_text() for path in record.directory.iterdir()]
    assert not [secret for secret in SECRETS for text in texts if secret in text]
    assert record.config == {"steps": 1, "dataset": {"token": "***", "url": "https://me:***@host"}}
    assert yaml.safe_load((record.directory / "config.yaml").read_text()) == record.config
    assert json.loads((record.directory / "status.json").read_text())["message"].endswith("token=***")


def test_a_run_whose_config_is_masked_keeps_its_id(tmp_path):
    config = {"steps": 1, "dataset": {"token": SECRETS[0]}}
    record = RunRecord.open(tmp_path, run_id(config))
    record.begin(config)
    record.append({"step": 0})
    record.write_summary({})
    record.finish("done")
    assert damage(record) is None
    assert list(load(tmp_path)["config.dataset.token"]) == ["***"]
