#!/bin/sh
# Requests of three clients at $TARGET, for ever: most are well, some are slow, some fail, one client is over its limit, one has
# a wrong password. A round has twenty requests and takes two seconds or more.
set -u
while :; do
    for path in / / /items /items/7 / / /items /slow / /items; do
        curl --silent --output /dev/null --max-time 10 --user "shop:$ORDERS_PASSWORD" "$TARGET/orders$path"
        curl --silent --output /dev/null --max-time 10 "$TARGET/catalog$path"
        sleep 0.1
    done
    curl --silent --output /dev/null --max-time 10 --user "shop:$ORDERS_PASSWORD" "$TARGET/orders/broken"
    curl --silent --output /dev/null --max-time 10 --user "shop:wrong" "$TARGET/orders/items"
    curl --silent --output /dev/null --max-time 10 "$TARGET/catalog/missing"
    [ "${ROUNDS:-0}" -eq 1 ] && exit 0
done
