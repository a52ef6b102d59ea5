"""Runs Synapse as `python -m synapse.app.homeserver` does, and ends with whoever started it."""

import os
import runpy
import sys
import threading


def end_with_stdin():
    # Nobody can write to us: the end of our input is the end of the test's process.
    sys.stdin.buffer.read()
    os._exit(1)


threading.Thread(target=end_with_stdin, daemon=True).start()
runpy.run_module("synapse.app.homeserver", run_name="__main__", alter_sys=True)
