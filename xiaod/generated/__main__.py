"""``python -m xiaod.generated``: write the generated files anew, and say which have changed.

>>> from xiaod.generated import COMMAND
>>> COMMAND
'make generated'
"""

from xiaod.generated import write_all

if __name__ == "__main__":
    print("\n".join(f"written: {path}" for path in write_all()) or "all generated files are current")  # noqa: T201
