# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is pending in a stream, in gdb: of a process, or of its core.

    (gdb) source scripts/gdb_bpf_stream.py
    (gdb) bpf-stream EXPR

EXPR is a struct bpf_stream, or a pointer to one. Prints the pending bytes and messages, and then
each message, oldest first; of one that was partly read, the rest. It needs the debug information
(-g) of the file that has the bodies; with several static copies, choose a frame of the right one.
"""
import gdb

ENDS = 0x80000000  # BSI_ELEM_ENDS: an element that ends its message


class Broken(Exception):
    pass


def elements(link, pool, left):
    """The elements of a list, as (texts, is the last of its message); @left bytes at most."""
    kind = gdb.lookup_type("struct bpf_stream_elem").pointer()
    while link:
        elem = gdb.Value(pool + link * 8).cast(kind).dereference()
        total, consumed = int(elem["total_len"]), int(elem["consumed_len"])
        size = (total & ~ENDS) - consumed
        left -= size
        if size <= 0 or left < 0:
            raise Broken(f"the element at {pool + link * 8:#x} is damaged")
        at = int(elem["str"].address) + consumed
        yield gdb.selected_inferior().read_memory(at, size).tobytes(), bool(total & ENDS)
        link = int(elem["node"])


class BpfStream(gdb.Command):
    """bpf-stream EXPR: the messages that are pending in a struct bpf_stream"""

    def __init__(self):
        super().__init__("bpf-stream", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, arg, from_tty):
        stream = gdb.parse_and_eval(arg)
        if stream.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
            stream = stream.dereference()
        pool = int(gdb.parse_and_eval("bse_process")["pool"]["bse_v"])
        # The newest element is above, pending bytes are below.
        word = int(stream["log"]["bse_v"])
        pending = word & 0xFFFFFFFF
        found = []
        note = ""
        try:
            found += elements(int(stream["backlog_head"]), pool, pending)
            # The log goes from the newest element to the oldest.
            found += list(elements(word >> 32, pool, pending))[::-1]
        except (Broken, gdb.MemoryError) as error:
            note = f"; stopped: {error}"
        size = sum(len(text) for text, _ in found)
        if size != pending:
            note += f"; found {size} bytes: a reader was at work"
        messages = [b""]
        for text, ends in found:
            messages[-1] += text
            if ends:
                messages.append(b"")
        if not messages[-1]:
            messages.pop()
        print(f"pending {pending} bytes, {len(messages)} messages{note}")
        for message in messages:
            print(repr(message)[1:])


BpfStream()
