"""Steers and watches a fleet as a client would that has only docs/asyncapi.json and a NATS library.

Arguments: the server's URL, the document, and a directory where a file named after a work stream
lets its agent end. Whatever differs from the document, or from what is expected, ends this with an
error.
"""

import asyncio
import json
import pathlib
import re
import sys

import nats

PATIENCE = 90
JSON = {"content-type": "application/json"}


class Document:
    """The AsyncAPI document: which subjects there are, and what their messages look like."""

    def __init__(self, path):
        self.whole = json.loads(pathlib.Path(path).read_text())
        self.channels = {"send": [], "receive": []}
        for operation in self.whole["operations"].values():
            channel = self.at(operation["channel"]["$ref"])
            address = re.escape(channel["address"])
            address = address.replace(r"\{agent\}", ".+").replace(r"\{run\}", "[^.]+")
            address = address.replace(r"\{kind\}", "[^.]+")
            (message,) = (self.at(at["$ref"]) for at in channel["messages"].values())
            self.channels[operation["action"]].append((re.compile(address), message["payload"]))
        receipt = self.at(self.whole["channels"]["receipt"]["messages"]["Receipt"]["$ref"])
        self.receipt = receipt["payload"]

    def at(self, reference):
        found = self.whole
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return found

    def message(self, action, subject, body):
        """Checks a message of a subject; `send` is what the coordinator sends."""
        schemas = [schema for address, schema in self.channels[action] if address.fullmatch(subject)]
        assert len(schemas) == 1, f"{subject} is {len(schemas)} channels of the document"
        self.check(body, schemas[0], subject)

    def check(self, value, schema, where):
        """Checks a value against a schema. A keyword that isn't known here is an error, and so is a
        property that the schema doesn't name."""
        for keyword, of in schema.items():
            match keyword:
                case "description" | "default" | "format" | "title" | "required":
                    pass
                case "$ref":
                    self.check(value, self.at(of), where)
                case "allOf":
                    for one in of:
                        self.check(value, one, where)
                case "anyOf" | "oneOf":
                    fits = [one for one in of if self.fits(value, one)]
                    assert len(fits) == 1 or (fits and keyword == "anyOf"), f"{where}: {value!r}"
                case "const":
                    assert value == of, f"{where}: {value!r} is not {of!r}"
                case "type":
                    kinds = of if isinstance(of, list) else [of]
                    assert any(is_a(value, kind) for kind in kinds), f"{where}: {value!r} is no {of}"
                case "minimum":
                    assert value >= of, f"{where}: {value!r}"
                case "items":
                    for index, item in enumerate(value):
                        self.check(item, of, f"{where}[{index}]")
                case "properties":
                    missing = set(schema.get("required", [])) - set(value)
                    unknown = set(value) - set(of)
                    assert not missing and not unknown, f"{where}: {missing} missing, {unknown} unknown"
                    for name, item in value.items():
                        self.check(item, of[name], f"{where}.{name}")
                case "additionalProperties":
                    assert of is False
                case _:
                    raise AssertionError(f"{where}: the schema has `{keyword}`, which is unknown here")

    def fits(self, value, schema):
        try:
            self.check(value, schema, "")
        except AssertionError:
            return False
        return True


def is_a(value, kind):
    kinds = {"string": str, "object": dict, "array": list, "boolean": bool, "null": type(None)}
    if kind in ("integer", "number"):
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kinds[kind])


class Fleet:
    def __init__(self, client, document):
        self.client, self.document = client, document
        self.statuses, self.events = [], []
        self.news = asyncio.Condition()

    async def watch(self):
        for area, into in (("status", self.statuses), ("event", self.events)):
            await self.client.subscribe(f"orchestrator.{area}.>", cb=self.keep(into))
        await self.client.flush()

    def keep(self, into):
        async def keep(message):
            body = json.loads(message.data)
            async with self.news:
                into.append((message.subject, body))
                self.news.notify_all()

        return keep

    async def until(self, what, of, wanted):
        """The first message, now or later, that is wanted."""

        async def found():
            async with self.news:
                while True:
                    for _, body in of:
                        if wanted(body):
                            return body
                    await self.news.wait()

        try:
            return await asyncio.wait_for(found(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"waited for {what}; heard {of[-20:]}") from None

    async def running(self, key, attempt=1):
        def wanted(status):
            is_it = status["task"].endswith(f"/{key}") and status["attempt"] == attempt
            return is_it and status["phase"] == "running"

        status = await self.until(f"{key} to run", self.statuses, wanted)
        return status["agent"]

    async def steer(self, target, **body):
        """Sends a request. Gives the receipts as they come, up to the last one."""
        subject = f"orchestrator.{target}"
        self.document.message("receive", subject, body)
        inbox = self.client.new_inbox()
        receipts = await self.client.subscribe(inbox)
        await self.client.publish(subject, json.dumps(body).encode(), reply=inbox, headers=JSON)
        while True:
            message = await receipts.next_msg(timeout=PATIENCE)
            assert message.headers["content-type"] == "application/json"
            receipt = json.loads(message.data)
            self.document.check(receipt, self.document.receipt, "receipt")
            yield receipt
            if receipt["open"] == 0:
                break
        await receipts.unsubscribe()

    async def effect(self, target, **body):
        """Sends a request for one agent, and waits until it has had its effect."""
        states = []
        async for receipt in self.steer(target, **body):
            assert len(receipt["commands"]) == receipt["agents"] == 1, receipt
            states.append(receipt["state"])
        assert states[0] == "accepted" and states[-1] == "applied", states
        assert states == sorted(set(states), key=["accepted", "delivered", "applied"].index), states
        return receipt

    async def refused(self, code, target, **body):
        (receipt,) = [receipt async for receipt in self.steer(target, **body)]
        assert (receipt["state"], receipt["code"]) == ("rejected", code), receipt
        assert receipt["message"] and receipt["hint"], receipt


async def main(url, document, place):
    place = pathlib.Path(place)
    async with await nats.connect(url) as client:
        fleet = Fleet(client, Document(document))
        await fleet.watch()
        (place / "watching").touch()
        one, two, three = [await fleet.running(key) for key in ("1.1", "1.2", "1.3")]

        # 1.3 makes room for 1.4.
        await fleet.effect(f"agent.{three}.redirect", work_stream="1.4", reason="1.3 waits")
        four = await fleet.running("1.4")

        # 1.2 is told something; however often it is said, once.
        words = {"request_id": "edges-1", "text": "Focus on edge cases", "action": "continue"}
        told = await fleet.effect(f"agent.{two}.feedback", **words)
        (again,) = [receipt async for receipt in fleet.steer(f"agent.{two}.feedback", **words)]
        assert again["commands"] == told["commands"], again
        (place / "1.2").touch()

        # 1.1 is stopped.
        await fleet.effect(f"agent.{one}.stop", reason="not now")
        over = lambda status: status["agent"] == one and status["phase"] == "ended"
        ended = await fleet.until("1.1 to end", fleet.statuses, over)
        assert ended["outcome"] == "cancelled", ended
        await fleet.refused("task_ended", f"agent.{one}.stop")
        await fleet.refused("unknown_agent", "agent.nobody.stop")
        await fleet.refused("nothing_matches", "broadcast.resume")

        # When 1.4 has ended, 1.3 goes on.
        await fleet.effect("broadcast.feedback", text="finish", only={"task": four_task(fleet, four)})
        (place / "1.4").touch()
        three = await fleet.running("1.3", attempt=2)
        await fleet.effect(f"agent.{three}.ping")
        await fleet.effect(f"agent.{three}.feedback", text="finish")
        (place / "1.3").touch()
        finished = lambda event: event["kind"] == "run_finished"
        await fleet.until("the end of the run", fleet.events, finished)

    numbers = [body["seq"] for _, body in fleet.events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "events have no gaps"
    for subject, body in fleet.statuses + fleet.events:
        fleet.document.message("send", subject, body)
    print(f"{len(fleet.statuses)} statuses and {len(fleet.events)} events as documented")


def four_task(fleet, agent):
    (task,) = {body["task"] for _, body in fleet.statuses if body["agent"] == agent}
    return task


asyncio.run(main(*sys.argv[1:]))
