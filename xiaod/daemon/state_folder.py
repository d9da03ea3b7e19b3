"""The state folder, which one run leaves to the next: its lock, the store, and how far every instrument has been picked.

If the disk is full or gone, the daemon goes on and writes later.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from xiaod.config import StateConfig
>>> source = SeedLinkConfig(server="localhost", begin="resume")
>>> with TemporaryDirectory() as folder, ExitStack() as stack:
...     config = Config(sources=(source,), state=StateConfig(folder=Path(folder)))
...     state = StateFolder(config, Shard(0, 1), Metrics())
...     state.lock(stack)
...     state.open(stack)
...     state.begin_of(source)
({}, None)
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xiaod.config import Config, SeedLinkConfig
from xiaod.config.per_shard import base_folder
from xiaod.domain.resumption import not_final_s, resume_from_ns
from xiaod.domain.sharding import Shard
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Station, StationPositions
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.storage.folder_lock import FolderLock, LockedError
from xiaod.storage.pick_store import STORE, NewerStoreError, PickStore, StoreError
from xiaod.storage.progress import PickingProgress, ProgressSnapshot
from xiaod.storage.shard_handover import OtherCountError, inherit, refuse_other_counts

if TYPE_CHECKING:
    from xiaod.acquisition.seedlink.source import SeedLinkSource

RESUME = "resume"


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What one save writes, as it was when the save began."""

    store: PickStore
    progress: PickingProgress
    positions: Mapping[str, StationPositions]
    """Where a later run begins, by source."""
    picked: ProgressSnapshot
    gone: Mapping[str, Collection[Station]]
    """Stations that no longer exist, by source."""
    config: Config


class StateFolder:
    """The state folder of one run of the daemon."""

    def __init__(self, config: Config, shard: Shard, metrics: Metrics) -> None:
        """Set up; nothing is opened before :meth:`lock` and :meth:`open`.

        Args:
            config: of the daemon.
            shard: which of several processes this is.
            metrics: count failures.
        """
        self._config = config
        self._shard = shard
        self._metrics = metrics
        self._log = get_logger("service")
        self.store: PickStore | None = None
        """Picks and positions; None while the disk cannot be written."""
        self.progress: PickingProgress | None = None
        self.complaint = ""
        """Why the state cannot be kept at present; empty: it can."""

    def reconfigure(self, config: Config) -> None:
        """Use another configuration from the next save on."""
        self._config = config

    def lock(self, stack: AsyncExitStack | ExitStack) -> None:
        """Lock the state folder: two daemons in one folder would mix their picks.

        Raises:
            StartError: when another daemon uses it, or a daemon with another number of shards runs beside it.
        """
        folder, where = self._config.state.folder, self._config.origin.where
        try:
            lock = FolderLock(folder, self._shard)
            stack.callback(lock.release)
            refuse_other_counts(base_folder(folder, self._shard), self._shard)
        except LockedError as error:
            raise StartError(
                f"{where('state', 'folder')}: {error}; stop that one, or give this one a folder or a shard of its own",
                # A restart helps once that daemon has ended: the service manager tries again.
                ExitCode.FAILURE,
            ) from error
        except OtherCountError as error:
            # A restart helps once those have stopped.
            raise StartError(f"{where('shard', 'count')}: {error}", ExitCode.FAILURE) from error
        except OSError as error:
            # A folder that cannot be written is not shared; opening the store logs the problem.
            self._log.warning("state.not_locked", folder=str(folder), error=error.strerror)

    def open(self, stack: AsyncExitStack | ExitStack) -> None:
        """Open the store; if the disk cannot be written, picks go to the sinks from memory, and the log says so.

        Raises:
            StartError: when a newer program has written the store, or the stores of other shards cannot be taken over.
        """
        config = self._config
        try:
            self.store = PickStore(config.state.folder / STORE)
        except NewerStoreError as error:
            raise StartError(
                f"{config.origin.where('state', 'folder')}: {error}", ExitCode.CONFIGURATION
            ) from error
        except OSError as error:
            self._metrics.store_errors.inc()
            consequence = "picks are not kept for sinks that are down, and not across a restart"
            self._log.error("store.unavailable", error=str(error), consequence=consequence)
            self.complaint = f"{error}; {consequence}"
            return
        stack.callback(self.store.close)
        if self.store.lost_ns is None:
            # Stores that other shards left long ago cannot replace a store that was damaged.
            self._inherit()
        self._metrics.store_available.set(1)
        resumed = any(source.begin == RESUME for source in config.sources)
        self.progress = PickingProgress(
            self.store, resumed, not_final_s(config.windows.length_s, config.buffer.max_lead_s)
        )

    def _inherit(self) -> None:
        """Take over stations of other shards that this one picks now."""
        config = self._config
        base = base_folder(config.state.folder, self._shard)
        try:
            found = inherit(base, self._shard, [sink.name for sink in config.sinks])
        except StoreError as error:
            if self.store is not None:
                self.store.suspect()
            raise StartError(
                f"{config.origin.where('state', 'folder')}: what other shards have left cannot be taken over: {error}",
                ExitCode.FAILURE,
            ) from error
        if found.unreadable:
            self._log.error(
                "shard.not_inherited",
                stores=found.unreadable,
                consequence="stations that were picked there start without their earlier state",
            )
        if found.stations or found.undelivered:
            self._log.info(
                "shard.inherited",
                shard=str(self._shard),
                stations=found.stations,
                undelivered=found.undelivered,
            )

    async def begin_of_in_thread(self, source: SeedLinkConfig) -> tuple[StationPositions | None, int | None]:
        """As :meth:`begin_of`, in the thread of the store."""
        return (
            self.begin_of(source)
            if self.store is None
            else await self.store.run_in_thread(self.begin_of, source)
        )

    def begin_of(self, source: SeedLinkConfig) -> tuple[StationPositions | None, int | None]:
        """Positions to go on after, None: from now on; and, if they were lost with the store, the time to go on from."""
        if source.begin != RESUME or self.store is None:
            return None, None
        lost_ns = self.store.lost_ns
        if lost_ns is not None:
            # The damaged store was written last for data that are newer by so much.
            length_s, max_lead_s = self._config.windows.length_s, self._config.buffer.max_lead_s
            lost_ns = resume_from_ns(lost_ns - ns_from_s(not_final_s(length_s, max_lead_s)), length_s)
        return self.store.positions(source.label), lost_ns

    def remember(self, source: str, positions: StationPositions) -> None:
        """Save positions of a source."""
        if self.store is not None:
            with self._failure_logged([]):
                self.store.save({}, {source: positions})

    def save(self, sources: Mapping[str, "SeedLinkSource"]) -> None:
        """Save how far every instrument has been picked, and delete old picks."""
        if (snapshot := self._snapshot(sources)) is not None:
            self._write(snapshot)

    async def save_in_thread(self, sources: Mapping[str, "SeedLinkSource"]) -> None:
        """As :meth:`save`; the disk is written in the thread of the store."""
        if (snapshot := self._snapshot(sources)) is not None:
            await snapshot.store.run_in_thread(self._write, snapshot)

    def _snapshot(self, sources: Mapping[str, "SeedLinkSource"]) -> _Snapshot | None:
        """The state to be saved, as it is now; None while the disk cannot be written."""
        if self.store is None or self.progress is None:
            return None
        config = self._config
        needed = {
            station: resume_from_ns(time_ns, config.windows.length_s)
            for station, time_ns in self.progress.picked_until().items()
        }
        return _Snapshot(
            self.store,
            self.progress,
            {name: source.resumable(needed) for name, source in sources.items()},
            self.progress.snapshot(),
            {name: source.gone() for name, source in sources.items()},
            config,
        )

    def _write(self, snapshot: _Snapshot) -> None:
        """Write a snapshot; this may wait for the disk."""
        store, config = snapshot.store, snapshot.config
        failures: list[str] = []
        with self._failure_logged(failures):
            snapshot.progress.write(snapshot.picked, snapshot.positions)
        for source, stations in snapshot.gone.items():
            if stations:
                with self._failure_logged(failures):
                    store.forget(source, stations)
        if config.state.keep_days:
            with self._failure_logged(failures):
                store.prune(config.state.keep_s, [sink.name for sink in config.sinks])
        self.complaint = failures[0] if failures else ""

    @contextmanager
    def _failure_logged(self, failures: list[str]) -> Iterator[None]:
        """Log that the store could not be written, and append why; the next save writes it."""
        try:
            yield
        except OSError as error:
            self._metrics.state_errors.inc()
            self._log.warning("state.not_saved", error=str(error))
            failures.append(str(error))
