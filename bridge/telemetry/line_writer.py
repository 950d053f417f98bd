"""Writes log lines to a file descriptor from a thread, so that a reader who stalls never stalls the event loop.

Not here: what a line looks like (`logs`).
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from io import UnsupportedOperation
from typing import TextIO

__all__ = ["LineWriter"]

_PAUSE_S = 0.02
_CHUNK_BYTES = 65_536  # a pipe takes no more at once


class LineWriter:
    """A bounded queue of lines and the thread that writes them.

    Lines that do not fit are dropped and counted; when the stream moves again a line says how many.
    """

    def __init__(self, stream: TextIO, *, max_queued_bytes: int, report: Callable[[int], bytes]) -> None:
        """Start the thread.

        Args:
            stream: where to; written through its file descriptor if it has one. A BufferedWriter is not used: its
                lock, held by a thread in a blocked write, is a fatal error at the interpreter's exit.
            max_queued_bytes: memory for lines waiting; as much again may be in the hands of the thread.
            report: makes the line that says how many were dropped.
        """
        self._stream = stream
        stream.flush()
        try:
            self._descriptor: int | None = stream.fileno()
        except (UnsupportedOperation, AttributeError):
            self._descriptor = None
        self._max_queued_bytes = max_queued_bytes
        self._report = report
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._closing = False
        self._inside_line = False
        self.dropped_total = 0
        # re-entrant: a signal handler may log while its thread is inside `put`
        self._changed = threading.Condition(threading.RLock())
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue a line, or drop it. Never blocks for longer than other threads' `put`."""
        with self._changed:
            if self._closing or self._queued_bytes + len(line) > self._max_queued_bytes:
                self._dropped += 1
                self.dropped_total += 1
                return
            self._lines.append(line)
            self._queued_bytes += len(line)
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Write what is queued, for so long at most; lines that come later are dropped. Whether all were written."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            lines, dropped = self._next()
            if not lines and not dropped:
                return
            report = [self._report(dropped)] if dropped else []
            try:
                self._write(b"".join(lines + report))
            except (OSError, ValueError):
                # The reader is gone, the disk is full or the stream is closed: the lines are lost, the bridge goes on.
                with self._changed:
                    self._dropped += dropped + len(lines)
                    self.dropped_total += len(lines)
                    if self._closing:
                        return
                time.sleep(_PAUSE_S)

    def _next(self) -> tuple[list[bytes], int]:
        """Wait for lines: all there are, and how many were dropped since. Nothing of both: the end."""
        with self._changed:
            while not (self._lines or self._closing):
                self._changed.wait()
            lines = list(self._lines)
            self._lines.clear()
            self._queued_bytes = 0
            dropped, self._dropped = self._dropped, 0
        return lines, dropped

    def _write(self, batch: bytes) -> None:
        if self._descriptor is None:
            self._stream.write(batch.decode())
            self._stream.flush()
            return
        if self._inside_line:
            batch = b"\n" + batch  # a write that failed half way must not spoil the next line too
        written = 0
        while written < len(batch):
            try:
                written += os.write(self._descriptor, batch[written : written + _CHUNK_BYTES])
                self._inside_line = batch[written - 1 : written] != b"\n"
            except BlockingIOError:  # somebody who shares the pipe or terminal made it non-blocking
                time.sleep(_PAUSE_S)
