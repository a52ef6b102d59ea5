<?php
// Gives WordPress every request that is not for an uploaded file, as a front server does.

$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
if (is_file($_SERVER['DOCUMENT_ROOT'] . $path)) {
    return false;
}
require __DIR__ . '/config.php';
if (!str_starts_with($path, parse_url(WP_HOME . '/', PHP_URL_PATH))) {
    http_response_code(404);
    return true;
}
require ABSPATH . 'wp-settings.php';
// The API answers in here, and ends. The package has no theme to show a page with.
wp();
echo is_404() ? 'nothing is here' : get_the_title();
