"""Runs a command and ends it when our standard input closes: that is, when the process that started us is gone.

Standard library only, and run as a file of its own (`python -I leash.py COMMAND …`). It lives in its own session with
its child, so that Ctrl-C on a terminal reaches the bridge alone, which flushes first and ends the child then; and a
bridge that is killed with -9 still takes its child along, since the kernel closes the pipe.
"""

import os
import signal
import subprocess
import sys
import threading

_GRACE_S = 5.0


def main() -> int:
    """Start the command; return its exit code."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 -- our own server binary

    def end(*_: object) -> None:
        child.terminate()
        timer = threading.Timer(_GRACE_S, child.kill)
        timer.daemon = True
        timer.start()

    def wait_for_the_end_of_input() -> None:
        while os.read(0, 1):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
