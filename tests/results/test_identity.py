"""Ids of runs and names of sweeps."""

import pytest

from ntkode.results import job_name, run_id, sweep_name
from ntkode.results.identity import NOT_IDENTIFYING


def config(**changes):
    return {
        "choices": {"dataset": "mnist", "model": "neural_ode", "activation": "tanh", "solver": "rk4"},
        "model": {"width": 256, "horizon": 1.0},
        "optimizer": {"lr": "auto"},
        "seed": 0,
        "steps": 200,
        "logger": {"mode": "offline"},
        "results_dir": "results",
        **changes,
    }


def test_the_prefix_is_readable_and_ten_digits_follow():
    prefix, _, digits = run_id(config()).rpartition("-")
    assert prefix == "mnist-neural_ode-tanh-w256-s0"
    assert len(digits) == 10
    assert set(digits) <= set("0123456789abcdef")


def test_the_name_is_the_same_in_every_process():
    # printf '{"model":{"width":4},"seed":0}' | sha256sum; if it changed, no stored run could be found.
    assert run_id({"seed": 0, "model": {"width": 4}, "sweep": "s"}) == "w4-s0-fb37b9a3b0"


def test_key_order_does_not_matter():
    assert run_id(dict(reversed(config().items()))) == run_id(config())


@pytest.mark.parametrize(
    "change",
    [
        {"axes": {"width": "w64,w128"}},
        {"data_root": "/data"},
        {"logger": {"mode": "online"}},
        {"hydra": {"job": 3}},
        {"sweep": "other"},
        {"results_dir": "elsewhere"},
        {"rerun": True},
        {"objective": "loss/test"},
        {"checkpoint": {"every_seconds": 1}},
        {"timeout": 60},
        {"progress": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_no_number_changes_no_name(change):
    [key] = change
    assert run_id(config(**change)) == run_id(config())
    assert run_id({**config(), key: None}) == run_id(config())
    assert sweep_name([f"{key}=other"]) == "default"


def test_every_key_that_changes_no_number_is_tested():
    tested = test_what_changes_no_number_changes_no_name.pytestmark[0].args[1]
    assert {"choices", *(key for change in tested for key in change)} == set(NOT_IDENTIFYING)


@pytest.mark.parametrize(
    "change",
    [{"steps": 201}, {"model": {"width": 256, "horizon": 2.0}}, {"optimizer": {"lr": 0.1}}, {"threads": 2}],
)
def test_what_changes_numbers_changes_the_name(change):
    assert run_id(config(**change)) != run_id(config())


def test_names_of_yaml_files_are_not_hashed():
    renamed = config(choices={"dataset": "mnist", "model": "mine", "activation": "tanh"})
    assert run_id(renamed).rpartition("-")[2] == run_id(config()).rpartition("-")[2]


def test_missing_parts_are_left_out():
    assert run_id({"steps": 3}).startswith("run-")
    assert run_id({"choices": {"dataset": "sine"}, "seed": 7}).startswith("sine-s7-")


def test_the_name_is_safe_and_short():
    name = run_id(config(choices={"dataset": "../a b/é" * 40, "activation": "x:y"}))
    assert len(name) <= 100
    assert not set(name) & set("/\\: é*?")
    assert not name.startswith(".")


def test_a_long_run_id_is_cut_in_its_readable_part_alone():
    name = run_id(config(choices={"dataset": "d" * 200}))
    prefix, _, digits = name.rpartition("-")
    assert (len(name), prefix, len(digits)) == (100, "d" * 89, 10)


def test_choices_that_yaml_reads_as_numbers_are_part_of_the_run_id():
    assert run_id({"choices": {"dataset": 7, "activation": "tanh"}}).startswith("7-tanh-")


def test_an_object_in_the_config_is_refused():
    with pytest.raises(TypeError, match="to_container"):
        run_id(config(model=object()))


def test_sweep_names_are_readable():
    assert sweep_name(["activation=tanh,softplus,relu"]) == "activation-tanh+softplus+relu"
    assert sweep_name(["seed=0,1", "+experiment=smoke"]) == sweep_name(["+experiment=smoke", "seed=0,1"])


def test_overrides_that_say_where_results_go_are_left_out_of_the_sweep_name():
    elsewhere = ["logger=none", "logger.mode=online", "hydra/launcher=slurm", "hydra.job.x=1", "~logger"]
    assert sweep_name([*elsewhere, "sweep=a", "results_dir=b", "rerun=true"]) == "default"
    assert sweep_name([*elsewhere, "solver=rk4"]) == "solver-rk4"
    assert sweep_name([]) == "default"


def test_long_sweep_names_are_cut_and_stay_distinct():
    many = ["activation=" + ",".join(f"a{number}" for number in range(40))]
    names = {sweep_name([*many, f"seed={seed}"]) for seed in range(3)}
    assert len(names) == 3
    assert all(len(name) <= 60 for name in names)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=0,1", "model=resnet"], "model-resnet_seed-0+1"),
        (["+experiment=smoke"], "experiment-smoke"),
        (["model.widths=[1,2]", "seed=0"], "model.widths--1+2-_seed-0"),
        (["dataset.data_dir='/a b'"], "dataset.data_dir--a-b"),
    ],
)
def test_a_sweep_keeps_its_name(overrides, name):
    """The same command resumes its sweep, which is stored under this name."""
    assert sweep_name(overrides) == name


def test_a_sweep_name_of_60_characters_is_not_cut():
    fits = "activation-" + "a" * 49
    assert len(fits) == 60
    assert sweep_name(["activation=" + "a" * 49]) == fits
    assert sweep_name(["activation=" + "a" * 50]) != fits + "a"


def test_a_cut_sweep_name_ends_in_a_digest_of_all_overrides():
    # printf 'activation=aaa…a\nseed=0' | sha256sum, with 60 a
    assert sweep_name(["seed=0", "activation=" + "a" * 60]) == "activation-" + "a" * 40 + "-725852b6"
    # printf 'b=aaa…a,,,,ccc…c' | sha256sum, with 47 a and 21 c; a separator at the cut is dropped.
    assert sweep_name(["b=" + "a" * 47 + ",,,,c" + "c" * 20]) == "b-" + "a" * 47 + "-875d59d9"


def test_a_job_is_named_by_its_overrides_as_typed():
    assert job_name(["seed=1", "logger.mode=online", "+model.width=64,128"]) == "seed=1 +model.width=64,128"
    assert job_name(["hydra.job.num=3"]) == ""
