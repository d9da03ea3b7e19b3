"""The machine: model, processor, memory, system, and on a Raspberry Pi what ``vcgencmd`` reports on temperature, throttling and power.

>>> throttled("throttled=0x50005")
['under-voltage now', 'throttled now', 'under-voltage since boot', 'throttled since boot']
>>> watts({"EXT5V_V": 5.1, "VDD_CORE_V": 0.8, "VDD_CORE_A": 2.5})
2.0
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VCGENCMD = "vcgencmd"
LIMIT_S = 10.0
DEVICE_TREE = Path("/proc/device-tree/model")
CPU_INFO = Path("/proc/cpuinfo")
MEMORY_INFO = Path("/proc/meminfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
THROTTLED_BITS = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}
"""Raspberry Pi documentation, ``vcgencmd get_throttled``."""


def describe() -> dict[str, Any]:
    """Model, processor, memory and system."""
    processor = _named(CPU_INFO, ("model name", "Model")) or platform.processor() or platform.machine()
    total_kb = _named(MEMORY_INFO, ("MemTotal",)).split()
    return {
        "model": _text(DEVICE_TREE).strip("\0 \n") or processor,
        "processor": processor,
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mb": round(int(total_kb[0]) / 1024) if total_kb else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "governor": _text(GOVERNOR).strip() or None,
    }


def condition() -> dict[str, Any]:
    """Temperature, throttling and power now; empty if the machine does not report them."""
    found: dict[str, Any] = {}
    if (millidegrees := _text(THERMAL).strip()).lstrip("-").isdigit():
        found["temperature_c"] = round(int(millidegrees) / 1000, 1)
    if shutil.which(VCGENCMD) is None:
        return found
    if match := re.search(r"temp=([\d.]+)", _vcgencmd("measure_temp")):
        found["temperature_c"] = float(match.group(1))
    if said := _vcgencmd("get_throttled"):
        found["throttled"] = throttled(said)
    if match := re.search(r"=(\d+)", _vcgencmd("measure_clock", "arm")):
        found["clock_mhz"] = round(int(match.group(1)) / 1e6)
    rails = {
        name: float(value)
        for name, value in re.findall(r"(\w+)\s+\w+\(\d+\)=([\d.]+)", _vcgencmd("pmic_read_adc"))
    }
    if rails and (power := watts(rails)):
        found["power_w"] = power
    return found


def throttled(answer: str) -> list[str]:
    """Meaning of the bits of ``get_throttled``."""
    _, _, value = answer.strip().partition("=")
    try:
        bits = int(value, 16)
    except ValueError:
        return []
    return [text for bit, text in THROTTLED_BITS.items() if bits >> bit & 1]


def watts(rails: Mapping[str, float]) -> float:
    """Power of all rails of ``pmic_read_adc`` that give both voltage and current; losses before the rails are not included."""
    names = {name[:-2] for name in rails if name.endswith("_A")}
    return round(sum(rails[f"{name}_A"] * rails.get(f"{name}_V", 0.0) for name in names), 2)


def _vcgencmd(*arguments: str) -> str:
    program = shutil.which(VCGENCMD)
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  a fixed program with fixed arguments
            [program, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _named(path: Path, keys: tuple[str, ...]) -> str:
    for line in _text(path).splitlines():
        if line.startswith(keys):
            return line.partition(":")[2].strip()
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
