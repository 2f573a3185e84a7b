"""What the tests of the codec share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cqrs_core.serialization import codec_for


@pytest.fixture
def there_and_back() -> Callable[[Any, Any], Any]:
    """Write a value and read it, through bytes and through plain values, whether unknown fields are refused or not."""

    def travel(tp: Any, value: Any) -> Any:
        codec = codec_for(tp)
        data = codec.encode(value)
        result = codec.decode(data)
        assert data == codec.encode(result)
        assert result == codec.from_plain(codec.to_plain(value))
        assert result == codec_for(tp, unknown_fields="refuse").decode(data)
        return result

    return travel
