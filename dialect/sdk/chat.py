"""Checks the fixtures of chat completions against the vendors' own packages: openai 3.57.0, mistralai 3.7.0, groq 1.7.0."""

import json

import groq.types.chat as groq_chat
import openai
from mistralai.client import models as mistral
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParams

import shared
from shared import check_model, check_params, events, fail, fixture, same

MESSAGES = [{"role": "user", "content": "hi"}]


def without(value, names):
    """A body without fields that are extensions of the openai package's types."""
    if isinstance(value, dict):
        return {name: without(item, names) for name, item in value.items() if name not in names}
    if isinstance(value, list):
        return [without(item, names) for item in value]
    return value


def requests():
    shared.forbid_unknown_fields("openai.types")
    for name in ["openai", "azure", "media-openai", "media-azure", "media-compatible"]:
        check_params(CompletionCreateParams, f"chat/request-{name}.json")
    extensions = {
        "compatible": {"reasoning_content", "extra_content"},
        "openrouter": {"reasoning", "reasoning_details", "cache_control"},
    }
    for name, extra in extensions.items():
        body = fixture(f"chat/request-{name}.json")
        check_params(CompletionCreateParams, f"chat/request-{name}.json", without(body, extra))
    extra = {"reasoning_content", "reasoning_details", "cache_control", "extra_content"}
    check_params(CompletionCreateParams, "chat/caller.json", without(fixture("chat/caller.json"), extra))
    check_params(CompletionCreateParams, "chat/caller-media.json")

    shared.forbid_unknown_fields("groq.types")
    # The request's types have no stream_options, but those of the chunks say what they do.
    body = without(fixture("chat/request-groq.json"), {"stream_options"})
    check_params(groq_chat.completion_create_params.CompletionCreateParams, "chat/request-groq.json", body)

    for name in ["mistral", "media-mistral"]:
        body = fixture(f"chat/request-{name}.json")
        read = mistral.ChatCompletionRequest.model_validate(body)
        found = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
        same(f"chat/request-{name}.json", body, found)


def answers():
    for name in ["answer", "answer-text", "answer-refusal", "provider-openai"]:
        check_model(ChatCompletion, f"chat/{name}.json", fixture(f"chat/{name}.json"))
    for name in ["stream", "stream-text", "stream-refusal", "provider-openai"]:
        chunks = [chunk for _, chunk in events(f"chat/{name}.sse")]
        same(f"the end of chat/{name}.sse", "[DONE]", chunks.pop())
        for chunk in chunks:
            check_model(ChatCompletionChunk, f"chat/{name}.sse", json.loads(chunk))
    # What our readers are fed is what the vendors' types read.
    mistral.ChatCompletionResponse.model_validate(fixture("chat/provider-mistral.json"))
    groq_chat.ChatCompletion.model_validate(fixture("chat/provider-groq.json"))
    for name, model in [("mistral", mistral.CompletionChunk), ("groq", groq_chat.ChatCompletionChunk)]:
        for _, chunk in events(f"chat/provider-{name}.sse"):
            if chunk != "[DONE]":
                model.model_validate_json(chunk)


def client():
    with shared.plays("chat") as server:
        sdk = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        create = sdk.chat.completions.create

        whole = create(model="answer.json", messages=MESSAGES)
        with sdk.chat.completions.stream(model="stream.sse", messages=MESSAGES) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        expected = whole.choices[0].message.model_dump(exclude_unset=True)
        found = final.choices[0].message.model_dump(exclude_unset=True)
        for call in found["tool_calls"]:
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        for name in ["role", "content", "tool_calls", "reasoning_content"]:
            same(f"the accumulated {name}", expected[name], found[name])
        same("the finish reason", "tool_calls", final.choices[0].finish_reason)
        same("the usage", whole.usage.model_dump(), final.usage.model_dump())

        # What a caller sends back is what it got: the message as it stands.
        create(model="answer.json", messages=MESSAGES + [whole.choices[0].message])
        same("the message sent back", fixture("chat/answer.json")["choices"][0]["message"], server.body["messages"][1])

        chunks = list(create(model="stream-text.sse", messages=MESSAGES, stream=True))
        same("the last finish reason", "length", chunks[-1].choices[0].finish_reason)
        with sdk.chat.completions.stream(model="stream-refusal.sse", messages=MESSAGES) as stream:
            same("the refusal", "I will not.", stream.get_final_completion().choices[0].message.refusal)

        try:
            list(create(model="stream-failed.sse", messages=MESSAGES, stream=True))
            fail("a stream that broke ended as if it were whole")
        except openai.APIError as error:
            same("the error's code", "provider_failed", error.code)
        try:
            create(model="error.json", messages=MESSAGES)
            fail("an error was read as an answer")
        except openai.RateLimitError as error:
            same("the error's code", "budget_exceeded", error.code)
            same("the error's field", "messages[0].content", error.param)


requests()
answers()
client()
print("chat completions: the fixtures are what the SDKs read and write")
