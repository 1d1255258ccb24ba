"""wechatpy that reads its token from wxsign; business calls go to WeChat as ever.

client = Client("wx0123456789abcdef", CLIENT_KEY)  # the key of `wxsign client new NAME --scope token:read`
"""

from wechatpy import WeChatClient


class Client(WeChatClient):
    WXSIGN = "https://sign.example.com"

    def fetch_access_token(self):
        return self._fetch_access_token(
            url=f"{self.WXSIGN}/for/wechatpy/cgi-bin/token",
            params={"grant_type": "client_credential", "appid": self.appid, "secret": self.secret},
        )
