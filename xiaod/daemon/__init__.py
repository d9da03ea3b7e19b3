"""The process: start, reload, stop, state folder, housekeeping, and the pages over HTTP."""
