"""Teachers: networks whose probabilities the student learns, each with its own native preprocessing."""

from collections.abc import Callable, Mapping
from pathlib import Path

from distill.config import TeacherSection
from distill.teachers.ensemble import Ensemble
from distill.teachers.onnx import OnnxTeacher
from distill.teachers.seisbench import SeisBenchTeacher
from distill.teachers.teacher import Teacher

__all__ = ["TEACHERS", "Ensemble", "OnnxTeacher", "SeisBenchTeacher", "Teacher", "open_teacher"]


def open_teacher(config: TeacherSection, shared: Path, threads: int) -> Teacher:
    """Load the teacher of a configuration.

    Args:
        config: its section.
        shared: folder below which its paths are.
        threads: threads that it may use.

    Raises:
        FileNotFoundError: when a file does not exist.
        ConfigError: when it cannot be loaded.
    """
    return TEACHERS[config.kind](config, shared, threads)


def _onnx(config: TeacherSection, shared: Path, threads: int) -> Teacher:
    return OnnxTeacher(shared / config.onnx, config, threads)


def _seisbench(config: TeacherSection, shared: Path, threads: int) -> Teacher:
    return SeisBenchTeacher(config, shared / config.cache_root if config.cache_root else None, threads)


def _ensemble(config: TeacherSection, shared: Path, threads: int) -> Teacher:
    members = [open_teacher(member, shared, threads) for member in config.members]
    return Ensemble(members, [member.weight for member in config.members])


TEACHERS: Mapping[str, Callable[[TeacherSection, Path, int], Teacher]] = {
    "onnx": _onnx,
    "seisbench": _seisbench,
    "ensemble": _ensemble,
}
"""Kind of teacher -> function that loads it."""
