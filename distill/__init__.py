"""xiao-distill: trains the student from a teacher, offline.

The daemon never imports this package.
"""
