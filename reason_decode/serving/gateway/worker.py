"""Jobs that wait for the model: a bounded queue, a thread that runs one after another, an end."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["Cancelled", "Job", "QueueFull", "Stopping", "Worker"]


class Cancelled(Exception):
    """Raised inside a job whose client has left."""


class QueueFull(Exception):
    """Raised by ``submit`` where too many jobs wait."""


class Stopping(Exception):
    """Raised by ``submit``, and set as the result of waiting jobs, once the worker stops."""


class Job:
    """A call that waits, runs or is done.

    Args:
        call: the call; it gets the job, and raises ``Cancelled`` by ``check``.

    Attributes:
        future: the result of the call.
    """

    def __init__(self, call: "Callable[[Job], Any]") -> None:
        self.call, self.future = call, Future[Any]()
        self._cancelled = threading.Event()

    def check(self) -> None:
        """Raise ``Cancelled`` if the job was cancelled."""
        if self._cancelled.is_set():
            raise Cancelled

    def cancel(self) -> None:
        """Let the job end: at once if it waits, else at its next ``check``."""
        self._cancelled.set()
        self.future.cancel()

    def run(self) -> None:
        """Make the call, unless the job was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.call(self))
        except BaseException as error:
            self.future.set_exception(error)


class Worker:
    """Runs jobs in the order in which they come.

    Args:
        max_waiting: jobs that wait, at most.
        threads: jobs that run side by side.
    """

    def __init__(self, max_waiting: int, threads: int = 1) -> None:
        self.max_waiting, self.threads = max_waiting, threads
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._stopping = False
        for _ in range(threads):
            # A daemon: an interrupted process does not wait for the end of a decoding.
            threading.Thread(target=self._work, daemon=True).start()

    @property
    def stopping(self) -> bool:
        """True once ``drain`` was called."""
        return self._stopping

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        with self._changed:
            self._drop_cancelled()
            return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of jobs that run."""
        return len(self._running)

    def submit(self, call: Callable[[Job], Any]) -> Job:
        """A job for a call.

        Raises:
            QueueFull: too many jobs wait.
            Stopping: the worker takes no more jobs.
        """
        with self._changed:
            if self._stopping:
                raise Stopping
            self._drop_cancelled()
            if len(self._waiting) + len(self._running) >= self.max_waiting + self.threads:
                raise QueueFull
            job = Job(call)
            self._waiting.append(job)
            self._changed.notify()
            return job

    def drain(self) -> None:
        """Take no more jobs, and end those that wait; those that run go on."""
        with self._changed:
            self._stopping = True
            while self._waiting:
                job = self._waiting.popleft()
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(Stopping())
            self._changed.notify_all()

    def close(self) -> None:
        """Let all jobs end at their next ``check``."""
        self.drain()
        for job in tuple(self._running):
            job.cancel()

    def _drop_cancelled(self) -> None:
        if any(job.future.cancelled() for job in self._waiting):
            self._waiting = deque(job for job in self._waiting if not job.future.cancelled())

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            with self._changed:
                self._running.discard(job)

    def _next(self) -> Job | None:
        """The next job; ``None`` once the worker has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            self._running.add(job)
            return job
