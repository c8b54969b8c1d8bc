"""What a file is, told from its first bytes: names for the contents that are not read as pictures."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"\xff\xd8\xff", "a JPEG"),
    (b"GIF8", "a GIF"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"II+\x00", "a TIFF"),
    (b"MM\x00+", "a TIFF"),
    (b"BM", "a BMP"),
    (b"8BPS", "a Photoshop file"),
    (b"v/1\x01", "an OpenEXR file"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x00\x00\x00\x0cJXL", "a JPEG XL"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself (`git lfs pull` fetches that)"),
)


def name(head: bytes) -> str:
    """`a GIF`, `a web page (HTML)`, ... for the first bytes (64) of a file, or that it is of no known kind."""
    if not head:
        return "an empty file"
    for start, words in _STARTS:
        if head.startswith(start):
            return words
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP"
    if head[4:8] == b"ftyp":
        return {b"avif": "an AVIF", b"heic": "an HEIC", b"mif1": "an HEIC"}.get(head[8:12], "a video (MP4)")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML), perhaps the answer to a failed download"
    if text.startswith((b"<?xml", b"<svg", b"<!--")):
        return "an XML or SVG text"
    if not head.strip(b"\0"):
        return "a file of zeros"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "a text"
    return "of no kind known here"
