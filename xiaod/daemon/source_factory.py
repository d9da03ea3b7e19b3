"""Makes the sources: each goes on where the last run stopped, and one with ``replay:`` gets a replay server inside the process.

>>> import asyncio
>>> from xiaod.config import Config
>>> from xiaod.process.metrics import Metrics
>>> from xiaod.domain.sharding import ALONE
>>> from xiaod.domain.timeliness import UNLIMITED
>>> config = Config(sources=(SeedLinkConfig(server="localhost:18000"),))
>>> async def name():
...     async with AsyncExitStack() as stack:
...         factory = SourceFactory(StateFolder(config, ALONE, Metrics()), ALONE, stack, UNLIMITED)
...         return (await factory.source(config.sources[0])).name
>>> asyncio.run(name())
'localhost:18000'
"""

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from xiaod.acquisition import SOURCES
from xiaod.config import SeedLinkConfig
from xiaod.daemon.state_folder import StateFolder
from xiaod.domain.sharding import Shard
from xiaod.domain.timeliness import TimeLimits
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.logs import get_logger
from xiaod.process.plugins import MissingExtraError, imported

if TYPE_CHECKING:
    from xiaod.acquisition.seedlink.source import SeedLinkSource


class SourceFactory:
    """Makes the sources of one run of the daemon."""

    def __init__(self, state: StateFolder, shard: Shard, stack: AsyncExitStack, limits: TimeLimits) -> None:
        """Set up.

        Args:
            state: knows where the last run stopped.
            shard: which stations this process picks.
            stack: closes embedded servers at the end.
            limits: of the buffers, for the time of a record.
        """
        self._state = state
        self._limits = limits
        self._shard = shard
        self._servers: dict[SeedLinkSource, AsyncExitStack] = {}
        stack.push_async_callback(self._release_all)

    async def source(
        self, config: SeedLinkConfig, former: "SeedLinkSource | None" = None, where: str = "server"
    ) -> "SeedLinkSource":
        """Make a source; it connects when it is run. Call :meth:`release` when it has ended.

        Args:
            config: of the source.
            former: a source of the same server, after whose last packet this one goes on. It has ended when this one is run.
            where: place of its server in the configuration, for errors.

        Raises:
            StartError: when an embedded server cannot be started, or a package is missing.
            StoreError: when the positions of the last run cannot be read.
        """
        async with AsyncExitStack() as server:
            if config.replay_input is not None:
                config = await _embed_replay(config, config.replay_input, server, where)
            resume, lost_ns = await self._state.begin_of_in_thread(config)
            try:
                source: SeedLinkSource = imported(SOURCES[config.kind])(
                    config,
                    resume=resume,
                    remember=partial(self._state.remember, config.label),
                    lost_ns=lost_ns,
                    shard=self._shard,
                    limits=self._limits,
                    lasting=self._state.store is not None,
                )
            except MissingExtraError as error:
                raise StartError(f"{where}: {error}", ExitCode.CONFIGURATION) from error
            if former is not None:
                source.continue_from(former)
            self._servers[source] = server.pop_all()
        return source

    async def release(self, source: "SeedLinkSource") -> None:
        """Close the embedded server of a source that has ended or will never be run."""
        await self._servers.pop(source).aclose()

    async def _release_all(self) -> None:
        for source in list(self._servers):
            await self.release(source)


async def _embed_replay(
    config: SeedLinkConfig, played: str, stack: AsyncExitStack, where: str
) -> SeedLinkConfig:
    """Start a replay server in this process, and make the source connect to it."""
    from xiaod.replay import ReplayConfig, ReplayError, ReplayServer

    try:
        server = await stack.enter_async_context(
            ReplayServer(ReplayConfig(inputs=(played,), port=0, shift_to_now=True, loop=True))
        )
    except ReplayError as error:
        raise StartError(f"{where}: {error}", ExitCode.CONFIGURATION) from error
    get_logger("service").info("replay.listening", host="127.0.0.1", port=server.port, plays=played)
    return config.model_copy(update={"name": config.label, "server": f"127.0.0.1:{server.port}"})
