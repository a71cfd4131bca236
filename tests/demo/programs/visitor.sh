#!/bin/sh
# A visitor from the internet: visitor.sh URL…  One line per request: "ok …" or "FAILED …".
while :; do
    for url in "$@"; do
        if answer=$(curl -sS --max-time 5 --fail "$url" 2>&1); then
            echo "ok http $url $answer"
        else
            echo "FAILED $url: $answer"
        fi
    done
    sleep 0.3
done
