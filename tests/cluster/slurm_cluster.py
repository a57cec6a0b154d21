"""A real Slurm of two nodes on this machine, out of Debian's packages, in a folder of its own; needs root.

python tests/cluster/slurm_cluster.py FOLDER   starts it and prints what to export; ends with Ctrl-C or SIGTERM
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
INSTALL = "apt-get install --no-install-recommends slurm-wlm munge"
CONFIG = """\
ClusterName=try
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
SchedulerParameters=sched_interval=5,bf_interval=5
KillWait=30
MinJobAge=3600
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=8000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=hi Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=10
"""


def why_not() -> str:
    """Why there can be no cluster here; "" where there can."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} are not installed: {INSTALL}"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Nodes n1 and n2 of four processors, partitions all and hi, whose jobs preempt; ended and cleared away afterwards.

    Yields:
        environment variables for sbatch, squeue, scontrol and scancel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", "spool.n1", "spool.n2"):
        (folder / name).mkdir()
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=socket.gethostname(), folder=folder, ports=_free_ports(3)))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    env = {"SLURM_CONF": str(config)}
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")} | env
    munge = [f"--{kind}={folder}/munge.{kind.removesuffix('-file')}" for kind in ("socket", "key-file")]
    munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "log", "seed")]
    commands = [["munged", "--foreground", "--force", "--num-threads=2", *munge], ["slurmctld", "-D", "-i"]]
    commands += [["slurmd", "-D", "-N", node] for node in ("n1", "n2")]
    daemons = []
    try:
        for command in commands:
            log = open(folder / f"{command[0]}.out", "ab")  # noqa: SIM115  (the daemon's, for its life)
            daemons.append(subprocess.Popen(command, env=own, stdout=log, stderr=log, start_new_session=True))
            time.sleep(1.0)
        _wait_for_nodes(own, daemons)
        yield env
    finally:
        subprocess.run(["scancel", "--user=root"], env=own, check=False, timeout=30)
        time.sleep(1.0)
        for daemon in reversed(daemons):
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("localhost", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _wait_for_nodes(env: dict[str, str], daemons: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(daemon.poll() is not None for daemon in daemons):
            break
        states = subprocess.run(["sinfo", "-h", "-N", "-p", "all", "-o", "%T"], env=env, capture_output=True, text=True)
        if states.stdout.split() == ["idle", "idle"]:
            return
        time.sleep(0.5)
    raise RuntimeError(f"Slurm does not start: see the logs beside {env['SLURM_CONF']}")


if __name__ == "__main__":
    problem = why_not()
    if problem:
        raise SystemExit(problem)
    with slurm_cluster(Path(sys.argv[1]).resolve()) as variables, suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("\n".join(f"export {name}={value}" for name, value in variables.items()), flush=True)
        signal.pause()
