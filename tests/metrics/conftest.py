"""Fixtures for the tests of metrics: a trained and an initial module."""

import pytest
import torch
from tests.metrics.runs import all_metrics, train


@pytest.fixture(scope="module")
def trained():
    return train(all_metrics())


@pytest.fixture(scope="module")
def initial():
    """Model and data before the first step."""
    module, _ = train(
        [], steps=1, optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr=0.0), learning_rate=1.0
    )
    return module
