#!/bin/sh
# The access_token for a shell script: asked for each time, which costs WeChat nothing.
#   WXSIGN=https://sign.example.com APPID=wx0123456789abcdef KEY_FILE=/etc/shop/wxsign.key ./token.sh
set -eu
# By a configuration on stdin: what stands in a command line, everybody on the machine can read.
answer=$(printf 'data-urlencode = "secret=%s"\n' "$(cat "$KEY_FILE")" | curl --config - --get -sS --max-time 15 \
    --data grant_type=client_credential --data-urlencode "appid=$APPID" "$WXSIGN/cgi-bin/token")
token=$(printf '%s' "$answer" | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p')
if [ -z "$token" ]; then
    printf '%s\n' "$answer" >&2
    exit 1
fi
printf '%s\n' "$token"
