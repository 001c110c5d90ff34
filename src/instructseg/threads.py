"""Number of threads, and how long idle ones spin: environment variables that PyTorch reads when it is imported.

OpenMP threads that finish early spin while they wait for the others. On a machine that runs other programs too, they
take the cores that the others need: segmenting a clip took up to 14 times as long. A short spin costs nothing.

The command line calls `set_thread_policy` before it imports PyTorch. A library cannot: its user imports PyTorch first.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

SPIN_COUNT = 3000
"""Iterations of an idle thread's waiting loop before it sleeps (libgomp; its default is 300,000 or more)."""

SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
CGROUP_ROOT = Path("/sys/fs/cgroup")


def set_thread_policy(threads: int | None = None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables that PyTorch's threads read; call it before the first import of torch.

    Variables that the user has set stay as they are, except that `threads` replaces `OMP_NUM_THREADS`.

    Args:
        threads: number of threads, at least 1; None: PyTorch's default, but no more than `usable_cpus`.
        environment: where the variables are set.
    """
    if not any(name in environment for name in SPIN_VARIABLES):
        environment["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    elif "OMP_NUM_THREADS" not in environment and usable_cpus() < _cpus_by_affinity():
        environment["OMP_NUM_THREADS"] = str(usable_cpus())


def usable_cpus(root: Path = CGROUP_ROOT, process: Path = Path("/proc/self/cgroup")) -> int:
    """Number of CPUs that this process may use: its affinity, and on Linux the CPU quota of its control group.

    A container limited to 2 of 64 cores by a quota may run on all of them, but only for 2 seconds per second. A
    quota is rounded up. `root` is where control groups are mounted, `process` lists those of this process.
    """
    quotas = [quota for folder in _control_groups(root, process) if (quota := _quota(folder)) is not None]
    return min([_cpus_by_affinity(), *(max(1, math.ceil(quota)) for quota in quotas)])


def _cpus_by_affinity() -> int:
    """Number of CPUs on which the scheduler may put this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _control_groups(root: Path, process: Path) -> set[Path]:
    """The folders of this process's control groups and of their parents, each of which may have a quota."""
    folders = {root, root / "cpu", root / "cpu,cpuacct"}
    for line in (_read(process) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        mount = root / controllers if controllers else root  # version 2 names no controllers
        if not controllers or "cpu" in controllers.split(","):
            group = mount / path.lstrip("/")
            folders |= {group, *(parent for parent in group.parents if parent.is_relative_to(mount))}
    return folders


def _quota(folder: Path) -> float | None:
    """CPU seconds per second that a control group allows; None without a limit."""
    unified = _read(folder / "cpu.max")  # version 2: "200000 100000", or "max 100000"
    if unified is None:
        unified = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
    try:
        quota, period = map(float, unified.split())
        limit = quota / period
    except (ValueError, ZeroDivisionError):
        return None
    return limit if limit > 0 else None  # version 1: -1 is no limit


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
