"""Each file of conf/ composes, its objects can be built, and --help lists it."""

import importlib.util
import inspect
import os
import re
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from ntkode.cli import choices, resolvers
from ntkode.cli.overrides import EXTRAS
from ntkode.data import DataModule
from ntkode.metrics import Metric
from ntkode.models import ODEModel
from ntkode.results import run_id
from ntkode.studies import build

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))


def _choice(path):
    """Group and name of a config file; a folder within `experiment` is part of the name, as for Hydra."""
    folders = path.parent.relative_to(CONF).parts
    depth = 2 if folders[0] == "hydra" else 1
    return "/".join(folders[:depth]), "/".join((*folders[depth:], path.stem))


CHOICES = [_choice(path) for path in FILES if path.parent != CONF]
DEFAULTS = {
    group.removeprefix("override "): choice
    for entry in yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    if isinstance(entry, dict)
    for group, choice in entry.items()
}


def each_choice_of(*groups):
    selected = [choice for choice in CHOICES if choice[0] in groups]
    return pytest.mark.parametrize(
        ("group", "choice"), selected, ids=["=".join(choice) for choice in selected]
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_begins_with_one_line_that_says_what_it_is(path, entry):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert re.match(r"# \S", lines[0])
    assert not lines[1].startswith("#")  # one line, because --help prints only the first
    assert choices.description(path) == lines[0].removeprefix("# ")


def test_the_defaults_name_every_group_and_resolve(composed):
    assert {group for group, _ in CHOICES} <= set(DEFAULTS)
    config = composed()
    assert config["choices"] == {g: c for g, c in DEFAULTS.items() if c is not None and "hydra/" not in g}
    assert "${" not in str(config)


@each_choice_of(*{group for group, _ in CHOICES if not group.startswith("hydra/")})
def test_composes_and_all_targets_take_what_they_are_given(composed, group, choice):
    config = composed(f"{group}={choice}")
    assert config["choices"][group] == choice
    assert "${" not in str(config)
    node = config.get(group)
    if isinstance(node, dict):
        made = build(node)
        for part in made.values() if isinstance(made, dict) else [made]:
            if isinstance(part, partial):
                inspect.signature(part.func).bind_partial(*part.args, **part.keywords)


@pytest.fixture
def hydra_config(entry):
    """Hydra's part of the config with these overrides, resolved; skips if an extra is missing."""

    def call(*overrides):
        for override in overrides:
            plugin, extra = EXTRAS.get(override, ("hydra_joblib_launcher", None))
            if importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
                pytest.skip(f"needs ntkode[{extra}], which is not installed")
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", overrides=list(overrides), return_hydra_config=True)
        return config.hydra

    return call


@each_choice_of("hydra/launcher", "hydra/sweeper", "hydra/help")
def test_hydra_groups_compose(hydra_config, group, choice):
    hydra = hydra_config(f"{group}={choice}")
    assert hydra.runtime.choices[group] == choice
    made = hydra[group.removeprefix("hydra/")]
    OmegaConf.to_container(made, resolve=True)
    assert choice == "ntkode" or get_class(made._target_)


@pytest.mark.parametrize(
    ("overrides", "cores", "gpus"),
    [
        ((), 1, None),
        (("threads=2", "trainer=ddp"), 4, None),
        (("trainer=ddp", "trainer.accelerator=gpu"), 2, 2),
    ],
)
def test_launchers_ask_for_what_a_job_uses(hydra_config, overrides, cores, gpus):
    slurm = hydra_config("hydra/launcher=slurm", *overrides).launcher
    assert (slurm.cpus_per_task, slurm.gpus_per_node, slurm.tasks_per_node) == (cores, gpus, 1)
    ray = hydra_config("hydra/launcher=ray_node", *overrides).launcher.ray.remote
    assert (ray.num_cpus, ray.num_gpus) == (cores, gpus)
    local = hydra_config("hydra/launcher=local", *overrides).launcher
    assert local.n_jobs == max(1, len(os.sched_getaffinity(0)) // cores)


@each_choice_of("model")
def test_models_are_made(composed, group, choice):
    config = composed(f"{group}={choice}")
    shape = {"image_shape": (1, 2, 3), "patch": 1} if "image_shape" in config["model"] else {}
    model = build(config["model"])(in_features=6, out_features=3, **shape)
    assert isinstance(model, ODEModel)
    assert model(torch.ones(2, 6)).shape == (2, 3)


@each_choice_of("dataset")
def test_datasets_are_made(composed, group, choice):
    data = build(composed(f"{group}={choice}")["dataset"])
    assert isinstance(data, DataModule)
    if choice in (
        "mnist",
        "mnist_7x7",
        "cifar10",
        "ag_news",
    ):  # slow to read, or not embedded; tests/data reads them
        return
    data.setup()
    assert data.train.x.shape == (data.n_train, data.in_features)


def test_variants_of_datasets_change_one_key(composed):
    assert composed("dataset=mnist_7x7")["dataset"]["resize"] == 7
    assert composed("dataset=sphere_antipodal")["dataset"]["antipodal"] is True
    for variant, base in (("mnist_7x7", "mnist"), ("sphere_antipodal", "sphere")):
        ours, theirs = (composed(f"dataset={name}")["dataset"] for name in (variant, base))
        assert [key for key in theirs if ours[key] != theirs[key]] in (["resize"], ["antipodal"])


@each_choice_of("optimizer")
def test_optimizers_are_made(composed, group, choice):
    make = build(composed(f"{group}={choice}")["optimizer"]["algorithm"])
    optimizer = make([torch.nn.Parameter(torch.zeros(2))], lr=0.5)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.5


@each_choice_of("metrics")
def test_metrics_are_made(composed, group, choice):
    metrics = build(composed(f"{group}={choice}")["metrics"])
    assert all(isinstance(metric, Metric) for metric in metrics.values())
    assert bool(metrics) == (choice != "none")


@pytest.mark.parametrize(("threads", "least"), [(1, 1), (1000, 1), (0, 1), ("abc", 1)])
def test_jobs_at_a_time_are_at_least_one(entry, threads, least):
    assert resolvers.workers(threads) >= least
    assert resolvers.workers(1000) == 1


def test_jobs_at_a_time_are_no_more_than_the_gpus_allow(entry, monkeypatch):
    monkeypatch.setattr(resolvers.os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert [resolvers.workers(1, devices, "gpu") for devices in (1, 2, 4)] == [3, 1, 1]
    assert resolvers.workers(1, 1, "cpu") == 8


def test_help_lists_every_group_and_choice_with_its_line(entry, script):
    output = script("run", "--help").stdout
    listed, group = {}, None
    for line in output.partition("is the default):")[2].splitlines():
        if re.fullmatch(r"  [a-z_/]+|[a-z_/]+", line):
            group = line.strip()
        elif match := re.fullmatch(r"  ([* ]) (\S+)\s+(.*)", line):
            listed[group, match[2]] = (match[1], match[3])
    hydras = {(group, "basic"): text for group, text in choices.BASIC.items()}
    assert set(listed) == {choice for choice in CHOICES if choice[0] != "hydra/help"} | set(hydras)
    for (group, choice), (mark, text) in listed.items():
        expected = hydras.get((group, choice)) or choices.description(CONF / group / f"{choice}.yaml")
        assert text == expected
        assert (mark == "*") == (DEFAULTS[group] == choice)


SIZED = [name for group, name in CHOICES if group == "experiment" and name.startswith("paper/")]


@pytest.mark.parametrize("experiment", SIZED)
def test_experiments_of_the_paper_take_their_size_from_its_group(entry, experiment):
    """An experiment is composed last and could silently override `size=full`."""
    for size in ("paper", "full", "smoke"):
        typed = [] if size == "paper" else [f"size={size}"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(
                "config", overrides=[f"experiment={experiment}", *typed], return_hydra_config=True
            )
        declared = yaml.safe_load((CONF / "size" / f"{size}.yaml").read_text())
        if config.steps == 1:  # nothing is trained
            declared["steps"] = 1
        assert config.hydra.runtime.choices["size"] == size
        assert {key: config[key] for key in declared} == declared
        assert config.dataset.n_train == declared["n_train"]
        swept = config.hydra.sweeper.params
        assert "${" not in str(OmegaConf.to_container(swept, resolve=True))
        if "width" in swept:
            assert swept.width in declared["axes"].values()


@pytest.mark.parametrize(
    ("horizon", "per_unit", "steps"),
    [(1.0, 10, 10), (16.0, 5, 80), (0.7, 10, 7), (0.25, 10, 3), (0.01, 5, 1)],
)
def test_steps_grow_with_the_horizon(entry, horizon, per_unit, steps):
    assert resolvers.steps_over(horizon, per_unit) == steps


def test_the_horizon_experiment_keeps_the_step_size(composed):
    for horizon in (1.0, 8.0):
        config = composed("experiment=paper/horizon", f"model.horizon={horizon}")
        assert config["model"]["solver"]["steps"] == 5 * horizon


ROOTED = [
    choice
    for group, choice in CHOICES
    if group == "dataset" and "data_root" in (CONF / group / f"{choice}.yaml").read_text()
]


@pytest.mark.parametrize("dataset", ROOTED)
def test_a_data_set_with_a_folder_in_data_root_is_read_from_there(composed, tmp_path, dataset):
    plain = composed(f"dataset={dataset}")
    assert plain["dataset"]["data_dir"] is None
    without = composed(f"dataset={dataset}", f"data_root={tmp_path}")
    assert without["dataset"]["data_dir"] is None
    assert run_id(without) == run_id(plain)  # the folder of the data does not change the id
    (tmp_path / dataset).mkdir()
    other = tmp_path.parent / f"{tmp_path.name}-link"
    other.symlink_to(tmp_path)  # another path, because `composed` caches configs by their overrides
    rooted = composed(f"dataset={dataset}", f"data_root={other}")
    assert rooted["dataset"]["data_dir"] == f"{other}/{dataset}"
    overridden = composed(f"dataset={dataset}", f"data_root={other}", "dataset.data_dir=mine")
    assert overridden["dataset"]["data_dir"] == "mine"


def test_the_four_data_sets_of_files_know_data_root():
    assert {"mnist", "cifar10", "ag_news", "daily_climate"} <= set(ROOTED)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("", "mnist-neural_ode-tanh-w256-s0-1ffc4bb765"),
        ("activation=tanh size=small", "mnist-neural_ode-tanh-w256-s0-169edbd891"),
        ("activation=relu size=full seed=3", "mnist-neural_ode-relu-w256-s3-f3c39a811c"),
        ("dataset=digits trainer=ddp", "digits-neural_ode-tanh-w256-s0-5ef729a295"),
        ("trainer=gpu", "mnist-neural_ode-tanh-w256-s0-d894fcf3c4"),
        (
            "dataset=cifar10 model=conv_ode loss=cross_entropy optimizer=adam",
            "cifar10-conv_ode-tanh-w256-s0-a62173245e",
        ),
        ("dataset=ag_news model=resnet match=ntk", "ag_news-resnet-tanh-w256-s0-e719cd92dd"),
        (
            "dataset=sphere_antipodal solver=dopri5 gradient=adjoint metrics=full dtype=float64",
            "sphere_antipodal-neural_ode-tanh-w256-s0-9ad97d5633",
        ),
        (
            "model=augmented_ode dataset=sine activation=softplus metrics=gradient",
            "sine-augmented_ode-softplus-w256-s0-d2e1f65de1",
        ),
        ("experiment=smoke", "digits-neural_ode-tanh-w64-s0-cb9888f970"),
        ("experiment=gradient_accuracy", "mnist-neural_ode-tanh-w128-s0-021a95f2e8"),
        ("experiment=gradient_training", "mnist-neural_ode-tanh-w128-s0-4ca33b5350"),
        ("experiment=gradient_tolerance", "mnist-neural_ode-tanh-w128-s0-aa4cb6fe98"),
        ("experiment=advice/kinks", "mnist-neural_ode-tanh-w128-s0-0e9ff7eb3f"),
        ("experiment=width_limit", "mnist-neural_ode-tanh-w256-s0-cc98e581bd"),
        ("experiment=depth_limit model.depth=8", "mnist-resnet-tanh-w128-s0-95e99bdfdd"),
        ("experiment=paper/activation", "mnist-neural_ode-tanh-w128-s0-6d2c0ee614"),
        ("experiment=paper/horizon model.horizon=4.0", "mnist-neural_ode-tanh-w64-s0-ce21617842"),
        ("experiment=paper/gaussianity", "mnist-neural_ode-tanh-w256-s0-dca6fe0822"),
        ("experiment=paper/kernel_positivity", "mnist-neural_ode-tanh-w256-s0-e08251950f"),
        ("experiment=paper/width_ntk width=w512", "mnist-neural_ode-tanh-w512-s0-d493c1983d"),
    ],
)
def test_a_config_keeps_its_run_id(composed, overrides, expected):
    """Stored results are loaded by these ids: a renamed key or target, or a changed default, loses them."""
    assert run_id(composed(*overrides.split())) == expected


@pytest.mark.parametrize(
    "override",
    [
        "timeout=60",
        "objective=loss/test",
        "checkpoint.every_seconds=null",
        "logger=none",
        "results_dir=elsewhere",
        "sweep=other",
        "rerun=all",
        "axes.width=w64",
        "+progress=false",
    ],
)
def test_an_override_that_changes_no_number_keeps_the_run_id(composed, override):
    assert run_id(composed(override)) == run_id(composed())
