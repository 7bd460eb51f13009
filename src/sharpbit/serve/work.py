"""The work on one image, in a thread of its own: read, upscale, write; it ends early where it should."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any, BinaryIO, cast

from sharpbit import image as image_io
from sharpbit.errors import SharpbitError
from sharpbit.image import WRITE_FORMATS, ImageData, WriteOptions
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target, format_for, holds_all, write
from sharpbit.runtime import AUTO, EngineOptions
from sharpbit.serve.job import CANCELLED, DONE, FAILED, Asked, Job, Stopped
from sharpbit.serve.limits import Limits, check_result
from sharpbit.serve.stored import Stored

OPEN = 8  # upscalers that are kept open, of different models and factors


class Upscalers:
    """Opened models, those that were used last.

    Args:
        options: What runs them.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._open: OrderedDict[tuple[str, float | None], Upscaler] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, asked: Asked) -> Upscaler:
        """The upscaler for what was asked for.

        Raises:
            SharpbitError: The model cannot do it, or not with this engine.
        """
        key = (asked.model, asked.scale)
        with self._lock:
            if key not in self._open:
                options = self._options
                self._open[key] = Upscaler(
                    None if asked.model == AUTO else asked.model,
                    size=Size(asked.scale),
                    threads=options.threads,
                    engine=options.engine,
                    device=options.device,
                )
            self._open.move_to_end(key)
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
            return self._open[key]


class Work:
    """Makes the results of jobs; called from several threads at once.

    Args:
        upscalers: The opened models.
        limits: How large and how long.
        threads: The threads that compress one result.
    """

    def __init__(self, upscalers: Upscalers, limits: Limits, threads: int) -> None:
        self.upscalers, self.limits, self._threads = upscalers, limits, threads

    def probe(self, source: Stored, name: str, asked: Asked) -> None:
        """Refuse from its header what cannot be done, before it waits.

        Raises:
            SharpbitError: It is no image, too large, or the model cannot do it.
        """
        upscaler = self.upscalers.of(asked)
        with source.reader() as file:
            height, width = image_io.probe(cast(BinaryIO, _Named(file, name)), self.limits.pixels)
        _, out_height, out_width = upscaler.plan(height, width)
        check_result(name, out_height, out_width, self.limits)

    def __call__(self, job: Job) -> None:
        """Do the work on a job; whatever happens, it has ended then."""
        job.started = time.time()
        job.seconds["waiting"] = job.started - job.created
        try:
            result = Stored()
        except OSError as error:
            job.ends(FAILED, f"{job.name} could not be upscaled: no file for the result ({error.strerror or error})")
            return
        try:
            job.check(self.limits.seconds)
            self._make(job, result)
            job.check(self.limits.seconds)
            job.result = result
        except Stopped as stopped:
            job.ends(FAILED if stopped.sentence else CANCELLED, stopped.sentence)
        except SharpbitError as error:
            job.ends(FAILED, str(error))
        except MemoryError:
            job.ends(FAILED, f"{job.name} needs more memory than there is; choose a smaller factor")
        except Exception as error:  # a mistake of ours, which should not end the server
            job.ends(FAILED, f"{job.name} could not be upscaled for a fault in sharpbit ({type(error).__name__})")
            raise
        else:
            job.progress = 1.0
            job.ends(DONE)
        finally:
            if job.result is None:
                result.drop()

    def _make(self, job: Job, result: Stored) -> None:
        upscaler, limits = self.upscalers.of(job.asked), self.limits
        with job.source.reader() as file:
            opened = upscaler.chosen(image_io.read(file, name=job.name, max_pixels=limits.pixels))
            job.seconds["decode"] = time.time() - job.started
            _note(job, upscaler, opened)
            check_result(job.name, job.facts["result_size"]["height"], job.facts["result_size"]["width"], limits)
            target = self._target(job.asked)
            out = cast(BinaryIO, result.file)
            job.result_format = format_for(opened, out, target)
            job.result_name = _result_name(job, upscaler.factor)

            def progress(share: float) -> None:
                job.progress = min(1.0, job.progress + share)
                job.check(limits.seconds)

            began = time.time()
            if holds_all(opened, out, target):
                from sharpbit.pipeline.sequence import write_sequence

                written = write_sequence(upscaler, opened, file, out, target, progress, limits.pixels)
            else:
                written = write(upscaler.strips(opened, job.name, progress), upscaler, opened, out, target)
            out.flush()
        job.seconds["encode"] = written.seconds
        job.seconds["network"] = time.time() - began - written.seconds
        facts = [upscaler.describe(model) for model in job.facts["models"]]
        notes = [*written.notes, *(note for fact in facts for note in fact.pop("notes"))]
        job.facts |= {"engines": facts, "notes": list(dict.fromkeys(notes))}

    def _target(self, asked: Asked) -> Target:
        options = WriteOptions(quality=asked.quality)
        return Target(asked.format, options, strip_metadata=asked.strip_metadata, threads=self._threads)


def _note(job: Job, upscaler: Upscaler, opened: ImageData) -> None:
    """What is known before the work: sizes, models, and why these."""
    chain, (height, width) = upscaler.chain_of(opened), opened.pixels.shape[:2]
    job.facts |= {
        "size": {"width": width, "height": height},
        "result_size": {"width": chain.width, "height": chain.height},
        "models": list(chain.models),
        "plan": str(chain),
        "why": opened.choice.why if opened.choice else None,
    }


def _result_name(job: Job, factor: float) -> str:
    stem = job.name.rpartition(".")[0] or job.name
    suffix = next(suffix for suffix, kind in WRITE_FORMATS.items() if kind == job.result_format)
    return f"{stem}_x{factor:g}{suffix}"


class _Named:
    """A file that messages call by another name."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._file, attribute)
