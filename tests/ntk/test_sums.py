"""Cumulative sums."""

import torch

from ntkode.ntk.sums import cumulative_sum


def test_each_entry_is_the_sum_up_to_it():
    values = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], dtype=torch.float64)
    assert cumulative_sum(values, 1).tolist() == [[1, 3, 7], [8, 24, 56]]
    assert cumulative_sum(values, 0).tolist() == [[1, 2, 4], [9, 18, 36]]
    assert cumulative_sum(values, -1).dtype == torch.float64
