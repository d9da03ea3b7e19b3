"""Waveforms that are kept around picks.

>>> SnippetConfig().enabled, SnippetConfig(enabled=True).max_mb
(False, 1000.0)
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from xiaod.config.model import Model


class SnippetConfig(Model):
    """Waveforms around final picks."""

    enabled: bool = False
    """Whether a miniSEED file of all components is written around each final pick, named by its id, with the samples that the picker
    got."""
    folder: Path = Field(default=Path("var/snippets"), strict=False)
    """Folder of the files."""
    before_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """Seconds before the pick."""
    after_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Seconds after the pick. The file is written some seconds after all components have them, or half a minute later without."""
    pictures: bool = True
    """Whether a PNG is drawn beside each; needs the extra plot."""
    keep_days: Annotated[float, Field(ge=0, le=36_500)] = 30.0
    """Days that they stay; 0: for ever."""
    max_mb: Annotated[float, Field(ge=1, le=1e9)] = 1000.0
    """Megabytes (10^6 bytes) of all files; above it the oldest go. Nothing is written while the disk has less than 50 MB left, so that
    picks can be stored."""
