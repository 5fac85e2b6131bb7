"""What limits the memory of this process: physical memory, control groups, and `ulimit`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
#: A limit of a control group from here on is none.
NO_LIMIT = 2**60


class Limit(NamedTuple):
    """Bytes that can still be allocated, what limits them, and what to do about it."""

    free: float
    name: str
    advice: str = "Use a machine with more memory"


def smallest_limit() -> Limit:
    """The least of all limits; infinity where the system tells of none."""
    return min([*physical(), *control_groups(), *of_process()], default=Limit(float("inf"), "the system does not tell"))


def physical() -> Iterator[Limit]:
    """Memory of the machine that is free or can be freed."""
    try:
        for line in (ROOT / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield Limit(float(line.split()[1]) * 1024.0, "memory of this machine")
                return
    except (OSError, ValueError, IndexError):
        pass
    try:
        yield Limit(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), "memory of this machine")
    except (AttributeError, ValueError, OSError):
        return


def of_process() -> Iterator[Limit]:
    """What ``ulimit -v`` and ``ulimit -d`` leave; the first counts libraries and stacks of threads as well."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # Pages of the process, and of its data and stacks, are fields 0 and 5.
    for which, option, field in ((resource.RLIMIT_AS, "-v", 0), (resource.RLIMIT_DATA, "-d", 5)):
        soft, _ = resource.getrlimit(which)
        if soft == resource.RLIM_INFINITY or soft < 0:
            continue
        try:
            used = float((ROOT / "proc/self/statm").read_text().split()[field]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            used = 0.0
        yield Limit(max(soft - used, 0.0), f"ulimit {option}", f"Raise it (ulimit {option} unlimited)")


def control_groups() -> Iterator[Limit]:
    """What the control groups of the process leave, and those above them; what the kernel would give back is free."""
    for folder, limit, usage, inactive in _group_folders():
        try:
            most = (folder / limit).read_text().strip()
            if most == "max" or float(most) >= NO_LIMIT:
                continue
            used = float((folder / usage).read_text())
            cached = _of_table(folder / "memory.stat", inactive)
            yield Limit(
                max(float(most) - max(used - cached, 0.0), 0.0),
                f"control group, {folder / limit}",
                "Raise the limit of the container or job",
            )
        except (OSError, ValueError):
            continue


def _group_folders() -> Iterator[tuple[Path, str, str, str]]:
    """Folders of version 2 and 1, from the group of the process up, with the names of their files.

    Inside a container the path of the group may be one of the host's: its part that exists, and the root,
    are looked at.
    """
    try:
        lines = (ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        mounts: tuple[Path, ...]
        if not controllers:
            mounts = ROOT / "sys/fs/cgroup", ROOT / "sys/fs/cgroup/unified"
            files = "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            mounts = (ROOT / "sys/fs/cgroup/memory",)
            files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        for mount in mounts:
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:depth]), *files


def _of_table(path: Path, name: str) -> float:
    """A value of a file of names and numbers; 0 if it is not there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0.0)
