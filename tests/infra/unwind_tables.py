"""Empties the tables of an executable by which a stack is unwound.

In the function a panic aborts, so nothing reads them. The compiler writes them all the same, also with -Cforce-unwind-tables=no, and
they are a tenth of the zip.
"""

import struct

TABLES = {b".eh_frame_hdr", b".eh_frame", b".gcc_except_table"}
# The program header that leads to the tables (PT_GNU_EH_FRAME). Without it an unwinder finds none, and ends.
LEADS_TO_TABLES = 0x6474E550


def emptied(executable):
    """The executable (64 bits, little endian) with zeros instead of its tables. Every address stays where it is."""
    text = bytearray(executable)
    (segments,) = struct.unpack_from("<Q", text, 32)
    (sections,) = struct.unpack_from("<Q", text, 40)
    segment_size, segment_count, section_size, section_count, names = struct.unpack_from("<HHHHH", text, 54)
    for at in range(segments, segments + segment_count * segment_size, segment_size):
        if struct.unpack_from("<I", text, at) == (LEADS_TO_TABLES,):
            struct.pack_into("<I", text, at, 0)
    (names,) = struct.unpack_from("<Q", text, sections + names * section_size + 24)
    for at in range(sections, sections + section_count * section_size, section_size):
        (name,) = struct.unpack_from("<I", text, at)
        start, size = struct.unpack_from("<QQ", text, at + 24)
        if bytes(text[names + name : text.index(0, names + name)]) in TABLES:
            text[start : start + size] = bytes(size)
    return bytes(text)
