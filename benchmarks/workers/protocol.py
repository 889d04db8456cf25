"""How a peer answers: JSON lines over stdin and stdout, whatever the libraries it loads print.

A worker runs in the peer's own Python and environment and imports nothing of spectra. Each request names a command and
its arguments; the answer is what the command returned, or the error.
"""

import json
import os
import sys
import traceback


def serve(commands):
    """Answer requests until stdin ends. `commands` maps names to functions of keyword arguments."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not end up between the answers
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": commands[request["command"]](**request["arguments"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
