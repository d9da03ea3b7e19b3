"""``xiaod pick``: pick miniSEED files and folders, as fast as the CPU goes.

>>> parser = argparse.ArgumentParser()
>>> arguments(parser)
>>> options = parser.parse_args(['day.mseed', '--format', 'csv'])
>>> options.format
'csv'
"""

import argparse
from pathlib import Path

from xiaod.commands.options import add_config, refuse

HELP = "pick miniSEED files and folders, as fast as the CPU goes"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="miniSEED file or folder")
    add_config(
        parser, help_text="windows, engine and picker as in this configuration (default: the defaults)"
    )
    parser.add_argument("--model", metavar="NAME", help="shipped model or path of an ONNX file")
    parser.add_argument("--format", choices=["jsonl", "quakeml", "csv"], default="jsonl")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write here instead of standard output")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar on standard error")


def run(options: argparse.Namespace) -> int:
    """Pick files offline, through the daemon's own pipeline."""
    from xiaod.configfile import ConfigError
    from xiaod.engines.errors import ModelError
    from xiaod.offline import pick_files

    try:
        return pick_files(
            options.inputs,
            options.config,
            options.model,
            options.format,
            options.output,
            progress=not options.no_progress,
        )
    except (ConfigError, ModelError, OSError) as error:
        return refuse(error)
