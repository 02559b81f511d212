"""How a campaign directory is opened: one that is there, or a place for one.

Two campaigns may be started in the same place at once. What is written there before it is claimed
is its lock, nothing else; who has that begins the campaign or goes on with it.
"""

from pathlib import Path

import msgspec

from fuzz.directory import durable
from fuzz.directory.claim import is_claim
from fuzz.directory.configuration import CONFIGURATION, Configuration
from fuzz.directory.store import LOCK, Store, StoreError


def open_store(root: Path) -> Store:
    """A campaign that is there, to read it or to add to it."""
    store = Store(root)
    store.configuration()
    return store


def place(root: Path) -> Store:
    """A campaign, or a directory with room for one, made if there is none. Nothing is begun."""
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root}: a file, where a campaign directory was expected")
    root.mkdir(parents=True, exist_ok=True)
    store = Store(root)
    # Listed once: who looks twice may find a campaign begun in between.
    there = {path.name for path in root.iterdir() if not durable.is_temporary(path)}
    if CONFIGURATION in there:
        store.configuration()
    elif not store.has_folders() and (there - {LOCK} or (there and not is_claim(root / LOCK))):
        raise StoreError(f"{root}: not empty, and not a campaign: it has no {CONFIGURATION}")
    return store


def begin(store: Store, configuration: Configuration) -> Configuration | None:
    """Makes ``configuration`` the campaign's, which keeps its birthday; returns the one before.

    Only while nobody else is at work there.
    """
    before = store.configuration() if store.is_begun() else None
    if before is not None:
        configuration = msgspec.structs.replace(configuration, created_at=before.created_at)
    # First, so that nobody who is killed here leaves a directory that is not empty and no campaign.
    store.configure(configuration)
    store.make_folders()
    return before


def create_store(root: Path, configuration: Configuration) -> Store:
    """The campaign at ``root``, made if there is none, for whoever knows that it is theirs."""
    try:
        store = place(root)
        begin(store, configuration)
    except OSError as error:
        raise StoreError(f"{error.filename or root}: {error.strerror}") from error
    return store
