"""Work goes on past whatever single jobs do, and stops where nothing more can be written."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from slowfast_atfr.datasets.decoder import DecodeError
from slowfast_atfr.prepare.jobs import DIED, run_jobs
from slowfast_atfr.utils.errors import RunError
from tests.processes import hear_ctrl_c


def work(job):
    kind, path = job
    if kind == "bad":
        raise DecodeError(path, "no video")
    if kind == "bug":
        raise ZeroDivisionError("deep inside")
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    with open(path, "a") as file:
        file.write("x")


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_is_done_and_every_failure_has_its_reason(tmp_path, workers):
    kinds = ["good"] * 5 + ["bad", "crash", "good", "bug", "crash"] + ["good"] * 6
    jobs = [(kind, str(tmp_path / str(number))) for number, kind in enumerate(kinds)]
    failed = run_jobs(work, jobs, workers=workers, title="test")
    reasons = {"bad": "no video", "crash": DIED, "bug": "ZeroDivisionError: deep inside"}
    assert failed == {job: reasons[job[0]] for job in jobs if job[0] != "good"}
    assert {p.name for p in tmp_path.iterdir()} == {str(n) for n, kind in enumerate(kinds) if kind == "good"}


def test_no_jobs_are_done_at_once():
    assert run_jobs(work, [], workers=4, title="test", done=3) == {}


def test_a_full_disk_stops_the_work_with_one_clear_error(tmp_path):
    jobs = [("full", str(tmp_path / "a.mp4"))] + [("good", str(tmp_path / str(n))) for n in range(200)]
    with pytest.raises(RunError, match=r"cannot write to .*a.mp4: No space left on device. Finished files are kept"):
        run_jobs(work, jobs, workers=1, title="test")
    assert len(list(tmp_path.iterdir())) < 200


SLEEPER = """
import os, sys, time
sys.path.insert(0, os.getcwd())
from slowfast_atfr.prepare.jobs import run_jobs
def sleep(path):
    open(path + str(os.getpid()), "w").close()
    time.sleep(60)
if __name__ == "__main__":
    run_jobs(sleep, [sys.argv[1] + "/a", sys.argv[1] + "/b"], workers=2, title="sleep")
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl_c", "killed"])
def test_workers_end_with_their_parent(repo, tmp_path, how):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "marks").mkdir()
    command = [sys.executable, str(tmp_path / "sleeper.py"), str(tmp_path / "marks")]
    options = {"cwd": repo, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    parent = subprocess.Popen(command, preexec_fn=hear_ctrl_c, **options)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "marks").iterdir())) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)  # as a terminal does
    else:
        parent.send_signal(how)
    parent.communicate(timeout=20)
    workers = [int(path.name[1:]) for path in (tmp_path / "marks").iterdir()]
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker goes on without its parent"
        time.sleep(0.05)


def _runs(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
