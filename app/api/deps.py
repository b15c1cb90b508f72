"""What a route may ask for: the open rooms of this process, by type."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.following import Following
from app.charts.image import Renderer
from app.service import Service
from app.settings import Settings
from app.store.feed import Feed
from app.store.jobs import JobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Everything that the lifespan opens, kept at app.state.rooms.

    Attributes:
        settings: What the environment says.
        store: Reads jobs.
        feed: Wakes readers when a job moves.
        following: Every open stream.
        service: Changes jobs.
        renderer: Draws pictures.
    """

    settings: Settings
    store: JobStore
    feed: Feed
    following: Following
    service: Service
    renderer: Renderer


async def get_rooms(request: Request) -> Rooms:
    """Return the rooms that the lifespan has opened."""
    rooms = request.app.state.rooms
    if not isinstance(rooms, Rooms):
        raise TypeError("The lifespan has not opened the rooms")
    return rooms


RoomsDep = Annotated[Rooms, Depends(get_rooms)]


async def get_settings(rooms: RoomsDep) -> Settings:
    """Return the settings of this process."""
    return rooms.settings


async def get_store(rooms: RoomsDep) -> JobStore:
    """Return the store of this process."""
    return rooms.store


SettingsDep = Annotated[Settings, Depends(get_settings)]
StoreDep = Annotated[JobStore, Depends(get_store)]
