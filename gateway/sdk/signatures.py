"""Writes `gateway/fixtures/signatures.json`: what botocore signs for Bedrock (botocore 1.44.8, see dialect/sdk/requirements.txt).

    python gateway/sdk/signatures.py > gateway/fixtures/signatures.json
"""

import datetime
import json
import pathlib

import botocore.auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 11, 29, 2, 30, 0)
ENDPOINT = "https://bedrock-runtime.eu-central-1.amazonaws.com"
BODY = '{"messages":[{"role":"user","content":[{"text":"wörld"}]}]}'
# The credentials of AWS's own examples.
KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKENS = (None, "FwoGZXIvYXdzEXAMPLE/token+with=signs==")


def main():
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: NOW
    fixtures = pathlib.Path(__file__).parents[2] / "dialect" / "fixtures" / "converse"
    cases = []
    for token in TOKENS:
        for _model, *paths in json.loads((fixtures / "paths.json").read_text()):
            for path in paths:
                headers = {"content-type": "application/json"}
                request = AWSRequest("POST", ENDPOINT + path, headers=headers, data=BODY.encode())
                SigV4Auth(Credentials(*KEY, token), "bedrock", "eu-central-1").add_auth(request)
                cases.append({
                    "url": ENDPOINT + path,
                    "body": BODY,
                    "token": token,
                    "date": request.headers["X-Amz-Date"],
                    "authorization": request.headers["Authorization"],
                })
    print(json.dumps(cases, indent=1, ensure_ascii=False))


main()
