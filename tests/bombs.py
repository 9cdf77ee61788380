"""Files that claim, inflate to, or repeat more than they have; each generator yields (name, bytes)."""

from __future__ import annotations

import functools
import pickle
import struct
import zlib
from collections.abc import Iterable, Iterator

from imgrs.io.png.chunks import SIGNATURE, chunk
from tests.hostile import SIZES, Case, patched, tiff_fields


@functools.cache
def zeros(size: int) -> bytes:
    """So many bytes, compressed a thousand times."""
    return zlib.compress(bytes(size))


def tiff(entries: dict[int, tuple[int, list[int]]], data: bytes = b"", following: int | None = None) -> bytes:
    """A classic little-endian TIFF of one directory at byte 8: tag to (type, values). ``data`` stands at the end.

    Values of ``-1`` stand for the offset of ``data``; ``following`` is where the next directory is said to be.
    """
    table = 8 + 2 + 12 * len(entries) + 4
    outside = b""
    rows: list[tuple[int, int, list[int]]] = [(tag, kind, values) for tag, (kind, values) in sorted(entries.items())]
    spilled = sum(SIZES[kind] * len(values) for _, kind, values in rows if SIZES[kind] * len(values) > 4)
    end = table + spilled
    made = struct.pack("<2sHIH", b"II", 42, 8, len(rows))
    for tag, kind, values in rows:
        size = SIZES[kind]
        stored = b"".join((end if v == -1 else v).to_bytes(size, "little") for v in values)
        made += struct.pack("<HHI", tag, kind, len(values))
        if len(stored) > 4:
            made += struct.pack("<I", table + len(outside))
            outside += stored
        else:
            made += stored.ljust(4, b"\0")
    return made + struct.pack("<I", following or 0) + outside + data


def plain_tiff(width: int, height: int, data: bytes, **changed: tuple[int, list[int]]) -> bytes:
    """A gray TIFF of one uncompressed strip; ``changed`` replaces tags, named ``t273``."""
    entries = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 273: (4, [-1]),
        277: (3, [1]), 278: (4, [height]), 279: (4, [len(data)]),
    }  # fmt: skip
    entries |= {int(name[1:]): value for name, value in changed.items()}
    return tiff(entries, data)


def tiff_claims() -> Iterator[Case]:
    """TIFFs of a few hundred bytes that claim 100,000 x 100,000 pixels."""
    huge, data = 100_000, zeros(1 << 18)
    tiles: dict[str, tuple[int, list[int]]] = {"t259": (3, [8]), "t322": (4, [256]), "t323": (4, [256])}
    yield "one strip of 10 GB", plain_tiff(huge, huge, data, t259=(3, [8]))
    yield "one strip of 10 GB, not compressed", plain_tiff(huge, huge, b"\0")
    yield "one strip of 10 GB, missing", plain_tiff(huge, huge, b"", t273=(4, [0]), t279=(4, [0]))
    yield "one tile of 10 GB", plain_tiff(huge, huge, data, **{**tiles, "t322": (4, [huge]), "t323": (4, [huge])})
    yield "one of 152,881 tiles", plain_tiff(huge, huge, data, **tiles, t324=(4, [-1]), t325=(4, [len(data)]))
    yield "tables of 152,881 tiles beyond the end", _lying_count(huge)
    big: dict[str, tuple[int, list[int]]] = {**tiles, "t322": (4, [16_384]), "t323": (4, [16_384])}
    yield "49 missing tiles", plain_tiff(huge, huge, b"", **big, t324=(4, [0] * 49), t325=(4, [0] * 49))


def tiff_bombs() -> Iterator[Case]:
    """TIFFs that claim more than they have, point in circles, or mean more than they say."""
    yield from tiff_claims()
    data = zeros(1 << 20)
    tiles: dict[str, tuple[int, list[int]]] = {"t259": (3, [8]), "t322": (4, [256]), "t323": (4, [256])}
    yield "tiles of no width", plain_tiff(64, 64, data, **{**tiles, "t322": (4, [0])})
    yield "tiles of no height", plain_tiff(64, 64, data, **{**tiles, "t323": (4, [0])})
    yield "strips of no rows", plain_tiff(64, 64, bytes(4096), t278=(4, [0]))
    yield "no pixels", plain_tiff(0, 64, bytes(4096))
    yield "no samples", plain_tiff(64, 64, bytes(4096), t277=(3, [0]))
    yield "65,535 samples", plain_tiff(64, 64, bytes(4096), t277=(3, [65_535]))
    yield "65,535 samples of 8 bits each", plain_tiff(64, 64, bytes(4096), t277=(3, [65_535]), t258=(3, [8] * 65_535))
    yield "65,535 bits", plain_tiff(64, 64, bytes(4096), t258=(3, [65_535]))
    yield "a strip that inflates to 256 MB", plain_tiff(64, 64, zeros(256 << 20), t259=(3, [8]))
    yield "a strip of 4 GB at the end", plain_tiff(64, 64, bytes(4096), t279=(4, [(1 << 32) - 1]))
    yield "a strip before the start", plain_tiff(64, 64, bytes(4096), t273=(17, [0]))
    yield "a strip that is the header", plain_tiff(64, 64, b"", t273=(4, [0]), t279=(4, [100]))
    yield "a strip of one byte", plain_tiff(64, 64, bytes(4096), t279=(4, [1]))
    yield "a directory that follows itself", tiff(_plain_entries(), bytes(4096), following=8)
    yield "directories in a circle", _chain(500, 8)
    yield "a directory that follows itself behind others", _chain(1, len(tiff(_plain_entries(), bytes(4096))))
    yield "10,000 directories in a row", _chain(10_000, 0)
    yield "a directory of 65,535 entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * 100)
    yield "65,535 equal entries", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 1, 9) * 65_535 + bytes(4)
    yield "reduced copies that contain themselves", plain_tiff(64, 64, bytes(4096), t330=(4, [8]))
    yield "EXIF that contains itself", plain_tiff(64, 64, bytes(4096), t34665=(4, [8]))
    yield "GPS that contains itself", plain_tiff(64, 64, bytes(4096), t34853=(4, [8]))
    yield "a million reduced copies", plain_tiff(64, 64, bytes(4096), t330=(4, [8] * 1_000_000))
    yield "XML that grows", plain_tiff(64, 64, bytes(4096), t270=(2, list(xml_bomb("OME"))))
    yield "XMP that grows", plain_tiff(64, 64, bytes(4096), t700=(1, list(xml_bomb("x:xmpmeta"))))
    yield "XML that reads a file", plain_tiff(64, 64, bytes(4096), t270=(2, list(xml_of_a_file("OME"))))
    yield "OME of a million planes", plain_tiff(64, 64, bytes(4096), t270=(2, list(ome(64, 64, 1_000_000))))
    yield "OME of other planes", plain_tiff(64, 64, bytes(4096), t270=(2, list(ome(1 << 31, 1 << 31, 3))))
    yield (
        "ImageJ of a million planes",
        plain_tiff(64, 64, bytes(4096), t270=(2, list(b"ImageJ=1\nimages=1000000\nslices=1000000\0"))),
    )
    yield "shaped as 10 TB", plain_tiff(64, 64, bytes(4096), t270=(2, list(b'{"shape": [1000000, 1000000, 10]}\0')))
    yield "a JPEG of 65,500 pixels in a tile", _in_a_tile(7, jpeg_of_size(65_500, 65_500))
    yield "a WebP of 16,383 pixels in a tile", _in_a_tile(50_001, webp_of_size(16_383, 16_383))
    yield "a JPEG 2000 of 60,000 pixels in a tile", _in_a_tile(34_712, jpeg2000_of_size(60_000, 60_000))
    for value in (0, 1, 0xFFFFFFFF):
        yield f"resolution 1/{value}", plain_tiff(64, 64, bytes(4096), t282=(5, [1 | value << 32]), t283=(5, [value]))


def _plain_entries() -> dict[int, tuple[int, list[int]]]:
    return {
        256: (4, [64]), 257: (4, [64]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 273: (4, [-1]),
        277: (3, [1]), 278: (4, [64]), 279: (4, [4096]),
    }  # fmt: skip


def _lying_count(side: int) -> bytes:
    made = plain_tiff(
        side, side, b"", t259=(3, [8]), t322=(4, [256]), t323=(4, [256]), t324=(4, [8] * 3), t325=(4, [9] * 3)
    )
    for field in list(tiff_fields(made)):
        if field.name.endswith(("324 count", "325 count")):
            made = patched(made, field, 152_881)
    return made


def _chain(count: int, last: int) -> bytes:
    """A TIFF of one page and of directories of one entry each, the last of which leads to byte ``last``."""
    start = len(tiff(_plain_entries(), bytes(4096)))
    made = bytearray(tiff(_plain_entries(), bytes(4096), following=start))
    for i in range(count):
        made += struct.pack("<HHHIII", 1, 256, 4, 1, 64, len(made) + 18 if i < count - 1 else last)
    return bytes(made)


def _in_a_tile(compression: int, data: bytes) -> bytes:
    tags: dict[str, tuple[int, list[int]]] = {
        "t259": (3, [compression]), "t262": (3, [2]), "t277": (3, [3]), "t258": (3, [8, 8, 8]),
        "t322": (4, [64]), "t323": (4, [64]), "t324": (4, [-1]), "t325": (4, [len(data)]),
    }  # fmt: skip
    return plain_tiff(64, 64, data, **tags)


def xml_bomb(root: str) -> bytes:
    """A few hundred bytes of XML that stand for gigabytes."""
    entities = '<!ENTITY a0 "aaaaaaaaaaaaaaaa">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 16}">' for i in range(1, 9)
    )
    return f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><{root}>&a8;</{root}>\0'.encode()


def xml_of_a_file(root: str) -> bytes:
    """XML that would show the reader a file of its own machine."""
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><{root}>&f;</{root}>\0'.encode()


def ome(width: int, height: int, planes: int) -> bytes:
    """An OME description of so many planes."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{width}" SizeY="{height}" '
        f'SizeZ="{planes}" SizeC="1" SizeT="1"><Channel ID="Channel:0" SamplesPerPixel="1"/><TiffData IFD="0" '
        f'PlaneCount="{planes}"/></Pixels></Image></OME>\0'
    ).encode()


def png(width: int, height: int, data: bytes, *ahead: bytes, bits: int = 8, color: int = 0, lace: int = 0) -> bytes:
    """A PNG of compressed ``data``; ``ahead`` are whole chunks between the header and it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, lace))
    return SIGNATURE + head + b"".join(ahead) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_claims() -> Iterator[Case]:
    """PNGs of a hundred bytes that claim large images."""
    rows = zlib.compress(bytes(65 * 64), 9)
    most = (1 << 31) - 1
    yield "2,147,483,647 pixels a side", png(most, most, rows)
    yield "a row of 2,147,483,647 pixels", png(most, 1, rows)
    yield "2,147,483,647 rows", png(1, most, rows)
    yield "2,147,483,647 rows of 16-bit RGBA", png(1, most, rows, bits=16, color=6)
    yield "900,000 x 900,000", png(900_000, 900_000, rows)
    yield "20,000 x 20,000, interlaced", png(20_000, 20_000, rows, lace=1)
    yield "5,000 x 5,000, interlaced", png(5_000, 5_000, rows, lace=1)


def png_bombs() -> Iterator[Case]:
    """PNGs that claim, inflate to, or repeat more than they have."""
    yield from png_claims()
    rows = zlib.compress(bytes(65 * 64), 9)
    much = zeros(256 << 20)
    most = (1 << 31) - 1
    yield "256 MB of pixels for 64x64", png(64, 64, much)
    yield "no pixels", png(0, 0, rows)
    yield "no data", png(64, 64, b"")
    yield "less data than rows", png(64, 64, zlib.compress(bytes(65 * 60)))
    yield "more data than rows", png(64, 64, zlib.compress(bytes(65 * 68)))
    yield "an unknown filter", png(64, 64, zlib.compress(bytes([9] + [0] * 64) * 64))
    yield "text of 256 MB", png(64, 64, rows, chunk(b"zTXt", b"Comment\0\0" + much))
    yield "200 texts of 1 MB", png(64, 64, rows, *[chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(1 << 20)))] * 200)
    yield "international text of 256 MB", png(64, 64, rows, chunk(b"iTXt", b"Comment\0\1\0\0\0" + much))
    yield "XMP of 256 MB", png(64, 64, rows, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + much))
    yield "a profile of 256 MB", png(64, 64, rows, chunk(b"iCCP", b"p\0\0" + much))
    yield "XMP that grows", png(64, 64, rows, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xml_bomb("x:xmpmeta")))
    yield "a palette of 1 MB", png(64, 64, rows, chunk(b"PLTE", bytes(3 << 20)), color=3)
    yield "no palette", png(64, 64, rows, color=3)
    yield "an empty palette", png(64, 64, rows, chunk(b"PLTE", b""), color=3)
    yield "transparency of 1 MB", png(64, 64, rows, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(1 << 20)), color=3)
    yield (
        "10,000 empty pieces",
        png(64, 64, rows).replace(chunk(b"IDAT", rows), chunk(b"IDAT", b"") * 10_000 + chunk(b"IDAT", rows)),
    )
    yield "100,000 empty chunks", png(64, 64, rows, *[chunk(b"juNk", b"")] * 100_000)
    yield "2 billion frames", png(64, 64, rows, chunk(b"acTL", struct.pack(">II", most, 0)))
    yield "a frame of 2 billion pixels", png(64, 64, rows, chunk(b"acTL", struct.pack(">II", 1, 0)), _frame(most, 1))
    yield "EXIF in a circle", png(64, 64, rows, chunk(b"eXIf", exif_circle()))
    yield "EXIF of 4 GB", png(64, 64, rows, chunk(b"eXIf", exif_claiming((1 << 32) - 1)))


def _frame(width: int, height: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 0, 0))


def exif_circle() -> bytes:
    """EXIF whose directories lead to each other."""
    entries = (
        struct.pack("<HHII", 0x8769, 4, 1, 8)
        + struct.pack("<HHII", 0x8825, 4, 1, 8)
        + struct.pack("<HHII", 0xA005, 4, 1, 8)
    )
    return b"II*\0\x08\0\0\0\x03\0" + entries + struct.pack("<I", 8)


def exif_claiming(count: int) -> bytes:
    """EXIF with texts and numbers of so many bytes."""
    entries = struct.pack("<HHII", 0x010E, 2, count, 8) + struct.pack("<HHII", 0x0112, 3, count, 8)
    return b"II*\0\x08\0\0\0\x02\0" + entries + bytes(4)


def jpeg(width: int, height: int, scans: Iterable[bytes], progressive: bool = False, interval: int = 0) -> bytes:
    """A gray JPEG whose blocks are said by codes of one bit; ``scans`` are scan headers with their data."""
    tables = b"\xff\xdb\0\x43\0" + bytes([1] * 64)
    # One code of one bit in each table, for "nothing", and one of two bits for a run of blocks to skip.
    tables += b"\xff\xc4\0\x14\x00\x01" + bytes(15) + b"\x00"
    tables += b"\xff\xc4\0\x15\x10\x01\x01" + bytes(14) + b"\x00\xe0"
    restart = struct.pack(">HHH", 0xFFDD, 4, interval) if interval else b""
    frame = struct.pack(">HHBHHB3B", 0xFFC2 if progressive else 0xFFC0, 11, 8, height, width, 1, 1, 0x11, 0)
    return b"\xff\xd8" + tables + restart + frame + b"".join(scans) + b"\xff\xd9"


def scan(data: bytes, first: int = 0, last: int = 63, bits: int = 0) -> bytes:
    """A scan of the only component."""
    return struct.pack(">HHB5B", 0xFFDA, 8, 1, 1, 0, first, last, bits) + data


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG of a few hundred bytes that claims a size."""
    return jpeg(width, height, [scan(bytes(200))])


def jpeg_bombs() -> Iterator[Case]:
    """JPEGs that claim more than they have, or ask for the same work again and again."""
    blocks = bytes(64 * 64 // 64 * 2 // 8)
    yield "no height", jpeg(64, 0, [scan(blocks)])
    yield "no width", jpeg(0, 64, [scan(blocks)])
    yield "the start marker alone", b"\xff\xd8\xff"
    yield "no scan", jpeg(64, 64, [])
    yield (
        "10,000 scans",
        jpeg(2_000, 2_000, [scan(bytes(7_813), 0, 0), *[_skipping(62_500)] * 10_000], progressive=True),
    )
    yield "100,000 scans", jpeg(64, 64, [scan(bytes(8), 0, 0), *[_skipping(64)] * 100_000], progressive=True)
    yield "10,000 times the same scan", jpeg(500, 500, [scan(bytes(1_000))] * 10_000)
    yield (
        "a restart at every block",
        jpeg(64, 64, [scan(b"".join(b"\0\xff" + bytes([0xD0 + i % 8]) for i in range(63)) + b"\0")], interval=1),
    )
    yield "restarts out of order", jpeg(64, 64, [scan(b"\0\xff\xd5" * 63 + b"\0")], interval=1)
    yield "restarts that are not there", jpeg(64, 64, [scan(blocks)], interval=1)
    yield "a million restarts", jpeg(64, 64, [scan(b"\xff\xd0" * 1_000_000)], interval=1)
    yield "a restart after 65,535 units", jpeg(64, 64, [scan(blocks)], interval=65_535)
    yield "fill bytes for ever", b"\xff\xd8" + b"\xff" * 5_000_000
    good = jpeg(64, 64, [scan(blocks)])
    for name, content in (("circle", exif_circle()), ("4 GB", exif_claiming((1 << 32) - 1)), ("nothing", b"")):
        yield f"EXIF of {name}", _with_app1(good, b"Exif\0\0" + content)
    yield "XMP that grows", _with_app1(good, b"http://ns.adobe.com/xap/1.0/\0" + xml_bomb("x:xmpmeta"))
    yield "60,000 comments", good[:2] + b"\xff\xfe\0\3x" * 60_000 + good[2:]
    yield "255 of 255 profiles missing", good[:2] + b"\xff\xe2\0\x12ICC_PROFILE\0\xff\xff" + good[2:]


def _skipping(blocks: int) -> bytes:
    """A scan of one coefficient that is 0 in all blocks: runs of up to 32,767 of them in 2 + 14 bits."""
    bits = ""
    while blocks:
        run = min(blocks, 32_767)
        bits += "10" + f"{max(run - 16_384, 0):014b}"
        blocks -= min(run, blocks)
        if run < 16_384:
            break
    bits += "1" * (-len(bits) % 8)
    return scan(int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0"), 1, 1)


def _with_app1(data: bytes, content: bytes) -> bytes:
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content + data[2:]


def npy(head: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """An NPY file of a header, which is Python text."""
    text = head.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\1\0" else 4, "little") + text + data


def npy_bombs() -> Iterator[Case]:
    """Headers that are expressions, deep, long, or of other types."""
    head = "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}"
    yield "an overflow", npy(head.format("'|u1'", "(4294967296, 4294967296)"), bytes(100))
    yield "negative", npy(head.format("'|u1'", "(-5, 5)"), bytes(100))
    yield "true", npy(head.format("'|u1'", "(True, 5)"), bytes(100))
    yield "a billion bands", npy(head.format("'|u1'", "(1, 1, 1000000000)"), bytes(100))
    yield "no shape", npy(head.format("'|u1'", "()"), bytes(100))
    yield "objects", npy(head.format("'|O'", "(5, 5)"), pickle.dumps(0))
    yield "a structure", npy(head.format("[('a', '|u1'), ('b', '|O')]", "(5, 5)"), bytes(100))
    yield "a code", npy(head.format("'|u1'", "(__import__('os').getpid(), 5)"), bytes(100))
    yield "deep", npy("(" * 5_000 + ")" * 5_000)
    yield "deep lists", npy("[" * 20_000)
    yield "a power", npy(head.format("'|u1'", "(9**9**9, 5)"), bytes(100))
    yield "long", npy(" " * 65_000 + head.format("'|u1'", "(5, 5)"), bytes(100))
    yield "4 GB of header", b"\x93NUMPY\2\0" + b"\xff\xff\xff\xff" + b"{"
    yield "2 GB of header", b"\x93NUMPY\3\0" + b"\xff\xff\xff\x7f" + b"{" * 100_000
    yield "version 9", npy(head.format("'|u1'", "(5, 5)"), bytes(25), b"\x09\0")


def webp_of_size(width: int, height: int) -> bytes:
    """A lossless WebP of a few bytes that claims a size."""
    head = (width - 1) | (height - 1) << 14
    body = b"\x2f" + struct.pack("<I", head) + bytes(20)
    return (
        b"RIFF"
        + struct.pack("<I", 12 + len(body) + len(body) % 2)
        + b"WEBPVP8L"
        + struct.pack("<I", len(body))
        + body
        + b"\0"
    )


def jpeg2000_of_size(width: int, height: int) -> bytes:
    """A JPEG 2000 codestream of a few bytes that claims a size."""
    size = struct.pack(">HHHIIIIIIIIH", 0xFF51, 47, 0, width, height, 0, 0, width, height, 0, 0, 3) + b"\7\1\1" * 3
    coding = struct.pack(">HHBBHBBBBBB", 0xFF52, 12, 0, 0, 1, 1, 5, 4, 4, 0, 1)
    quantities = struct.pack(">HHB", 0xFF5C, 19, 0x40) + bytes([0x48] * 16)
    tile = struct.pack(">HHHIBB", 0xFF90, 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(40) + b"\xff\xd9"
    return b"\xff\x4f" + size + coding + quantities + tile


def bmp(
    width: int, height: int, bits: int = 24, compression: int = 0, colors: int = 0, data: bytes = bytes(100)
) -> bytes:
    """A BMP with a header of version 3."""
    start = 54 + (1024 if bits == 8 else 0)
    head = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colors, 0)
    return head + bytes(start - 54) + data


def ico(data: bytes, count: int = 1, offset: int = 22) -> bytes:
    """An icon whose directory has the same entry ``count`` times; each claims 10,000 bytes."""
    return (
        struct.pack("<HHH", 0, 1, count) + struct.pack("<8BII", 0, 0, 0, 0, 1, 0, 32, 0, 10_000, offset) * count + data
    )


def tga(width: int, height: int, kind: int, data: bytes) -> bytes:
    """A TGA of 24 bits; kind 2 is plain, 10 run-length."""
    return struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, width, height, 24, 0) + data


def gif(width: int, height: int, *parts: bytes) -> bytes:
    """A GIF of a screen and whatever follows."""
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3) + b"".join(parts) + b";"


def _dot(left: int = 0) -> bytes:
    """A GIF's frame of one pixel."""
    return b"," + struct.pack("<HHHH", left, left, 1, 1) + b"\0\2\2D\1\0"


def claims() -> Iterator[Case]:
    """Files of some hundred bytes that claim large images."""
    most = (1 << 31) - 1
    yield "JPEG of 65,500", jpeg_of_size(65_500, 65_500)
    yield "JPEG of 65,500, progressive", jpeg(65_500, 65_500, [scan(bytes(200), 0, 0)], progressive=True)
    yield "JPEG of 5,000", jpeg_of_size(5_000, 5_000)
    yield "GIF of 65,535", gif(65_535, 65_535, _dot())
    yield "GIF with a frame outside", gif(1, 1, _dot(65_535))
    yield "BMP of 2 billion", bmp(most, most)
    yield "BMP of -2 billion rows", bmp(most, -most)
    yield "BMP of a negative width", bmp(-64, 64)
    yield "BMP of the least height", bmp(64, -(1 << 31))
    yield "BMP of 20,000, run-length", bmp(20_000, 20_000, 8, 1, data=b"\0\1")
    yield "BMP of 4 billion colors", bmp(8, 8, 8, colors=(1 << 32) - 1)
    yield "TGA of 65,535", tga(65_535, 65_535, 2, bytes(100))
    yield "TGA of 5,000, run-length", tga(5_000, 5_000, 10, b"\xff123" * 9)
    yield "QOI of 4 billion", b"qoif" + struct.pack(">IIBB", 2 * most + 1, 2 * most + 1, 4, 0) + bytes(107) + b"\1"
    yield "QOI of 5,000", b"qoif" + struct.pack(">IIBB", 5_000, 5_000, 4, 0) + bytes(107) + b"\1"
    yield "P5 of 10^18", b"P5\n999999999 999999999\n255\n" + bytes(100)
    yield "P6 of 10^18", b"P6\n999999999 999999999\n255\n" + bytes(100)
    yield "P6 of 2^64", b"P6\n18446744073709551616 18446744073709551616\n255\n" + bytes(100)
    yield (
        "NPY of 10^18",
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 1000000000), }", bytes(100)),
    )
    yield "JPEG 2000 of 60,000", jpeg2000_of_size(60_000, 60_000)
    yield "JPEG 2000 of 4 billion", jpeg2000_of_size((1 << 32) - 1, (1 << 32) - 1)


def other_bombs() -> Iterator[Case]:
    """Files of the smaller formats that claim more than they have, or repeat themselves."""
    yield from claims()
    yield "GIF of 2,000 with a frame of 1", gif(2_000, 2_000, _dot())
    yield "GIF of 100,000 frames", gif(1, 1, _dot() * 100_000)
    yield "GIF of comments", gif(1, 1, b"!\xfe\1x\0" * 100_000, _dot())
    yield "ICO of 65,535", ico(b"", 65_535)
    yield "ICO of itself", ico(bytes(100), offset=0)
    yield "ICO with a large PNG", ico(png(30_000, 30_000, b""))
    yield "ICO with a large BMP", ico(bmp((1 << 31) - 1, (1 << 31) - 1)[14:])
    for kind in "1234":
        yield f"P{kind} of 10^18", f"P{kind}\n999999999 999999999\n255\n".encode() + bytes(100)
    yield "P3 of long numbers", b"P3\n2 2\n255\n" + b"9" * 1_000_000
    yield "P2 of comments", b"P2\n" + b"#\n" * 1_000_000 + b"1 1\n255\nx"
    yield "P7 of 10^18", b"P7\nWIDTH 999999999\nHEIGHT 999999999\nDEPTH 4\nMAXVAL 255\nENDHDR\n" + bytes(100)
    yield "PF of 10^18", b"PF\n999999999 999999999\n-1.0\n" + bytes(100)
    yield "WebP of 16,383", webp_of_size(16_383, 16_383)
    canvas = b"VP8X\x0a\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff" + b"ANIM\6\0\0\0" + bytes(6)
    yield "WebP of a canvas of 2^24", b"RIFF\x24\0\0\0WEBP" + canvas
    yield "JPEG 2000 of 5,000", jpeg2000_of_size(5_000, 5_000)
    yield "JXL of 2^30", b"\xff\x0a" + _jxl_size(1 << 30, 1 << 30) + bytes(50)
    yield "JXL of 20,000", b"\xff\x0a" + _jxl_size(20_000, 20_000) + bytes(50)
    yield "boxes of nothing", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x08free" * 100_000


def _jxl_size(width: int, height: int) -> bytes:
    bits = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38 | 1 << 68
    return bits.to_bytes(9, "little")
