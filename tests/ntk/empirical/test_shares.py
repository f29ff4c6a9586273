"""How ranks divide a kernel, for any number of them; no process is started."""

from itertools import chain, combinations

import pytest

from ntkode.ntk.empirical.distributed import _computes, _portable, _shares


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7, 8])
def test_shares_are_consecutive_and_differ_by_one_sample_at_most(ranks):
    for samples in (ranks, ranks + 1, 5 * ranks - 1, 100):
        shares = [list(range(samples))[share] for share in _shares(samples, ranks)]
        assert list(chain(*shares)) == list(range(samples))
        sizes = [len(share) for share in shares]
        assert len(sizes) == ranks
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7, 8])
def test_each_pair_of_ranks_has_one_that_computes_its_block_and_all_compute_as_many(ranks):
    for pair in combinations(range(ranks), 2):
        assert _computes(*pair) != _computes(*reversed(pair))
    blocks = [sum(_computes(rank, other) for other in range(ranks)) for rank in range(ranks)]
    assert all(_computes(rank, rank) for rank in range(ranks))
    assert max(blocks) - min(blocks) <= 1


def test_a_failure_that_cannot_be_sent_is_described():
    class Local(Exception):  # a class inside a function cannot be unpickled
        pass

    error = ValueError("as it is")
    assert _portable(error) is error
    assert _portable(None) is None
    described = _portable(Local("why"))
    assert type(described) is RuntimeError
    assert str(described) == "Local: why"
