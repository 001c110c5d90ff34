"""PNG files that declare a size and have no pixels: whoever decodes one fails, whoever reads the header knows."""

import struct
import zlib


def png_header(width: int, height: int) -> bytes:
    """An RGB PNG of the declared size without pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
