"""What several ranks would not train as one process does."""

import pytest

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
