"""What processes and the machine spent, from /proc; the figures are missing where there is none."""

import os
from pathlib import Path

__all__ = ["busy_s", "cpu_s", "rss_mib"]

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT = 3, 4


def cpu_s(pid: int) -> float:
    """User and system time of a process, without its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_s() -> float:
    """What all processors did other than wait, since the machine started; what a hypervisor took counts too."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return float("nan")
    return (sum(fields) - fields[_IDLE] - fields[_IOWAIT]) / _TICKS


def rss_mib(pid: int) -> float:
    """Memory that a process holds."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024
