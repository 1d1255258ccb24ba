<?php
// The access_token for PHP from the file that wxsign keeps: [accounts.NAME.sinks.php], path = "/srv/shop/access_token.php",
// format = "php-sample". It is the file of Tencent's own sample, whose prefix keeps it from being read over the web.
//   require 'token.php'; echo wechat_token('/srv/shop/access_token.php');
function wechat_token(string $path): string
{
    $text = file_get_contents($path);
    $data = $text === false ? null : json_decode(substr($text, strlen('<?php exit();?>')));
    // The time always lies ahead: wxsign writes the next value before this one ends.
    if (!isset($data->access_token) || $data->expire_time <= time()) {
        throw new RuntimeException("No token in $path: is wxsign running? See `wxsign status`.");
    }
    return $data->access_token;
}

if (isset($argv[1]) && realpath($argv[0]) === __FILE__) {
    echo wechat_token($argv[1]), "\n";
}
