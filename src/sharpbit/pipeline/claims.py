"""Claims: which of many processes over one folder makes an image, also where some are killed and none can lock.

A claim is a hidden file beside the result, made with O_EXCL and holding who made it. Its owner touches it every few
seconds and removes it when the result is there. A claim is dead when its process is (on the same machine), or when
nobody has touched it for long, by the clock of the one who watches. See docs/decisions/0025-claims.md.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from types import TracebackType

from sharpbit.system.atomic import is_alive

BEAT = 2.0  # seconds from touch to touch
PATIENCE = 30.0  # seconds without a touch after which a claim of another machine is dead
ABANDONED = 24 * 3600.0  # seconds after which a claim beside a finished result is removed, whoever made it


class Claims:
    """The claims that a process holds; leaving the context gives all of them up.

    Args:
        beat: The seconds from touch to touch.
        patience: The seconds without a touch after which a claim is dead.
    """

    def __init__(self, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self._beat, self._patience = beat, patience
        self._held: dict[Path, str] = {}
        self._watched: dict[Path, tuple[str, int, float]] = {}
        self._beside_results: set[Path] = set()
        self._left = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._left.set()
        for path in list(self._held):
            self._give_up(path)
        for path in self._beside_results:
            with contextlib.suppress(OSError):
                if self._is_dead(path, _read(path)):
                    path.unlink()

    def take(self, target: Path) -> bool:
        """Claim a result; False while another process holds it.

        Raises:
            OSError: Nothing can be written there.
        """
        path = claim_of(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        token = f"{_machine()} {os.getpid()} {os.urandom(8).hex()}"
        if not (_create(path, token) or self._take_over(path, token)):
            return False
        self._held[path] = token
        if self._heart is None:
            self._heart = threading.Thread(target=self._touch, name="claims", daemon=True)
            self._heart.start()
        return True

    def release(self, target: Path) -> None:
        """Give up a result, made or not; nothing happens where it is not held."""
        path = claim_of(target)
        if path in self._held:
            self._give_up(path)

    def tidy(self, target: Path) -> None:
        """Remove the claim that a killed process left beside a result; where its owner lives, look again at the end."""
        path = claim_of(target)
        self._beside_results.discard(path)
        with contextlib.suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if path in self._held:
                return
            if age > ABANDONED or self._is_dead(path, _read(path)):
                path.unlink()
            else:
                self._beside_results.add(path)

    def _take_over(self, path: Path, token: str) -> bool:
        """Put the own claim in the place of a dead one.

        Who may do so is decided by a second file whose name follows from the dead claim: one process only can make it,
        and while it is there nobody else replaces that claim.
        """
        dead = _read(path)
        if not self._is_dead(path, dead):
            return False
        heir = path.with_name(f"{path.name}.{_digest(dead.encode())}")
        if not _create(heir, token):
            if self._is_dead(heir, _read(heir)):  # killed between the two steps
                heir.unlink(missing_ok=True)
            return False
        if _read(path) != dead:  # another was faster, and has replaced it already
            heir.unlink(missing_ok=True)
            return False
        heir.replace(path)
        return True

    def _is_dead(self, path: Path, token: str) -> bool:
        try:
            touched = path.stat().st_mtime_ns
        except OSError:
            return False  # given up just now
        machine, _, rest = token.partition(" ")
        pid = rest.partition(" ")[0]
        if machine == _machine() and pid.isdigit() and not is_alive(int(pid)):
            return True
        seen = self._watched.get(path)
        if seen is None or seen[:2] != (token, touched):
            self._watched[path] = (token, touched, time.monotonic())
            return False
        return time.monotonic() - seen[2] > self._patience

    def _give_up(self, path: Path) -> None:
        token = self._held.pop(path)
        with contextlib.suppress(OSError):
            if _read(path) == token:  # else this process slept for so long that another has taken over
                path.unlink()

    def _touch(self) -> None:
        while not self._left.wait(self._beat):
            for path in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)


def claim_of(target: Path) -> Path:
    """The file that claims a result."""
    name = os.fsencode(target.name)
    short = name[:100].decode(errors="ignore")  # names have at most 255 bytes
    return target.parent / f".{short}.{_digest(name)}.claim"


def _digest(data: bytes) -> str:
    import hashlib  # few runs need it, and it takes time to load

    return hashlib.sha256(data).hexdigest()[:8]


def _create(path: Path, token: str) -> bool:
    try:
        file = path.open("x", encoding="utf-8")  # O_EXCL: one process only succeeds
    except FileExistsError:
        return False
    try:
        with file:
            file.write(token)
    except OSError:  # a full disk, which has room for an empty file
        path.unlink(missing_ok=True)
        raise
    return _read(path) == token  # where a file system does not keep O_EXCL, the last to write has it


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _machine() -> str:
    """What tells machines, and containers with process numbers of their own, apart."""
    import socket  # few runs need it, and it takes time to load

    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # noqa: PTH116
    return "/".join(parts).replace(" ", "_")
