#!/bin/sh
# Runs a blog, its database and PHP's own server, until stdin ends; then kills all of it at once.
# It is the leader of a process group, of which nothing outlives whoever started it.
set -eu
# Where Debian has the database.
PATH=$PATH:/usr/sbin
mariadbd --defaults-file=database.cnf --user="$(id -un)" --datadir="$BLOG_DATABASE" \
  --socket="$BLOG_SOCKET" 2>&1 &
PHP_CLI_SERVER_WORKERS=4 php -S "$BLOG_LISTEN" -t "$BLOG_ROOT" router.php 2>&1 &
read -r _ || true
kill -9 0
