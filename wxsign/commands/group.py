"""The `wxsign` command: what all of its parts share. Exit codes: 0 done, 1 failed (WeChat or the store refused, nothing to sign with), 2 wrong usage or configuration."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from wxsign import __version__, logs
from wxsign.errors import ConfigError, RequestError, StoreUnavailable, WxSignError
from wxsign.service import WxSign
from wxsign.settings import Settings, load_settings

FAILED: Final = 1
UNUSABLE: Final = 2


def language() -> str:
    """`zh` where the locale is a Chinese one, else `en`."""
    locale = next(
        (os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), ""
    )
    return "zh" if locale.lower().startswith("zh") else "en"


def say(en: str, zh: str, *, err: bool = False) -> None:
    """Print a sentence in the user's language."""
    click.echo(zh if language() == "zh" else en, err=err)


class Commands(click.Group):
    """Turns our own errors into sentences and exit codes; whatever is not ours stays a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(error.in_language(language()), err=True)
            ctx.exit(UNUSABLE)
        except WxSignError as error:
            explain(error)
            ctx.exit(UNUSABLE if isinstance(error, RequestError) else FAILED)


def explain(error: WxSignError) -> None:
    cause = f"({error.detail}) " if isinstance(error, StoreUnavailable) and error.detail else ""
    message, hint = (text.in_language(language()) for text in (error.message, error.operator_hint))
    click.echo(f"{message} {cause}{hint}".strip(), err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", metavar="PATH", help="The TOML file; default WXSIGN_CONFIG, else wxsign.toml. 配置文件。"
)
@click.version_option(__version__, prog_name="wxsign")
@click.pass_context
def main(ctx: click.Context, config: str | None) -> None:
    """WeChat JS-SDK signatures, and the central token server behind them. 微信 JS-SDK 签名服务与中控服务器。

    \b
    No WeChat account yet? 还没有微信账号:
      wxsign dev                        sandbox, service and demo page on this machine
    \b
    With an account 已有账号:
      export WXSIGN_APPID=wx0123456789abcdef WXSIGN_SECRET_FILE=/etc/wxsign/secret
      export WXSIGN_ALLOWED_HOSTS=m.example.com
      wxsign check                      is the configuration complete?
      wxsign jsconfig https://m.example.com/
      wxsign serve --port 8000

    Exit codes 退出码: 0 done, 1 failed (e.g. WeChat refused), 2 wrong usage or configuration.
    """
    logs.configure("ERROR")
    ctx.obj = config


def settings_of(config: str | None) -> Settings:
    settings = load_settings(config)
    for warning in settings.warnings:
        click.echo(warning.in_language(language()), err=True)
    return settings


def service_of(config: str | None) -> WxSign:
    service = WxSign(settings_of(config))
    click.get_current_context().call_on_close(service.stop)
    return service
