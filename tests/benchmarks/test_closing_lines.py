"""The last lines of a sweep: which runs the same command computes, and which need rerun=failed."""

import signal

import pytest

from ntkode.cli import sweep
from ntkode.results import RunRecord, SweepIndex

REFUSED = "1 of these failed earlier and were not run again: rerun=failed runs them"
UNCHANGED = "1 of these could not be recomputed"


@pytest.fixture
def closing(tmp_path, monkeypatch, capsys):
    """A function that stores a run, then runs its sweep without computing it: exit code and output."""

    def close(status, kills=0, interrupt=True, rerun_all=False):
        record = RunRecord.open(tmp_path, "a-run")
        record.begin({"steps": 5, "seed": 0, "results_dir": str(tmp_path)})
        record.finish(status, "as it was", kills=kills)
        index = SweepIndex(tmp_path, "s")

        def compose_and_run():
            index.add(record.run_id, "activation=tanh", 0)
            if interrupt:
                raise KeyboardInterrupt

        monkeypatch.setattr(sweep, "compose_and_run", compose_and_run)
        monkeypatch.setattr(sweep, "show", lambda *arguments: None)
        before = signal.getsignal(signal.SIGTERM)
        try:
            code = sweep.run_sweep(str(tmp_path), "s", index, rerun_all)
        finally:
            signal.signal(signal.SIGTERM, before)
        return code, " ".join(capsys.readouterr().out.split())

    return close


@pytest.mark.parametrize(("status", "kills"), [("interrupted", 0), ("killed", 1), ("killed", 3)])
def test_a_run_that_the_same_command_resumes_has_not_failed(closing, status, kills):
    code, out = closing(status, kills)
    assert code == sweep.INTERRUPTED
    assert REFUSED not in out
    assert out.endswith("interrupted: the same command runs the rest")


@pytest.mark.parametrize(("status", "kills"), [("error", 0), ("timeout", 0), ("killed", 4)])
def test_a_run_that_needs_a_request_is_counted(closing, status, kills):
    code, out = closing(status, kills, interrupt=False)
    assert code == 1
    assert REFUSED in out


def test_a_run_that_an_interrupt_kept_from_being_recomputed_has_no_reason_in_its_log(closing):
    assert UNCHANGED not in closing("done", rerun_all=True)[1]
    assert UNCHANGED in closing("done", rerun_all=True, interrupt=False)[1]
