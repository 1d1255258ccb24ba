"""WeChat for the broker: looks the AppSecret up where the call is made, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxsign.credentials import CredentialKey, TokenEndpoint, digest

if TYPE_CHECKING:
    from wxsign.accounts import AccountRegistry
    from wxsign.wechat import Granted, WeChatClient


class WeChatUpstream:
    """WeChat for the broker: looks the AppSecret up where the call is made, and nowhere else."""

    def __init__(self, client: WeChatClient, registry: AccountRegistry) -> None:
        self._client = client
        self._registry = registry

    def fetch(self, key: CredentialKey, *, access_token: str | None, force: bool, attempt: int) -> Granted:
        if not key.is_token:
            return self._client.ticket(access_token or "", str(key.kind), attempt=attempt)
        account = self._registry.get(key.app_id)
        if key.endpoint is TokenEndpoint.CLASSIC:
            return self._client.classic_token(account.app_id, account.app_secret, attempt=attempt)
        return self._client.stable_token(
            account.app_id, account.app_secret, force_refresh=force, attempt=attempt
        )

    def probe(self, key: CredentialKey, access_token: str, *, attempt: int) -> None:
        del key
        self._client.get_api_domain_ip(access_token, attempt=attempt)

    def secret_fingerprint(self, key: CredentialKey) -> str:
        account = self._registry.get(key.app_id)
        return digest(f"{account.app_id}:{account.app_secret}")[:16]
