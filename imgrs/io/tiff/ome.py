"""OME-XML, the description that an OME-TIFF carries: https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/."""

from __future__ import annotations

from imgrs.types import Spec

_TYPES = {"uint8": "uint8", "uint16": "uint16", "float32": "float", "bool": "bit"}
_MICRONS = 25_400  # in an inch


def ome_xml(spec: Spec, dpi: tuple[float, float] | None) -> str:
    """Describe one image whose samples stand pixel by pixel in the first directory; sizes of a pixel in micrometers."""
    sizes = "" if dpi is None else f' PhysicalSizeX="{_MICRONS / dpi[0]!r}" PhysicalSizeY="{_MICRONS / dpi[1]!r}"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://www.openmicroscopy.org/Schemas/OME/2016-06'
        ' http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" BigEndian="false" Interleaved="true"'
        f' Type="{_TYPES[spec.dtype]}" SizeX="{spec.width}" SizeY="{spec.height}" SizeC="{spec.bands}" SizeZ="1" SizeT="1"'
        f'{sizes}><Channel ID="Channel:0:0" SamplesPerPixel="{spec.bands}"/>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
