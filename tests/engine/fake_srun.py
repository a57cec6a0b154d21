"""Stands in for Slurm's srun: starts the tasks on this machine, with Slurm's variables.

As the real one it signals all processes of a task, data workers too, ends the others when a task fails, and returns the
highest status.
"""

import argparse
import os
import signal
import subprocess
import sys
import time


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    for option in ("--kill-on-bad-exit", "--cpus-per-task"):
        parser.add_argument(option)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--ntasks-per-node", type=int, default=int(os.environ.get("FAKE_TASKS_PER_NODE", "1")))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    here, nodes = args.ntasks_per_node, args.nodes
    step = {
        "SLURM_STEP_ID": "0",
        "SLURM_NNODES": str(nodes),
        "SLURM_STEP_NUM_TASKS": str(nodes * here),
        "SLURM_STEP_TASKS_PER_NODE": f"{here}(x{nodes})",
        "SLURM_STEP_NODELIST": "localhost",
    }
    tasks = [
        {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task % here), "SLURM_NODEID": str(task // here)}
        for task in range(nodes * here)
    ]
    processes = [
        subprocess.Popen(args.command, env={**os.environ, **step, **task}, start_new_session=True) for task in tasks
    ]

    def end(*_: object) -> None:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    told = False
    while any(process.poll() is None for process in processes):
        if args.kill_on_bad_exit and not told and any(process.poll() for process in processes):
            told = True
            time.sleep(2.0)  # so the others may say what they saw first
            end()
        time.sleep(0.05)
    return max(status if status >= 0 else 128 - status for status in (process.wait() for process in processes))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
