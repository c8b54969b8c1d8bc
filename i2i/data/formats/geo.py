"""A TIFF's place on the map where it stands in a file beside it (.tfw, .wld, .aux.xml): the extra `geo`, by rasterio.

A place that stands in the TIFF itself is a set of tags, and so is its nodata level: both are carried without rasterio.
"""

import importlib.util
import io
import os
import warnings
from dataclasses import replace
from pathlib import Path

from i2i.data.formats import tags, tiffpages
from i2i.data.formats.carried import PLACE, Carried, Tag
from i2i.data.formats.shapes import Unusable

_WORLD = (".tfw", ".TFW", ".tifw", ".tiffw", ".wld")


def beside(path: str | os.PathLike) -> bool:
    """Whether a file beside the TIFF `path` says where its pixels lie."""
    if any(os.path.isfile(os.path.splitext(path)[0] + suffix) for suffix in _WORLD):
        return True
    try:
        notes = Path(f"{os.fspath(path)}.aux.xml").read_bytes()[: 1 << 20]
    except OSError:
        return False
    return b"<GeoTransform" in notes or b"<SRS" in notes


def available() -> bool:
    """Whether rasterio is installed."""
    return importlib.util.find_spec("rasterio") is not None


def placed(path: str | os.PathLike, carried: Carried) -> Carried:
    """`carried` with the place that a file beside `path` says, where the TIFF's own tags say none.

    Raises:
        Unusable: GDAL refuses the file.
    """
    if not beside(path) or any(tag.code in PLACE for tag in carried.tags) or not available():
        return carried
    return replace(carried, tags=(*carried.tags, *_tags(path)))


def _tags(path: str | os.PathLike) -> list[Tag]:
    """Coordinate system and transform, in the tags that GDAL itself writes for them."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver="GTiff") as file:
                crs, transform = file.crs, file.transform
            if crs is None and transform.is_identity:
                return []
            options = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
            with rasterio.MemoryFile() as memory:
                with memory.open(**options, crs=crs, transform=transform):
                    pass
                data = memory.read()
    except RasterioError as error:
        raise Unusable(f"a file beside it says where it lies, and cannot be read ({str(error)[:200]})") from None
    with tiffpages.opened(io.BytesIO(data), None) as found:
        return [tag for tag in tags.read(found.page, 1, ()).tags if tag.code in PLACE]
