"""api_key: whose key is it?"""

import pytest

from core.errors import Unauthorized
from core.model import Principal
from plugins import api_key
from tests.plugin_kit import Keys, gateway_for, request

SHOP = Principal(tenant="shop", name="shop", key="sha256:abc")
GATEWAY = gateway_for("api_key", None, find_key=Keys({"sk_shop": SHOP}))


@pytest.mark.parametrize(
    "headers",
    [
        {"X_API_Key": "sk_shop"},
        {"X_API_Key": " sk_shop "},
        {"Authorization": "Bearer sk_shop"},
        {"Authorization": "bearer  sk_shop"},
        {"X_API_Key": "sk_shop", "Authorization": "Bearer sk_shop"},
        {"X_API_Key": "sk_shop", "Authorization": "Basic c2hvcDp4"},
    ],
)
async def test_finds_the_key_in_either_header(headers: dict[str, str]) -> None:
    """X-API-Key, or Authorization: Bearer, or twice the same; what else stands in Authorization is not ours."""
    assert await api_key.authenticate(request(**headers), GATEWAY) == SHOP


@pytest.mark.parametrize(
    "headers",
    [{}, {"X_API_Key": ""}, {"X_API_Key": "sk_other"}, {"Authorization": "Basic x"}, {"Authorization": "sk_shop"}],
)
async def test_says_not_mine(headers: dict[str, str]) -> None:
    """No key, an unknown one, another scheme: the next plugin is asked."""
    assert await api_key.authenticate(request(**headers), GATEWAY) is None


async def test_two_keys_that_differ_are_refused() -> None:
    """Which of them is meant is nobody's to guess, also when one of them is right."""
    with pytest.raises(Unauthorized) as caught:
        await api_key.authenticate(request(X_API_Key="sk_shop", Authorization="Bearer sk_other"), GATEWAY)
    assert (caught.value.status, caught.value.code) == (401, "two_keys")
    assert "sk_" not in str(caught.value)
