# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is pending in a stream, in gdb: of a process, or of its core.

    (gdb) source scripts/gdb_bpf_stream.py
    (gdb) bpf-stream EXPR

EXPR is a struct bpf_stream, or a pointer to one. Prints the pending bytes and messages, and then
each message, oldest first; of one that was partly read, the rest. If an element is damaged, this is
said, and what can still be reached is printed. It needs the debug information (-g) of the file that
has the bodies; with several static copies, choose a frame of the right one.
"""
import gdb

# What an element's info says: its length, if it ends its message, and the units of 8 bytes before it.
LEN, ENDS, SHIFT = 0x1FFFF, 0x10000000, 30
PENDING = 0x1FFFFFFF  # in the log's word, below three flags


def elements(link, pool, left, consumed=0):
    """Elements of a list, as (text, is its message's last), of @left bytes without the first
    @consumed ones; and what is wrong with the next one, or nothing."""
    kind = gdb.lookup_type("struct bpf_stream_elem").pointer()
    found = []
    while link:
        try:
            elem = gdb.Value(pool + link * 8).cast(kind).dereference()
            info = int(elem["info"])
            size = (info & LEN) - consumed
            left -= size
            if size <= 0 or left < 0:
                return found, f"; the element at {pool + link * 8:#x} is damaged"
            at = int(elem["str"].address) + (info >> SHIFT) * 8 + consumed
            text = gdb.selected_inferior().read_memory(at, size).tobytes()
        except gdb.MemoryError as error:
            return found, f"; the element at {pool + link * 8:#x} cannot be read: {error}"
        found.append((text, bool(info & ENDS)))
        consumed = 0
        link = int(elem["node"])
    return found, ""


def messages(found):
    texts = [b""]
    for text, ends in found:
        texts[-1] += text
        if ends:
            texts.append(b"")
    return texts if texts[-1] else texts[:-1]


class BpfStream(gdb.Command):
    """bpf-stream EXPR: the messages that are pending in a struct bpf_stream"""

    def __init__(self):
        super().__init__("bpf-stream", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, arg, from_tty):
        if not arg.strip():
            raise gdb.GdbError("usage: bpf-stream EXPR: a struct bpf_stream, or a pointer to one")
        try:
            stream = gdb.parse_and_eval(arg)
            if stream.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
                stream = stream.dereference()
            kind = stream.type.strip_typedefs()
            if kind.code != gdb.TYPE_CODE_STRUCT or kind.tag != "bpf_stream":
                raise gdb.GdbError(f"{arg}: not a struct bpf_stream, but {kind}")
            self.show(stream)
        except gdb.error as error:
            raise gdb.GdbError(f"{arg}: {error} (the file that has the bodies must be compiled with"
                               " -g)") from None

    def show(self, stream):
        pool = int(gdb.parse_and_eval("bse_process")["pool"]["bse_v"])
        # The newest element is above, pending bytes are below.
        word = int(stream["log"]["bse_v"])
        pending = word & PENDING
        consumed = int(stream["consumed"])
        backlog, note = elements(int(stream["backlog_head"]), pool, pending, consumed)
        # The log goes from the newest element to the oldest.
        log, broken = elements(word >> 32, pool, pending)
        note += broken
        texts = messages(backlog) + messages(log[::-1])
        size = sum(map(len, texts))
        if size != pending:
            why = "what is behind that is missing" if note else "a reader was at work"
            note += f"; found {size} bytes: {why}"
        print(f"pending {pending} bytes, {len(texts)} messages{note}")
        for text in texts:
            print(repr(text)[1:])


BpfStream()
