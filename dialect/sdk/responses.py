"""Checks the fixtures of responses against the vendor's own package: openai 3.57.0."""

import json

import openai
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParams

import shared
from shared import check_model, check_params, events, fail, fixture, same


def requests():
    shared.forbid_unknown_fields("openai.types")
    for name in ["caller", "request", "request-chat"]:
        check_params(ResponseCreateParams, f"responses/{name}.json")


def answers():
    for name in ["answer", "answer-incomplete", "provider-openai"]:
        check_model(Response, f"responses/{name}.json", fixture(f"responses/{name}.json"))
    for name in ["stream", "stream-incomplete", "stream-empty", "stream-failed", "provider-openai"]:
        for position, (kind, event) in enumerate(events(f"responses/{name}.sse")):
            event = json.loads(event)
            check_model(ResponseStreamEvent, f"responses/{name}.sse", event)
            same("the event's name", kind, event["type"])
            same("the event's number", position, event["sequence_number"])
    # The end of a stream whose other events were not ours.
    for _, event in events("responses/stream-passed-failed.sse"):
        check_model(ResponseStreamEvent, "responses/stream-passed-failed.sse", json.loads(event))


def client():
    with shared.plays("responses") as server:
        sdk = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)

        whole = sdk.responses.create(model="answer.json", input="hi")
        same("the text", "One moment. \U0001f600", whole.output_text)
        for name in ["stream", "provider-openai"]:
            with sdk.responses.stream(model=f"{name}.sse", input="hi") as stream:
                seen = [event.type for event in stream]
                final = stream.get_final_response()
            same("the last event", "response.completed", seen[-1])
            last = json.loads(list(events(f"responses/{name}.sse"))[-1][1])["response"]
            found = final.model_dump(mode="json", by_alias=True, exclude_unset=True)
            for item in found["output"]:
                item.pop("parsed_arguments", None)
                for part in item.get("content", []):
                    part.pop("parsed", None)
            same("the accumulated response", last["output"], found["output"])
            same("the accumulated usage", last["usage"], found["usage"])

        # What a caller sends back is what it got: the items as they stand.
        sdk.responses.create(model="answer.json", input=[{"role": "user", "content": "hi"}, *whole.output])
        sent = server.body["input"][1:]
        same("the items sent back", fixture("responses/answer.json")["output"], sent)

        kinds = [event.type for event in sdk.responses.create(model="stream-incomplete.sse", input="hi", stream=True)]
        same("the last event", "response.incomplete", kinds[-1])
        failed = list(sdk.responses.create(model="stream-failed.sse", input="hi", stream=True))[-1]
        same("the last event", "response.failed", failed.type)
        same("the error", "provider_failed: the provider's stream broke", failed.response.error.message)
        try:
            sdk.responses.create(model="error.json", input="hi")
            fail("an error was read as an answer")
        except openai.RateLimitError as error:
            same("the error's field", "input", error.param)


requests()
answers()
client()
print("responses: the fixtures are what the SDK reads and writes")
