"""Work that goes on only when told to: threads that hand over to each other, of which one runs at a time."""

import threading


class Crash(BaseException):
    """The process is gone: it does nothing more, and cleans nothing up."""


def shut_gate():
    """One thread waits at it by `acquire`, another lets it through by `release`."""
    gate = threading.Lock()
    gate.acquire()
    return gate


class Task:
    """One piece of work in a thread of its own, which runs only while the world waits for it."""

    def __init__(self, world, worker, what, work):
        self.world, self.worker, self.what = world, worker, what
        self.done, self.error, self.steps = False, None, 0
        self.at, self.until = "start", None
        self.lease, self.notified = None, False
        self._go = shut_gate()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def __repr__(self):
        return f"{self.worker} {self.what} at {self.at}"

    @property
    def waits(self):
        return self.until is not None

    def resume(self):
        """Go on to the next stop."""
        if self.until is not None and not self.worker.dead:
            self.world.let_pass(max(0.0, self.until - self.world.true))
        self.until, self.world.running = None, self
        self._go.release()
        self.world.back.acquire()
        self.world.running = None
        if self.done:
            self._thread.join()
        if self.error is not None:
            raise self.error

    def stop(self, at, wait_seconds=None):
        """Called by the task itself: hand over to the world."""
        self.steps += 1
        if self.worker.dead:
            raise Crash
        if wait_seconds is None and not self.world.stepping:
            return
        self.at, self.notified = at, False
        self.until = None if wait_seconds is None else self.world.true + wait_seconds
        self.world.back.release()
        self._go.acquire()
        if self.worker.dead:
            raise Crash

    def _run(self, work):
        self._go.acquire()
        try:
            if not self.worker.dead:
                work()
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 -- raised again where the world is driven
            self.error = error
        finally:
            self.done = True
            self.world.back.release()


class Turnstile:
    """The lock and condition of a process, whose waiting is a stop like any other. Nobody may stop while holding it."""

    def __init__(self, worker):
        self._worker, self._held = worker, False

    def __enter__(self):
        assert not self._held, (
            f"the lock is held across a step by somebody, and wanted by {self._worker.world.running}"
        )
        self._held = True
        return self

    def __exit__(self, *_):
        self._held = False

    def wait(self, timeout):
        self._held = False
        self._worker.world.stop("wait", timeout)
        self._held = True
        return self._worker.world.running.notified

    def wait_for(self, happened, timeout):
        deadline = self._worker.boot() + timeout
        while not happened() and self._worker.boot() < deadline:
            self.wait(deadline - self._worker.boot())
        return happened()

    def notify_all(self):
        for task in self._worker.world.tasks:
            if task.worker is self._worker and task.at == "wait":
                task.until, task.notified = None, True
