"""Many machines: Ray Data feeds actors that hold the models, and replaces those that die."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from sharpbit.collection.manifest import Row, schema
from sharpbit.collection.places import Item
from sharpbit.collection.worker import Settings, Worker
from sharpbit.errors import UsageError
from sharpbit.system.extras import loaded

LOCAL = "local"
ANSWER = 10.0  # seconds until a machine that does not answer is taken for one that is not there
BLOCK = 100  # files of one task at most: what is looked at again where an actor dies


def on_ray(items: Sequence[Item], settings: Settings, address: str, workers: int) -> Iterator[Row]:
    """Upscale the files of a collection on a cluster; each row comes when it is known, in any order.

    Args:
        items: The files.
        settings: How; the folders must be reached from every machine under the same names.
        address: The address of a cluster as `ray.init` takes it, or `local`, which starts one on this machine.
        workers: The number of actors at most.
    """
    if settings.max_memory is not None or settings.max_seconds is not None:
        raise UsageError("actors of Ray take no limits for each file; leave --max-memory and --max-seconds out")
    ray = loaded("ray", "sharpbit batch --ray", "ray")
    data = loaded("ray.data", "sharpbit batch --ray", "ray")
    arrow = loaded("pyarrow", "a manifest", "batch")
    started = not ray.is_initialized()
    if started:
        cores = {"num_cpus": workers * settings.threads} if address == LOCAL else {}
        try:
            _answers(address)
            ray.init(address, log_to_driver=False, logging_level="error", **cores)
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"there is no Ray cluster at {address!r}: {' '.join(str(error).split())}") from None
    try:
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        size = max(1, min(BLOCK, len(items) // (workers * 8)))
        kinds = {"path": arrow.string(), "bytes": arrow.int64(), "modified": arrow.string(), "replaces": arrow.string()}
        columns = arrow.schema(list(kinds.items()))
        blocks = [
            arrow.Table.from_pylist([{key: getattr(item, key) for key in kinds} for item in part], columns)
            for part in (items[start : start + size] for start in range(0, len(items), size))
        ]
        rows = data.from_arrow(blocks).map_batches(
            Actor,
            batch_size=None,
            batch_format="pyarrow",
            fn_constructor_args=(settings,),
            compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=settings.threads,
        )
        for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from batch.to_pylist()
    finally:
        if started:
            ray.shutdown()


def _answers(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT; Ray itself waits for minutes."""
    if found := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address):
        socket.create_connection((found[1], int(found[2])), ANSWER).close()


class Actor:
    """A worker that Ray holds.

    Args:
        settings: How files are upscaled.
    """

    def __init__(self, settings: Settings) -> None:
        self._worker = Worker(settings)

    def __call__(self, batch: Any) -> Any:
        """The rows of a block of files."""
        arrow = loaded("pyarrow", "a manifest", "batch")
        return arrow.Table.from_pylist([self._worker.make(Item(**fields)) for fields in batch.to_pylist()], schema())
