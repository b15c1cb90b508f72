"""Puts the service together: opens the rooms, adds routes, errors and middlewares."""

import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import Depends, FastAPI

from app import log
from app.api.asked import LatestAlias
from app.api.deps import Rooms
from app.api.errors import add_error_handlers
from app.api.following import Following
from app.api.middleware import HeadAsGet, RequestContext
from app.api.paths import Paths
from app.api.query import check_query
from app.api.routes import ROUTERS
from app.api.security import refuse_cross_site, require_key
from app.api.stopping import calling_when_stopped
from app.api.version import VERSION
from app.charts.image import Renderer
from app.queue import Waker, make_queue, make_wake_texts
from app.service import Service
from app.settings import Settings
from app.store.connect import connect_async, connect_sync
from app.store.feed import Feed
from app.store.jobs import JobStore
from app.store.rounds import RecoveryThread

DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"

_NEW_OBJECTS: Final = 20_000
"""Between two collections: some 2 MB."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application; Redis may be away now and come later.

    Args:
        settings: Of this process.
    """
    app = FastAPI(
        title="fitjobs",
        version=VERSION,
        lifespan=_make_lifespan(settings),
        # Our own pages take their place: see app/api/reference.py.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(require_key), Depends(refuse_cross_site), Depends(check_query)],
    )
    add_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.state.paths = Paths(app.routes)
    app.add_middleware(LatestAlias)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestContext)
    return app


def create_app_from_environment() -> FastAPI:
    """Return the application for `uvicorn --factory app.main:create_app_from_environment`."""
    settings = Settings()
    log.configure(form=settings.log_format, level=settings.log_level)
    app = create_app(settings)
    _spare_the_collector()
    return app


def _spare_the_collector() -> None:
    """Keep what is loaded for good out of every collection, and collect less often.

    A request leaves few cycles behind it, yet at Python's 700 objects there is a collection for
    every few.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


def _make_lifespan(
    settings: Settings,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_rooms(settings) as rooms:
            app.state.rooms = rooms
            yield

    return lifespan


@asynccontextmanager
async def open_rooms(settings: Settings) -> AsyncGenerator[Rooms]:
    """Open everything that requests need, and close it in the opposite order.

    Args:
        settings: Of this process.
    """
    url = settings.redis_url or DEFAULT_REDIS_URL
    async with AsyncExitStack() as stack:
        redis = connect_async(settings, url)
        stack.push_async_callback(redis.aclose)
        store = JobStore(redis, settings)
        feed = Feed(redis, settings)
        await feed.start()
        stack.push_async_callback(feed.stop)
        following = Following(store, feed)
        stack.callback(following.close)
        stack.enter_context(calling_when_stopped(following.close))
        queue = make_queue(settings, url)
        waker = Waker(queue)
        stack.callback(waker.close)
        rounds = RecoveryThread(connect_sync(settings, url), settings=settings, wake=waker)
        rounds.start()
        stack.callback(rounds.stop)
        renderer = await stack.enter_async_context(Renderer())
        yield Rooms(
            settings=settings,
            store=store,
            feed=feed,
            following=following,
            service=Service(store=store, wake_text=make_wake_texts(queue), settings=settings),
            renderer=renderer,
        )
