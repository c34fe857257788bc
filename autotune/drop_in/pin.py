"""Pin: an autotuner held to one configuration, during a call or a block; nothing else of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Pin:
    """An autotuner that has one configuration only: it launches that, calls its pre_hook, and benchmarks nothing."""

    __slots__ = ("_autotuner", "_only")

    def __init__(self, autotuner: Any, config: Any) -> None:
        self._autotuner = autotuner
        self._only = [config]
        autotuner.best_config = None

    @property
    def was_launched(self) -> bool:
        """Whether the last launch was of this configuration."""
        return getattr(self._autotuner, "best_config", None) is self._only[0]

    @contextmanager
    def held(self) -> Iterator[None]:
        """For as long as the block runs."""
        before, self._autotuner.configs = self._autotuner.configs, self._only
        try:
            yield
        finally:
            self._autotuner.configs = before

    def around(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """The call, with the pin held during it alone: others may be prepared and called in turn with it."""
        autotuner, only = self._autotuner, self._only

        def pinned() -> Any:
            before = autotuner.configs
            autotuner.configs = only
            try:
                return call()
            finally:
                autotuner.configs = before

        return pinned

    def first_launch(self, call: Callable[[], Any]) -> dict[str, Any] | None:
        """The arguments by name of the first launch that the call makes, which ends it there; None where it makes none.

        Nothing is launched; what the call does before that is done.
        """
        names = self._autotuner.arg_names

        def stop(*arguments: Any, **keywords: Any) -> None:
            raise _Launch({**dict(zip(names, arguments, strict=False)), **keywords})

        self._autotuner.run = stop
        try:
            self.around(call)()
        except _Launch as launch:
            return launch.arguments
        finally:
            del self._autotuner.run
        return None


class _Launch(BaseException):
    """Ends a call at its launch; no Exception, so that `except Exception` does not swallow it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.arguments = arguments
