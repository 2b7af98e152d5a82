#!/usr/bin/env python3
"""generate.py [--library=libotodus.so] MODEL.oto PROMPT COUNT

Continues the prompt by COUNT bytes, always taking the byte the model finds most likely.
Only ctypes of the standard library is needed. For models with byte tokens. See ../Embed.md.
"""
import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p


def load(path):
    """libotodus.so with the types of the functions used here."""
    library = ctypes.CDLL(path)
    for name, result, *arguments in [
        ("otodus_last_error", c_char_p),
        ("otodus_model_open", c_int, c_char_p, c_char_p, POINTER(c_void_p)),
        ("otodus_model_close", None, c_void_p),
        ("otodus_model_logit_count", c_int64, c_void_p),
        ("otodus_session_create", c_int, c_void_p, c_int64, c_int, POINTER(c_void_p)),
        ("otodus_session_destroy", None, c_void_p),
        ("otodus_session_feed", c_int, c_void_p, POINTER(c_int32), c_int64),
        ("otodus_session_logits", POINTER(c_float), c_void_p),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def main(arguments):
    path = "libotodus.so"
    if arguments and arguments[0].startswith("--library="):
        path = arguments.pop(0).split("=", 1)[1]
    if len(arguments) != 3 or not arguments[1]:
        sys.exit("usage: generate.py [--library=libotodus.so] MODEL.oto PROMPT COUNT")
    artefact, prompt, count = arguments
    otodus = load(path)

    def check(status):
        if status:
            print("generate.py:", otodus.otodus_last_error().decode(), file=sys.stderr)
            sys.exit(status)

    model, session = c_void_p(), c_void_p()
    check(otodus.otodus_model_open(artefact.encode(), None, byref(model)))
    check(otodus.otodus_session_create(model, 1, 0, byref(session)))
    classes = otodus.otodus_model_logit_count(model)

    def feed(text):
        tokens = (c_int32 * len(text))(*text)
        check(otodus.otodus_session_feed(session, tokens, len(text)))

    text = prompt.encode()
    feed(text)
    for _ in range(int(count)):
        logits = otodus.otodus_session_logits(session)[:classes]
        best = bytes([max(range(classes), key=logits.__getitem__)])
        text += best
        feed(best)
    sys.stdout.buffer.write(text + b"\n")
    otodus.otodus_session_destroy(session)
    otodus.otodus_model_close(model)


if __name__ == "__main__":
    main(sys.argv[1:])
