"""Workers end with the pipeline in every case, and few batches are in memory."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bilinear.data.images import Preprocessing, normalize

from .. import datasets
from .test_pipeline import pipeline

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def is_running(pid):
    """Whether a process is running. Zombies are not running."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return status.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pids):
    """Whether all processes end within a minute."""
    deadline = time.monotonic() + 60
    while (left := any(map(is_running, pids))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not left


def test_few_batches_are_prepared_ahead(tmp_path):
    index = datasets.two_class_index(tmp_path, 9)
    with pipeline(index, shuffle=False, workers=1, prefetch=1) as opened:
        batches = opened.epoch(0)
        next(batches)  # batch 1 is submitted, batch 2 is not
        time.sleep(0.5)
        for name in ("6.jpg", "7.jpg", "8.jpg"):
            (tmp_path / name).unlink()
        assert next(batches).indices.tolist() == [3, 4, 5]
        with pytest.raises(FileNotFoundError, match=r"6\.jpg"):
            next(batches)


def test_the_next_batch_is_assembled_in_the_background(tmp_path):
    """Waiting for it takes a fraction of the time of stacking and normalizing."""
    size = Preprocessing(448)
    index = datasets.two_class_index(tmp_path, 96)
    with pipeline(index, workers=1, batch_size=24, preprocessing=size) as opened:
        batches, waited = opened.epoch(0), []
        whole = next(batches).images
        for _ in range(3):
            time.sleep(0.5)  # enough for a worker to decode a batch several times
            begun = time.perf_counter()
            next(batches)
            waited.append(time.perf_counter() - begun)
    pixels = [np.zeros(image.shape, np.uint8) for image in whole]
    begun = time.thread_time()
    normalize(np.stack(pixels), size)
    assert min(waited) < (time.thread_time() - begun) / 4


def bytes_read(pid):
    """Bytes that a process has read so far."""
    return int(Path(f"/proc/{pid}/io").read_text(encoding="utf-8").split()[1])


@on_linux
def test_an_abandoned_epoch_is_not_decoded(tmp_path):
    """The next epoch does not wait for it."""
    index = datasets.two_class_index(tmp_path, 60, scale=8)
    size = min(file.stat().st_size for file in tmp_path.iterdir())
    with pipeline(index, workers=1, prefetch=20) as opened:
        next(opened.epoch(0))
        (pid,) = opened._pool._processes
        before = bytes_read(pid)
        next(opened.epoch(1, start=19))  # the last batch
        after = bytes_read(pid)
    assert after - before < 15 * size  # one batch, and what the worker had begun


@on_linux
def test_leaving_the_with_block_ends_the_workers(tmp_path):
    pids = []

    def train():
        with pipeline(datasets.two_class_index(tmp_path, 11), workers=2) as opened:
            for _ in opened.epoch(0):
                pids.extend(opened._pool._processes)
                assert all(map(is_running, pids))
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert len(pids) == 2
    assert not any(map(is_running, pids))


@on_linux
def test_a_worker_that_is_killed_is_an_error(tmp_path):
    index = datasets.two_class_index(tmp_path, 5)
    with pipeline(index, workers=1, batch_size=1, prefetch=1) as opened:
        batches = opened.epoch(0)
        next(batches)
        os.kill(next(iter(opened._pool._processes)), signal.SIGKILL)
        with pytest.raises(RuntimeError, match="workers must run as long as the pipeline"):
            list(batches)


SCRIPT = """
import sys, time
from pathlib import Path
from bilinear.data import Pipeline, open_dataset
from bilinear.data.images import Preprocessing

def work():
    index = open_dataset(sys.argv[1])
    with Pipeline(index, batch_size=2, preprocessing=Preprocessing(16), workers=2) as pipeline:
        for epoch in range(10**6):
            for batch in pipeline.epoch(epoch):
                if epoch == 0:
                    print(*pipeline._pool._processes, flush=True)
"""


@pytest.fixture
def script(tmp_path):
    """A program with two workers that runs until it is stopped, in its own session."""
    datasets.photographs(tmp_path / "photographs", wren=4, finch=4)
    started = []

    def start(last):
        file = tmp_path / "script.py"
        file.write_text(SCRIPT + last)
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, str(file), str(tmp_path / "photographs")],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and its workers, whose pipes would stay open
        process.communicate()


GUARDED = "if __name__ == '__main__':\n    work()\n"


@on_linux
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_survives_its_program(script, end):
    """After Ctrl-C, which a terminal also sends to the workers, and after a kill."""
    program = script(GUARDED)
    pids = [int(word) for word in program.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    (os.killpg if end == signal.SIGINT else os.kill)(program.pid, end)
    program.wait(timeout=60)
    assert wait_for_end(pids)
    _, errors = program.communicate()
    if end == signal.SIGINT:
        assert errors.count("Traceback") == 1  # that of the program
        assert errors.rstrip().endswith("KeyboardInterrupt")


LATE = """
if __name__ == '__mp_main__':
    try:
        Path(__file__).with_suffix('.first').touch(exist_ok=False)
    except FileExistsError:
        time.sleep(2)
"""


@on_linux
def test_ctrl_c_during_worker_start_prints_one_traceback(script):
    program = script(LATE + GUARDED)
    program.stdout.readline()  # from the first worker; the second sleeps
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_a_script_without_main_guard_gets_a_clear_error(script):
    program = script("work()\n")
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1
    last = [line for line in errors.splitlines() if line.startswith("RuntimeError")][-1]
    assert "under if __name__ ==" in last  # multiprocessing may print a warning after it
