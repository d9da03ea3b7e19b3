"""xiao-distill: trains the student from a teacher, offline.

The daemon never imports this package.
"""

import os

# Before NumPy is imported: its matrices here are small, and threads for them cost up to a hundred times what they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
