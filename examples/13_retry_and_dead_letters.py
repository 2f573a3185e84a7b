"""What fails is tried again; what fails for good goes to a topic of dead letters, and can be consumed from there."""

import asyncio
import logging

import cqrs_core as cqrs

ended: asyncio.Queue[str] = asyncio.Queue()


class PaymentDue(cqrs.DomainEvent):
    account: str


class PaymentGivenUp(cqrs.DomainEvent):
    account: str


class Pay(cqrs.EventHandler[PaymentDue]):
    async def handle(self, event: PaymentDue) -> None:
        message = cqrs.current_message()
        assert message is not None  # noqa: S101 - for type checkers
        print(f"{event.account}: attempt {message.attempt}")
        if event.account == "closed":
            raise LookupError("no such account")
        if message.attempt < 3:  # noqa: PLR2004 - the bank answers the third time
            raise ConnectionError("the bank does not answer")
        await ended.put(f"{event.account}: paid")


class WriteLetter(cqrs.EventHandler[PaymentGivenUp]):
    async def handle(self, event: PaymentGivenUp) -> None:
        message = cqrs.current_message()
        assert message is not None  # noqa: S101 - for type checkers
        await ended.put(f"{event.account}: given up: {message.headers['cqrs_dead_error_text']}")


async def main() -> None:
    broker = cqrs.MemoryBroker()
    shop = cqrs.App("shop", broker=broker)
    shop.publishes("payments", {"PaymentDue": PaymentDue})

    bank = cqrs.App("bank", broker=broker)
    bank.events.bind(PaymentDue, Pay)
    bank.events.bind(PaymentGivenUp, WriteLetter)
    policy = cqrs.RetryPolicy(max_attempts=5, delay_s=0.01, give_up_on=(LookupError,))
    bank.consume("payments", {"PaymentDue": PaymentDue}, retry=policy, dead_letter_topic="payments.dead")
    bank.consume("payments.dead", {"PaymentDue": PaymentGivenUp})  # the message as it was, with headers that say why

    async with bank.running(), shop:
        await shop.publish(PaymentDue("open"))
        await shop.publish(PaymentDue("closed"))
        for _ in range(2):
            print(await ended.get())


if __name__ == "__main__":
    logging.getLogger("cqrs_core").addHandler(logging.NullHandler())  # it tells of each failure, with its traceback
    asyncio.run(main())
