"""Trainers under the variables of launchers, and what several ranks would not train as one process does."""

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only

from ntkode.studies import preparation
from ntkode.studies.preparation import check_split


@pytest.fixture
def check(composed, monkeypatch):
    """`check_split` on a config's data and model, with two ranks."""
    monkeypatch.setattr(preparation, "ranks", lambda: 2)

    def call(*overrides):
        config = composed("size=smoke", "dataset=digits", "n_train=16", "n_test=16", "width=w64", *overrides)
        data = preparation.read_data(config)
        check_split(data, preparation.build_model(config, data, "cpu"))

    return call


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        ("n_train=15", "n_train=15", "n_train=14"),
        ("optimizer=adam optimizer.batch_size=7", "batch_size=7", "optimizer.batch_size=6"),
        ("solver=dopri5", "solver=dopri5 couples", "solver=rk4"),
        ("gradient=adjoint solver@gradient.backward=dopri5", "solver@gradient.backward=dopri5", "rk4"),
    ],
)
def test_a_run_that_cannot_be_split_is_refused(check, overrides, named, remedy):
    with pytest.raises(ValueError, match=named) as raised:
        check(*overrides.split())
    assert remedy in str(raised.value)


@pytest.mark.parametrize(
    "overrides", ["", "n_train=14", "optimizer=adam optimizer.batch_size=8", "solver=euler"]
)
def test_a_run_that_can_be_split_is_not(check, overrides):
    check(*overrides.split())


FOREIGN = {
    "sbatch": {"SLURM_NTASKS": "8"},
    "srun": {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"},
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "3", "GROUP_RANK": "1", "WORLD_SIZE": "8",
        "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1",
    },
    "mpirun": {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8", "PMI_RANK": "3", "PMI_SIZE": "8"},
    "jsrun": {
        "LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_RANK": "3",
        "JSM_NAMESPACE_SIZE": "8", "JSM_NAMESPACE_LOCAL_RANK": "3",
    },
}  # fmt: skip
"""By launcher, variables with which it starts one of its processes."""


@pytest.mark.parametrize("launcher", FOREIGN)
def test_a_launcher_s_variables_do_not_reach_a_trainer_of_one_process(composed, monkeypatch, launcher):
    for name, value in FOREIGN[launcher].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(vars(rank_zero_only), "rank", 3)  # read from such variables at import
    trainer = preparation.build_trainer(composed("size=smoke"), logger=False)
    assert (trainer.world_size, trainer.global_rank, trainer.local_rank, trainer.node_rank) == (1, 0, 0, 0)
    assert trainer.is_global_zero
    assert rank_zero_only.rank == 0


def test_a_trainer_of_several_processes_keeps_its_environment(composed):
    trainer = preparation.build_trainer(composed("size=smoke", "trainer=ddp"), logger=False)
    assert isinstance(trainer.strategy.cluster_environment, LightningEnvironment)
    assert trainer.world_size == 2
