"""Holds the fixtures of `dialect/fixtures/messages` against Anthropic's SDK (anthropic 2.14.0, see requirements.txt).

Bodies must be what the SDK's types of parameters say, without a field more; answers and events must be what its models write; and the SDK's
client must read them from a server.
"""

import json
import typing

from shared import check_params, events, fail, fixture, names, plays, same

# The SDK's parameters are iterables, which pydantic reads only as they are asked for, and not at all where one is in a union.
typing.Iterable = typing.List

import anthropic
import pydantic
from anthropic.types import Message, MessageCreateParams, MessageTokensCount, RawMessageStreamEvent
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.shared import ErrorResponse

# The SDK no longer has them, models up to 4.6 still take them.
OLDER = {"temperature", "top_p", "top_k"}


def check_body(name, kind):
    """A field that the type does not have is left out by pydantic, so that what it gives differs."""
    check_params(kind, name, {key: value for key, value in fixture(name).items() if key not in OLDER})


def check_model(name, model, data):
    read = pydantic.TypeAdapter(model).validate_python(data)
    same(name, data, read.model_dump(mode="json", exclude_unset=True))
    no_extra(name, read)


def no_extra(name, value):
    if isinstance(value, pydantic.BaseModel):
        # The end of a stream has the split of what was written into caches, too: our own readers want it.
        extra = {key for key in value.model_extra or {} if key != "cache_creation"}
        if extra:
            fail(f"{name} has fields that the SDK has not: {extra}")
        for field in type(value).model_fields:
            no_extra(name, getattr(value, field))
    elif isinstance(value, list):
        for item in value:
            no_extra(name, item)


def steps(name):
    for kind, data in events(name):
        data = json.loads(data)
        same(name, kind, data["type"])
        yield data


def check_client(client):
    asked = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    for name in ("answer-rich.json", "answer-bare.json", "provider-answer.json"):
        message = client.messages.create(model=name, **asked)
        same(name, message.model_dump(mode="json", exclude_unset=True), fixture(f"messages/{name}"))
    for name in ("stream-rich.sse", "stream-bare.sse", "provider-stream.sse"):
        read = [event.model_dump(mode="json", exclude_unset=True) for event in client.messages.create(model=name, stream=True, **asked)]
        same(name, read, [event for event in steps(f"messages/{name}") if event["type"] != "ping"])
    with client.messages.stream(model="stream-rich.sse", **asked) as stream:
        message = stream.get_final_message()
    same(
        "stream-rich.sse, whole",
        [block.model_dump(mode="json", exclude_unset=True) for block in message.content],
        [
            {"type": "thinking", "thinking": "Let me think.", "signature": "EqQBCgIYAg=="},
            {"type": "redacted_thinking", "data": "EmwKAhgB"},
            {"type": "text", "text": "Hello, wörld 🦀\u2028"},
            {"type": "tool_use", "id": "toolu_01", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "toolu_02", "name": "g", "input": {}},
        ],
    )
    usage = message.usage
    counted = [usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens]
    same("stream-rich.sse, usage", [message.stop_reason, *counted], ["tool_use", 10, 40, 300, 50])
    with client.messages.stream(model="stream-bare.sse", **asked) as stream:
        message = stream.get_final_message()
    same("stream-bare.sse, whole", [message.stop_reason, message.stop_sequence], ["stop_sequence", "END"])
    count = client.messages.count_tokens(model="count.json", messages=asked["messages"])
    same("count.json", count.input_tokens, 7)
    try:
        client.messages.create(model="error.json", **asked)
        fail("error.json is no error to the SDK")
    except anthropic.RateLimitError as error:
        told = [error.type, error.api_message, error.error_code]
        same("error.json", told, ["rate_limit_error", "the budget of team is spent", "budget_exceeded"])
    try:
        with client.messages.stream(model="stream-failed.sse", **asked) as stream:
            stream.get_final_message()
        fail("stream-failed.sse is no error to the SDK")
    except anthropic.APIStatusError as error:
        same("stream-failed.sse", [error.type, error.error_code], ["overloaded_error", "provider_failed"])


def main():
    for name in names("messages", "*.json"):
        file = name.split("/")[1]
        if file.startswith(("caller-count", "request-count")):
            check_body(name, MessageCountTokensParams)
        elif file.startswith(("caller-", "request-")):
            check_body(name, MessageCreateParams)
        elif file.startswith(("answer-", "provider-answer")):
            check_model(name, Message, fixture(name))
        elif file == "count.json":
            check_model(name, MessageTokensCount, fixture(name))
        elif file == "error.json":
            pydantic.TypeAdapter(ErrorResponse).validate_python(fixture(name))
        else:
            fail(f"{name} is held against nothing")
    for name in names("messages", "*.sse"):
        for event in steps(name):
            if event["type"] == "error":
                pydantic.TypeAdapter(ErrorResponse).validate_python(event)
            elif event["type"] != "ping":
                check_model(name, RawMessageStreamEvent, event)
    with plays("messages") as server:
        check_client(anthropic.Anthropic(api_key="none", base_url=server.url, max_retries=0))
    print("messages: the fixtures are what anthropic has")


main()
