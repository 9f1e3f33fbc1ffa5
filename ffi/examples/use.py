"""libunskew from Python, with nothing but ctypes: python3 ffi/examples/use.py libunskew.so unskew.toml"""

import ctypes
import json
import os
import sys


class Bytes(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("len", ctypes.c_size_t)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_char)), ("len", ctypes.c_size_t)]


class Unskew:
    """One configuration. Errors of the library are RuntimeError, with its words."""

    def __init__(self, library, config):
        self.lib = ctypes.CDLL(library)
        self.lib.unskew_open.restype = ctypes.c_void_p
        self.lib.unskew_open.argtypes = [Bytes, ctypes.c_uint32]
        self.lib.unskew_last_error.restype = Buffer
        self.lib.unskew_free.argtypes = [Buffer]
        self.lib.unskew_free.restype = None
        self.handle = self.lib.unskew_open(text(config), 0)
        if not self.handle:
            raise RuntimeError(self.last_error())

    def last_error(self):
        last = self.lib.unskew_last_error()
        return ctypes.string_at(last.data, last.len).decode() if last.len else "unknown"

    def call(self, name, *texts, answers=1):
        found = [Buffer() for _ in range(answers)]
        arguments = [text(one) for one in texts] + [ctypes.byref(one) for one in found]
        if getattr(self.lib, name)(ctypes.c_void_p(self.handle), *arguments) != 0:
            raise RuntimeError(self.last_error())
        answer = [ctypes.string_at(one.data, one.len) if one.data else None for one in found]
        for one in found:
            self.lib.unskew_free(one)
        return answer

    def close(self):
        self.lib.unskew_close(ctypes.c_void_p(self.handle))


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return Bytes(value, len(value))


def main():
    unskew = Unskew(sys.argv[1], sys.argv[2])
    # Opened before the fork, started after it, in each process by itself.
    child = os.fork()
    record = '{"session_id":"s1","bitrate":4500,"schema":2}'
    down, carry = unskew.call("unskew_normalize", record, b"", "1", answers=2)
    up, _ = unskew.call("unskew_translate", down, carry, "1", "2", answers=2)
    assert up.decode() == record, up
    try:
        unskew.call("unskew_detect", "no json")
        sys.exit("what is no record was taken for one")
    except RuntimeError as error:
        fault = str(error)
    status = json.loads(unskew.call("unskew_status")[0])
    if child == 0:
        unskew.close()
        os._exit(0)
    _, code = os.waitpid(child, 0)
    # A handle that was started before a fork is refused after it, and hangs nobody.
    child = os.fork()
    if child == 0:
        try:
            unskew.call("unskew_detect", record)
            os._exit(1)
        except RuntimeError as error:
            os._exit(0 if "before a fork" in str(error) else 2)
    _, late = os.waitpid(child, 0)
    unskew.close()
    print(json.dumps({"down": down.decode(), "fault": fault, "pack": status["pack"]["name"], "child": code, "late": late}))


main()
