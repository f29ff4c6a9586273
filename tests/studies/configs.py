"""Small studies and trackers that end in all possible ways, for `_target_: tests.studies.configs.…`."""

import ctypes
import os
import random
import signal
import tempfile
import time

import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from tests.tracking.wandb_fake import KEY, fake_server

from ntkode.data.errors import DataError
from ntkode.integrate import NonFiniteState
from ntkode.metrics import Metric
from ntkode.ntk.empirical.recording import Recorder
from ntkode.ranks import rank, total
from ntkode.studies.training import Training
from ntkode.tracking import WandbTracker, trackers
from ntkode.training import Diverged

FAILURES = {
    "diverged": lambda: Diverged("the loss is not finite at step 3"),
    "solver": lambda: NonFiniteState("rk4(10 steps): non-finite state at t=1"),
    "data": lambda: DataError("dataset.n_train=0 is no number", "dataset.n_train=N"),
    "value": lambda: ValueError("model.width=0 must be an integer ≥ 1"),
    "key": lambda: KeyError("nosuch"),
    "exit": lambda: SystemExit(1),
}


class Writes:
    """Appends rows with the id of its process, and prints."""

    def __init__(self, rows=2):
        self.rows = rows

    def run(self, config, record, tracker):
        print(f"attempt of process {os.getpid()}")
        for step in range(self.rows):
            record.append({"step": step, "pid": os.getpid()})


class Raises:
    """Fails with one of `FAILURES` after its first row."""

    def __init__(self, failure):
        self.failure = failure

    def run(self, config, record, tracker):
        record.append({"step": 0, "pid": os.getpid()})
        raise FAILURES[self.failure]()


class Dies:
    """Ends its process by a signal, or with an exit code."""

    def __init__(self, signal=None, code=None):
        self.signal, self.code = signal, code

    def run(self, config, record, tracker):
        if self.signal is None:
            os._exit(self.code)
        os.kill(os.getpid(), self.signal)


class Sleeps:
    """Appends a row, then sleeps for ten minutes."""

    def run(self, config, record, tracker):
        record.append({"step": 0, "pid": os.getpid()})
        time.sleep(600)


class HoldsInterpreter:
    """Appends a row, then sleeps for ten minutes in a library that lets no other thread run Python code."""

    def run(self, config, record, tracker):
        record.append({"step": 0, "pid": os.getpid()})
        ctypes.PyDLL(None).sleep(600)


class Deaf:
    """Blocks all signals but SIGKILL, appends a row, then sleeps for ten minutes."""

    def run(self, config, record, tracker):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        record.append({"step": 0, "pid": os.getpid()})
        time.sleep(600)


class Tracker:
    """A tracker that stores the run's status and its argument when it is closed."""

    loggers = ()

    def __init__(self, record, config, job):
        self.record = record

    def close(self, failed):
        ended = self.record.status["status"]
        (self.record.directory / "closed.txt").write_text(f"{ended} failed={failed}")


class SignallingTracker(Tracker):
    """A tracker that sends its process a signal when it receives the row of a step."""

    def __init__(self, record, config, job, step, signal):
        super().__init__(record, config, job)
        self.loggers = [SignallingLogger(step, signal)]


class SignallingLogger(CSVLogger):
    """Sends the signal, and writes nothing."""

    def __init__(self, step, signal):
        super().__init__(save_dir=tempfile.mkdtemp())
        self.step, self.signal = step, signal

    def log_metrics(self, metrics, step=None):
        if step == self.step:
            os.kill(os.getpid(), self.signal)

    def save(self):
        pass


class BrokenTracker(Tracker):
    """A tracker whose upload fails."""

    def close(self, failed):
        raise ConnectionError("the server is gone")


class NeverMeasured(Metric):
    """A metric that applies to the run, and returns no value."""

    def names(self, module):
        return {"never/measured"}

    def measure(self, module):
        return {}


class NoisyDescent(torch.optim.SGD):
    """Gradient descent with noise from the global generators of torch, NumPy and Python."""

    def step(self, closure=None):
        loss = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter += 1e-3 * torch.randn_like(parameter)
                    parameter += 1e-3 * (np.random.standard_normal() + random.gauss(0.0, 1.0))
        return loss


class NoServer(WandbTracker):
    """W&B online, with a server that does not answer; W&B itself, which would try for 95 s, may not start."""

    def __init__(self, record, config, job):
        os.environ |= {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": KEY}
        trackers.SafeWandbLogger = _unexpected_start
        super().__init__(record, config, job, mode="online")


def _unexpected_start(**settings):
    raise AssertionError("W&B was started although its server does not answer")


class FailingMidway(WandbTracker):
    """W&B that accepts one row and fails from then on."""

    def __init__(self, record, config, job):
        super().__init__(record, config, job)
        send, self.taken = self._run.log, 0
        self._logger._experiment = self._run

        def log(*arguments, **keywords):
            self.taken += 1
            if self.taken > 1:
                raise BrokenPipeError("the W&B process is gone")
            send(*arguments, **keywords)

        self._run.log = log


class DyingServer(WandbTracker):
    """W&B online, with a server that stops before the run ends."""

    def __init__(self, record, config, job):
        trackers.FINISH_SECONDS = 1.0
        self.serving = fake_server()
        server = self.serving.__enter__()
        os.environ |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        super().__init__(record, config, job, mode="online")

    def close(self, failed):
        self.serving.__exit__(None, None, None)
        super().close(failed)


class FailsOnRank:
    """Sums over the ranks, one of which fails or is killed first."""

    distributed = True

    def __init__(self, failing, killed=False):
        self.failing, self.killed = failing, killed

    def run(self, config, record, tracker):
        if rank() == self.failing:
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise NonFiniteState(f"non-finite state on rank {rank()}")
        total(torch.ones(()))


class FailsToMeasure(Training):
    """Trains; one rank cannot differentiate its share of any kernel."""

    def __init__(self, failing):
        super().__init__()
        self.failing = failing

    def run(self, config, record, tracker):
        if rank() == self.failing:
            Recorder.__call__ = _no_state
        super().run(config, record, tracker)


def _no_state(*arguments):
    raise NonFiniteState("non-finite state on one rank")


class DownloadsRecorded(Training):
    """Trains, and prints how each download from the hub is requested."""

    def run(self, config, record, tracker):
        import huggingface_hub

        download = huggingface_hub.hf_hub_download

        def recorded(*arguments, **settings):
            print(f"download with local_files_only={settings['local_files_only']}", flush=True)
            return download(*arguments, **settings)

        huggingface_hub.hf_hub_download = recorded
        super().run(config, record, tracker)


class Sees:
    """Appends a row with the GPUs that its process sees, and the times between which it has them."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def run(self, config, record, tracker):
        began = time.time()
        time.sleep(self.seconds)
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        record.append({"step": 0, "gpus": gpus, "began": began, "ended": time.time()})
