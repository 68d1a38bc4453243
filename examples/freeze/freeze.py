#!/usr/bin/env python3
"""Freezes holdfast, signed with the secret of `api.freezeSecretFile`, which can freeze and nothing else.

For callers such as an on-call service's automation: freeze.py --reason "incident 4711" web db; no application means all.
The secret comes from the file of --secret-file, or from HOLDFAST_FREEZE_SECRET. Needs Python 3.8 and nothing else.
"""

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--url", default=os.environ.get("HOLDFAST_URL", "http://127.0.0.1:8686"))
parser.add_argument("--secret-file", help="its first line is the secret")
parser.add_argument("--reason", required=True)
parser.add_argument("--owner", default=os.environ.get("USER", "automation"))
parser.add_argument("--until", help="RFC 3339, such as 2030-01-01T08:00:00Z; else until somebody thaws")
parser.add_argument("--tries", type=int, default=5)
parser.add_argument("applications", nargs="*")
wanted = parser.parse_args()

if wanted.secret_file:
    with open(wanted.secret_file, encoding="utf-8") as file:
        secret = file.readline().strip()
else:
    secret = os.environ.get("HOLDFAST_FREEZE_SECRET", "")
if not secret:
    sys.exit("freeze.py: no secret: give --secret-file, or set HOLDFAST_FREEZE_SECRET")

request = {"applications": wanted.applications, "reason": wanted.reason, "owner": wanted.owner}
if wanted.until:
    request["until"] = wanted.until
body = json.dumps(request).encode()

for left in reversed(range(wanted.tries)):
    # Signed anew each time: a signature counts once, and for five minutes.
    timestamp = str(int(time.time()))
    signature = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Holdfast-Timestamp": timestamp,
        "X-Holdfast-Signature": "sha256=" + signature,
    }
    try:
        url = wanted.url.rstrip("/") + "/api/v1/freeze"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            print(answer.read().decode())
            sys.exit(0)
    except urllib.error.HTTPError as error:
        why = f"{error.code}: {error.read().decode(errors='replace')}"
        # Too many requests, or the server's own trouble, pass; anything else does not.
        if error.code != 429 and error.code < 500:
            sys.exit("freeze.py: not frozen: " + why)
    except OSError as error:
        why = str(error)
    if left:
        time.sleep(1)
sys.exit("freeze.py: not frozen: " + why)
