"""A browser follows a saga while it runs, by server-sent events; if it leaves, the saga is ended all the same."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator

import fastapi.responses
import httpx
import uvicorn

import cqrs_core as cqrs


class Order(cqrs.SagaContext):
    item: str


class Reserve(cqrs.SagaStepHandler[Order, str]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, str]:
        return self.result(f"{context.item}: {cqrs.current_step().step_id}")


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, cqrs.Step(Reserve, id="ReserveMore")]


shop, web = cqrs.App("shop", storage="memory://"), fastapi.FastAPI()
shop.sagas.bind(Order, OrderSaga)


@web.post("/orders/{saga_id}")  # a browser that comes again brings the same id, and waits for the end
async def follow(saga_id: uuid.UUID, item: str) -> fastapi.responses.StreamingResponse:
    async def events() -> AsyncIterator[str]:
        async with contextlib.aclosing(shop.stream_saga(Order(item), saga_id=saga_id)) as results:
            async for result in results:
                yield f"data: {result.response}\n\n"
        yield "data: done\n\n"

    return fastapi.responses.StreamingResponse(events(), media_type="text/event-stream")


async def main() -> None:
    listening, server = socket.create_server(("127.0.0.1", 0)), uvicorn.Server(uvicorn.Config(web, log_level="error"))
    url = "http://{}:{}/orders/".format(*listening.getsockname())
    async with shop.running(), httpx.AsyncClient() as browser:  # with workers, for what nobody follows any more
        serving = asyncio.create_task(server.serve([listening]))
        print((await browser.post(f"{url}{uuid.uuid4()}?item=tea")).text.replace("\n\n", "\n"), end="")
        cake = f"{url}{uuid.uuid4()}?item=cake"
        async with browser.stream("POST", cake) as answer:
            print(await anext(answer.aiter_lines()), "(and the browser leaves)")
        print((await browser.post(cake)).text.split("\n\n")[-2])
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
