<?php
// Makes a blog's tables, prints an application password of its administrator, and stops the database.

define('WP_INSTALLING', true);
require __DIR__ . '/config.php';
(new mysqli('localhost', DB_USER, DB_PASSWORD, '', 0, getenv('BLOG_SOCKET')))
    ->query('CREATE DATABASE wordpress');
require ABSPATH . 'wp-settings.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

// Nobody is to be told of it by mail.
function wp_mail() { return true; }

wp_install('A blog', 'admin', 'admin@example.invalid', false, '', wp_generate_password());
foreach (get_posts(['post_type' => 'any', 'post_status' => 'any', 'numberposts' => -1]) as $post) {
    wp_delete_post($post->ID, true);
}
update_option('permalink_structure', '/%postname%/');
[$password] = WP_Application_Passwords::create_new_application_password(1, ['name' => 'tests']);
echo $password;
$wpdb->query('SHUTDOWN');
