"""`wxsign explain` and `wxsign diagnose`: in words, in both languages, the first one without any network."""

import pytest
from at_sandbox import APP_IDS, SECRET, wechat
from click.testing import CliRunner

from wxsign.cli import main


def run(*words, language="en", text=None, **env):
    return CliRunner(env={"LANG": f"{language}.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", **env}).invoke(
        main, words, input=text
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("WXS103", "encodeURIComponent"),
        ("116", "jsApiList"),
        ("40164", "IP whitelist"),
        ('{"errcode":48001,"errmsg":"api unauthorized"}', "48001"),
        ("config:invalid url domain", "WXS114  certain"),
        ("the page https://192.168.1.7:5173/ is red", "WXS114  likely"),
        ("errmsg: invalid ip, rid: 60f2a1b3-1234abcd-5678abcd errcode: 40164", "errorDiag"),
        ("wx.config({appId: 'wx1', timestamp: 1, signature: 'x', jsApiList: []})", "missing: nonceStr"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_an_id_an_errcode_or_a_pasted_text_is_explained(words, says, language):
    done = run("explain", words, language=language)
    assert done.exit_code == 0
    shown = says if language == "en" else says.replace("IP whitelist", "API IP白名单")
    assert shown in done.output


def test_what_is_not_known_is_said_with_what_is():
    done = run("explain", "hello")
    assert done.exit_code == 2
    assert "WXS101" in done.stderr


def test_a_refused_signature_is_found_out_with_the_ticket_that_stands_in_the_store(tmp_path):
    with wechat() as sandbox:
        env = {
            "WXSIGN_APPID": APP_IDS["shop"],
            "WXSIGN_SECRET": SECRET,
            "WXSIGN_ALLOWED_HOSTS": "m.example.com",
            "WXSIGN_API_BASE": sandbox.url,
            "WXSIGN_STORE": f"sqlite:///{tmp_path}/wxsign.db",
        }
        config = run("jsconfig", "https://m.example.com/a?b=1", **env)
        assert config.exit_code == 0, config.output
        pasted = f"{config.stdout}\nhttps://m.example.com/a?b=1&c=2\nconfig:invalid signature"
        done = run("diagnose", "-", text=pasted, **env)
        assert done.exit_code == 0, done.output
        assert "The signature is wrong." in done.output
        assert "WXS103  certain" in done.output
        right = run("diagnose", "-", text=pasted.replace("&c=2", ""), language="zh_CN", **env)
        assert "签名正确" in right.output
