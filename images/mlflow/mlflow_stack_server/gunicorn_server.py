"""gunicorn as the process manager, uvicorn as the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from uvicorn_worker import UvicornWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_stack_server.application import Application
    from mlflow_stack_server.settings import Settings

KEEP_ALIVE = 300
"""Seconds that an idle connection stays open: longer than the gateway keeps its own, so that it never sends a request
into a connection that we are closing."""


class Worker(UvicornWorker):
    """A uvicorn worker with the fast loop and parser, and a limit on how long a stop may take."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012  (the base class declares it so)
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "server_header": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (gunicorn's own signature)
        super().__init__(*args, **kwargs)
        # Requests in flight get to end; then gunicorn would kill the worker without a word.
        self.config.timeout_graceful_shutdown = max(1, self.cfg.graceful_timeout - 1)
        self.config.access_log = self.cfg.accesslog is not None


class Server(BaseApplication):
    """A gunicorn that is configured by code alone: no command line, no file, no environment."""

    def __init__(self, settings: Settings, load: Callable[[], Application], when_ready: Callable[[], None]) -> None:
        """Configure; `load` is called once before the workers are forked, `when_ready` when the port is bound."""
        self._settings = settings
        self._load = load
        self._when_ready = when_ready
        super().__init__()

    def init(self, parser: Any, opts: Any, args: Any) -> None:  # noqa: ANN401  (gunicorn's own signature)
        """Read nothing: there is no command line."""

    def load_config(self) -> None:
        """Set every option that differs from gunicorn's default."""
        options: dict[str, object] = {
            "bind": self._settings.listen,
            "workers": self._settings.workers,
            "worker_class": Worker,
            "preload_app": True,
            "keepalive": KEEP_ALIVE,
            "graceful_timeout": self._settings.grace,
            # A worker's loop beats every 30 s at least; one that is silent for two minutes hangs for good.
            "timeout": 120,
            # The heartbeat file must not be on a disk that can block.
            "worker_tmp_dir": "/dev/shm",  # noqa: S108  (a memory file system, private to the container)
            "control_socket_disable": True,
            "accesslog": "-" if self._settings.access_log else None,
            "errorlog": "-",
            "loglevel": "info",
            "when_ready": lambda _server: self._when_ready(),
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Application:
        """Return the application; gunicorn calls this once because of preload."""
        return self._load()
