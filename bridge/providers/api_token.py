"""The settings of providers whose API can set the webhook: what `register` shows to it. Serving does not need it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from bridge.secret import Secret

__all__ = ["ApiSettings"]


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a source of such a provider has besides."""

    api_token: Annotated[
        Secret | None,
        Meta(
            description="What `webhook-bridge register` shows to the provider's API: Chatlevel's API key, the "
            "token of a bot at Telegram, a GitHub token that may administer webhooks. Nothing else reads it: `serve` "
            "does not need it, so it need not be where the bridge runs.",
            extra={"default": "none", "placeholder": "changeme-the-api-key"},
        ),
    ] = None
