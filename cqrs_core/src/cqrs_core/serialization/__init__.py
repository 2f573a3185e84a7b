"""JSON for dataclasses: for each type, code of its own that writes it, and code that checks and builds it."""

from cqrs_core.serialization.codec import Codec, codec_for
from cqrs_core.serialization.errors import CodecError, UnsupportedType
from cqrs_core.serialization.foreign import register_foreign

__all__ = ["Codec", "CodecError", "UnsupportedType", "codec_for", "register_foreign"]
