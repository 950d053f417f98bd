"""Runs one command and ends it when its owner is gone, however the owner went: even `kill -9` closes a pipe.

A program of its own (`python -I leash.py FD COMMAND …`), started by its owner in a session of its own, so that Ctrl-C
on the terminal reaches the owner alone, who then ends this in its own time. FD is the read end of a pipe whose write
end only the owner has. Standard library only, and nothing of the bridge.

Writes the command's process id to standard output, one line. Exits as the command does.
"""

import os
import signal
import subprocess
import sys
import threading

_PATIENCE_S = 5.0


def main() -> int:
    """Run the command of `sys.argv`."""
    owner, command = int(sys.argv[1]), sys.argv[2:]
    # Not our own standard output: its owner would wait for the end of it, even when this program is gone.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the owner's end is ours; after Popen, for it would be inherited
    os.write(sys.stdout.fileno(), f"{child.pid}\n".encode())
    ended = threading.Event()
    threading.Thread(target=_end_with_owner, args=(owner, child, ended), daemon=True).start()
    code = child.wait()
    ended.set()
    return code if code >= 0 else 128 - code


def _end_with_owner(owner: int, child: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
    while os.read(owner, 64):
        pass  # nobody writes; the read returns when the last write end is closed
    child.terminate()
    if not ended.wait(_PATIENCE_S):
        child.send_signal(signal.SIGCONT)
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
