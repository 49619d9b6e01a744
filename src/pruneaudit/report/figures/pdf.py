"""A PDF in one order: the same picture gives the same bytes.

The library that writes PDFs keeps fonts and other resources in hash tables, so their order and the numbers of objects
differ from one time to the next. Here objects are numbered in the order in which they are reached from the catalog, and
the resources of a page are ordered by name.
"""

from __future__ import annotations

import re
from typing import Any

_REFERENCE = re.compile(rb"\b(\d+) 0 R\b")
_NAMED = re.compile(rb"(?:^[ ]*/[A-Za-z]+\d+ \d+ 0 R\n)+", re.MULTILINE)
"""Lines of a table of resources."""
_STREAM = b"\nstream\n"
_HEADER = b"%PDF-1.7\n%\x80\x80\x80\x80\n"


def canonical_pdf(content: bytes, title: str, subject: str) -> bytes:
    """The PDF with its objects in one order, and with a title and a subject.

    Args:
        content: as svg2pdf writes it: whole objects with a table of references, and no object streams.
        title: for the file's description.
        subject: likewise.
    """
    objects = {int(number): _ordered(body) for number, body in _objects(content)}
    root = re.search(rb"trailer\n.*?/Root (\d+) 0 R", content, re.DOTALL)
    assert root is not None
    order = _met_from(objects, int(root[1]))
    numbers = {old: new for new, old in enumerate(order, start=1)}
    bodies = [_renumbered(objects[old], numbers) for old in order]
    info = len(bodies) + 1
    bodies.append(b"<<\n  /Title %s\n  /Subject %s\n>>" % (_text(title), _text(subject)))
    return _written(bodies, info)


def _objects(content: bytes) -> list[tuple[bytes, bytes]]:
    """Number and body of each object; the bytes of a stream are skipped by its length, whatever they hold."""
    found, start = [], content.index(b" 0 obj\n")
    start = content.rindex(b"\n", 0, start) + 1
    head = re.compile(rb"\s*(\d+) 0 obj\n")
    while opening := head.match(content, start):
        body = opening.end()
        end = content.index(b"\nendobj", body)
        stream = content.find(_STREAM, body, end)
        if stream >= 0:
            length = re.search(rb"/Length (\d+)", content[body:stream])
            assert length is not None
            end = content.index(b"\nendobj", stream + len(_STREAM) + int(length[1]))
        found.append((opening[1], content[body:end]))
        start = end + len(b"\nendobj")
    return found


def _parts(body: bytes) -> tuple[bytes, bytes]:
    """What an object says, and its stream (empty where it has none)."""
    place = body.find(_STREAM)
    return (body, b"") if place < 0 else (body[:place], body[place:])


def _ordered(body: bytes) -> bytes:
    said, stream = _parts(body)
    return (
        _NAMED.sub(lambda lines: b"".join(sorted(lines[0].splitlines(keepends=True), key=_length_first)), said) + stream
    )


def _length_first(line: Any) -> tuple[int, bytes]:
    """Sorts `/xo10 ...` after `/xo9 ...`."""
    name = bytes(line).split()[0]
    return len(name), name


def _met_from(objects: dict[int, bytes], root: int) -> list[int]:
    """The numbers of all objects that lead from one, each once, in the order in which they are met."""
    order, waiting = dict.fromkeys([root]), [root]
    while waiting:
        said, _ = _parts(objects[waiting.pop(0)])
        for found in map(int, _REFERENCE.findall(said)):
            if found not in order:
                order[found] = None
                waiting.append(found)
    return list(order)


def _renumbered(body: bytes, numbers: dict[int, int]) -> bytes:
    said, stream = _parts(body)
    return _REFERENCE.sub(lambda found: b"%d 0 R" % numbers[int(found[1])], said) + stream


def _written(bodies: list[bytes], info: int) -> bytes:
    """A file of these objects, numbered from 1; the first is the catalog."""
    content, places = _HEADER, []
    for number, body in enumerate(bodies, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n\n" % (number, body)
    table = b"".join(b"%010d 00000 n\r\n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f\r\n" % (len(bodies) + 1)
    trailer = b"trailer\n<<\n  /Size %d\n  /Root 1 0 R\n  /Info %d 0 R\n>>\n" % (len(bodies) + 1, info)
    return content + head + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(content)


def _text(text: str) -> bytes:
    """A text of a PDF, in hexadecimal digits: nothing in it can be taken for anything else."""
    return b"<FEFF" + text.encode("utf-16-be", errors="replace").hex().upper().encode() + b">"
