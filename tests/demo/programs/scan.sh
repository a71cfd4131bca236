#!/bin/bash
# A scan with nothing but a shell: scan.sh ADDRESS PORT…  Prints the ports that answer.
address=$1
shift
for port in "$@"; do
    if timeout 1 bash -c ": </dev/tcp/$address/$port" 2>/dev/null; then
        echo "$address port $port open"
    fi
done
