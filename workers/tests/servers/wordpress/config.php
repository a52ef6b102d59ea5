<?php
// What Debian's wp-config.php would look up in /etc comes from the environment: this blog has
// nothing to do with those of the machine. The code stays where the package put it.

define('ABSPATH', '/usr/share/wordpress/');
define('WP_HOME', getenv('BLOG_URL'));
define('WP_SITEURL', getenv('BLOG_URL'));
define('WP_CONTENT_DIR', getenv('BLOG_CONTENT'));
define('DB_NAME', 'wordpress');
define('DB_USER', 'root');
define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:' . getenv('BLOG_SOCKET'));
define('DB_CHARSET', 'utf8mb4');
// Permits application passwords over plain HTTP.
define('WP_ENVIRONMENT_TYPE', 'local');
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', true);
define('WP_DEBUG_DISPLAY', false);
$table_prefix = 'wp_';
