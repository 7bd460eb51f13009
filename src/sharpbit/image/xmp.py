"""XMP packets, edited in place: sizes follow the image, and what the result does not have is not announced."""

from __future__ import annotations

import re

from sharpbit.image.rounding import half_up

_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)([1-8])")
_MAX = 16 * 2**20  # a few KiB is usual; edit histories have reached some MiB
_MAX_EDITED, _MOST_TAGS = 1 << 20, 2000  # bytes and tags beyond which looking for pairs of tags takes too long
_WIDE = (
    *("FullPanoWidthPixels", "CroppedAreaImageWidthPixels", "CroppedAreaLeftPixels"),
    *("LargestValidInteriorRectLeft", "LargestValidInteriorRectWidth"),
    *("PixelXDimension", "tiff:ImageWidth"),
)
_HIGH = (
    *("FullPanoHeightPixels", "CroppedAreaImageHeightPixels", "CroppedAreaTopPixels"),
    *("LargestValidInteriorRectTop", "LargestValidInteriorRectHeight"),
    *("PixelYDimension", "tiff:ImageLength"),
)
_ELSEWHERE = {  # namespaces that announce another image, or a video, in the same file
    b"http://ns.adobe.com/hdr-gain-map/1.0/": "gain map",
    b"http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    b"http://ns.google.com/photos/1.0/container/": "images and videos appended to the file",
    b"http://ns.google.com/photos/1.0/container/item/": "images and videos appended to the file",
}
_LOOSE = {  # names, in namespaces that say other things too
    b"HasExtendedXMP": "continuation of the XMP block",
    b"MotionPhoto": "video",
    b"MotionPhotoVersion": "video",
    b"MotionPhotoPresentationTimestampUs": "video",
    b"MicroVideo": "video",
    b"MicroVideoVersion": "video",
    b"MicroVideoOffset": "video",
    b"MicroVideoPresentationTimestampUs": "video",
}


def checked(xmp: object) -> bytes | None:
    """The packet as bytes, None if it is empty. Raises ValueError if it is broken or absurdly large."""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if not isinstance(xmp, bytes) or not xmp.strip(b"\0 \r\n\t"):
        return None
    if len(xmp) > _MAX:
        raise ValueError("larger than 16 MiB")
    if b"<" not in xmp[:4096]:
        raise ValueError("broken")
    return xmp.rstrip(b"\0")


def orientation(xmp: bytes | None) -> int | None:
    """The orientation that a packet asks for, or None."""
    found = _ORIENTATION.search(xmp) if xmp else None
    return int(found[2]) if found else None


def upright(xmp: bytes) -> bytes:
    """The packet, saying that the pixels need no turning."""
    return _ORIENTATION.sub(rb"\g<1>1", xmp)


def resized(xmp: bytes, wide: float, high: float) -> bytes:
    """The packet with all that counts in pixels `wide` and `high` times as large: panoramas, and the size itself."""
    for names, factor in ((_WIDE, wide), (_HIGH, high)):
        pattern = "|".join(names).encode()
        before = rb"((?:" + pattern + rb")(?:\s*=\s*[\"']|(?:\s[^<>]{0,200})?>)\s*)"  # an element may have attributes
        value = re.compile(before + rb"([+-]?\d{1,9}(?:\.\d{0,9})?)(?=\s*[\"'<])")
        xmp = value.sub(lambda found, times=factor: found[1] + b"%d" % half_up(float(found[2]) * times), xmp)  # type: ignore[misc]
    return xmp


def alone(xmp: bytes, notes: list[str]) -> bytes | None:
    """The packet without what it announces beside the image, such as a gain map; each kind is said in `notes`.

    Returns None if it cannot be separated from the rest.
    """
    gone, edited = [], xmp
    names = [*_ELSEWHERE, *(b":" + name for name in _LOOSE)]
    if (len(xmp) > _MAX_EDITED or xmp.count(b"<") > _MOST_TAGS) and any(name in xmp for name in names):
        notes.append("XMP block left out (it announces what is not there, and is too large to be edited)")
        return None
    for namespace, what in _ELSEWHERE.items():
        for prefix in set(re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(namespace) + rb"[\"']", edited)):
            less = _without(edited, re.escape(prefix) + rb":[\w.-]+")
            gone += [what] * (less != edited)
            edited = _without_attributes(less, rb"xmlns:" + re.escape(prefix))
    for name, what in _LOOSE.items():
        less = _without(edited, rb"[\w.-]+:" + name)
        gone += [what] * (less != edited)
        edited = less
    notes += [f"{what} left out" for what in dict.fromkeys(gone)]
    if edited == xmp:
        return xmp
    if _is_whole(xmp) and not _is_whole(edited):
        notes.append("XMP block left out (it cannot be separated from what is not there)")
        return None
    return edited


def _without(xmp: bytes, name: bytes) -> bytes:
    """The packet without elements and attributes of a name (a pattern)."""
    xmp = re.sub(
        rb"<(" + name + rb")(?=[\s/>])(?:[^>\"']|\"[^\"]*\"|'[^']*')*?(?:/>|>.*?</\1\s*>)", b"", xmp, flags=re.S
    )
    return _without_attributes(xmp, name)


def _without_attributes(xmp: bytes, name: bytes) -> bytes:
    # Packets end with kilobytes of spaces to write into: each run is looked at once, not from each space of it.
    return re.sub(rb"(?<!\s)\s+" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)


def _is_whole(xmp: bytes) -> bool:
    from xml.parsers import expat  # seldom needed

    try:
        expat.ParserCreate().Parse(xmp, True)
    except expat.ExpatError:
        return False
    return True
