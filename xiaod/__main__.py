"""``python -m xiaod``: the same as the ``xiaod`` command.

>>> from xiaod.cli.main import build_parser
>>> build_parser().prog
'xiaod'
"""

import sys

from xiaod.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
