"""The WeChat JS-SDK signature service, and the central token server behind it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wxsign.service import WxSign

__all__ = ["WxSign", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # On first use only: the sandbox and the command's --help need nothing of the service.
    if name == "WxSign":
        from wxsign.service import WxSign  # noqa: PLC0415 -- the point of this function

        return WxSign
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
