"""The display of a sweep while it runs."""

import io
import re

import pytest
from rich.console import Console

from ntkode.execution import monitor as monitor_module
from ntkode.execution.monitor import SweepMonitor
from ntkode.results import RunRecord, SweepIndex, records
from ntkode.results.status import write_status


class Jobs:
    """Jobs of one sweep, advanced by the test, and a monitor that reads the records only in `poll`."""

    def __init__(self, directory, terminal=False):
        self.directory = directory
        self.output = io.StringIO()
        console = Console(file=self.output, force_terminal=terminal, width=100, height=50, color_system=None)
        # An hour between two readings: the test itself calls `poll`, so that no timing decides it.
        self.monitor = SweepMonitor(directory, console, poll_seconds=3600, line_seconds=0)

    def add(self, name, steps=10):
        record = RunRecord.open(self.directory, name)
        SweepIndex(self.directory, "s").add(name, f"activation={name}")
        record.begin({"steps": steps})
        return record

    def finish_earlier(self, record, *end):
        """End the run before the monitor started."""
        record.finish(*end)
        earlier = record.status | {"finished": "2000-01-01T00:00:00.000+00:00"}
        write_status(record.directory / "status.json", earlier)

    def poll(self):
        """Read the records; the text that this prints, without the terminal's control codes."""
        before = self.output.tell()
        self.monitor._poll()
        return self.text()[-(self.output.tell() - before) :] if self.output.tell() > before else ""

    def text(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.output.getvalue())


@pytest.fixture(autouse=True)
def still_clock(monkeypatch):
    """Records and monitor read one constant time, so that no text depends on the machine's speed."""
    for module in (monitor_module, records):
        monkeypatch.setattr(module, "utc_now", lambda: "2026-01-01T00:00:00.000+00:00")


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path)


@pytest.fixture
def terminal_jobs(tmp_path):
    return Jobs(tmp_path, terminal=True)


def test_a_line_a_job_from_phase_to_end(jobs):
    with jobs.monitor as monitor:
        monitor.watch("s")
        assert jobs.poll() == ""
        record = jobs.add("tanh")
        record.set_phase("learning rate")
        assert jobs.poll().splitlines() == ["activation=tanh  0/10  0:00  learning rate"]
        record.set_phase("training")
        record.append({"step": 0, "loss/train": 0.5, "ntk/lambda_min": 0.094})
        record.append({"step": 1, "loss/train": 0.25})
        assert jobs.poll().startswith("activation=tanh  1/10  loss 0.250  λ_min 0.0940  ")
        record.finish("done")
    (end,) = [line for line in jobs.text().splitlines() if "✓ done" in line]
    assert end.startswith("activation=tanh  1/10  loss 0.250")


def test_an_end_is_printed_once_and_a_failure_with_its_message(jobs):
    with jobs.monitor as monitor:
        monitor.watch("s")
        jobs.add("relu").finish("diverged", "the loss became\n inf")
        jobs.poll()
        jobs.poll()
    assert jobs.text().count("activation=relu") == 1
    assert jobs.text().strip().endswith("✗ diverged: the loss became inf")


def test_lines_come_no_faster_than_asked(tmp_path):
    jobs = Jobs(tmp_path)
    jobs.monitor = SweepMonitor(tmp_path, Console(file=jobs.output), poll_seconds=3600, line_seconds=3600)
    with jobs.monitor as monitor:
        monitor.watch("s")
        record = jobs.add("tanh")
        jobs.poll()
        record.append({"step": 3})
        assert jobs.poll() == ""
    assert jobs.text().count("activation=tanh") == 1


def test_only_runs_added_since_it_began_to_watch(jobs):
    jobs.add("old").finish("done")
    with jobs.monitor as monitor:
        monitor.watch("s")
        jobs.add("new").finish("done")
    assert "activation=new" in jobs.text()
    assert "activation=old" not in jobs.text()


def test_the_end_of_an_earlier_attempt_is_no_end(jobs):
    record = jobs.add("tanh")
    record.append({"step": 7})
    jobs.finish_earlier(record, "error", "earlier trouble")
    with jobs.monitor as monitor:
        monitor.watch("s")
        SweepIndex(jobs.directory, "s").add("tanh", "activation=tanh")
        assert jobs.poll() == ""
        record.begin({"steps": 10})
        assert jobs.poll().startswith("activation=tanh  0/10")
        record.finish("done")
    assert "earlier trouble" not in jobs.text()
    assert "✓ done" in jobs.text()


def test_a_second_attempt_does_not_set_the_clock_back(jobs, monkeypatch):
    def at(seconds):
        for module in (monitor_module, records):
            monkeypatch.setattr(module, "utc_now", lambda: f"2026-01-01T00:00:{seconds:02}.000+00:00")

    with jobs.monitor as monitor:
        monitor.watch("s")
        record = jobs.add("tanh")
        at(15)
        assert jobs.poll().splitlines() == ["activation=tanh  0/10  0:15  preparing"]
        at(16)
        record.begin({"steps": 10})
        at(18)
        assert jobs.poll().splitlines() == ["activation=tanh  0/10  0:18  preparing"]
        at(20)
        record.finish("done")
    assert "activation=tanh  0/10  0:20  ✓ done" in jobs.text()


def test_a_stored_run_that_is_skipped_is_labelled_stored(jobs):
    record = jobs.add("tanh")
    jobs.finish_earlier(record, "done")
    with jobs.monitor as monitor:
        monitor.watch("s")
        SweepIndex(jobs.directory, "s").add("tanh", "activation=tanh")
    assert "✓ stored" in jobs.text()


def test_a_damaged_run_is_not_labelled_stored(jobs):
    record = jobs.add("tanh")
    record.append({"step": 9})
    jobs.finish_earlier(record, "done")
    (record.directory / "history.jsonl").write_text("")
    with jobs.monitor as monitor:
        monitor.watch("s")
        SweepIndex(jobs.directory, "s").add("tanh", "activation=tanh")
        assert jobs.poll() == ""
    assert "✓ stored" not in jobs.text()
    assert "✗ history.jsonl is damaged: 0 bytes, recorded 12" in jobs.text()


def test_an_unreadable_record_is_skipped_not_raised(jobs):
    with jobs.monitor as monitor:
        monitor.watch("s")
        record = jobs.add("tanh")
        good = (record.directory / "status.json").read_text()
        for bad in ("{", "[]", "{}", '{"status": "odd", "finished": null}'):
            (record.directory / "status.json").write_text(bad)
            assert jobs.poll() == ""
        (record.directory / "status.json").write_text(good)
        assert "preparing" in jobs.poll()


def test_bars_on_a_terminal(terminal_jobs):
    with terminal_jobs.monitor as monitor:
        monitor.watch("s")
        tanh, relu = terminal_jobs.add("tanh"), terminal_jobs.add("relu")
        tanh.append({"step": 5, "loss/train": 0.125, "ntk/lambda_min": 0.1})
        relu.finish("solver_failed", "underflow in dt " * 20)
        rendered = terminal_jobs.poll()
        tanh_line, relu_line = (
            next(line for line in rendered.splitlines() if name in line) for name in ("tanh", "relu")
        )
        assert re.search(r"activation=tanh +━+.*━ +5/10 loss 0.125 λ_min 0.100 +0:00 preparing", tanh_line)
        assert "✗ solver_failed: underflow" in relu_line  # cut to the line's end
        assert len(rendered.strip().splitlines()) == 2
        tanh.finish("done")
    assert "✓ done" in terminal_jobs.text()


def test_with_many_jobs_only_the_running_ones_get_a_bar(terminal_jobs):
    with terminal_jobs.monitor as monitor:
        monitor.watch("s")
        for number in range(15):
            record = terminal_jobs.add(f"job{number:02}")
            if number != 7:
                record.finish("error" if number == 3 else "done")
        rendered = terminal_jobs.poll()
        assert "14/15 jobs" in rendered
        assert "1 failed" in rendered
        assert [name in rendered for name in ("job06", "job07", "job08")] == [False, True, False]


def test_the_thread_polls_by_itself(tmp_path):
    jobs = Jobs(tmp_path)
    console = Console(file=jobs.output, width=100)
    with SweepMonitor(tmp_path, console, poll_seconds=0.001, line_seconds=0) as monitor:
        monitor.watch("s")
        jobs.add("tanh")
        for _ in range(30_000):
            if jobs.output.getvalue():
                break
            monitor._stop.wait(0.01)
        assert "activation=tanh" in jobs.output.getvalue()
    assert not monitor._thread.is_alive()


def test_without_a_sweep_nothing_is_printed(jobs):
    with jobs.monitor:
        pass
    assert jobs.text() == ""


def test_an_error_in_the_sweep_passes_through(jobs):
    def sweep():
        with jobs.monitor as monitor:
            monitor.watch("s")
            jobs.add("tanh")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep()
    assert "activation=tanh" in jobs.text()
