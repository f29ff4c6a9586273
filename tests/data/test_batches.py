import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from ntkode.data import Digits
from ntkode.data.batches import Batch, BatchSchedule


def schedule(**keys: Any) -> list[Any]:
    return list(BatchSchedule(**({"n": 60, "steps": 14, "seed": 1} | keys)))


def test_a_full_batch_is_everything_in_order_at_every_step() -> None:
    assert schedule() == [slice(0, 60)] * 14


def test_every_pass_sees_every_sample_once() -> None:
    batches = schedule(batch_size=10)
    for first in (0, 6):
        seen = torch.cat(batches[first : first + 6])
        assert sorted(seen.tolist()) == list(range(60))
        assert seen.tolist() != list(range(60))
    assert not torch.equal(batches[0], batches[6])


def test_batches_have_one_size_and_the_remainder_is_skipped() -> None:
    batches = schedule(batch_size=25)
    assert {len(rows) for rows in batches} == {25}
    assert len(set(torch.cat(batches[:2]).tolist())) == 50


def test_the_schedule_depends_on_its_arguments_alone() -> None:
    once = schedule(batch_size=7)
    torch.manual_seed(5)
    again = BatchSchedule(60, steps=14, seed=1, batch_size=7)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert all(torch.equal(again.rows(step), once[step]) for step in (13, 2, 8))
    longer = schedule(batch_size=7, steps=20)
    assert all(torch.equal(a, b) for a, b in zip(once, longer, strict=False))
    assert not torch.equal(once[0], schedule(batch_size=7, seed=2)[0])


def test_a_start_skips_and_keeps_the_length() -> None:
    resumed = BatchSchedule(60, steps=14, seed=1, batch_size=7, start=9)
    assert len(resumed) == 14
    rest = list(resumed)
    assert len(rest) == 5
    assert all(torch.equal(a, b) for a, b in zip(rest, schedule(batch_size=7)[9:], strict=True))


@pytest.mark.parametrize("batch_size", [None, 20])
def test_a_batch_holds_the_rows_it_names(common: dict[str, Any], batch_size: int | None) -> None:
    data = Digits(**common, batch_size=batch_size)
    data.setup()
    loader = data.train_dataloader()
    assert len(loader) == 5
    batches = list(loader)
    assert len(batches) == 5
    for indices, x, y in batches:
        assert indices.shape == (batch_size or 60,)
        assert torch.equal(x, data.train.x[indices])
        assert torch.equal(y, data.train.y[indices])


def test_a_full_batch_is_no_copy(common: dict[str, Any]) -> None:
    data = Digits(**common)
    data.setup()
    for _, x, y in data.train_dataloader():
        assert x.data_ptr() == data.train.x.data_ptr()
        assert y.data_ptr() == data.train.y.data_ptr()


def test_a_full_batch_costs_no_time(common: dict[str, Any]) -> None:
    data = Digits(**(common | {"n_train": 1000, "steps": 200}))
    data.setup()
    started = time.perf_counter()
    for _ in data.train_dataloader():
        pass
    # Measured: 0.02 ms per step; a thousand Python items take 10 ms.
    assert (time.perf_counter() - started) / 200 < 1e-3


def test_the_test_split_comes_whole_and_in_order(common: dict[str, Any]) -> None:
    data = Digits(**common)
    data.setup()
    ((indices, x, y),) = data.test_dataloader()
    assert indices.tolist() == list(range(40))
    assert torch.equal(x, data.test.x)
    assert torch.equal(y, data.test.y)


class Recorder(lightning.LightningModule):
    """A linear model that keeps the rows of its batches, and stops after `stop` of them."""

    def __init__(self, stop: int | None = None, checkpoint: Path | None = None) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)
        self.seen: list[list[int]] = []
        self.stop, self.checkpoint = stop, checkpoint

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        indices, x, y = batch
        self.seen.append(indices.tolist())
        return (self.linear(x) - y).square().sum()

    def on_train_batch_end(self, *_: Any) -> None:
        if len(self.seen) == self.stop:
            self.trainer.save_checkpoint(self.checkpoint)
            self.trainer.should_stop = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


def fit(model: Recorder, data: Digits, checkpoint: Path | None = None) -> list[list[int]]:
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data, ckpt_path=checkpoint)
    return model.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_resumed_training_sees_the_batches_of_an_undisturbed_one(
    common: dict[str, Any], tmp_path: Path, batch_size: int | None
) -> None:
    keys = common | {"steps": 20, "batch_size": batch_size}
    undisturbed = Recorder()
    assert len(fit(undisturbed, Digits(**keys))) == 20
    checkpoint = tmp_path / "step.ckpt"
    torch.manual_seed(0)
    first = fit(Recorder(stop=11, checkpoint=checkpoint), Digits(**keys))
    second = fit(Recorder(), Digits(**keys), checkpoint)
    assert (len(first), len(second)) == (11, 9)
    assert first + second == undisturbed.seen
