"""A recipe in an XMP packet (ISO 16684-1): one property in a namespace of ours, beside what others have written there.

The packet stays as it is, byte for byte, around that property; nothing else in it is understood. It is read by expat,
which says where elements begin and end, and is given no document type to expand.
"""

from __future__ import annotations

import html
import re
from typing import Any
from xml.parsers import expat

from imgrs.errors import ArgumentError

NAMESPACE = "https://pypi.org/project/imgrs-lazy/xmp/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_HEAD = (
    '<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
)
_TAIL = '</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'


class _UnreadableError(ValueError):
    """No XML that can be trusted."""


class _Found:
    """Where a packet holds our property, and where it may hold one, as offsets in its bytes."""

    def __init__(self, packet: bytes) -> None:
        self.text: str | None = None
        self.spans: list[tuple[int, int]] = []
        self.end: int | None = None
        """Where the list of properties ends."""
        self._packet, self._start, self._parts = packet, -1, [""]
        parser = self._parser = expat.ParserCreate(namespace_separator="}")
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._begins, self._ends
        parser.CharacterDataHandler = self._says
        parser.StartDoctypeDeclHandler = self._declares
        try:
            parser.Parse(packet, True)
        except expat.ExpatError as error:
            raise _UnreadableError(str(error)) from None
        if self._start >= 0 or (self.spans and self.text is None):
            raise _UnreadableError("a property within a property")

    def _declares(self, *_: Any) -> None:
        raise _UnreadableError("it declares a document type")

    def _begins(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        if _is_ours(name):
            self._start, self._parts = at, []
        for given, value in attributes.items():
            if _is_ours(given):
                prefix = given.split("}")[2].encode()
                pattern = rb"\s" + re.escape(prefix) + rb":recipe\s*=\s*(\"[^\"]*\"|'[^']*')"
                place = re.compile(pattern).search(self._packet, at)
                if place is not None:
                    self.text = value
                    self.spans.append(place.span())

    def _says(self, text: str) -> None:
        if self._start >= 0:
            self._parts.append(text)

    def _ends(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        if _is_ours(name) and self._start >= 0:
            self.text = "".join(self._parts)
            self.spans.append((self._start, self._packet.index(b">", at) + 1))
            self._start = -1
        elif name.startswith(f"{_RDF}}}RDF") and self._packet.startswith(b"</", at):
            self.end = at


def _is_ours(name: str) -> bool:
    return name.startswith(f"{NAMESPACE}}}recipe")


def recipe(packet: bytes) -> str | None:
    """The recipe that a packet holds; None where it holds none, or cannot be read."""
    if NAMESPACE.encode() not in packet:
        return None
    try:
        return _Found(packet).text
    except _UnreadableError:
        return None


def without_recipe(packet: bytes) -> bytes:
    """The packet without the recipe of the file that it comes from: another file is made in another way."""
    if NAMESPACE.encode() not in packet:
        return packet
    try:
        spans = _Found(packet).spans
    except _UnreadableError:
        return packet
    for start, end in reversed(spans):
        packet = packet[:start] + packet[end:]
    return packet.replace(_description(""), b"")


def with_recipe(packet: bytes, text: str) -> bytes:
    """The packet with a recipe, and nothing else changed. Raises ``ArgumentError`` for a packet that is no XML in UTF-8."""
    ours = _description(f"<imgrs:recipe>{html.escape(text, quote=False)}</imgrs:recipe>")
    packet = without_recipe(packet)
    if not packet.strip(b"\0 \r\n\t"):
        return _HEAD.encode() + ours + _TAIL.encode()
    try:
        packet.decode("utf-8")
        end = _Found(packet.rstrip(b"\0")).end
        if end is None:
            raise _UnreadableError("it lists no properties")
    except ValueError as error:
        raise ArgumentError(
            f"the recipe cannot be put into the XMP that is there: {error}; leave that out by xmp=b'' or metadata=False"
        ) from None
    return packet[:end] + ours + packet[end:]


def _description(inner: str) -> bytes:
    return (
        f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" xmlns:imgrs="{NAMESPACE}">{inner}</rdf:Description>'.encode()
    )
