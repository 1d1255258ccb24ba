"""WeChat for the broker: looks the AppSecret up where the call is made, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxsign.credentials import CredentialKey, TokenEndpoint, digest, sort_of

if TYPE_CHECKING:
    from wxsign.accounts import AccountRegistry
    from wxsign.wechat import Granted, WeChatClient, WeComClient
    from wxsign.wechat.source import SourceReader


class WeChatUpstream:
    """WeChat for the broker: looks the AppSecret up where the call is made, and nowhere else."""

    def __init__(
        self, client: WeChatClient, wecom: WeComClient, source: SourceReader, registry: AccountRegistry
    ) -> None:
        self._client = client
        self._source = source
        self._wecom = wecom
        self._registry = registry

    def fetch(  # noqa: PLR0911 - one a call
        self, key: CredentialKey, *, access_token: str | None, force: bool, attempt: int
    ) -> Granted:
        """The one call that the sort of `key` names. Raises `WeChatError`."""
        client, account = self._client, self._registry.get(key.owner)
        match sort_of(key).call:
            case "token":
                return client.classic_token(account.app_id, account.app_secret, attempt=attempt)
            case "stable_token":
                return client.stable_token(
                    account.app_id, account.app_secret, force_refresh=force, attempt=attempt
                )
            case "source" if account.source is not None:
                return self._source.token(account.source, replace=force)
            case "gettoken":
                return self._wecom.token(account.app_id, account.app_secret)
            case "get_jsapi_ticket":
                return self._wecom.corp_ticket(access_token or "")
            case "agent_ticket":
                return self._wecom.agent_ticket(access_token or "")
            case _:
                return client.ticket(access_token or "", str(key.kind), attempt=attempt)

    def probe(self, key: CredentialKey, access_token: str, *, attempt: int) -> None:
        client = self._wecom if key.endpoint is TokenEndpoint.WECOM else self._client
        client.get_api_domain_ip(access_token, attempt=attempt)

    def secret_fingerprint(self, key: CredentialKey) -> str:
        account = self._registry.get(key.owner)
        return digest(f"{account.app_id}:{account.app_secret}")[:16]
