from __future__ import annotations


class Broker:
    def __init__(self, address: str, *, client_id: str = "", batch: int = 1) -> None:
        self.address = address
        self.client_id = client_id
        self.batch = batch

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def send(self, envelope: object) -> None:
        """Do nothing."""

    async def send_many(self, envelopes: object) -> None:
        """Do nothing."""

    def subscribe(self, topics: object, group: str) -> None:
        """Do nothing."""
